/**
 * Every parser of the operating system against damaged input: random changes of valid files, and rpm databases that end at
 * every 4 KiB. `OUTPOST_FUZZ_RUNS` sets the number of changed inputs for each kind of file.
 */
import fc from "fast-check";
import { zstdCompressSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { bdbDatabase, ndbDatabase } from "../../tests/fakes/rpm_databases.ts";
import { OutpostError } from "../core/errors.ts";
import type { OsAnalysis } from "../core/types.ts";
import { rpmDatabase, rpmHeader, rpmTags, sqliteBytes, viewOf } from "./analyzer_suite.ts";
import { analyzeOs } from "./mod.ts";

const RUNS = Number(Deno.env.get("OUTPOST_FUZZ_RUNS") ?? 150);
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

const HEADERS = Array.from(
  { length: 12 },
  (_, at) =>
    rpmHeader([...rpmTags(`package${at}`), [1003, 4, at], [5096, 6, "m:1:2:3"], [5000, 6, "x".repeat(at * 200)]]),
);
const STATUS = encode(
  [1, 2, 3].map((at) =>
    `Package: p${at}\nStatus: install ok installed\nArchitecture: amd64\nSource: s (1:${at})\nVersion: ${at}\n` +
    `Provides: v${at} (= 1), w\nPre-Depends: p1 | p2\nDepends: p${at - 1} (>= 1), v3:any\nDescription: x\n y\n`
  ).join("\n"),
);
const CHISEL = encode(
  [1, 2, 3].map((at) => `{"kind":"package","name":"p${at}","version":"${at}","sha256":"a","arch":"b"}\n`).join(""),
);

/** What is damaged, by its path, and what stands beside it. */
const KINDS: readonly { name: string; path: string; bytes: Uint8Array; beside?: Record<string, Uint8Array> }[] = [
  {
    name: "apk",
    path: "lib/apk/db/installed",
    bytes: encode("C:Q1\nP:a\nV:1-r0\no:src\np:x=1 so:y\nD:b !c z>=1\nr:d\nF:usr\nR:f\n\nP:b\nV:2\n"),
  },
  { name: "dpkg status", path: "var/lib/dpkg/status", bytes: STATUS },
  { name: "dpkg status.d", path: "var/lib/dpkg/status.d/p", bytes: STATUS },
  {
    name: "apt extended_states",
    path: "var/lib/apt/extended_states",
    bytes: encode("Package: p1\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: p2\nAuto-Installed: 0\n"),
    beside: { "var/lib/dpkg/status": STATUS },
  },
  {
    name: "rpm Berkeley DB",
    path: "var/lib/rpm/Packages",
    bytes: bdbDatabase(HEADERS, { pageSize: 512, pairsPerPage: 2 }),
  },
  { name: "rpm Berkeley DB, big-endian", path: "var/lib/rpm/Packages", bytes: bdbDatabase(HEADERS, { little: false }) },
  { name: "rpm NDB", path: "var/lib/rpm/Packages.db", bytes: ndbDatabase(HEADERS) },
  { name: "rpm SQLite", path: "var/lib/rpm/rpmdb.sqlite", bytes: rpmDatabase(HEADERS) },
  {
    name: "rpm SQLite log",
    path: "var/lib/rpm/rpmdb.sqlite-wal",
    bytes: logOf(HEADERS),
    beside: { "var/lib/rpm/rpmdb.sqlite": rpmDatabase(HEADERS) },
  },
  {
    name: "content manifest",
    path: "root/buildinfo/content_manifests/x.json",
    bytes: encode('{"metadata":{},"content_sets":["a","b"]}'),
    beside: { "var/lib/rpm/rpmdb.sqlite": rpmDatabase(HEADERS) },
  },
  { name: "chisel manifest", path: "var/lib/chisel/manifest.wall", bytes: zstdCompressSync(CHISEL) },
  { name: "chisel manifest without compression", path: "var/lib/chisel/manifest.wall", bytes: CHISEL },
  ...[
    ["etc/os-release", 'ID="debian"\nVERSION_ID="12"\nPRETTY_NAME="Debian"\n'],
    ["etc/lsb-release", "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=24.04\n"],
    ["etc/debian_version", "12.5\n"],
    ["etc/alpine-release", "3.20.1\n"],
    ["etc/oracle-release", "Oracle Linux Server release 8.9\n"],
    ["etc/redhat-release", "Red Hat Enterprise Linux release 9.3 (Plow)\n"],
    ["etc/centos-release", "CentOS Linux release 7.9.2009 (Core)\n"],
  ].map(([path = "", text = ""]) => ({ name: path, path, bytes: encode(text) })),
];

/** The log of a database that was written to and never closed. */
function logOf(blobs: readonly Uint8Array[]): Uint8Array {
  let log = new Uint8Array();
  sqliteBytes((database) => {
    database.exec("PRAGMA journal_mode = WAL; CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)");
    for (const blob of blobs) database.prepare("INSERT INTO Packages (blob) VALUES (?)").run(blob);
    const path = String(database.prepare("PRAGMA database_list").get()?.["file"]);
    log = Deno.readFileSync(`${path}-wal`);
  });
  return log;
}

/** One change: bytes overwritten, cut out, doubled, or the end cut off. */
type Change = readonly [kind: number, at: number, length: number, value: number];

const changes: fc.Arbitrary<Change[]> = fc.array(
  fc.tuple(fc.nat(4), fc.nat(1_000_000), fc.nat(40), fc.constantFrom(0, 1, 2, 10, 32, 58, 127, 128, 254, 255)),
  { minLength: 1, maxLength: 6 },
);

function changed(bytes: Uint8Array, list: readonly Change[]): Uint8Array {
  let out: Uint8Array<ArrayBuffer> = Uint8Array.from(bytes);
  for (const [kind, place, length, value] of list) {
    const at = place % Math.max(1, out.length);
    if (kind === 0) out = out.slice(0, at);
    else if (kind === 1) out = joined(out.subarray(0, at), out.subarray(at + length));
    else if (kind === 2) out = joined(out.subarray(0, at + length), out.subarray(at));
    else if (kind === 3) out.fill(value, at, at + 1 + length % 8);
    else if (at < out.length) out[at] = (out[at] ?? 0) ^ (1 << value % 8);
  }
  return out;
}

function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(parts.flatMap((part) => [...part]));
}

