import fc from "fast-check";
import { describe, expect, it } from "vitest";
import golden from "../../tests/fixtures/python_php_projects.json" with { type: "json" };
import { LIMITS } from "../core/limits.ts";
import type { AppResult } from "../core/scan_ports.ts";
import type { AppGraphJson } from "../lib/graph_builder.ts";
import { type AppFindings, findApplications, type TestFiles } from "./analyzer_suite.ts";
import { comparableVersion } from "./pip.ts";
import { PYTHON } from "./python.ts";
import { METADATA_EXTRACTOR, type MetadataFacts } from "./python_metadata.ts";
import { EXTRACTOR_CONTEXT } from "../../tests/fakes/file_reading.ts";

/** Applications with what snyk-docker-plugin 9.20.2 makes of them; paths are absolute. */
const GOLDEN = golden as unknown as readonly {
  readonly name: string;
  readonly files: Readonly<Record<string, string>>;
  readonly results: readonly Omit<AppResult, "evidence">[];
}[];

const SITE = "usr/lib/python3.11/site-packages";
const encoder = new TextEncoder();
const relative = (files: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(files).map(([path, text]) => [path.slice(1), text]));
const metadata = (name: string, version: string, ...lines: readonly string[]): string =>
  [`Metadata-Version: 2.1`, `Name: ${name}`, `Version: ${version}`, ...lines, "", "Text"].join("\n");
const needs = (...names: readonly string[]): string[] => names.map((name) => `Requires-Dist: ${name}`);

/** An image with a requirements.txt and packages: METADATA by directory. */
function pip(requirements: string, packages: Readonly<Record<string, string>>): TestFiles {
  const installed = Object.entries(packages).map(([directory, text]) =>
    [`${SITE}/${directory}.dist-info/METADATA`, text] as const
  );
  return { "app/requirements.txt": requirements, ...Object.fromEntries(installed) };
}

function poetry(manifest: string, lock: string): TestFiles {
  return { "app/pyproject.toml": manifest, "app/poetry.lock": lock };
}

/** Dependencies by node. */
function edgesOf({ results }: AppFindings): Record<string, string[]> | undefined {
  const graph = results[0]?.facts[0]?.data as AppGraphJson | undefined;
  return graph && Object.fromEntries(graph.graph.nodes.map(({ nodeId, deps }) => [nodeId, deps.map((d) => d.nodeId)]));
}

describe("PYTHON makes what the plugin makes of", () => {
  for (const { name, files, results } of GOLDEN) {
    const expected = results.filter(({ type }) => type !== "composer");
    it(name, async () => {
      const { results, problems } = await findApplications(PYTHON, relative(files));
      const facts = results.map(({ type, targetFile, facts }) => ({ type, targetFile, facts }));
      expect(expected.length).toBeGreaterThan(0);
      expect(JSON.stringify(facts)).toBe(JSON.stringify(expected));
      expect(problems).toEqual([]);
    });
  }
});

const MANIFEST = '[tool.poetry]\nname = "app"\nversion = "1"\n[tool.poetry.dependencies]\na = "*"\n';
const A = '[[package]]\nname = "a"\nversion = "2"\n';

