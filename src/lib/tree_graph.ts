/**
 * Dependency graphs made from trees of packages, in Snyk's JSON, schema 1.3.0 (scan-semantics §5.6): what
 * @snyk/dep-graph's `legacy.depTreeToGraph` makes of the same tree. docs/adr/005-own-dep-graph.md says why the library is
 * not used. Graphs that are built node by node: graph_builder.ts.
 *
 * @module
 */

/** A package in a tree. */
export interface GraphTree {
  readonly name: string;
  /** Null is written as such, which is what the graph of a package.json without a version has. */
  readonly version: string | null | undefined;
  readonly purl?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** By name. Objects that occur twice are walked once. */
  readonly dependencies: GraphTrees;
}

/** Packages of one level, by name. */
export type GraphTrees = Readonly<Record<string, GraphTree>>;

/** A package in a graph. */
export interface GraphPkgInfo {
  readonly name: string;
  readonly version?: string | null | undefined;
  readonly purl?: string;
}

/** A node of a graph: one place where a package occurs with one set of dependencies. */
export interface GraphNodeJson {
  readonly nodeId: string;
  readonly pkgId: string;
  readonly deps: readonly { readonly nodeId: string }[];
  readonly info?: { readonly labels: Readonly<Record<string, string>> };
}

/** Packages and nodes of a graph, the root's first. */
export interface TreeGraph {
  readonly pkgs: readonly { readonly id: string; readonly info: GraphPkgInfo }[];
  readonly graph: { readonly rootNodeId: "root-node"; readonly nodes: readonly GraphNodeJson[] };
}

/**
 * Turns a tree into a graph. Equal subtrees of one package become one node; a package with several nodes gets the
 * ids `name@version|1`, `|2`, … in the order in which a depth-first walk by name completes them.
 */
export function treeToGraph(root: GraphPkgInfo, dependencies: GraphTrees): TreeGraph {
  const interner = new NodeInterner(root);
  const direct = interner.intern(dependencies);
  const nodes: GraphNodeJson[] = [{ nodeId: "root-node", pkgId: idOf(root), deps: edges(direct) }];
  for (const pkg of interner.pkgs.values()) {
    for (const node of pkg.nodes) {
      const { labels } = node;
      const base = { nodeId: refTo(node).nodeId, pkgId: pkg.id, deps: edges(node.deps) };
      nodes.push(labels === undefined ? base : { ...base, info: { labels } });
    }
  }
  return {
    pkgs: Array.from(interner.pkgs.values(), ({ id, info }) => ({ id, info })),
    graph: { rootNodeId: "root-node", nodes },
  };
}

interface Pkg {
  readonly id: string;
  info: GraphPkgInfo;
  /** The root's package counts the root's node too. */
  readonly isRoot: boolean;
  readonly nodes: Node[];
}

interface Node {
  readonly serial: number;
  readonly pkg: Pkg;
  /** Place among the nodes of its package, from 1. */
  readonly place: number;
  readonly deps: readonly Node[];
  /** As it was met last. */
  labels: GraphTree["labels"];
  /** The node's identifier, known when all nodes of its package are. Shared by all edges that lead here. */
  ref?: { readonly nodeId: string };
}

class NodeInterner {
  /** In the order in which the walk completes them; the root is first. */
  readonly pkgs = new Map<string, Pkg>();
  readonly #nodes = new Map<string, Node>();
  readonly #done = new Map<GraphTree, Node>();

  constructor(root: GraphPkgInfo) {
    const id = idOf(root);
    this.pkgs.set(id, { id, info: root, isRoot: true, nodes: [] });
  }

  /** Nodes of a tree's top level, by name. An explicit stack: trees may be as deep as a database has packages. */
  intern(dependencies: GraphTrees): readonly Node[] {
    const top = { names: sorted(dependencies), tree: { dependencies }, deps: new Set<Node>(), next: 0 };
    const path: { names: string[]; tree: Pick<GraphTree, "dependencies">; deps: Set<Node>; next: number }[] = [top];
    for (let frame = path.at(-1); frame !== undefined; frame = path.at(-1)) {
      const name = frame.names[frame.next];
      const child = name === undefined ? undefined : frame.tree.dependencies[name];
      const done = child === undefined ? undefined : this.#done.get(child);
      if (child !== undefined && done !== undefined) {
        done.labels = child.labels;
        this.#pkg(child);
        frame.deps.add(done);
        frame.next++;
        continue;
      }
      if (child !== undefined) {
        path.push({ names: sorted(child.dependencies), tree: child, deps: new Set(), next: 0 });
        continue;
      }
      path.pop();
      const parent = path.at(-1);
      const own = parent?.tree.dependencies[parent.names[parent.next++] ?? ""];
      if (parent === undefined || own === undefined) continue;
      const node = this.#node(own, [...frame.deps]);
      this.#done.set(own, node);
      parent.deps.add(node);
    }
    return [...top.deps];
  }

  #node(tree: GraphTree, deps: readonly Node[]): Node {
    const pkg = this.#pkg(tree);
    const key = JSON.stringify([pkg.id, sortedLabels(tree), deps.map((dep) => dep.serial)]);
    const known = this.#nodes.get(key);
    if (known !== undefined) {
      known.labels = tree.labels;
      return known;
    }
    const node = {
      serial: this.#nodes.size,
      pkg,
      place: pkg.nodes.length + (pkg.isRoot ? 2 : 1),
      deps,
      labels: tree.labels,
    };
    pkg.nodes.push(node);
    this.#nodes.set(key, node);
    return node;
  }

  #pkg({ name, version, purl }: GraphTree): Pkg {
    const info = { name, version, ...(purl ? { purl } : {}) };
    const id = idOf(info);
    const known = this.pkgs.get(id);
    if (known !== undefined) {
      known.info = info;
      return known;
    }
    const pkg = { id, info, isRoot: false, nodes: [] };
    this.pkgs.set(id, pkg);
    return pkg;
  }
}

function sorted(dependencies: GraphTrees): string[] {
  return Object.keys(dependencies).sort();
}

function sortedLabels({ labels }: GraphTree): readonly (readonly [string, string])[] | null {
  return labels === undefined ? null : Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
}

function idOf({ name, version }: GraphPkgInfo): string {
  return `${name}@${version || ""}`;
}

function refTo(node: Node): { readonly nodeId: string } {
  const { pkg, place } = node;
  return node.ref ??= { nodeId: pkg.nodes.length === 1 && !pkg.isRoot ? pkg.id : `${pkg.id}|${place}` };
}

function edges(nodes: readonly Node[]): readonly { readonly nodeId: string }[] {
  return nodes.map(refTo);
}
