import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../core/limits.ts";
import { analyzerSuite, analyzeWith, BOOKWORM, viewOf } from "./analyzer_suite.ts";
import { DPKG, DPKG_STATUS_D } from "./dpkg.ts";

const STATUS = "var/lib/dpkg/status";
const STATES = "var/lib/apt/extended_states";
const INSTALLED = "Status: install ok installed\n";

describe("dpkg status", () => {
  analyzerSuite(DPKG, "deb", [
    {
      name: "source, provides, and every alternative of Pre-Depends and Depends",
      files: {
        [STATUS]:
          `Package: mawk\n${INSTALLED}Architecture: amd64\nSource: mawk-src (1.3.4-1)\nVersion: 1:1.3.4+dfsg\n` +
          "Provides: awk, editor (= 2)\nPre-Depends: libc6 (>= 2.34)\nDepends: libm6:any | libm7, python3:any (<< 4)\n" +
          "Description: an AWK: interpreter\n Depends: not a field, this is folded text\n",
      },
      database: STATUS,
      packages: [{
        name: "mawk",
        version: "1:1.3.4+dfsg",
        source: "mawk-src",
        sourceVersion: "1.3.4-1",
        provides: ["awk", "editor"],
        depends: ["libc6", "libm6:any", "libm7", "python3:any"],
        purl: "pkg:deb/debian/mawk@1:1.3.4%2Bdfsg?distro=debian-bookworm&upstream=mawk-src%401.3.4-1",
      }],
    },
    {
      name: "marks of automatically installed packages",
      files: {
        [STATUS]: "Package: a\nVersion: 1\n\nPackage: b\nVersion: 2\n\nPackage: c\nVersion: 3\n",
        [STATES]: "Package: a\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: b\nAuto-Installed: 0\n",
      },
      database: STATUS,
      packages: [{ name: "a", autoInstalled: true }, { name: "b" }, { name: "c" }],
    },
    {
      name: "only packages that are installed, whatever is wanted for them",
      files: {
        [STATUS]: "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n" +
          "Package: never\nStatus: unknown ok not-installed\n\n" +
          "Package: leaving\nStatus: deinstall ok installed\nVersion: 2\n\n" +
          "Package: half\nStatus: install reinstreq half-installed\nVersion: 3\n\nPackage: plain\nVersion: 4\n",
      },
      database: STATUS,
      packages: [{ name: "leaving" }, { name: "half" }, { name: "plain" }],
    },
    {
      name: "carriage returns, which stay in values as in the plugin, and text behind a second colon, which does not",
      files: { [STATUS]: "Package: a\r\nVersion: 1\r\n\r\nPackage: b: c\nVersion: 2\n" },
      database: STATUS,
      packages: [{ name: "a\r", version: "1\r" }, { name: "b", version: "2" }],
    },
    {
      name: "a byte-order mark, and twins of two architectures",
      files: {
        [STATUS]: "\ufeffPackage: a\nArchitecture: amd64\nVersion: 1\n\nPackage: a\nArchitecture: i386\nVersion: 1\n",
      },
      database: STATUS,
      packages: [{ name: "a", version: "1" }, { name: "a", version: "1" }],
    },
    {
      name: "a package without a version, which has no purl",
      files: { [STATUS]: "Package: a\nSource: s\n" },
      database: STATUS,
      packages: [{ name: "a", version: "", source: "s" }],
    },
    {
      name: "a Status before the first Package, which means nothing",
      files: { [STATUS]: `${INSTALLED}Package: a\nVersion: 1\n` },
      database: STATUS,
      packages: [{ name: "a" }],
    },
  ]);

  it("fails when a field stands before the first Package", () => {
    for (const first of ["Version: 1", "Source: s", "Provides: p", "Depends: d", "Pre-Depends: d"]) {
      const view = viewOf({ [STATUS]: `${first}\nPackage: a\n` });
      expect(() => analyzeWith(DPKG, view)).toThrow("Failed to detect installed OS packages");
    }
  });

  it("finds nothing in an empty file or binary junk", () => {
    const junk = Uint8Array.from({ length: 100_000 }, (_, at) => (at * 7919) >>> 3 & 0xff);
    for (const content of ["", "\n", junk]) {
      expect(analyzeWith(DPKG, viewOf({ [STATUS]: content })).result).toBeUndefined();
    }
  });

  it("reports a line of 100 MiB, and reads the rest", () => {
    const content = new Uint8Array(100 * 1024 * 1024).fill(0x61);
    content.set(new TextEncoder().encode("Package: a\nDepends: "));
    const tail = new TextEncoder().encode("\nVersion: 1\n\nPackage: b\nVersion: 2\n");
    content.set(tail, content.length - tail.length);
    const { result, problems } = analyzeWith(DPKG, viewOf({ [STATUS]: content }));
    expect(result?.packages).toMatchObject([{ name: "a", version: "1", depends: [] }, { name: "b", version: "2" }]);
    expect(problems.map((problem) => problem.code)).toEqual(["LIMIT_EXCEEDED"]);
    expect(problems[0]?.message).toContain(`${LIMITS.packageFieldBytes} bytes (packageFieldBytes)`);
  });

  it("either reads or refuses whatever bytes it gets", () => {
    const words = [
      "Package: ",
      "Version: ",
      "Depends: ",
      "Status: ",
      "\n",
      ": ",
      "a",
      ",",
      "|",
      " ",
      "\r",
      "\ufeff",
      "\0",
    ];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...words), { maxLength: 60 }), (parts) => {
        try {
          const found = analyzeWith(DPKG, viewOf({ [STATUS]: parts.join("") })).result?.packages ?? [];
          return found.every((entry) => entry.name !== "");
        } catch (error) {
          return (error as Error).message.startsWith("Failed to detect installed OS packages");
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe("dpkg status.d", () => {
  const dir = "var/lib/dpkg/status.d/";
  analyzerSuite(DPKG_STATUS_D, "deb", [{
    name: "one package per file, beside checksums, by layer from the top and by place in the tar",
    files: {
      [`${dir}bGliYzY`]: { content: "Package: libc6\nSource: glibc\nVersion: 2.36\n", layer: 0, position: 9 },
      [`${dir}bGliYzY.md5sums`]: "d41d8cd98f00b204e9800998ecf8427e  usr/lib/libc.so\n",
      [`${dir}a`]: { content: "Package: netbase\nVersion: 6.4\n", layer: 0, position: 10 },
      [`${dir}app`]: { content: "Package: app\nVersion: 1\nDepends: libc6\n", layer: 1 },
      [`${dir}zero`]: { content: "", layer: 1 },
    },
    database: dir,
    packages: [{ name: "app", depends: ["libc6"] }, {
      name: "libc6",
      source: "glibc",
      purl: "pkg:deb/debian/libc6@2.36?distro=debian-bookworm&upstream=glibc",
    }, { name: "netbase" }],
  }]);

  it("reports a broken file and reads the others", () => {
    const view = viewOf({ [`${dir}bad`]: "Version: 1\nPackage: x\n", [`${dir}good`]: "Package: a\nVersion: 1\n" });
    const { result, problems } = analyzeWith(DPKG_STATUS_D, view, BOOKWORM);
    expect(result?.packages).toMatchObject([{ name: "a" }]);
    expect(problems).toMatchObject([{ code: "ANALYSIS_FAILED", subject: `${dir}bad` }]);
  });
});

/** The real peer: this machine's own database, as its own tool prints it. */
describe("dpkg status of this machine", () => {
  const query = "/usr/bin/dpkg-query";
  it.skipIf(!exists(`/${STATUS}`) || !exists(query))("gives the packages that dpkg-query lists as installed", () => {
    const format = "${db:Status-Status}\\t${Package}\\t${Version}\\t${source:Package}\\t${source:Version}\\n";
    const { code, stdout } = new Deno.Command(query, { args: ["-W", "-f", format] }).outputSync();
    expect(code).toBe(0);
    const rows = new TextDecoder().decode(stdout).trim().split("\n").map((line) => line.split("\t"));
    const listed = rows.filter(([state]) => state !== "config-files" && state !== "not-installed");
    const { result, problems } = analyzeWith(DPKG, viewOf({ [STATUS]: Deno.readFileSync(`/${STATUS}`) }));
    const read = result?.packages.map((found) =>
      [found.name, found.version, found.source ?? found.name, found.sourceVersion ?? found.version].join(" ")
    );
    expect(problems).toEqual([]);
    expect(read?.toSorted()).toEqual(listed.map((row) => row.slice(1).join(" ")).toSorted());
  });
});

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
