import { createFromJSON, legacy } from "@snyk/dep-graph";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { OsPackage } from "../core/types.ts";
import { buildDepGraph, type DepGraphJson } from "./dep_graph.ts";
import { buildDepTree, type TreeNode, type TreeNodes } from "./dep_tree.ts";

const ROOT = { name: "docker-image|app", version: "1" };

function graph(dependencies: TreeNodes, root: { name: string; version?: string } = ROOT): DepGraphJson {
  return buildDepGraph({ root, pkgManager: "deb", repository: "debian:12", dependencies });
}

/** What Snyk's own library makes of the same tree. */
async function oracle(dependencies: TreeNodes, root: { name: string; version?: string } = ROOT): Promise<string> {
  const tree = { ...root, targetOS: { name: "debian", version: "12" }, dependencies };
  return JSON.stringify(await legacy.depTreeToGraph(tree as Parameters<typeof legacy.depTreeToGraph>[0], "deb"));
}

const packages = fc.integer({ min: 0, max: 12 }).chain((n) =>
  fc.array(
    fc.record({
      source: fc.option(fc.nat(2), { nil: undefined }),
      autoInstalled: fc.boolean(),
      purl: fc.boolean(),
      depends: fc.array(fc.nat(n), { maxLength: 4 }),
    }),
    { minLength: n, maxLength: n },
  ).map((rows) =>
    rows.map((row, i): OsPackage => ({
      name: `p${i}`,
      version: i === 3 ? "" : "1.0",
      provides: [],
      depends: row.depends.map((d) => `p${d}`),
      ...(row.source === undefined ? {} : { source: `s${row.source}` }),
      ...(row.autoInstalled ? { autoInstalled: true } : {}),
      ...(row.purl ? { purl: `pkg:deb/debian/p${i}@1.0` } : {}),
    }))
  )
);

/** Trees as no package database gives them: any name anywhere, labels, several versions of a name. */
const trees = fc.letrec<{ nodes: TreeNodes; node: TreeNode }>((tie) => ({
  nodes: fc.oneof(
    { maxDepth: 4, depthIdentifier: "tree" },
    fc.constant<TreeNodes>({}),
    fc.array(tie("node"), { maxLength: 3 }).map((nodes) => Object.fromEntries(nodes.map((node) => [node.name, node]))),
  ),
  node: fc.record({
    name: fc.constantFrom("a", "b", "c|d", "e@f", "Z"),
    version: fc.constantFrom("1", "2"),
    purl: fc.constantFrom("pkg:deb/debian/x@1", "pkg:deb/debian/y@1", undefined),
    labels: fc.constantFrom({ dockerLayerId: "x" }, { dockerLayerId: "y" }, undefined),
    dependencies: tie("nodes"),
  }).map(({ labels, purl, ...node }) => ({
    ...node,
    ...(purl === undefined ? {} : { purl }),
    ...(labels === undefined ? {} : { labels }),
  })),
})).nodes;

describe("buildDepGraph()", () => {
  it("gives the bytes of @snyk/dep-graph for trees of packages", async () => {
    await fc.assert(
      fc.asyncProperty(packages, async (list) => {
        const dependencies = buildDepTree(list);
        expect(JSON.stringify(graph(dependencies))).toBe(await oracle(dependencies));
      }),
      { numRuns: 200, seed: 1 },
    );
  });

  it("gives the bytes of @snyk/dep-graph for any tree", async () => {
    await fc.assert(
      fc.asyncProperty(trees, async (dependencies) => {
        expect(JSON.stringify(graph(dependencies))).toBe(await oracle(dependencies));
      }),
      { numRuns: 300, seed: 2 },
    );
  });

  it("gives a graph that @snyk/dep-graph accepts", () => {
    fc.assert(
      fc.property(packages, (list) => {
        const made = graph(buildDepTree(list));
        const read = createFromJSON(JSON.parse(JSON.stringify(made)));
        expect(read.getDepPkgs().length).toBe(list.length);
        expect(read.rootPkg).toEqual(ROOT);
      }),
      { seed: 3 },
    );
  });

  it("numbers the nodes of a package that occurs expanded and as a leaf", async () => {
    const leaf = { name: "b", version: "2", purl: "pkg:deb/debian/b@2", dependencies: {} };
    const full = { ...leaf, dependencies: { c: { name: "c", version: "3", dependencies: {} } } };
    const dependencies = { b: leaf, a: { name: "a", version: "1", dependencies: { b: full } } };
    const made = graph(dependencies, { name: "docker-image|app" });
    expect(made).toEqual({
      schemaVersion: "1.3.0",
      pkgManager: { name: "deb", repositories: [{ alias: "debian:12" }] },
      pkgs: [
        { id: "docker-image|app@", info: { name: "docker-image|app" } },
        { id: "c@3", info: { name: "c", version: "3" } },
        { id: "b@2", info: { name: "b", version: "2", purl: "pkg:deb/debian/b@2" } },
        { id: "a@1", info: { name: "a", version: "1" } },
      ],
      graph: {
        rootNodeId: "root-node",
        nodes: [
          { nodeId: "root-node", pkgId: "docker-image|app@", deps: [{ nodeId: "a@1" }, { nodeId: "b@2|2" }] },
          { nodeId: "c@3", pkgId: "c@3", deps: [] },
          { nodeId: "b@2|1", pkgId: "b@2", deps: [{ nodeId: "c@3" }] },
          { nodeId: "b@2|2", pkgId: "b@2", deps: [] },
          { nodeId: "a@1", pkgId: "a@1", deps: [{ nodeId: "b@2|1" }] },
        ],
      },
    });
    expect(JSON.stringify(made)).toBe(await oracle(dependencies, { name: "docker-image|app" }));
  });

  it("does not run out of stack on a deep tree", () => {
    let node: TreeNode = { name: "p0", version: "1", dependencies: {} };
    for (let i = 1; i < 20_000; i++) node = { name: `p${i}`, version: "1", dependencies: { [node.name]: node } };
    expect(graph({ [node.name]: node }).graph.nodes.length).toBe(20_001);
  });
});
