import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { goExecutable, type GoExecutableOptions } from "../../tests/fakes/go_executables.ts";
import { LIMITS } from "../core/limits.ts";
import type { JsonValue } from "../core/types.ts";
import type { AppGraphJson } from "../lib/graph_builder.ts";
import { findApplications, type TestFiles } from "./analyzer_suite.ts";
import { GO } from "./go.ts";
import { GoExecutableReader } from "./go_executable.ts";

/** What is found of each file: its path, its main module, and the packages. */
async function found(files: TestFiles): Promise<Record<string, readonly string[]>> {
  const { results, problems } = await findApplications(GO, files);
  expect(problems).toEqual([]);
  return Object.fromEntries(results.map(({ targetFile, facts }) => {
    const { pkgs } = facts[0]?.data as unknown as AppGraphJson;
    return [targetFile, pkgs.map(({ id }) => id)];
  }));
}

async function packagesOf(options: GoExecutableOptions): Promise<readonly string[] | undefined> {
  return (await found({ "app/server": goExecutable(options) }))["/app/server"];
}

const PACKAGES = [
  "example.com/app@",
  "example.com/liba@v1.2.3",
  "example.com/liba/sub/pkg@v1.2.3",
  "example.com/fork/x@v0.2.0",
  "stdlib@1.19.8",
];
const MODULES = ["example.com/app@", "example.com/liba@v1.2.3", "example.com/fork@v0.2.0", "stdlib@1.19.8"];

