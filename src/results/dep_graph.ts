/**
 * The depGraph fact of an operating system: Snyk's dependency graph, JSON schema 1.3.0, made from a tree of packages
 * (scan-semantics §5.6).
 *
 * The bytes are those that @snyk/dep-graph 2.16.11 gives for the same tree (`legacy.depTreeToGraph(…).toJSON()`);
 * dep_graph_test.ts holds the two together; docs/adr/005-own-dep-graph.md says why the library is not used here.
 *
 * @module
 */
import { type GraphNodeJson, treeToGraph } from "../lib/tree_graph.ts";
import type { TreeNodes } from "./dep_tree.ts";

export type { GraphNodeJson } from "../lib/tree_graph.ts";

/** A package in a graph. */
export interface PkgInfo {
  readonly name: string;
  readonly version?: string;
  readonly purl?: string;
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

/** Turns the tree of an operating system's packages into its graph, see {@link treeToGraph}. */
export function buildDepGraph({ root, pkgManager, repository, dependencies }: DepGraphOptions): DepGraphJson {
  const { pkgs, graph } = treeToGraph(root, dependencies);
  return {
    schemaVersion: "1.3.0",
    pkgManager: { name: pkgManager, repositories: [{ alias: repository }] },
    // Packages of a TreeNodes have versions.
    pkgs: pkgs as DepGraphJson["pkgs"],
    graph,
  };
}