/** Files, dependencies by node, and the problem that is told. */
const CASES: readonly (readonly [string, TestFiles, Record<string, string[]> | undefined, RegExp?])[] = [
  ["nothing", {}, undefined],
  ["empty files", pip("", { "a-1": "" }), undefined],
  ["requirements without packages", pip("a\n", {}), undefined],
  ["packages without requirements", pip("# none\n\n", { "a-1": metadata("a", "1.0") }), undefined],
  ["a requirement that is not installed", pip("b\n", { "a-1": metadata("a", "1.0") }), { "root-node": [] }],
  [
    "packages outside of lib/python",
    { "app/requirements.txt": "a", "srv/site-packages/a.dist-info/METADATA": metadata("a", "1.0") },
    undefined,
  ],
  [
    "packages that need one another",
    pip("a", { "a-1": metadata("A", "1.0", ...needs("b (>=1)")), "b-1": metadata("b", "1.0", ...needs("A")) }),
    { "root-node": ["a@1.0.0"], "a@1.0.0": ["b@1.0.0"], "b@1.0.0": ["a@1.0.0"] },
  ],
  [
    "extras",
    pip("a[x, y]\na\n", {
      "a-1": metadata(
        "a",
        "1.0",
        "Provides-Extra: x",
        "Provides-Extra: z",
        ...needs("b ; extra == 'x'", 'c; extra == "z"'),
      ),
      "b-1": metadata("b", "1.0"),
      "c-1": metadata("c", "1.0"),
    }),
    { "root-node": ["a@1.0.0:x,y", "a@1.0.0"], "a@1.0.0:x,y": ["b@1.0.0"], "b@1.0.0": [], "a@1.0.0": [] },
  ],
  [
    "a version without a number, which the plugin leaves out too",
    pip("a\nb", { "a-1": metadata("a", "unknown"), "b-1": metadata("b", "1.0") }),
    { "root-node": ["b@1.0.0"], "b@1.0.0": [] },
  ],
  [
    "names that differ as PEP 503 lets them",
    pip("Zope-Interface\ntyping.extensions", {
      "z-1": metadata("zope.interface", "5.4.0"),
      "t-1": metadata("typing_extensions", "4.0.0"),
    }),
    {
      "root-node": ["zope.interface@5.4.0", "typing_extensions@4.0.0"],
      "zope.interface@5.4.0": [],
      "typing_extensions@4.0.0": [],
    },
  ],
  [
    "a name as it is written before one that PEP 503 makes equal",
    pip("a_b", { "1": metadata("a-b", "2.0"), "2": metadata("a_b", "1.0") }),
    { "root-node": ["a_b@1.0.0"], "a_b@1.0.0": [] },
  ],
  [
    "a licence and a description that name other packages",
    pip("numpy", {
      "n-1": metadata("numpy", "1.26.4", "License: BSD", "        Name: lapack-lite", "        Version: 3") +
        "\nName: other\nVersion: 9.9\nRequires-Dist: numpy\n",
    }),
    { "root-node": ["numpy@1.26.4"], "numpy@1.26.4": [] },
  ],
  [
    "names that all objects have",
    pip("constructor", { "c-1": metadata("constructor", "1.0") }),
    { "root-node": ["constructor@1.0.0"], "constructor@1.0.0": [] },
  ],
  [
    "a byte-order mark and carriage returns",
    pip("\ufeffa==1.0\r\n", { "a-1": `\ufeff${metadata("a", "1.0").replaceAll("\n", "\r\n")}` }),
    { "root-node": ["a@1.0.0"], "a@1.0.0": [] },
  ],
  [
    "a METADATA without a name beside a good one",
    pip("b", { "a-1": "Version: 1.0\n\n", "b-1": metadata("b", "1.0") }),
    { "root-node": ["b@1.0.0"], "b@1.0.0": [] },
    /lacks a name or a version/,
  ],
  [
    "a METADATA with a header that is too large",
    pip("b", { "a-1": "L: x\n".repeat(LIMITS.pythonHeaderBytes / 4), "b-1": metadata("b", "1.0") }),
    { "root-node": ["b@1.0.0"], "b@1.0.0": [] },
    /its header is larger/,
  ],
  ["a pyproject.toml alone", { "app/pyproject.toml": MANIFEST }, undefined],
  ["poetry.lock", poetry(MANIFEST, A), { "root-node": ["a"], a: [] }],
  ["a poetry.lock that is not TOML", poetry(MANIFEST, "[[package"), undefined, /not TOML/],
  ["a poetry.lock without packages", poetry(MANIFEST, "x = 1"), undefined, /lists no packages/],
  ["a poetry.lock with a package without name", poetry(MANIFEST, "[[package]]\nx = 1"), undefined, /has no name/],
  ["a pyproject.toml that is not TOML", poetry("[", A), undefined, /not TOML/],
  ["a pyproject.toml of another tool", poetry("[tool.x]\ny = 1", A), undefined, /describes no Python project/],
  [
    "dependency groups of mixed types, and numbers of any size",
    poetry(`${MANIFEST}[dependency-groups]\ndev = ["a", { include-group = "b" }]\nn = 99999999999999999999\n`, A),
    { "root-node": ["a"], a: [] },
  ],
  [
    "names that Poetry writes with a hyphen for a dot",
    poetry(MANIFEST, `${A}[package.dependencies]\n"jaraco.classes" = "*"\n[[package]]\nname = "jaraco-classes"\n`),
    { "root-node": ["a"], a: ["jaraco-classes"], "jaraco-classes": [] },
  ],
  [
    "a package that is called like the project",
    poetry(MANIFEST.replace("a =", "app ="), A.replace('"a"', '"app"').replace('"2"', '"1"')),
    { "root-node": ["app"], app: [] },
  ],
];