describe("GO reads", () => {
  const layouts = ["1.2", "1.16", "1.18", "1.20"] as const;
  for (const layout of layouts) {
    for (const wide of [true, false]) {
      for (const littleEndian of [true, false]) {
        const name = `${wide ? 64 : 32} bits, ${littleEndian ? "little" : "big"} endian`;
        it(`the packages by a table of Go ${layout}, ${name}`, async () => {
          // Since Go 1.18 build info holds its texts.
          for (const inline of layout === "1.18" || layout === "1.20" ? [true] : [true, false]) {
            for (const sections of ["start", "end"] as const) {
              expect(await packagesOf({ layout, wide, littleEndian, inline, sections })).toEqual(PACKAGES);
            }
          }
        });
      }
    }
  }

  const rows: readonly [name: string, options: GoExecutableOptions, packages: readonly string[] | undefined][] = [
    ["modules where there is no table of lines", { layout: null }, MODULES],
    [
      "packages by a table that begins at a multiple of 8, as on ARM with 32 bits",
      { wide: false, tableOffset: 8 },
      PACKAGES,
    ],
    ["modules where the table is among the data", { pie: true }, MODULES],
    ["what no section is listed of", { sections: null }, MODULES],
    ["what has no note", { note: false, sections: "end" }, PACKAGES],
    ["packages of a build with -trimpath", {
      files: ["fmt/print.go", "example.com/liba@v1.2.3/a.go", "example.com/app/main.go"],
    }, ["example.com/app@", "example.com/liba@v1.2.3", "stdlib@1.19.8"]],
    ["packages of a vendor directory", {
      files: ["/usr/local/go/src/fmt/print.go", "/src/app/vendor/example.com/liba/sub/a.go", "/src/app/main.go"],
    }, ["example.com/app@", "example.com/liba/sub@v1.2.3", "stdlib@1.19.8"]],
    ["a name as text, as the plugin does", {
      modules: "path\tm\nmod\tm\tv1\ndep\te.com/a\tv1\ndep\te.com/ab\tv2\n",
      files: ["/s/vendor/e.com/ab/c/x.go", "/s/main.go"],
    }, ["m@", "e.com/ab/c@v1", "e.com/ab/c@v2", "stdlib@1.19.8"]],
    ["a module with capital letters in the module cache, which the plugin does not find", {
      modules: "path\tm\nmod\tm\tv1\ndep\tgithub.com/Azure/x\tv1\ndep\te.com/a\tv1\n",
      files: ["/go/pkg/mod/github.com/!azure/x@v1/x.go", "/go/pkg/mod/e.com/a@v1/y.go"],
    }, ["m@", "e.com/a@v1", "stdlib@1.19.8"]],
    ["a file that has its module's name twice", {
      modules: "path\tm\nmod\tm\tv1\ndep\te.com/a\tv1\ndep\te.com/b\tv2\n",
      files: ["/s/vendor/e.com/a/e.com/a/x.go", "/s/vendor/e.com/b/y.go", "/s/main.go"],
    }, ["m@", "e.com/a/e.com/a@v1", "e.com/b@v2", "stdlib@1.19.8"]],
    ["more modules than fit into 64 KiB", {
      modules: `path\tm\nmod\tm\tv1\n${"dep\te.com/a\tv1\n".repeat(5000)}`,
      layout: null,
    }, ["m@", "e.com/a@v1", "stdlib@1.19.8"]],
    ["a program without a main module", { modules: "path\tcmd/vet\nbuild\t-compiler=gc\n" }, [
      "go-distribution@cmd/vet@",
      "stdlib@1.19.8",
    ]],
    ["a version of two numbers", { version: "go1.21", layout: null }, [...MODULES.slice(0, -1), "stdlib@1.21.0"]],
    ["a version that is not released", { version: "devel go1.22-abc", layout: null }, MODULES.slice(0, -1)],
    ["a short version by its address", { version: "go1.5", inline: false }, [...PACKAGES.slice(0, -1), "stdlib@1.5.0"]],
    ["a version that is not released by its address", { version: "go1.15beta1", inline: false }, PACKAGES.slice(0, -1)],
    ["nothing where there are no modules", { modules: "" }, undefined],
    ["nothing where there are no modules by their address", { modules: "", inline: false }, undefined],
  ];
  for (const [name, options, packages] of rows) {
    it(name, async () => expect(await packagesOf(options)).toEqual(packages));
  }

  it("build info behind much else, in pieces of any size", () => {
    const bytes = goExecutable({ padding: 70_000, inline: false, layout: "1.2" });
    const whole = read(bytes, bytes.length);
    expect(whole).toMatchObject({ name: "example.com/app", go: "1.19.8" });
    for (const size of [1, 7, 15, 16, 17, 4096]) expect(read(bytes, size)).toEqual(whole);
    // Where constants are loaded with the instructions, nothing may be passed over.
    const merged = goExecutable({ padding: 70_000, inline: false, layout: "1.2", merged: true });
    for (const size of [64, 4096]) expect(read(merged, size)).toEqual(whole);
  });

  it("only files that may be programs, in directories where there are some", async () => {
    const program = goExecutable();
    const files = { "app/a": program, "app/a.so": program, "etcd/a": program, "home/me/a": program, "sbin/a": program };
    expect(Object.keys(await found(files))).toEqual(["/app/a"]);
  });

  it("nothing in what is no Go executable", async () => {
    const elf = new Uint8Array(4096);
    elf.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
    expect(await found({ "app/empty": "", "app/text": "text", "app/short": elf.subarray(0, 10), "app/elf": elf }))
      .toEqual({});
  });

  // Debian builds them without modules, with its own linker flags and the C library.
  const shipped = ["/usr/bin/docker-registry", "/usr/bin/skopeo", "/usr/bin/umoci"].filter(exists);
  it.skipIf(shipped.length === 0)("the executables that Debian ships", async () => {
    for (const path of shipped) {
      const { [path]: packages } = await found({ [path.slice(1)]: Deno.readFileSync(path) });
      expect(packages).toEqual([expect.stringMatching(/^go-distribution@/), expect.stringMatching(/^stdlib@1\./)]);
    }
  });
});

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function read(bytes: Uint8Array, piece: number): JsonValue | undefined {
  const reader = new GoExecutableReader(bytes.length);
  try {
    for (let at = 0; at < bytes.length; at += piece) {
      const part = bytes.slice(at, at + piece);
      const more = reader.data(part);
      part.fill(0);
      if (!more) break;
    }
    return reader.end();
  } finally {
    reader.close();
  }
}

