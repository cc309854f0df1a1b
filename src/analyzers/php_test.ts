import fc from "fast-check";
import { describe, expect, it } from "vitest";
import golden from "../../tests/fixtures/python_php_projects.json" with { type: "json" };
import { LIMITS } from "../core/limits.ts";
import type { AppResult } from "../core/scan_ports.ts";
import type { AppGraphJson } from "../lib/graph_builder.ts";
import { type AppFindings, findApplications, type TestFiles } from "./analyzer_suite.ts";
import { PHP } from "./php.ts";

/** Applications with what snyk-docker-plugin 9.20.2 makes of them; paths are absolute. */
const GOLDEN = golden as unknown as readonly {
  readonly name: string;
  readonly files: Readonly<Record<string, string>>;
  readonly results: readonly Omit<AppResult, "evidence">[];
}[];

const encoder = new TextEncoder();
const relative = (files: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(files).map(([path, text]) => [path.slice(1), text]));
const project = (manifest: unknown, packages: readonly unknown[]): TestFiles => ({
  "app/composer.json": JSON.stringify(manifest),
  "app/composer.lock": JSON.stringify({ packages, "packages-dev": [] }),
});

function graphOf({ results }: AppFindings): AppGraphJson | undefined {
  return results[0]?.facts[0]?.data as AppGraphJson | undefined;
}

describe("PHP makes what the plugin makes of", () => {
  for (const { name, files, results } of GOLDEN) {
    const expected = results.filter(({ type }) => type === "composer");
    if (expected.length === 0) continue;
    it(name, async () => {
      const { results, problems } = await findApplications(PHP, relative(files));
      const facts = results.map(({ type, targetFile, facts }) => ({ type, targetFile, facts }));
      expect(JSON.stringify(facts)).toBe(JSON.stringify(expected));
      expect(problems).toEqual([]);
    });
  }
});

/** Files, identifiers of the packages, and the problem that is told. */
const CASES: readonly (readonly [string, TestFiles, string[] | undefined, RegExp?])[] = [
  ["nothing", {}, undefined],
  ["a composer.json alone", { "app/composer.json": "{}" }, undefined],
  ["a composer.lock alone", { "app/composer.lock": "{}" }, undefined],
  ["empty files", { "app/composer.json": "", "app/composer.lock": "" }, undefined],
  ["a composer.json that is empty, as PHP writes it", project([], []), ["/app/composer.json@0.0.0"]],
  ["a composer.json that is a text", project("x", []), undefined, /no JSON object/],
  ["a range that is no text", project({ name: "x", require: { a: 1, b: "2" } }, []), ["x@0.0.0", "b@2"]],
  ["a project without a name", project({}, []), ["/app/composer.json@0.0.0"]],
  [
    "platform packages, and packages that are not locked",
    project({ name: "x", require: { php: ">=8", "a/b": "v1.2" } }, []),
    ["x@0.0.0", "a/b@1.2", "php@>=8"],
  ],
  [
    "branch aliases",
    project({ name: "x", require: { "a/b": "*", "c/d": "*", "e/f": "*" } }, [
      { name: "a/b", version: "dev-main", extra: { "branch-alias": { "dev-main": "3.x-dev" } } },
      { name: "c/d", version: "dev-2.x", extra: { "branch-alias": { "dev-main": "2.x" } } },
      { name: "e/f", extra: { "branch-alias": { "dev-main": "v4" } } },
    ]),
    ["x@0.0.0", "a/b@3.x-dev", "c/d@2.x", "e/f@4"],
  ],
  [
    "names that all objects have",
    project({ name: "x", require: { constructor: "*" } }, [{ name: "constructor", version: "1", require: {} }]),
    ["x@0.0.0", "constructor@1"],
  ],
  ["a package without a version", project({ name: "x", require: { a: "*" } }, [{ name: "a" }]), ["x@0.0.0", "a@"]],
  [
    "a byte-order mark",
    { "app/composer.json": '\ufeff{"name":"x"}', "app/composer.lock": '\ufeff{"packages":[]}' },
    ["x@0.0.0"],
  ],
  [
    "a composer.lock that is not JSON",
    { "app/composer.json": "{}", "app/composer.lock": "{" },
    undefined,
    /not JSON/,
  ],
  [
    "a composer.lock without packages",
    { "app/composer.json": "{}", "app/composer.lock": "{}" },
    undefined,
    /lists no packages/,
  ],
  [
    "a composer.json that is not JSON",
    { "app/composer.json": "{", "app/composer.lock": '{"packages":[]}' },
    undefined,
    /not JSON/,
  ],
  [
    "a composer.json that is too large",
    {
      "app/composer.json": JSON.stringify({ name: "x".repeat(LIMITS.projectManifestBytes) }),
      "app/composer.lock": '{"packages":[]}',
    },
    undefined,
    /it is larger than/,
  ],
];

