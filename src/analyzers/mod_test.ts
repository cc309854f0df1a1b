import { describe, expect, it } from "vitest";
import { bdbDatabase } from "../../tests/fakes/rpm_databases.ts";
import { rpmDatabase, rpmHeader, rpmTags, type TestFile, viewOf } from "./analyzer_suite.ts";
import { analyzeOs, ANALYZERS, ANALYZERS_VERSION, WANTED } from "./mod.ts";

const RELEASE = "ID=debian\nVERSION_ID=12\n";
const DATABASES: Readonly<Record<string, TestFile>> = {
  "lib/apk/db/installed": "P:from-apk\nV:1\n",
  "var/lib/dpkg/status": "Package: from-dpkg\nVersion: 1\n",
  "var/lib/rpm/Packages": bdbDatabase([rpmHeader(rpmTags("from-bdb"))]),
  "var/lib/rpm/rpmdb.sqlite": rpmDatabase([rpmHeader(rpmTags("from-rpm"))]),
  "var/lib/dpkg/status.d/x": "Package: from-status-d\nVersion: 1\n",
  "var/lib/chisel/manifest.wall": '{"kind":"package","name":"from-chisel","version":"1","sha256":"a","arch":"b"}\n',
};

describe("analyzeOs()", () => {
  it("takes the first database that has packages: apk, dpkg, rpm, status.d, chisel", () => {
    const files: Record<string, TestFile> = { "etc/os-release": RELEASE, ...DATABASES };
    const found = Object.keys(DATABASES).map((path) => {
      const { packages, problems } = analyzeOs(viewOf(files));
      delete files[path];
      return [packages.type, packages.packages.map((entry) => entry.name).join(), problems.length].join(" ");
    });
    expect(found).toEqual([
      "apk from-apk 0",
      "deb from-dpkg 0",
      "rpm from-bdb 0",
      "rpm from-rpm 0",
      "deb from-status-d 0",
      "deb from-chisel 0",
    ]);
    expect(analyzeOs(viewOf(files)).packages).toEqual({ type: "linux", database: "", packages: [] });
  });

  it("passes over an empty database", () => {
    const files = {
      ...DATABASES,
      "var/lib/chisel/manifest.wall": "",
      "lib/apk/db/installed": "",
      "var/lib/dpkg/status": "\n",
      "var/lib/rpm/Packages": "",
      "var/lib/rpm/rpmdb.sqlite": "",
    };
    const { release, packages, problems } = analyzeOs(viewOf(files));
    expect(release).toEqual({ name: "chisel", version: "0.0", prettyName: "" });
    expect(packages.packages).toMatchObject([{
      name: "from-status-d",
      purl: expect.stringContaining("pkg:deb/chisel/"),
    }]);
    expect(problems).toEqual([]);
  });

  it("says linux and what is wrong when the only database is broken", () => {
    const { packages, problems } = analyzeOs(viewOf({ "var/lib/rpm/rpmdb.sqlite": "SQLite format 3\0 and junk" }));
    expect(packages.type).toBe("linux");
    expect(problems).toMatchObject([{ code: "ANALYSIS_FAILED", subject: "var/lib/rpm/rpmdb.sqlite" }]);
  });

  it("fails when dpkg's status file is broken, or no release file can be parsed", () => {
    expect(() => analyzeOs(viewOf({ "var/lib/dpkg/status": "Version: 1\nPackage: a\n" }))).toThrow(
      "Failed to detect installed OS packages",
    );
    expect(() => analyzeOs(viewOf({ ...DATABASES, "etc/os-release": "NAME=x\n" }))).toThrow(
      "Failed to detect OS release",
    );
  });
});

describe("WANTED", () => {
  it("holds every analyzer's files and the release files", () => {
    for (const analyzer of ANALYZERS) expect(WANTED).toEqual(expect.arrayContaining([...analyzer.patterns]));
    expect(WANTED.flatMap((pattern) => pattern.paths ?? [])).toContain("etc/centos-release");
    expect(new Set(ANALYZERS.map((analyzer) => analyzer.name)).size).toBe(ANALYZERS.length);
  });
  it("has relative paths, directories with a slash, and a version that follows from it", () => {
    for (const path of WANTED.flatMap((pattern) => pattern.paths ?? [])) expect(path).toMatch(/^[^/].*[^/]$/);
    for (const path of WANTED.flatMap((pattern) => pattern.directories ?? [])) expect(path).toMatch(/^[^/].*\/$/);
    expect(ANALYZERS_VERSION).toMatch(/^os-[0-9a-f]{8}$/);
  });
});
