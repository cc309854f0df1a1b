import fc from "fast-check";
import { describe, expect, it } from "vitest";
import golden from "../../tests/fixtures/node_projects.json" with { type: "json" };
import { LIMITS } from "../core/limits.ts";
import type { AppResult } from "../core/scan_ports.ts";
import type { AppGraphJson } from "../lib/graph_builder.ts";
import { type AppFindings, findApplications, type TestFiles } from "./analyzer_suite.ts";
import { NODE } from "./node.ts";

/** Applications with what snyk-docker-plugin 9.20.2 makes of them; paths are absolute. */
const GOLDEN = golden as unknown as readonly {
  readonly name: string;
  readonly files: Readonly<Record<string, string>>;
  readonly results: readonly Omit<AppResult, "evidence">[];
}[];

const encoder = new TextEncoder();
const relative = (files: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(files).map(([path, text]) => [path.slice(1), text]));
const json = (value: unknown): string => JSON.stringify(value);
const manifest = (dependencies: Record<string, string>, more = {}): string =>
  json({ name: "app", version: "1.0.0", dependencies, ...more });
const pkg = (name: string, dependencies: Record<string, string> = {}, version = "1.0.0"): string =>
  json({ name, version, dependencies });

function graphOf({ results }: AppFindings): AppGraphJson {
  return results[0]?.facts[0]?.data as AppGraphJson;
}

function packagesOf(findings: AppFindings): string[] {
  return graphOf(findings).pkgs.map(({ id }) => id).sort();
}

describe("NODE makes what the plugin makes of", () => {
  for (const { name, files, results: expected } of GOLDEN) {
    it(name, async () => {
      const { results, problems } = await findApplications(NODE, relative(files));
      const facts = results.map(({ type, targetFile, facts }) => ({ type, targetFile, facts }));
      const byTarget = (a: { targetFile: string }, b: { targetFile: string }): number =>
        a.targetFile < b.targetFile ? -1 : 1;
      expect(JSON.stringify(facts.sort(byTarget))).toBe(JSON.stringify([...expected].sort(byTarget)));
      expect(problems).toEqual([]);
    });
  }
});

