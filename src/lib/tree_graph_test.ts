import { legacy } from "@snyk/dep-graph";
import fc from "fast-check";
import { expect, it } from "vitest";
import { type GraphTree, type GraphTrees, treeToGraph } from "./tree_graph.ts";

/** Trees as lock files give them: no version, labels in any order, packages that are the root's own. */
const trees = fc.letrec<{ nodes: GraphTrees; node: GraphTree }>((tie) => ({
  nodes: fc.oneof(
    { maxDepth: 4, depthIdentifier: "tree" },
    fc.constant<GraphTrees>({}),
    fc.array(tie("node"), { maxLength: 3 }).map((nodes) => Object.fromEntries(nodes.map((node) => [node.name, node]))),
  ),
  node: fc.record({
    name: fc.constantFrom("a", "b", "app"),
    version: fc.constantFrom("1", null, undefined),
    labels: fc.constantFrom({ scope: "prod", pruned: "cyclic" }, { pruned: "cyclic", scope: "prod" }, undefined),
    dependencies: tie("nodes"),
  }).map(({ labels, ...node }) => ({ ...node, ...(labels !== undefined && { labels }) })),
})).nodes;

it("treeToGraph makes what @snyk/dep-graph makes of the same tree", async () => {
  await fc.assert(
    fc.asyncProperty(trees, fc.constantFrom("1", undefined), async (dependencies, version) => {
      const root = { name: "app", ...(version !== undefined && { version }) };
      const theirs = await legacy.depTreeToGraph({ ...root, dependencies } as never, "npm");
      const { pkgs, graph } = treeToGraph(root, dependencies);
      const ours = { schemaVersion: "1.3.0", pkgManager: { name: "npm" }, pkgs, graph };
      expect(JSON.stringify(ours)).toBe(JSON.stringify(theirs));
    }),
    { numRuns: 300 },
  );
});
