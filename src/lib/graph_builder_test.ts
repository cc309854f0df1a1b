import { DepGraphBuilder } from "@snyk/dep-graph";
import { expect, it } from "vitest";
import { GraphBuilder, type GraphNodeInfo, type GraphPackage } from "./graph_builder.ts";

/** Nodes by name, and edges in the order in which they are made. */
interface Plan {
  readonly name: string;
  readonly root: GraphPackage;
  readonly nodes: readonly (readonly [id: string, pkg: GraphPackage, info?: GraphNodeInfo])[];
  readonly edges: readonly (readonly [string, string])[];
}

const PLANS: readonly Plan[] = [
  { name: "nothing but its root", root: { name: "app", version: "1.0.0" }, nodes: [], edges: [] },
  {
    name: "a root without a version",
    root: { name: "app" },
    nodes: [["b", { name: "b" }]],
    edges: [["root-node", "b"]],
  },
  {
    name: "empty versions",
    root: { name: "app", version: "" },
    nodes: [["b", { name: "b", version: "", purl: "pkg:npm/b" }], ["c", { name: "c", version: undefined }]],
    edges: [["root-node", "b"], ["b", "c"]],
  },
  {
    name: "a node that is added twice",
    root: { name: "app" },
    nodes: [["a", { name: "a" }], ["b", { name: "b" }], ["a", { name: "a", version: "2" }]],
    edges: [["root-node", "a"], ["a", "b"]],
  },
  {
    name: "purls, labels, two nodes of one package, and a cycle",
    root: { name: "app", version: "1.0.0" },
    nodes: [
      ["b@2", { name: "b", version: "2", purl: "pkg:npm/b@2" }, { labels: { scope: "prod" } }],
      ["a@1", { name: "a", version: "1" }, {}],
      ["a@1|2", { name: "a", version: "1" }, { labels: { pruned: "true" } }],
    ],
    edges: [["root-node", "b@2"], ["b@2", "a@1"], ["root-node", "a@1|2"], ["a@1", "b@2"], ["root-node", "b@2"]],
  },
];

for (const { name, root, nodes, edges } of PLANS) {
  it(`GraphBuilder makes what @snyk/dep-graph makes of ${name}`, () => {
    const own = new GraphBuilder("npm", root);
    const oracle = new DepGraphBuilder({ name: "npm" }, strip(root));
    for (const [id, pkg, info] of nodes) {
      own.addNode(id, pkg, info);
      oracle.addPkgNode(strip(pkg), id, info === undefined ? undefined : { ...info });
    }
    for (const [parent, child] of edges) {
      own.connect(parent, child);
      oracle.connectDep(parent, child);
    }
    expect(JSON.stringify(own.build())).toBe(JSON.stringify(oracle.build().toJSON()));
  });
}

it("GraphBuilder refuses to connect a node that is not there", () => {
  const builder = new GraphBuilder("npm", { name: "app" });
  expect(builder.has("b")).toBe(false);
  expect(() => builder.connect(builder.rootNodeId, "b")).toThrow("has to exist");
});

function strip({ name, version, purl }: GraphPackage): { name: string; version?: string; purl?: string } {
  return { name, ...(version !== undefined && { version }), ...(purl !== undefined && { purl }) };
}