describe("GO names what is broken", () => {
  const broken: readonly [name: string, bytes: Uint8Array, problem: string, packages?: readonly string[]][] = [
    [
      "a text that is too long",
      goExecutable({ modules: "x".repeat(LIMITS.goBuildInfoBytes) }),
      "more than 1048576 bytes",
    ],
    [
      "texts that are not where they should be",
      goExecutable({ inline: false, note: false, sections: "end" }),
      "not found",
    ],
    ["more files than are read", tooManyFiles(), "source files were not read", MODULES],
    ["no program's name", goExecutable({ modules: "mod\n" }), "does not name the program"],
  ];
  for (const [name, bytes, problem, packages] of broken) {
    it(name, async () => {
      const { results, problems } = await findApplications(GO, { "app/bad": bytes, "app/good": goExecutable() });
      expect(problems).toEqual([
        { code: "ANALYSIS_FAILED", subject: "app/bad", message: expect.stringContaining(problem) },
      ]);
      expect(results.map(({ targetFile }) => targetFile)).toEqual(packages ? ["/app/bad", "/app/good"] : ["/app/good"]);
      if (packages === undefined) return;
      const graph = results[0]?.facts[0]?.data as unknown as AppGraphJson;
      expect(graph.pkgs.map(({ id }) => id)).toEqual(packages);
    });
  }

  it("build info that the file ends in", () => {
    const bytes = goExecutable({ layout: null });
    expect(read(bytes, 4096)).toMatchObject({ name: "example.com/app" });
    expect(read(bytes.subarray(0, bytes.length - 100), 4096)).toEqual({ problem: "Its build info ends too early" });
  });
});

/** Its table says that it has more files than are read. */
function tooManyFiles(): Uint8Array {
  const bytes = goExecutable({ files: ["a.go"] });
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += 16) {
    if (view.getUint32(at, true) === 0xfffffff0) view.setBigUint64(at + 16, BigInt(LIMITS.goFiles + 1), true);
  }
  return bytes;
}

it("GO survives any bytes in an executable", () => {
  const layouts = fc.constantFrom("1.2" as const, "1.16" as const, "1.18" as const, "1.20" as const);
  const kind = fc.record({
    layout: layouts,
    wide: fc.boolean(),
    littleEndian: fc.boolean(),
    inline: fc.boolean(),
    sections: fc.constantFrom("start" as const, "end" as const),
  });
  fc.assert(
    fc.property(
      kind,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 12 }),
      fc.option(fc.nat()),
      fc.constantFrom(5, 16, 997, 65_536),
      (options, changes, cut, piece) => {
        const base = goExecutable(options);
        // Most of the file is zeros: only what means something is changed.
        const meaningful = Array.from(base, (byte, at) => byte === 0 ? -1 : at).filter((at) => at >= 0);
        for (const [choice, value] of changes) base[meaningful[choice % meaningful.length] ?? 0] = value;
        const bytes = cut === null ? base : base.subarray(0, cut % base.length);
        const facts = read(bytes, piece);
        if (facts !== undefined) expect(JSON.parse(JSON.stringify(facts))).toEqual(facts);
      },
    ),
    { numRuns: 1000 },
  );
});

it("GO does bounded work for names that were made to match each other", () => {
  const dependency = (index: number): string => `dep\t${"a".repeat(index + 1)}\tv1`;
  const lines = ["path\tm", "mod\tm\tv1", ...Array.from({ length: 1000 }, (_, index) => dependency(index)), ""];
  const files = ["/s/main.go", `/s/vendor/a/x.go`];
  for (let index = 0; index < 20_000; index++) files.push(`/s/vendor/${"a".repeat(1000)}/${index}/x.go`);
  const facts = read(goExecutable({ modules: lines.join("\n"), files }), 65_536);
  expect(facts).toMatchObject({ name: "m", problem: expect.stringContaining("source files were not read") });
});
