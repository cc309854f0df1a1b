import { DatabaseSync } from "node:sqlite";
import { describe, expect, it } from "vitest";
import { analyzeWith, rpmHeader, rpmTags, viewOf } from "./analyzer_suite.ts";
import { RPM_SQLITE } from "./rpm.ts";
import { parseRpmHeader } from "./rpm_header.ts";
import { SqliteReader } from "./sqlite_reader.ts";
import { pagesWithLog } from "./sqlite_wal.ts";

interface Files {
  readonly file: Uint8Array;
  readonly log: Uint8Array;
}

/** Database and log as a program that is killed leaves them: `after` is in the log alone. */
function killed(after: (database: DatabaseSync) => void, options: { pageSize?: number; empty?: boolean } = {}): Files {
  const folder = Deno.makeTempDirSync();
  try {
    const path = `${folder}/database`;
    const database = new DatabaseSync(path);
    database.exec(`PRAGMA page_size = ${options.pageSize ?? 4096}; PRAGMA journal_mode = WAL`);
    database.exec("PRAGMA wal_autocheckpoint = 0");
    database.exec("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)");
    insert(database, "first");
    if (options.empty !== true) database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    after(database);
    const files = { file: Deno.readFileSync(path), log: Deno.readFileSync(`${path}-wal`) };
    database.close();
    return files;
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function insert(database: DatabaseSync, ...names: readonly string[]): void {
  for (const name of names) {
    database.prepare("INSERT INTO Packages (blob) VALUES (?)").run(
      rpmHeader([...rpmTags(name), [5000, 6, "x".repeat(3000)]]),
    );
  }
}

function names({ file, log }: { file: Uint8Array; log?: Uint8Array }): string[] {
  const damages: string[] = [];
  const reader = new SqliteReader(pagesWithLog(file, log), (what) => damages.push(what));
  const found = [...reader.rows("Packages", "blob")].map(({ value }) => parseRpmHeader(value as Uint8Array).name);
  expect(damages).toEqual([]);
  return found;
}

describe("pagesWithLog()", () => {
  it.each([512, 4096, 65536])("shows what was committed to the log, with pages of %d bytes", (pageSize) => {
    const files = killed((database) => insert(database, "second", "third"), { pageSize });
    expect(names({ file: files.file })).toEqual(["first"]);
    expect(names(files)).toEqual(["first", "second", "third"]);
  });

  it("reads a database that is in the log alone", () => {
    const files = killed((database) => insert(database, "second"), { empty: true });
    expect(names(files)).toEqual(["first", "second"]);
    expect(names({ file: new Uint8Array(), log: files.log })).toEqual(["first", "second"]);
  });

  it("leaves out what was not committed", () => {
    const files = killed((database) => {
      insert(database, "second");
      database.exec("PRAGMA cache_size = 1; BEGIN");
      insert(database, ...Array.from({ length: 50 }, (_, at) => `open${at}`));
    });
    expect(files.log.length).toBeGreaterThan(100_000);
    expect(names(files)).toEqual(["first", "second"]);
  });

  it("ends at the first frame that is cut off, damaged or left from an earlier run of the log", () => {
    const files = killed((database) => insert(database, "second", "third"));
    const { log } = files;
    const damaged = log.slice();
    damaged[log.length - 10] = (damaged[log.length - 10] ?? 0) ^ 1;
    const resalted = log.slice();
    resalted[log.length - 4096 - 24 + 8] = (resalted[log.length - 4096 - 24 + 8] ?? 0) ^ 1;
    for (const shorter of [log.subarray(0, log.length - 1), damaged, resalted]) {
      expect(names({ file: files.file, log: shorter })).toEqual(["first", "second"]);
    }
  });

  it.each([
    ["empty", (_log: Uint8Array) => new Uint8Array()],
    ["another kind of file", (_log: Uint8Array) => new TextEncoder().encode("x".repeat(5000))],
    ["of another version", (log: Uint8Array) => with32(log, 4, 1)],
    ["of an impossible page size", (log: Uint8Array) => with32(log, 8, 1000)],
    ["without a valid header", (log: Uint8Array) => with32(log, 24, 1)],
  ])("passes over a log that is %s", (_name, change) => {
    const files = killed((database) => insert(database, "second"));
    expect(names({ file: files.file, log: change(files.log) })).toEqual(["first"]);
  });

  it("refuses what is no database, log or not", () => {
    expect(() => pagesWithLog(new Uint8Array(9000), undefined)).toThrow("header is missing");
    const { log } = killed((database) => insert(database, "second"));
    expect(() => pagesWithLog(new Uint8Array(9000), log.subarray(0, 32))).toThrow("header is missing");
  });
});

function with32(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = bytes.slice();
  new DataView(copy.buffer).setUint32(at, value);
  return copy;
}

describe("rpm sqlite with a write-ahead log", () => {
  it.each(["var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/rpmdb.sqlite"])("reads the log of %s", (path) => {
    const { file, log } = killed((database) => insert(database, "second"));
    const { result, problems } = analyzeWith(RPM_SQLITE, viewOf({ [path]: file, [`${path}-wal`]: log }));
    expect(problems).toEqual([]);
    expect(result?.packages.map((found) => found.name)).toEqual(["first", "second"]);
  });
});
