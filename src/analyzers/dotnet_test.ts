import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../core/limits.ts";
import type { AppGraphJson } from "../lib/graph_builder.ts";
import { findApplications } from "./analyzer_suite.ts";
import { DOTNET } from "./dotnet.ts";

type Target = Record<string, { dependencies?: Record<string, string> }>;

const FRAMEWORK = ".NETCoreApp,Version=v8.0";

function depsJson(target: Target, projects = ["App/1.0.0"], name = FRAMEWORK): string {
  return JSON.stringify({
    runtimeTarget: { name },
    targets: { [FRAMEWORK]: target },
    libraries: Object.fromEntries(projects.map((project) => [project, { type: "project" }])),
  });
}

function needs(...names: string[]): { dependencies: Record<string, string> } {
  return { dependencies: Object.fromEntries(names.map((name) => [name, "1"])) };
}

/** Edges of the only result: `parent > child`. */
async function edgesOf(text: string): Promise<string[] | undefined> {
  const { results, problems } = await findApplications(DOTNET, { "app/App.deps.json": text });
  expect(problems).toEqual([]);
  if (results.length === 0) return undefined;
  expect(results).toMatchObject([{ type: "nuget", targetFile: "/app/App.deps.json" }]);
  expect(results[0]?.facts[1]).toEqual({ type: "testedFiles", data: ["App.deps.json"] });
  const { graph, pkgs } = results[0]?.facts[0]?.data as unknown as AppGraphJson;
  return [
    pkgs[0]?.id ?? "",
    ...graph.nodes.flatMap(({ nodeId, deps }) => deps.map((dep) => `${nodeId} > ${dep.nodeId}`)),
  ];
}

describe("DOTNET reads", () => {
  const rows: readonly [name: string, text: string, edges: string[] | undefined][] = [
    [
      "what the project needs, whatever the case of its names, and nothing else",
      depsJson({
        "App/1.0.0": needs("A", "missing"),
        "a/1.5": needs("B"),
        "B/2.0": needs("A"),
        "Unused/1.0": {},
      }),
      ["App@1.0.0", "root-node > a@1.5", "a@1.5 > B@2.0", "B@2.0 > a@1.5"],
    ],
    [
      "packs of the runtime under the names that NuGet knows",
      depsJson({ "App/1.0.0": needs("runtimepack.Runtime.linux-x64"), "runtimepack.Runtime.linux-x64/8.0.1": {} }),
      ["App@1.0.0", "root-node > Runtime.linux-x64@8.0.1"],
    ],
    [
      "a project without a version",
      depsJson({ App: needs("A"), "A/1/x": {} }, ["App"]),
      ["App@0.0.0", "root-node > A@1/x"],
    ],
    ["a project that needs nothing of the list", depsJson({ "App/1.0.0": needs() }), ["App@1.0.0"]],
    ["a byte-order mark", `\ufeff${depsJson({ "App/1.0.0": needs("A"), "A/1.5": {} })}`, [
      "App@1.0.0",
      "root-node > A@1.5",
    ]],
    ["nothing without a project", depsJson({ "A/1.0": needs("A") }, []), undefined],
    ["nothing without dependencies of the project", depsJson({ "App/1.0.0": {} }), undefined],
    ["nothing for another runtime", depsJson({ "App/1.0.0": needs() }, undefined, "other"), undefined],
    ["nothing where nothing is said", "{}", undefined],
  ];
  for (const [name, text, edges] of rows) it(name, async () => expect(await edgesOf(text)).toEqual(edges));

  it("a chain of any length", async () => {
    const count = 20_000;
    const target: Target = { "App/1.0.0": needs("P0") };
    for (let index = 0; index < count; index++) target[`P${index}/1`] = needs(`P${index + 1}`);
    expect(await edgesOf(depsJson(target))).toHaveLength(1 + count);
  });

  it("applications, not the runtime itself", async () => {
    const text = depsJson({ "App/1.0.0": needs() });
    const { results } = await findApplications(DOTNET, {
      "usr/share/dotnet/shared/Microsoft.NETCore.App/8.0.0/a.deps.json": text,
      "usr/share/dotnet/shared/a.deps.json": text,
      "usr/share/dotnet/packs/a.deps.json": text,
      "app/a.deps.json": text,
      "app/empty.deps.json": "",
    });
    expect(results.map(({ targetFile }) => targetFile)).toEqual(["/app/a.deps.json"]);
  });
});

it("DOTNET names files that are broken, and reads the others", async () => {
  const names = Array.from({ length: 400 }, (_, index) => `P${index}`);
  const dense = Object.fromEntries(names.map((name) => [`${name}/1`, needs(...names)]));
  const { results, problems } = await findApplications(DOTNET, {
    "app/a.deps.json": "{",
    "app/b.deps.json": "[]",
    "app/c.deps.json": depsJson({ "App/1.0.0": needs(...names), ...dense }),
    "app/d.deps.json": depsJson({ "App/1.0.0": needs() }),
  });
  expect(results.map(({ targetFile }) => targetFile)).toEqual(["/app/d.deps.json"]);
  expect(problems.map(({ subject }) => subject)).toEqual(["app/a.deps.json", "app/b.deps.json", "app/c.deps.json"]);
  expect(problems[2]?.message).toContain(`${LIMITS.nugetDependencies} dependencies (nugetDependencies)`);
});

it("DOTNET survives any JSON", async () => {
  const name = fc.constantFrom("App/1", "A/1", "B", "A", "runtimepack.A/2", "constructor/1", "__proto__");
  const target = fc.dictionary(
    name,
    fc.oneof(fc.record({ dependencies: fc.dictionary(name, fc.string()) }), fc.jsonValue()),
  );
  const file = fc.record({
    runtimeTarget: fc.oneof(fc.constant({ name: "t" }), fc.jsonValue()),
    targets: fc.oneof(fc.record({ t: target }), fc.jsonValue()),
    libraries: fc.oneof(fc.dictionary(name, fc.constant({ type: "project" })), fc.jsonValue()),
  });
  await fc.assert(
    fc.asyncProperty(file, async (json) => {
      const files = { "app/x.deps.json": JSON.stringify(json) };
      const { results, problems } = await findApplications(DOTNET, files);
      expect(results.length + problems.length).toBeLessThanOrEqual(1);
    }),
    { numRuns: 300 },
  );
});
