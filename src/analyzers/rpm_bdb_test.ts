import { describe, expect, it } from "vitest";
import { bdbDatabase, ndbDatabase } from "../../tests/fakes/rpm_databases.ts";
import { peer } from "../../tests/peers/mod.ts";
import { analyzerSuite, analyzeWith, rpmDatabase, rpmHeader, rpmTags, viewOf } from "./analyzer_suite.ts";
import { RPM_BDB_NDB } from "./rpm.ts";
import { bdbValues, isBdbHash } from "./rpm_bdb.ts";

const DATABASE = "var/lib/rpm/Packages";
const SYSIMAGE = "usr/lib/sysimage/rpm/Packages";

/** Headers of 500 bytes to 30 KiB: on hash pages, on one overflow page, on many. */
const BLOBS = Array.from(
  { length: 60 },
  (_, at) => rpmHeader([...rpmTags(`p${at}`), [5000, 6, "x".repeat(at * 500)]]),
);

function read(bytes: Uint8Array): { blobs: (Uint8Array | undefined)[]; damages: string[] } {
  const damages: string[] = [];
  return { blobs: [...bdbValues(bytes, (what) => damages.push(what))].map((value) => value.blob), damages };
}

/** A copy with one 32-bit word of a page changed. */
function patched(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = bytes.slice();
  new DataView(copy.buffer).setUint32(at, value, true);
  return copy;
}

describe("rpm Berkeley DB", () => {
  analyzerSuite(RPM_BDB_NDB, "rpm", [
    {
      name: "Packages",
      files: { [DATABASE]: bdbDatabase([rpmHeader(rpmTags("a")), rpmHeader(rpmTags("b", "2", "3"))]) },
      database: DATABASE,
      packages: [{ name: "a", version: "1.0-1.el9", provides: [], depends: [] }, { name: "b", version: "2-3" }],
    },
    {
      name: "the database of the upper layer when there are two",
      files: {
        [SYSIMAGE]: { content: bdbDatabase([rpmHeader(rpmTags("lower"))]), layer: 0 },
        [DATABASE]: { content: bdbDatabase([rpmHeader(rpmTags("upper"))]), layer: 1 },
      },
      database: DATABASE,
      packages: [{ name: "upper" }],
    },
    {
      name: "Berkeley DB, then NDB, with the content sets",
      files: {
        [DATABASE]: bdbDatabase([rpmHeader(rpmTags("a"))]),
        [`${DATABASE}.db`]: ndbDatabase([rpmHeader(rpmTags("b"))]),
        "root/buildinfo/content_manifests/x.json": '{"content_sets":["s"]}',
      },
      database: DATABASE,
      packages: [{ name: "a", purl: expect.stringContaining("repositories=s") }, { name: "b" }],
    },
  ]);

  it("leaves a Packages.db that is SQLite to the analyzer behind it", () => {
    const view = viewOf({ "usr/lib/sysimage/rpm/Packages.db": rpmDatabase([rpmHeader(rpmTags("a"))]) });
    expect(analyzeWith(RPM_BDB_NDB, view)).toEqual({ result: undefined, problems: [] });
  });

  it("reports what is no database, and keeps what a cut one has", () => {
    const junk = analyzeWith(RPM_BDB_NDB, viewOf({ [DATABASE]: "x".repeat(9000), [`${DATABASE}.db`]: "y" }));
    expect(junk.result).toBeUndefined();
    expect(junk.problems.map((problem) => `${problem.code} ${problem.subject}`)).toEqual([
      `ANALYSIS_FAILED ${DATABASE}`,
      `ANALYSIS_FAILED ${DATABASE}.db`,
    ]);
    const whole = bdbDatabase(BLOBS);
    const cut = analyzeWith(RPM_BDB_NDB, viewOf({ [DATABASE]: whole.subarray(0, whole.length / 2) }));
    expect(cut.result?.packages.length).toBeGreaterThan(10);
    expect(cut.problems).toMatchObject([{ code: "ANALYSIS_FAILED", subject: DATABASE }]);
  });

  it("reports a broken header and keeps the other packages", () => {
    const bytes = bdbDatabase([rpmHeader(rpmTags("a")), new Uint8Array(9), rpmHeader(rpmTags("b"))]);
    const { result, problems } = analyzeWith(RPM_BDB_NDB, viewOf({ [DATABASE]: bytes }));
    expect(result?.packages.map((found) => found.name)).toEqual(["a", "b"]);
    expect(problems).toMatchObject([{
      message: expect.stringContaining("page 1, entry 5: Cannot read the rpm header"),
    }]);
  });
});

