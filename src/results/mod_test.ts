import { describe, expect, it } from "vitest";
import type { ScanReport } from "../core/scan_ports.ts";
import type { OsPackage } from "../core/types.ts";
import { buildDepGraph } from "./dep_graph.ts";
import { jsonReport } from "./json.ts";
import { FORMATS, type RenderOptions } from "./mod.ts";

const A = `sha256:${"a".repeat(64)}` as const;
const B = `sha256:${"b".repeat(64)}` as const;

function pkg(name: string, version: string, more: Partial<OsPackage> = {}): OsPackage {
  return { name, version, provides: [], depends: [], ...more };
}

const REPORT: ScanReport = {
  imageName: "team/app:1",
  status: "partial",
  os: {
    release: { name: "debian", version: "12", prettyName: "Debian GNU/Linux 12 (bookworm)" },
    packages: {
      type: "deb",
      database: "var/lib/dpkg/status",
      packages: [pkg("zlib1g", "1.2", { source: "zlib", purl: "pkg:deb/debian/zlib1g@1.2" }), pkg("adduser", "3.134")],
    },
    problems: [],
  },
  scanResults: [
    { target: { image: "x" }, identity: { type: "deb", args: { platform: "linux/amd64" } }, facts: [] },
    {
      target: { image: "x" },
      identity: { type: "npm", targetFile: "/app/package.json" },
      facts: [{
        type: "depGraph",
        data: buildDepGraph({
          root: { name: "app", version: "1.0.0" },
          pkgManager: "npm",
          repository: "",
          dependencies: { left: { name: "left", version: "1.3.0", dependencies: {} } },
        }),
      }],
    },
  ],
  problems: [{ code: "LIMIT_EXCEEDED", subject: "app/x.jar", message: "Cannot read it: too large" }],
  digests: { manifest: A },
  configDigest: B,
};

const BARE: ScanReport = {
  ...REPORT,
  status: "success",
  os: {
    release: { name: "unknown", version: "0.0", prettyName: "" },
    packages: { type: "linux", database: "", packages: [] },
    problems: [],
  },
  scanResults: [],
  problems: [],
  digests: {},
};

function text(report: ScanReport, options?: RenderOptions): string {
  return [...FORMATS.table.render(report, options)].join("");
}

describe("FORMATS", () => {
  it("holds every format under its own name, and each ends its text with a line feed", () => {
    expect(Object.keys(FORMATS)).toEqual(["table", "snyk", "json"]);
    for (const [name, format] of Object.entries(FORMATS)) {
      expect(format.name).toBe(name);
      const rendered = format.render(REPORT);
      expect(typeof rendered === "string" ? rendered : [...rendered].join("")).toMatch(/\n$/);
    }
  });
});