/** Files of one application, what is found, and the problem that is told. */
const CASES: readonly (readonly [name: string, files: TestFiles, packages: string[] | undefined, problem?: RegExp])[] =
  [
    ["nothing", {}, undefined],
    ["a package.json alone", { "app/package.json": manifest({ a: "1" }) }, undefined],
    ["empty files", { "app/package.json": "", "app/yarn.lock": "" }, undefined],
    ["a lock file that is not JSON", { "app/package.json": "{}", "app/package-lock.json": "{" }, undefined, /not JSON/],
    [
      "a lock file that is a list",
      { "app/package.json": "{}", "app/package-lock.json": "[]" },
      undefined,
      /no JSON obj/,
    ],
    [
      "a lock file of a version to come",
      { "app/package.json": "{}", "app/package-lock.json": '{"lockfileVersion":4}' },
      undefined,
      /lockfileVersion/,
    ],
    [
      "a lock file without packages",
      { "app/package.json": "{}", "app/package-lock.json": '{"lockfileVersion":3}' },
      undefined,
      /no packages/,
    ],
    ["a yarn.lock that is none", { "app/package.json": "{}", "app/yarn.lock": "]" }, undefined, /line 1 is no yarn/],
    ["a text without an end", { "app/package.json": "{}", "app/yarn.lock": '"a' }, undefined, /does not end/],
    ["a yarn.lock that is no YAML", { "app/package.json": "{}", "app/yarn.lock": "__metadata: [" }, undefined, /YAML/],
    ["a pnpm-lock.yaml that is a text", { "app/package.json": "{}", "app/pnpm-lock.yaml": "x" }, undefined, /mapping/],
    [
      "a pnpm-lock.yaml of a version to come",
      { "app/package.json": "{}", "app/pnpm-lock.yaml": "lockfileVersion: '12.0'" },
      undefined,
      /not supported/,
    ],
    ["a broken package.json", { "app/package.json": "{", "app/yarn.lock": "# x\n" }, undefined, /not JSON/],
    [
      "a package of yarn.lock without a version",
      {
        "app/package.json": manifest({ a: "^1" }),
        "app/yarn.lock": 'a@^1:\n  dependencies:\n    b "1"\n\nb@1:\n  version "1.0.0"\n',
      },
      ["a@", "app@1.0.0", "b@1.0.0"],
    ],
    [
      "a package of Yarn 2 without a version",
      {
        "app/package.json": manifest({ a: "^1" }),
        "app/yarn.lock": '__metadata:\n  version: 6\n"a@npm:^1":\n  resolution: x\n',
      },
      ["a@", "app@1.0.0"],
    ],
    ["a yarn.lock that ends in a comment", { "app/package.json": manifest({}), "app/yarn.lock": "# x" }, ["app@1.0.0"]],
    [
      "names that all objects have",
      {
        "app/package.json": manifest({ constructor: "^1.0.0" }),
        "app/yarn.lock": 'constructor@^1.0.0:\n  version "1.0.0"\n  dependencies:\n    toString "1"\n',
      },
      ["app@1.0.0", "constructor@1.0.0", "toString@1"],
    ],
    [
      "a byte-order mark",
      {
        "app/package.json": `\ufeff${manifest({ a: "1" })}`,
        "app/package-lock.json": `\ufeff${
          json({ lockfileVersion: 3, packages: { "node_modules/a": { version: "1.0.0" } } })
        }`,
      },
      ["a@1.0.0", "app@1.0.0"],
    ],
    [
      "a scoped package that a lock file of version 1 forgets",
      {
        "app/package.json": manifest({ a: "1" }),
        "app/package-lock.json": json({
          lockfileVersion: 1,
          dependencies: { a: { version: "1.0.0", requires: { "@s/b": "1" } } },
        }),
      },
      ["@s/b@unknown", "a@1.0.0", "app@1.0.0"],
    ],
    [
      "both sides of a merge conflict",
      {
        "app/package.json": manifest({ a: "1", b: "1" }),
        "app/yarn.lock":
          '<<<<<<< ours\na@1:\n  version "1.0.0"\n||||||| base\nc@1:\n  version "0"\n=======\nb@1:\n  version "1.1.0"\n>>>>>>> x\n',
      },
      ["a@1.0.0", "app@1.0.0", "b@1.1.0"],
    ],
    [
      "a package whose version is none, and a range for it",
      {
        "app/package.json": manifest({ a: "^1.0.0", b: "*" }),
        "app/node_modules/a/package.json": pkg("a", {}, "1.0"),
        "app/node_modules/b/package.json": pkg("b"),
      },
      ["a@1.0", "app@1.0.0", "b@1.0.0"],
    ],
    [
      "a broken package.json among installed ones",
      { "app/node_modules/a/package.json": "{", "app/node_modules/@s/b/package.json": pkg("@s/b") },
      ["@s/b@1.0.0", "app@"],
      /not JSON/,
    ],
    [
      "a broken package.json of a package's own tests",
      { "app/node_modules/a/package.json": pkg("a"), "app/node_modules/a/test/bad/package.json": "{" },
      ["a@1.0.0", "app@"],
    ],
    [
      "an application whose package.json is broken",
      { "app/package.json": "{", "app/node_modules/a/package.json": pkg("a") },
      ["a@1.0.0", "app@"],
      /no JSON object/,
    ],
    ["packages in the root directory", { "node_modules/a/package.json": pkg("a") }, ["/@", "a@1.0.0"]],
    [
      "a range that is no text",
      {
        "app/package.json": json({ name: "app", dependencies: { a: { version: 1 }, b: "1" } }),
        "app/node_modules/a/package.json": pkg("a"),
        "app/node_modules/b/package.json": pkg("b"),
      },
      ["a@1.0.0", "app@", "b@1.0.0"],
    ],
    [
      "a package.json that is too large",
      {
        "app/node_modules/a/package.json": " ".repeat(LIMITS.nodeManifestBytes + 1),
        "app/node_modules/b/package.json": pkg("b"),
      },
      ["app@", "b@1.0.0"],
      /larger than/,
    ],
  ];