/** The analysis, or undefined when the error type says that there can be none. */
function analyze(files: Readonly<Record<string, Uint8Array>>): OsAnalysis | undefined {
  try {
    return analyzeOs(viewOf(files));
  } catch (error) {
    expect(error).toBeInstanceOf(OutpostError);
    return undefined;
  }
}

describe("analyzeOs()", () => {
  it.each(KINDS.map((kind) => [kind.name, kind] as const))("survives any damage of %s", (_name, kind) => {
    const { path, bytes, beside = {} } = kind;
    const whole = analyze({ ...beside, [path]: bytes });
    expect(whole?.problems).toEqual([]);
    fc.assert(
      fc.property(changes, (list) => {
        const damaged = changed(bytes, list);
        const found = analyze({ ...beside, [path]: damaged });
        const size = JSON.stringify(found ?? null).length;
        expect(size).toBeLessThan(20_000 + 200 * damaged.length);
      }),
      { numRuns: RUNS },
    );
  });

  it("survives any bytes at all", () => {
    const paths = fc.constantFrom(...new Set(KINDS.map(({ path }) => path)));
    fc.assert(
      fc.property(paths, fc.uint8Array({ maxLength: 3000 }), (path, bytes) => {
        analyze({ [path]: bytes });
      }),
      { numRuns: RUNS },
    );
  });
});

describe("a truncated rpm database", () => {
  const headers = Array.from(
    { length: 300 },
    (_, at) => rpmHeader([...rpmTags(`package${at}`), [5000, 6, "x".repeat(at * 17 % 6000)]]),
  );
  it.each([
    ["Berkeley DB", "var/lib/rpm/Packages", bdbDatabase(headers)],
    ["NDB", "usr/lib/sysimage/rpm/Packages.db", ndbDatabase(headers)],
    ["SQLite", "usr/lib/sysimage/rpm/rpmdb.sqlite", rpmDatabase(headers)],
  ])("gives what can be read and is told, at every 4 KiB: %s", (_name, path, whole) => {
    const names = new Set(analyze({ [path]: whole })?.packages.packages.map((entry) => entry.name));
    expect(names.size).toBe(headers.length);
    let most = 0;
    for (let length = 4096; length < whole.length; length += 4096) {
      const found = analyze({ [path]: whole.subarray(0, length) });
      const packages = found?.packages.packages ?? [];
      expect(found?.problems).toMatchObject([{ code: "ANALYSIS_FAILED", subject: path }]);
      expect(packages.every((entry) => names.has(entry.name))).toBe(true);
      expect(packages.length).toBeLessThan(headers.length);
      most = Math.max(most, packages.length);
    }
    expect(most).toBeGreaterThan(headers.length * 0.9);
  });
});