describe("PYTHON finds in", () => {
  for (const [name, files, edges, problem] of CASES) {
    it(name, async () => {
      const findings = await findApplications(PYTHON, files);
      expect(edgesOf(findings)).toEqual(edges);
      expect(findings.problems).toHaveLength(problem === undefined ? 0 : 1);
      if (problem !== undefined) expect(findings.problems[0]?.message).toMatch(problem);
    });
  }
});

it("PYTHON puts Poetry before pip, and source files last", async () => {
  const files = {
    ...pip("a", { "a-1": metadata("a", "1.0") }),
    ...poetry(MANIFEST, A),
    "app/src/x.py": "x",
    "app/src/__init__.py": "",
    "usr/lib/y.py": "y",
    [`${SITE}/z.py`]: "z",
    "opt/lib/dist-packages/w.py": "w",
  };
  const { results } = await findApplications(PYTHON, files, { collectApplicationFiles: true });
  expect(results.map(({ type, targetFile }) => [type, targetFile])).toEqual([
    ["poetry", "/app/pyproject.toml"],
    ["pip", "/app/requirements.txt"],
    ["python", "/app"],
  ]);
  const fileHierarchy = [{ path: "requirements.txt" }, { path: "src/x.py" }];
  expect(results[2]?.facts).toEqual([{ type: "applicationFiles", data: [{ language: "python", fileHierarchy }] }]);
  expect(results[1]?.evidence).toEqual([
    { path: "app/requirements.txt" },
    { path: `${SITE}/a-1.dist-info/METADATA`, name: "a", version: "1.0.0" },
  ]);
});

it("PYTHON stops where packages have more dependencies than fit memory", async () => {
  const many = Array.from({ length: 1000 }, (_, i) => `b${i}`);
  const packages = Object.fromEntries(many.map((name) => [name, metadata(name, "1", ...needs(...many))]));
  const findings = await findApplications(PYTHON, pip("b0", packages));
  expect(findings.results).toEqual([]);
  expect(findings.problems).toMatchObject([{ code: "LIMIT_EXCEEDED", subject: "app/requirements.txt" }]);
});

it.each([
  ["LIMIT_EXCEEDED", `${"a.".repeat(200_000)}b = 1`],
  ["LIMIT_EXCEEDED", "[[a]]\n".repeat(200_000)],
  ["LIMIT_EXCEEDED", `x = [${"{},".repeat(200_000)}]`],
  ["LIMIT_EXCEEDED", `${'"a#".'.repeat(200_000)}b = 1`],
  ["LIMIT_EXCEEDED", `x = """a"""""\ny = [${"[],".repeat(200_000)}]`],
  ["ANALYSIS_FAILED", `'''${"\n=".repeat(200_000)}`],
])("PYTHON does not fill memory with a TOML file of many values (%#)", async (code, lock) => {
  const { results, problems } = await findApplications(PYTHON, poetry(MANIFEST, lock));
  expect(results).toEqual([]);
  expect(problems).toMatchObject([{ code, subject: "app/poetry.lock" }]);
});

it("PYTHON does not count what stands in strings and comments of a TOML file", async () => {
  const text = [
    'x = """',
    "a=.[{".repeat(200_000),
    '"""\ny = "',
    ".".repeat(200_000),
    '"\n# ',
    "=".repeat(200_000),
    "\n",
  ];
  const { problems } = await findApplications(PYTHON, poetry(MANIFEST, text.join("") + A));
  expect(problems).toEqual([]);
});