describe("NODE reads", () => {
  for (const [name, files, packages, problem] of CASES) {
    it(name, async () => {
      const findings = await findApplications(NODE, files);
      expect(findings.results.length === 0 ? undefined : packagesOf(findings)).toEqual(packages);
      expect(findings.problems.map(({ message }) => problem?.test(message))).toEqual(
        problem === undefined ? [] : [true],
      );
      for (const { subject } of findings.problems) expect(Object.keys(files)).toContain(subject);
    });
  }

  it("a good lock file beside a broken one", async () => {
    const { results, problems } = await findApplications(NODE, {
      "a/package.json": manifest({}),
      "a/yarn.lock": "{",
      "b/package.json": manifest({}),
      "b/yarn.lock": "# yarn lockfile v1\n",
    });
    expect(results).toMatchObject([{ type: "yarn", targetFile: "/b/package.json" }]);
    expect(problems).toMatchObject([{ code: "ANALYSIS_FAILED", subject: "a/yarn.lock" }]);
  });

  it("node_modules directories only when they are not excluded", async () => {
    const files = { "app/node_modules/a/package.json": pkg("a") };
    expect((await findApplications(NODE, files)).results).toHaveLength(1);
    expect((await findApplications(NODE, files, { excludeNodeModules: true })).results).toEqual([]);
  });

  it("where each installed package lies", async () => {
    const { results } = await findApplications(NODE, {
      "app/package.json": manifest({}),
      "app/node_modules/@s/a/package.json": pkg("@s/a"),
      "app/node_modules/@s/a/dist/package.json": '{"type":"module"}',
    });
    expect(results[0]?.evidence).toEqual([
      { path: "app/package.json" },
      { path: "app/node_modules/@s/a/package.json", name: "@s/a", version: "1.0.0" },
    ]);
  });

  it("the places of source files when they are asked for", async () => {
    const files = {
      "srv/app/index.js": "1",
      "srv/app/lib/a.ts": "1",
      "srv/app/lib/a.d.ts": "1",
      "srv/app/node_modules/x/x.js": "1",
      "srv/app/empty.js": "",
      "usr/lib/x.js": "1",
    };
    expect((await findApplications(NODE, files)).results).toEqual([]);
    const { results } = await findApplications(NODE, files, { collectApplicationFiles: true });
    const fileHierarchy = [{ path: "index.js" }, { path: "lib/a.ts" }];
    expect(results).toMatchObject([{
      type: "npm",
      targetFile: "/srv/app",
      facts: [{ type: "applicationFiles", data: [{ language: "node", fileHierarchy }] }],
    }]);
  });
});