describe("PHP finds in", () => {
  for (const [name, files, packages, problem] of CASES) {
    it(name, async () => {
      const findings = await findApplications(PHP, files);
      expect(graphOf(findings)?.pkgs.map(({ id }) => id)).toEqual(packages);
      expect(findings.problems).toHaveLength(problem === undefined ? 0 : 1);
      if (problem !== undefined) expect(findings.problems[0]?.message).toMatch(problem);
    });
  }
});

it("PHP reads the good one of two projects", async () => {
  const broken = { "bad/composer.json": "{}", "bad/composer.lock": "<" };
  const { results, problems } = await findApplications(PHP, { ...broken, ...project({ name: "x" }, []) });
  expect(results.map(({ targetFile }) => targetFile)).toEqual(["/app/composer.lock"]);
  expect(problems).toMatchObject([{ subject: "bad/composer.lock", code: "ANALYSIS_FAILED" }]);
});

/** Each of `count` packages needs the next `width`. */
function ladder(count: number, width: number): TestFiles {
  const names = Array.from({ length: count }, (_, i) => `p/${i}`);
  const packages = names.map((name, i) => {
    const next = names.slice(i + 1, i + 1 + width);
    return { name, require: Object.fromEntries(next.map((name) => [name, "1"])) };
  });
  return project({ name: "x", require: { "p/0": "1" } }, packages);
}

it("PHP reads a ladder of a hundred packages, and stops at one that takes too long", async () => {
  expect((await findApplications(PHP, ladder(100, 100))).problems).toEqual([]);
  const { results, problems } = await findApplications(PHP, ladder(700, 40));
  expect(results).toEqual([]);
  expect(problems).toMatchObject([{ subject: "app/composer.lock", code: "LIMIT_EXCEEDED" }]);
});

it("PHP does not fill memory with a composer.lock of many values", async () => {
  const files = { "app/composer.json": "{}", "app/composer.lock": `{"packages":[${"{},".repeat(250_000)}{}]}` };
  const { results, problems } = await findApplications(PHP, files);
  expect(results).toEqual([]);
  expect(problems).toMatchObject([{ subject: "app/composer.lock", code: "LIMIT_EXCEEDED" }]);
});

it("PHP stops at a chain that is too long", async () => {
  const chain = Array.from({ length: 1100 }, (_, i) => ({ name: `p${i}`, require: { [`p${i + 1}`]: "1" } }));
  const { problems } = await findApplications(PHP, project({ name: "x", require: { p0: "1" } }, chain));
  expect(problems).toMatchObject([{ subject: "app/composer.lock", code: "LIMIT_EXCEEDED" }]);
});

it("PHP survives changed bytes and any JSON", async () => {
  const files = GOLDEN.map((project) => relative(project.files)).filter((files) => "srv/php/composer.lock" in files)
    .map((files) =>
      ["srv/php/composer.json", "srv/php/composer.lock"].map((path) => [path, files[path] ?? ""] as const)
    );
  const change = fc.tuple(fc.nat(), fc.nat(), fc.oneof(fc.nat(255), fc.constantFrom(34, 91, 93, 123, 125)));
  const changed = fc.tuple(fc.constantFrom(...files), fc.array(change, { maxLength: 4 })).map(([pair, list]) => {
    const bytes = pair.map(([path, text]) => [path, encoder.encode(text)] as const);
    for (const [file, at, value] of list) {
      const content = bytes[file % bytes.length]?.[1];
      if (content !== undefined) content[at % content.length] = value;
    }
    return Object.fromEntries(bytes);
  });
  const values = fc.tuple(fc.jsonValue(), fc.jsonValue(), fc.jsonValue()).map(([require, extra, version]) =>
    project({ require, extra, version }, [{ name: "a", require, extra, version }, require, extra])
  );
  await fc.assert(
    fc.asyncProperty(fc.oneof(changed, values), async (files) => {
      const { results, problems } = await findApplications(PHP, files as TestFiles);
      expect(results.length + problems.length).toBe(1);
      for (const { code } of problems) expect(code).toBe("ANALYSIS_FAILED");
    }),
    { numRuns: 400 },
  );
});
