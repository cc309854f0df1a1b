/**
 * Builds dependency graphs of applications in Snyk's JSON, schema 1.3.0, as @snyk/dep-graph's DepGraphBuilder does
 * (graph_builder_test.ts holds the two together). The graph of an operating system is made from a tree:
 * results/dep_graph.ts.
 *
 * @module
 */

/** A package of a graph. */
export interface GraphPackage {
  readonly name: string;
  readonly version?: string | undefined;
  readonly purl?: string | undefined;
}

/** What a node says about itself. */
export interface GraphNodeInfo {
  readonly labels?: Readonly<Record<string, string>>;
}

/** A graph of an application, JSON-ready: the data of a depGraph fact. */
export interface AppGraphJson {
  readonly schemaVersion: "1.3.0";
  readonly pkgManager: { readonly name: string; readonly version?: string };
  readonly pkgs: readonly { readonly id: string; readonly info: GraphPackage }[];
  readonly graph: {
    readonly rootNodeId: string;
    readonly nodes: readonly {
      readonly nodeId: string;
      readonly pkgId: string;
      readonly deps: readonly { readonly nodeId: string }[];
      readonly info?: GraphNodeInfo;
    }[];
  };
}

interface Node {
  readonly pkgId: string;
  readonly info: GraphNodeInfo | undefined;
  readonly deps: Set<string>;
}

const ROOT = "root-node";

/** A graph under construction. Nodes are named by the caller; several nodes may be of one package. */
export class GraphBuilder {
  readonly #pkgManager: { readonly name: string; readonly version?: string };
  readonly #pkgs = new Map<string, GraphPackage>();
  readonly #nodes = new Map<string, Node>();

  /** @param pkgManager `npm`, `gomodules`, … @param root The application itself. */
  constructor(pkgManager: string | { readonly name: string; readonly version?: string }, root: GraphPackage) {
    this.#pkgManager = typeof pkgManager === "string" ? { name: pkgManager } : pkgManager;
    this.addNode(ROOT, root);
  }

  /** Name of the root's node. */
  get rootNodeId(): string {
    return ROOT;
  }

  /** Whether there is a node of that name. */
  has(nodeId: string): boolean {
    return this.#nodes.has(nodeId);
  }

  /** Adds a node; one of the same name gets another package and keeps its dependencies. */
  addNode(nodeId: string, pkg: GraphPackage, info?: GraphNodeInfo): void {
    const { name, version, purl } = pkg;
    const pkgId = `${name}@${version ?? ""}`;
    this.#pkgs.set(pkgId, {
      name,
      ...(version !== undefined && { version }),
      ...(purl !== undefined && { purl }),
    });
    this.#nodes.set(nodeId, { pkgId, info, deps: this.#nodes.get(nodeId)?.deps ?? new Set() });
  }

  /** Makes one node depend on another; both must be there. Twice is as good as once. */
  connect(parentNodeId: string, nodeId: string): void {
    const parent = this.#nodes.get(parentNodeId);
    if (parent === undefined || !this.#nodes.has(nodeId)) throw new Error("A node that is connected has to exist");
    parent.deps.add(nodeId);
  }

  /** The graph. */
  build(): AppGraphJson {
    return {
      schemaVersion: "1.3.0",
      pkgManager: this.#pkgManager,
      pkgs: Array.from(this.#pkgs, ([id, info]) => ({ id, info })),
      graph: {
        rootNodeId: ROOT,
        nodes: Array.from(this.#nodes, ([nodeId, { pkgId, info, deps }]) => ({
          nodeId,
          pkgId,
          deps: Array.from(deps, (dep) => ({ nodeId: dep })),
          ...(info !== undefined && Object.keys(info).length > 0 && { info }),
        })),
      },
    };
  }
}