describe("bdbValues()", () => {
  it.each([[512, true], [4096, true], [4096, false], [65536, true], [32768, false]])(
    "reads back values of pages of %d bytes, little-endian: %s",
    (pageSize, little) => {
      const pairsPerPage = pageSize === 512 ? 2 : 3;
      const { blobs, damages } = read(bdbDatabase(BLOBS, { pageSize, little, pairsPerPage }));
      expect(damages).toEqual([]);
      expect(blobs).toEqual(BLOBS);
    },
  );

  it("reads the last page too", () => {
    const blobs = [rpmHeader(rpmTags("only"))];
    expect(read(bdbDatabase(blobs)).blobs).toEqual(blobs);
  });

  it("tells a truncated file from a whole one at every page", () => {
    const whole = bdbDatabase(BLOBS);
    for (let length = 4096; length < whole.length; length += 4096) {
      const { blobs, damages } = read(whole.subarray(0, length));
      expect(damages.length).toBeGreaterThan(0);
      expect(blobs.length).toBeLessThan(BLOBS.length);
    }
  });

  it.each([
    ["no magic number", 12, 1, "its header is missing"],
    ["an impossible page size", 20, 5000, "page size 5000"],
    ["an encrypted database", 24, 0x0801, "it is encrypted"],
    ["another first page", 24, 0x0900, "its first page"],
    ["checksums", 24, 0x010800, "checksums"],
  ])("refuses %s", (_name, at, value, message) => {
    expect(() => read(patched(bdbDatabase(BLOBS), at, value))).toThrow(message);
  });

  it.each([
    ["a loop of overflow pages", 16, "used twice"],
    ["a chain that leads nowhere", 16, "does not exist"],
    ["a chain to a page of another kind", 16, "no overflow page"],
  ])("tells %s", (name, _at, message) => {
    const bytes = bdbDatabase([rpmHeader([...rpmTags("a"), [5000, 6, "x".repeat(9000)]])]);
    const target = name.includes("loop") ? 2 : name.includes("nowhere") ? 99 : 1;
    const { blobs, damages } = read(patched(bytes, 2 * 4096 + 16, target));
    expect(blobs).toEqual([]);
    expect(damages).toEqual([expect.stringContaining(message)]);
  });

  it("takes no memory for a length that is only claimed", () => {
    const bytes = bdbDatabase([rpmHeader([...rpmTags("a"), [5000, 6, "x".repeat(9000)]])]);
    const view = new DataView(bytes.buffer);
    const reference = view.getUint16(4096 + 26 + 6, true);
    const claiming = (length: number): string[] => read(patched(bytes, 4096 + reference + 8, length)).damages;
    expect(claiming(0xffffffff)).toEqual([expect.stringContaining("rpmHeaderBytes")]);
    expect(claiming(30_000_000)).toEqual([expect.stringContaining("does not exist")]);
  });

  it("tells entries that lie outside, have no length or an unknown type, and an odd count", () => {
    const bytes = bdbDatabase([rpmHeader(rpmTags("a"))]);
    const view = new DataView(bytes.buffer);
    const at = view.getUint16(4096 + 26 + 6, true);
    const changed = (change: (view: DataView) => void): string[] => {
      const copy = bytes.slice();
      change(new DataView(copy.buffer));
      return read(copy).damages;
    };
    expect(changed((copy) => copy.setUint16(4096 + 26 + 6, 65000, true))).toEqual([
      "page 1, entry 3 lies outside of it",
    ]);
    expect(changed((copy) => copy.setUint8(4096 + at, 9))).toEqual(["page 1, entry 3 has type 9"]);
    expect(changed((copy) => copy.setUint16(4096 + 26 + 4, at, true))).toEqual(["page 1, entry 3 has no length"]);
    expect(changed((copy) => copy.setUint16(4096 + 20, 3, true))).toEqual(["page 1 claims 3 entries"]);
  });

  it("knows the format by its magic number", () => {
    expect(isBdbHash(bdbDatabase([]))).toBe(true);
    expect(isBdbHash(ndbDatabase([]))).toBe(false);
    expect(isBdbHash(new Uint8Array(20))).toBe(false);
  });
});

/** The real peer: rpm reads the same file with its own reader of Berkeley DB. */
describe.skipIf(!peer("rpm").available)("Berkeley DB by rpm itself", () => {
  it("gives the packages that rpm lists, small ones on hash pages too", async () => {
    const folder = await Deno.makeTempDir();
    try {
      const bytes = bdbDatabase(BLOBS);
      await Deno.writeFile(`${folder}/Packages`, bytes);
      const args = [
        "--define",
        "_db_backend bdb_ro",
        "--dbpath",
        folder,
        "-qa",
        "--qf",
        "%{NAME} %{VERSION}-%{RELEASE}\n",
      ];
      const { stdout } = await new Deno.Command("rpm", { args, env: { LC_ALL: "C.UTF-8" } }).output();
      const listed = new TextDecoder().decode(stdout).trim().split("\n");
      const { result } = analyzeWith(RPM_BDB_NDB, viewOf({ [DATABASE]: bytes }));
      expect(listed).toHaveLength(BLOBS.length);
      expect(result?.packages.map((found) => `${found.name} ${found.version}`).toSorted()).toEqual(listed.toSorted());
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
});