it("PYTHON walks a chain of ten thousand packages", async () => {
  const names = Array.from({ length: 10_000 }, (_, i) => `p${i}`);
  const packages = names.map((name, i) => [name, metadata(name, "1", ...needs(`p${i + 1}`))] as const);
  const locked = names.map((name, i) =>
    `[[package]]\nname = "${name}"\nversion = "1"\n[package.dependencies]\np${i + 1} = "*"\n`
  );
  const files = {
    ...pip("p0", Object.fromEntries(packages)),
    ...poetry(MANIFEST.replace("a =", "p0 ="), locked.join("")),
  };
  const { results, problems } = await findApplications(PYTHON, files);
  expect(problems).toEqual([]);
  expect(results.map(({ facts }) => (facts[0]?.data as AppGraphJson).pkgs.length)).toEqual([10_001, 10_001]);
});

it.each([
  ["1.2.3", "1.2.3"],
  ["2020.4", "2020.4.0"],
  ["1.2.3.4", "1.2.3.4"],
  ["1.0rc1", "1.0.0"],
  ["1!2.0", "1.0.0"],
  ["v2", "2.0.0"],
  ["notaversion", undefined],
  ["1".repeat(300), undefined],
])("comparableVersion(%s) is %s", (text, version) => {
  // "2020.4" does not begin with its coerced form "2020.4.0".
  expect(comparableVersion(text)).toBe(version);
});

function factsOf(bytes: Uint8Array, pieces: readonly number[]): MetadataFacts {
  const reader = METADATA_EXTRACTOR.open({ size: bytes.length }, EXTRACTOR_CONTEXT);
  let at = 0;
  for (const piece of [...pieces, bytes.length]) {
    if (at >= bytes.length || !reader.data(bytes.slice(at, at + piece))) break;
    at += piece;
  }
  const facts = reader.end() as MetadataFacts;
  reader.close();
  return facts;
}

it("METADATA_EXTRACTOR answers the same however a file is cut, and nothing of it throws", () => {
  const base = encoder.encode(
    "\r\n" + metadata("a", "1.0", ...needs("b[x] (>=1) ; extra == 'y'", "c; python_version<'3'"), "Provides-Extra: y"),
  );
  const change = fc.tuple(fc.nat(base.length - 1), fc.oneof(fc.nat(255), fc.constantFrom(10, 13, 32)));
  fc.assert(
    fc.property(fc.array(change, { maxLength: 6 }), fc.array(fc.integer({ min: 1, max: 40 })), (changes, pieces) => {
      const bytes = base.slice();
      for (const [at, value] of changes) bytes[at] = value;
      const facts = factsOf(bytes, pieces);
      expect(facts).toEqual(factsOf(bytes, []));
      expect(JSON.parse(JSON.stringify(facts))).toEqual(facts);
    }),
    { numRuns: 500 },
  );
});

it("METADATA_EXTRACTOR keeps a requirement without the marker that does not matter", () => {
  const text = metadata("a", "1", ...needs("b>=1 ; python_version<'3'", "c ; extra == 'x'"), "Provides-Extra: x");
  expect(factsOf(encoder.encode(text), [])).toEqual({
    name: "a",
    version: "1",
    requires: ["b>=1", "c ; extra == 'x'"],
    extras: ["x"],
  });
});

it("PYTHON survives changed bytes in any of its files", async () => {
  const files = GOLDEN.map((project) => relative(project.files)).filter((files) => JSON.stringify(files).length < 9000);
  const change = fc.tuple(fc.nat(), fc.nat(), fc.oneof(fc.nat(255), fc.constantFrom(10, 34, 91, 93, 61)));
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...files),
      fc.array(change, { minLength: 1, maxLength: 5 }),
      async (project, list) => {
        const bytes = Object.entries(project).map(([path, text]) => [path, encoder.encode(text)] as const);
        for (const [file, at, value] of list) {
          const content = bytes[file % bytes.length]?.[1];
          if (content !== undefined) content[at % content.length] = value;
        }
        const { results, problems } = await findApplications(PYTHON, Object.fromEntries(bytes));
        expect(JSON.parse(JSON.stringify(results))).toHaveLength(results.length);
        for (const { code } of problems) expect(["ANALYSIS_FAILED", "LIMIT_EXCEEDED"]).toContain(code);
      },
    ),
    { numRuns: 300 },
  );
});
