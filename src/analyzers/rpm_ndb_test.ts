import { describe, expect, it } from "vitest";
import { ndbDatabase } from "../../tests/fakes/rpm_databases.ts";
import { analyzerSuite, analyzeWith, rpmHeader, rpmTags, viewOf } from "./analyzer_suite.ts";
import { RPM_BDB_NDB } from "./rpm.ts";
import { isNdb, ndbValues } from "./rpm_ndb.ts";

const DATABASE = "var/lib/rpm/Packages.db";
const SYSIMAGE = "usr/lib/sysimage/rpm/Packages.db";
const BLOBS = Array.from({ length: 300 }, (_, at) => rpmHeader([...rpmTags(`p${at}`), [5000, 6, "x".repeat(at)]]));

function read(bytes: Uint8Array): { blobs: (Uint8Array | undefined)[]; damages: string[] } {
  const damages: string[] = [];
  return { blobs: [...ndbValues(bytes, (what) => damages.push(what))].map((value) => value.blob), damages };
}

function patched(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = bytes.slice();
  new DataView(copy.buffer).setUint32(at, value, true);
  return copy;
}

describe("rpm NDB", () => {
  analyzerSuite(RPM_BDB_NDB, "rpm", [
    {
      name: "Packages.db",
      files: { [SYSIMAGE]: ndbDatabase([rpmHeader(rpmTags("a")), rpmHeader(rpmTags("b", "2", "3"))]) },
      release: { name: "sles", version: "15.5", prettyName: "" },
      database: SYSIMAGE,
      packages: [
        { name: "a", version: "1.0-1.el9", purl: "pkg:rpm/sles/a@1.0-1.el9?distro=sles-15.5&upstream=a%401.0-1.el9" },
        { name: "b", version: "2-3" },
      ],
    },
    {
      name: "the database of the upper layer when there are two",
      files: {
        [SYSIMAGE]: { content: ndbDatabase([rpmHeader(rpmTags("lower"))]), layer: 0 },
        [DATABASE]: { content: ndbDatabase([rpmHeader(rpmTags("upper"))]), layer: 1 },
      },
      database: DATABASE,
      packages: [{ name: "upper" }],
    },
  ]);

  it("reports a broken blob and keeps the other packages", () => {
    const bytes = ndbDatabase(BLOBS.slice(0, 3));
    const { result, problems } = analyzeWith(RPM_BDB_NDB, viewOf({ [DATABASE]: patched(bytes, 4096, 0) }));
    expect(result?.packages.map((found) => found.name)).toEqual(["p1", "p2"]);
    expect(problems).toEqual([{
      code: "ANALYSIS_FAILED",
      subject: DATABASE,
      message: `Cannot read all of ${DATABASE}: package 1: its blob does not start as one`,
    }]);
  });
});

describe("ndbValues()", () => {
  it.each([0, 1, 254, 255, 300])("reads back %d packages", (count) => {
    const { blobs, damages } = read(ndbDatabase(BLOBS.slice(0, count)));
    expect(damages).toEqual([]);
    expect(blobs).toEqual(BLOBS.slice(0, count));
  });

  it("tells a truncated file from a whole one, at every KiB", () => {
    const whole = ndbDatabase(BLOBS);
    for (let length = 1024; length < whole.length; length += 1024) {
      const { blobs, damages } = read(whole.subarray(0, length));
      expect(damages.length).toBeGreaterThan(0);
      expect(blobs.length).toBeLessThan(BLOBS.length);
    }
  });

  it.each([
    ["no magic number", 0, 1, "its header is missing"],
    ["another version", 4, 7, "version 7 is not known"],
  ])("refuses %s", (_name, at, value, message) => {
    expect(() => read(patched(ndbDatabase(BLOBS), at, value))).toThrow(message);
  });

  const two = ndbDatabase(BLOBS.slice(0, 2));
  it.each([
    ["no pages of slots", 12, 0, [], "the file ends within its 0 pages of slots"],
    ["more pages of slots than the file has", 12, 9999, BLOBS.slice(0, 2), "the file ends within its 9999 pages"],
    ["a slot that is none", 48, 5, BLOBS.slice(0, 1), "the slot at byte 48 is none"],
    ["a blob behind the end", 32 + 8, 0xffffffff, BLOBS.slice(1, 2), "package 1: its blob lies behind the file's end"],
    ["a blob of another package", 4096 + 4, 2, BLOBS.slice(1, 2), "package 1: its blob belongs to package 2"],
    ["a blob that is cut off", 4096 + 12, 0xffffff00, BLOBS.slice(1, 2), "is cut off"],
    [
      "a wrong generation, hence checksum",
      4096 + 8,
      77,
      BLOBS.slice(0, 2),
      "package 1: the checksum of its blob is wrong",
    ],
  ])("tells %s", (_name, at, value, blobs, message) => {
    const found = read(patched(two, at, value));
    expect(found.blobs).toEqual(blobs);
    expect(found.damages[0]).toContain(message);
  });

  it("does not read one blob for many slots", () => {
    const bytes = ndbDatabase([rpmHeader([...rpmTags("a"), [5000, 6, "x".repeat(2000)]])]);
    const view = new DataView(bytes.buffer);
    for (let slot = 3; slot < 256; slot++) bytes.copyWithin(16 * slot, 32, 48);
    expect(view.getUint32(16 * 255 + 4, true)).toBe(1);
    const { blobs, damages } = read(bytes);
    expect(blobs.length * 2000).toBeLessThan(bytes.length);
    expect(damages).toContain("package 1: its blob overlaps another");
  });

  it("knows the format by its magic number", () => {
    expect(isNdb(ndbDatabase([]))).toBe(true);
    expect(isNdb(new Uint8Array(4))).toBe(false);
  });
});
