/**
 * The depGraph fact: Snyk's dependency graph, JSON schema 1.3.0, made from a tree of packages (scan-semantics §5.6).
 *
 * The bytes are those that @snyk/dep-graph 2.16.11 gives for the same tree (`legacy.depTreeToGraph(…).toJSON()`);
 * dep_graph_test.ts holds the two together; docs/adr/005-own-dep-graph.md says why the library is not used here.
 *
 * @module
 */
import type { TreeNode, TreeNodes } from "./dep_tree.ts";

/** A package in a graph. */
export interface PkgInfo {
  readonly name: string;
  readonly version?: string;
  readonly purl?: string;
}

/** A node of a graph: one place where a package occurs with one set of dependencies. */
export interface GraphNodeJson {
  readonly nodeId: string;
  readonly pkgId: string;
  readonly deps: readonly { readonly nodeId: string }[];
  readonly info?: { readonly labels: Readonly<Record<string, string>> };
}

/** A dependency graph as Snyk writes it. */
export interface DepGraphJson {
  readonly schemaVersion: "1.3.0";
  readonly pkgManager: { readonly name: string; readonly repositories: readonly { readonly alias: string }[] };
  readonly pkgs: readonly { readonly id: string; readonly info: PkgInfo }[];
  readonly graph: { readonly rootNodeId: "root-node"; readonly nodes: readonly GraphNodeJson[] };
}

/** Input of {@link buildDepGraph}. */
export interface DepGraphOptions {
  /** The image, as graph root. */
  readonly root: PkgInfo;
  /** `deb`, `apk`, `rpm` or `linux`. */
  readonly pkgManager: string;
  /** `name:version` of the operating system. */
  readonly repository: string;
  readonly dependencies: TreeNodes;
}

/**
 * Turns a tree into a graph. Equal subtrees of one package become one node; a package with several nodes gets the
 * ids `name@version|1`, `|2`, … in the order in which a depth-first walk by name completes them.
 */
export function buildDepGraph(options: DepGraphOptions): DepGraphJson {
  const interner = new NodeInterner(options.root);
  const direct = interner.intern(options.dependencies);
  const nodes: GraphNodeJson[] = [{ nodeId: "root-node", pkgId: idOf(options.root), deps: edges(direct) }];
  for (const pkg of interner.pkgs.values()) {
    for (const node of pkg.nodes) {
      const { labels } = node;
      const base = { nodeId: refTo(node).nodeId, pkgId: pkg.id, deps: edges(node.deps) };
      nodes.push(labels === undefined ? base : { ...base, info: { labels } });
    }
  }
  return {
    schemaVersion: "1.3.0",
    pkgManager: { name: options.pkgManager, repositories: [{ alias: options.repository }] },
    pkgs: Array.from(interner.pkgs.values(), ({ id, info }) => ({ id, info })),
    graph: { rootNodeId: "root-node", nodes },
  };
}

interface Pkg {
  readonly id: string;
  info: PkgInfo;
  readonly nodes: Node[];
}

interface Node {
  readonly serial: number;
  readonly pkg: Pkg;
  /** Place among the nodes of its package, from 1. */
  readonly place: number;
  readonly deps: readonly Node[];
  readonly labels: TreeNode["labels"];
  /** The node's identifier, known when all nodes of its package are. Shared by all edges that lead here. */
  ref?: { readonly nodeId: string };
}

class NodeInterner {
  /** In the order in which the walk completes them; the root is first. */
  readonly pkgs = new Map<string, Pkg>();
  readonly #nodes = new Map<string, Node>();
  readonly #done = new Map<TreeNode, Node>();

  constructor(root: PkgInfo) {
    const id = idOf(root);
    this.pkgs.set(id, { id, info: root, nodes: [] });
  }

  /** Nodes of a tree's top level, by name. An explicit stack: trees may be as deep as a database has packages. */
  intern(dependencies: TreeNodes): readonly Node[] {
    const top = { names: sorted(dependencies), tree: { dependencies }, deps: new Set<Node>(), next: 0 };
    const path: { names: string[]; tree: Pick<TreeNode, "dependencies">; deps: Set<Node>; next: number }[] = [top];
    for (let frame = path.at(-1); frame !== undefined; frame = path.at(-1)) {
      const name = frame.names[frame.next];
      const child = name === undefined ? undefined : frame.tree.dependencies[name];
      const done = child === undefined ? undefined : this.#done.get(child);
      if (done !== undefined) {
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

  #node(tree: TreeNode, deps: readonly Node[]): Node {
    const pkg = this.#pkg(tree);
    const key = JSON.stringify([pkg.id, tree.labels ?? null, deps.map((dep) => dep.serial)]);
    const known = this.#nodes.get(key);
    if (known !== undefined) return known;
    const node = { serial: this.#nodes.size, pkg, place: pkg.nodes.length + 1, deps, labels: tree.labels };
    pkg.nodes.push(node);
    this.#nodes.set(key, node);
    return node;
  }

  #pkg({ name, version, purl }: TreeNode): Pkg {
    const info = { name, version, ...(purl ? { purl } : {}) };
    const id = idOf(info);
    const known = this.pkgs.get(id);
    if (known !== undefined) {
      known.info = info;
      return known;
    }
    const pkg = { id, info, nodes: [] };
    this.pkgs.set(id, pkg);
    return pkg;
  }
}

function sorted(dependencies: TreeNodes): string[] {
  return Object.keys(dependencies).sort();
}

function idOf({ name, version }: PkgInfo): string {
  return `${name}@${version ?? ""}`;
}

function refTo(node: Node): { readonly nodeId: string } {
  const { pkg, place } = node;
  return node.ref ??= { nodeId: pkg.nodes.length === 1 ? pkg.id : `${pkg.id}|${place}` };
}

function edges(nodes: readonly Node[]): readonly { readonly nodeId: string }[] {
  return nodes.map(refTo);
}