describe("table", () => {
  it("shows image, packages by type and name, and problems", () => {
    expect(text(REPORT)).toBe(`Image     team/app:1
Digest    ${A}
Platform  linux/amd64
OS        Debian GNU/Linux 12 (bookworm) (debian 12)
Status    partial: some content could not be read
Packages  2 deb, 1 npm

NAME     VERSION  SOURCE
adduser  3.134
zlib1g   1.2      zlib
left     1.3.0    /app/package.json

Problems (1)
  LIMIT_EXCEEDED app/x.jar: Cannot read it: too large
`);
  });

  it("shows an image in which nothing was found", () => {
    expect(text(BARE)).toBe(`Image     team/app:1
Image ID  ${B}
Platform  unknown
OS        unknown 0.0
Status    complete
Packages  none found (no known package manager)
`);
  });

  it.each([40, 30, 10])("keeps the package table within %d columns, down to eight for each of its own", (width) => {
    const packages = [pkg("a".repeat(60), "1".repeat(30), { source: "s".repeat(25) }), pkg("b", "2")];
    const report = { ...BARE, os: { ...BARE.os, packages: { type: "deb" as const, database: "", packages } } };
    const rows = text(report, { width }).split("\n\n")[1]?.trimEnd().split("\n") ?? [];
    expect(rows).toHaveLength(3);
    expect(rows[1]).toMatch(/^a+… {2}1+… {2}s+…$/);
    expect(Math.max(...rows.map((row) => row.length))).toBe(Math.max(width, 28));
  });

  it("colours only when asked", () => {
    // deno-lint-ignore no-control-regex
    const escape = /\u001b/;
    expect(text(REPORT)).not.toMatch(escape);
    const colored = text(REPORT, { color: true });
    expect(colored).toContain("\u001b[1mNAME     VERSION  SOURCE\u001b[0m\n");
    expect(colored).toContain("\u001b[1;33mProblems (1)\u001b[0m\n");
    // deno-lint-ignore no-control-regex
    expect(colored.replace(/\u001b\[[0-9;]*m/g, "")).toBe(text(REPORT));
  });

  it("does not let an image steer the terminal", () => {
    const packages = [pkg("a\u001b]0;title\u0007b", "1\n2", { source: "\u202egpj" })];
    const hostile = {
      ...BARE,
      imageName: "x\r\u001b[2J",
      os: {
        release: { ...BARE.os.release, prettyName: "\u009b31m" },
        packages: { type: "deb" as const, database: "", packages },
        problems: [],
      },
      problems: [{ code: "X", subject: "a\nb", message: "c\u001bd" }],
    };
    const shown = text(hostile);
    // deno-lint-ignore no-control-regex
    expect(shown).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    expect(shown).toContain("a\ufffd]0;title\ufffdb  1\ufffd2");
  });
});

describe("json", () => {
  it("reports what was found", () => {
    const expected = {
      schemaVersion: 1,
      image: "team/app:1",
      status: "partial",
      digests: { manifest: A, index: null, config: B },
      platform: "linux/amd64",
      os: { name: "debian", version: "12", prettyName: "Debian GNU/Linux 12 (bookworm)", packageManager: "deb" },
      layers: null,
      packages: [
        { name: "adduser", version: "3.134", type: "deb" },
        { name: "zlib1g", version: "1.2", type: "deb", purl: "pkg:deb/debian/zlib1g@1.2", source: "zlib" },
        { name: "left", version: "1.3.0", type: "npm", location: "/app/package.json" },
      ],
      problems: [{ code: "LIMIT_EXCEEDED", subject: "app/x.jar", message: "Cannot read it: too large" }],
    };
    expect(FORMATS.json.render(REPORT)).toBe(`${JSON.stringify(expected, null, 2)}\n`);
  });

  it("lists jars, what was unpacked into them, and those that do not say what they are", () => {
    const coordinates = { groupId: "g", artifactId: "a", version: "1" };
    const fingerprints = [
      { location: "/app/a.jar", digest: null, dependencies: [{ ...coordinates, artifactId: "b" }], ...coordinates },
      { location: "/app/a.jar/lib/x.jar", digest: "0", dependencies: [] },
    ];
    const data = { fingerprints, origin: "x", path: "/app" };
    const jars = {
      target: { image: "x" },
      identity: { type: "maven", targetFile: "/app" },
      facts: [{ type: "jarFingerprints", data }],
    };
    const system = { target: { image: "x" }, identity: { type: "linux" }, facts: [] };
    const { packages } = jsonReport({ ...BARE, scanResults: [system, jars] });
    expect(packages).toEqual([
      { name: "g:a", version: "1", type: "maven", location: "/app/a.jar" },
      { name: "g:b", version: "1", type: "maven", location: "/app/a.jar" },
      { name: "x.jar", version: "", type: "maven", location: "/app/a.jar/lib/x.jar" },
    ]);
  });

  it("has every field when nothing was found", () => {
    expect(jsonReport(BARE)).toEqual({
      schemaVersion: 1,
      image: "team/app:1",
      status: "success",
      digests: { manifest: null, index: null, config: B },
      platform: null,
      os: { name: "unknown", version: "0.0", prettyName: "", packageManager: null },
      layers: null,
      packages: [],
      problems: [],
    });
  });

  it("tells the layer of every package when that was asked for", () => {
    const layers = [{ diffId: A, digest: B, instruction: "RUN x" }, { diffId: B, digest: A }];
    const npm = { packages: new Map([["left@1.3.0", 1]]), files: new Map([["app/package.json", 0]]), other: 0 };
    const known = jsonReport({ ...REPORT, attribution: { layers, os: [1, undefined], apps: [npm], warnings: [] } });
    expect(known.layers).toEqual([{ ...layers[0] }, { ...layers[1], instruction: null }]);
    expect(known.packages.map(({ name, layer }) => `${name} ${layer}`)).toEqual([
      "adduser undefined",
      `zlib1g ${B}`,
      `left ${B}`,
    ]);
    const layerOf = (app: Partial<typeof npm>): string | undefined => {
      const apps = [{ ...npm, packages: new Map(), ...app }];
      return jsonReport({ ...REPORT, attribution: { layers, os: [], apps, warnings: [] } }).packages.at(-1)?.layer;
    };
    expect(layerOf({ files: new Map([["app/package.json", 1]]) })).toBe(B);
    expect(layerOf({ files: new Map([["app", 1]]) })).toBe(B);
    expect(layerOf({ files: new Map() })).toBe(A);
  });
});