describe("NODE stays within bounds", () => {
  const names = Array.from({ length: 24 }, (_, index) => `p${index}`);
  const all = Object.fromEntries(names.map((name) => [name, "*"]));

  it("of the ways through a cycle of a lock file", async () => {
    const dependencies = Object.fromEntries(names.map((name) => [name, { version: "1.0.0", requires: all }]));
    const lock = json({ lockfileVersion: 1, dependencies });
    const { results, problems } = await findApplications(NODE, {
      "app/package.json": manifest(all),
      "app/package-lock.json": lock,
    });
    expect(results).toEqual([]);
    expect(problems).toMatchObject([{ code: "LIMIT_EXCEEDED", subject: "app/package-lock.json" }]);
  });

  it("of the depth of a lock file", async () => {
    const packages = Object.fromEntries(
      Array.from({ length: 20_000 }, (_, index) => {
        return [`node_modules/a${index}`, { version: "1.0.0", dependencies: { [`a${index + 1}`]: "1" } }];
      }),
    );
    const { problems } = await findApplications(NODE, {
      "app/package.json": manifest({ a0: "1" }),
      "app/package-lock.json": json({ lockfileVersion: 3, packages }),
    });
    expect(problems).toMatchObject([{ code: "LIMIT_EXCEEDED" }]);
  });

  it("of the ways through cycles of node_modules, and lists every package", async () => {
    const files = Object.fromEntries(names.map((name) => [`app/node_modules/${name}/package.json`, pkg(name, all)]));
    const findings = await findApplications(NODE, files);
    expect(packagesOf(findings)).toEqual(["app@", ...names.map((name) => `${name}@1.0.0`)].sort());
    expect(findings.problems).toMatchObject([{ code: "LIMIT_EXCEEDED", subject: "app/node_modules" }]);
  });

  it("of the number of packages, and lists every one", async () => {
    const count = LIMITS.nodeModulesManifests + 1;
    const files = Object.fromEntries(
      Array.from({ length: count }, (_, index) => [`app/node_modules/p${index}/package.json`, pkg(`p${index}`)]),
    );
    const findings = await findApplications(NODE, files);
    expect(packagesOf(findings)).toHaveLength(count + 1);
    expect(findings.problems).toMatchObject([{ code: "LIMIT_EXCEEDED", subject: "app/node_modules" }]);
  });

  it("of the values of a YAML file", async () => {
    const lock = `lockfileVersion: '9.0'\nx: [${"a,".repeat(LIMITS.nodeYamlValues)}]`;
    const { problems } = await findApplications(NODE, { "app/package.json": "{}", "app/pnpm-lock.yaml": lock });
    expect(problems).toMatchObject([{ code: "LIMIT_EXCEEDED", subject: "app/pnpm-lock.yaml" }]);
  });

  it("whatever bytes a file has", async () => {
    const files = GOLDEN.flatMap(({ files }) => [relative(files)]);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...files),
        fc.nat(),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }),
        fc.option(fc.nat(), { nil: undefined }),
        async (project, which, changes, cut) => {
          const paths = Object.keys(project);
          const path = paths[which % paths.length] ?? "";
          const bytes = encoder.encode(project[path]);
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          const changed = { ...project, [path]: cut === undefined ? bytes : bytes.subarray(0, cut % bytes.length) };
          const { results, problems } = await findApplications(NODE, changed);
          expect(() => JSON.stringify(results)).not.toThrow();
          for (const { code, subject } of problems) {
            expect(["ANALYSIS_FAILED", "LIMIT_EXCEEDED"]).toContain(code);
            expect(subject).not.toBe("node");
          }
        },
      ),
      { numRuns: 400 },
    );
  });

  it("whatever a lock file says", async () => {
    const names = fc.constantFrom("a", "@s/b", "__proto__", "constructor", "", "x|y", "npm:a@1");
    const value = fc.letrec<{ any: unknown }>((tie) => ({
      any: fc.oneof(
        { maxDepth: 5, depthIdentifier: "lock" },
        fc.constantFrom("1.0.0", "^1", "npm:a@1", "link:.", "file:x", null, true, 7, "packages/a"),
        fc.dictionary(
          fc.oneof(
            names,
            fc.constantFrom("dependencies", "requires", "version", "packages", "snapshots", "importers", ".", "name"),
            fc.constantFrom("node_modules/a", "node_modules/a/node_modules/@s/b", "overrides", "resolutions", "link"),
          ),
          tie("any"),
          { maxKeys: 5 },
        ),
        fc.array(tie("any"), { maxLength: 2 }),
      ),
    })).any;
    const kinds = fc.constantFrom(
      ["package-lock.json", { lockfileVersion: 1 }] as const,
      ["package-lock.json", { lockfileVersion: 3 }] as const,
      ["yarn.lock", { __metadata: { version: "6" } }] as const,
      ["pnpm-lock.yaml", { lockfileVersion: "5.4" }] as const,
      ["pnpm-lock.yaml", { lockfileVersion: "9.0" }] as const,
    );
    await fc.assert(
      fc.asyncProperty(kinds, fc.dictionary(names, value), value, async ([name, head], sections, rest) => {
        const lock = { ...head, dependencies: rest, packages: rest, snapshots: rest, importers: rest, ...sections };
        const files = {
          "app/package.json": json({ dependencies: rest, overrides: rest }),
          [`app/${name}`]: json(lock),
        };
        const { results, problems } = await findApplications(NODE, files);
        expect(results.length + problems.length).toBeGreaterThan(0);
      }),
      { numRuns: 600 },
    );
  });
});
