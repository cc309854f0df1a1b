import fc from "fast-check";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import { sqliteBytes } from "./analyzer_suite.ts";
import { filePages, SqliteReader, type SqliteRow } from "./sqlite_reader.ts";
import { columnNames, readVarint } from "./sqlite_record.ts";

interface Read {
  readonly rows: SqliteRow[];
  readonly damages: string[];
}

function read(bytes: Uint8Array, table = "Packages", column = "blob"): Read {
  const damages: string[] = [];
  const reader = new SqliteReader(filePages(bytes), (what) => damages.push(what));
  return { rows: [...reader.rows(table, column)], damages };
}

/** A database whose rows have these sizes, and its blobs. */
function filled(
  pageSize: number,
  sizes: readonly number[],
  after = "",
): { bytes: Uint8Array; blobs: Uint8Array[]; root: number } {
  let root = 0;
  const blobs = sizes.map((size, at) => Uint8Array.from({ length: size }, (_, i) => (i * 31 + at) & 0xff));
  const bytes = sqliteBytes((database) => {
    database.exec(`PRAGMA page_size = ${pageSize}`);
    database.exec("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)");
    const insert = database.prepare("INSERT INTO Packages (blob) VALUES (?)");
    database.exec("BEGIN");
    for (const blob of blobs) insert.run(blob);
    database.exec(`COMMIT; ${after}`);
    root = Number(database.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'Packages'").get()?.["rootpage"]);
  });
  return { bytes, blobs, root };
}

describe("SqliteReader", () => {
  it.each([512, 1024, 4096, 32768, 65536])(
    "reads back overflow chains and interior pages of %d-byte pages",
    (pageSize) => {
      const around = [pageSize / 4, pageSize / 2, pageSize].flatMap((
        size,
      ) => [size - 40, size - 35, size - 4, size, size + 1]);
      const sizes = [0, 1, ...around, 3 * pageSize, 200_000, ...Array.from({ length: 3000 }, (_, at) => at % 97)];
      const { bytes, blobs } = filled(pageSize, sizes);
      const { rows, damages } = read(bytes);
      expect(damages).toEqual([]);
      expect(rows.map((row) => row.rowid)).toEqual(blobs.map((_, at) => at + 1));
      expect(rows.every((row, at) => row.value instanceof Uint8Array && sameBytes(row.value, blobs[at]))).toBe(true);
    },
  );

  it("reads every local and overflow size around the page's thresholds", () => {
    const { bytes, blobs } = filled(512, Array.from({ length: 1200 }, (_, at) => at));
    const { rows, damages } = read(bytes);
    expect(damages).toEqual([]);
    expect(rows.map((row) => (row.value as Uint8Array).length)).toEqual(blobs.map((blob) => blob.length));
  });

  it("passes over deleted rows and freed pages", () => {
    const { bytes } = filled(1024, Array.from({ length: 500 }, () => 3000), "DELETE FROM Packages WHERE hnum % 3 <> 0");
    const { rows, damages } = read(bytes);
    expect(damages).toEqual([]);
    expect(rows.map((row) => row.rowid)).toEqual(Array.from({ length: 166 }, (_, at) => 3 * (at + 1)));
  });

  it("reads every storage class as SQLite does", () => {
    const values = [
      null,
      0,
      1,
      -1,
      127,
      -128,
      32767,
      -8388608,
      2147483647,
      -140737488355328,
      9007199254740991,
      1.5,
      "é",
      "",
    ];
    const bytes = sqliteBytes((database) => {
      database.exec("CREATE TABLE t (a, b)");
      for (const value of values) {
        database.exec(`INSERT INTO t VALUES ('x', ${typeof value === "string" ? `'${value}'` : value})`);
      }
      database.exec("INSERT INTO t VALUES ('x', 9223372036854775807)");
    });
    expect(read(bytes, "T", "B").rows.map((row) => row.value)).toEqual([...values, 9223372036854775807n]);
    expect(read(bytes, "t", "a").rows.every((row) => row.value === "x")).toBe(true);
  });

  it.each(["UTF-16le", "UTF-16be"])("reads a database in %s", (encoding) => {
    const bytes = sqliteBytes((database) => {
      database.exec(`PRAGMA encoding = '${encoding}'`);
      database.exec("CREATE TABLE größe (blob TEXT); INSERT INTO größe VALUES ('naïve')");
    });
    expect(read(bytes, "größe").rows).toEqual([{ rowid: 1, value: "naïve" }]);
  });

  it("has no value for rows that are older than a column", () => {
    const bytes = sqliteBytes((database) => {
      database.exec(
        "CREATE TABLE t (a); INSERT INTO t VALUES (1); ALTER TABLE t ADD COLUMN b; INSERT INTO t VALUES (2, 3)",
      );
    });
    expect(read(bytes, "t", "b").rows.map((row) => row.value)).toEqual([undefined, 3]);
  });

  it("finds a table behind many others", () => {
    const bytes = sqliteBytes((database) => {
      for (let i = 0; i < 300; i++) database.exec(`CREATE TABLE t${i} (x); CREATE INDEX i${i} ON t${i} (x)`);
      database.exec("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob); INSERT INTO Packages VALUES (7, x'01')");
    });
    expect(read(bytes)).toEqual({ rows: [{ rowid: 7, value: Uint8Array.of(1) }], damages: [] });
  });

  it("refuses what is no database, and a missing table or column", () => {
    const { bytes } = filled(512, [1]);
    const odd = bytes.slice();
    odd[17] = 1;
    const reserved = bytes.slice();
    reserved[20] = 255;
    expect(() => read(new Uint8Array(200))).toThrow("its header is missing");
    expect(() => read(odd)).toThrow("page size 513 is not possible");
    expect(() => read(reserved)).toThrow("its pages have no room for data");
    expect(() => read(bytes.subarray(0, 300))).toThrow("it is shorter than one page");
    expect(() => read(bytes, "Basenames")).toThrow("it has no table Basenames");
    expect(() => read(bytes, "Packages", "key")).toThrow("table Packages has no column key");
  });

  it("refuses a definition that is too long to be parsed", () => {
    const long = sqliteBytes((database) => database.exec(`CREATE TABLE Packages (blob /*${"x".repeat(9000)}*/)`));
    expect(() => read(long)).toThrow("the definition of Packages has more than 8192 characters");
  });

  it("tells a truncated file at every length, and keeps the rows before the end", () => {
    const { bytes, blobs } = filled(4096, Array.from({ length: 60 }, () => 6000));
    for (let length = 4096; length < bytes.length; length += 4096) {
      const { damages, rows } = tolerate(() => read(bytes.subarray(0, length)));
      expect(damages).not.toEqual([]);
      expect(rows.length).toBeLessThan(blobs.length);
    }
    expect(tolerate(() => read(bytes.subarray(0, bytes.length - 4096))).rows.length).toBeGreaterThan(50);
  });

  it("ends on a tree that leads back to its root", () => {
    const { bytes, root } = filled(512, Array.from({ length: 500 }, () => 100));
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const page = (root - 1) * 512;
    expect(bytes[page]).toBe(0x05);
    view.setUint32(page + 8, root);
    const { damages, rows } = read(bytes);
    expect(damages).toContain(`page ${root} is used twice`);
    expect(rows.length).toBeGreaterThan(0);
  });

  it("ends on an overflow chain that leads back to itself", () => {
    const { bytes } = filled(512, [5000, 10]);
    const chain = pagesOf(bytes).find((page) => new DataView(page.buffer, page.byteOffset).getUint32(0) > 3);
    new DataView(chain!.buffer, chain!.byteOffset).setUint32(0, 1 + (chain!.byteOffset - bytes.byteOffset) / 512);
    const { damages, rows } = read(bytes);
    expect(damages.some((what) => what.endsWith("used twice"))).toBe(true);
    expect(rows.map((row) => row.rowid)).toEqual([2]);
  });

  it("reads no more rows from a page than fit into it", () => {
    const { bytes, root } = filled(4096, Array.from({ length: 30 }, () => 100));
    const page = (root - 1) * 4096;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    for (let cell = 0; cell < 30; cell++) view.setUint16(page + 8 + 2 * cell, view.getUint16(page + 8));
    view.setUint16(page + 3, 2000);
    const { rows, damages } = read(bytes);
    expect(rows.length).toBeLessThan(100);
    expect(damages.some((what) => what.endsWith("rows that overlap"))).toBe(true);
  });

  it("ends without a defect on mutated databases", () => {
    const { bytes } = filled(512, Array.from({ length: 120 }, (_, at) => at * 11));
    const change = fc.tuple(fc.nat(bytes.length - 1), fc.nat(255));
    fc.assert(
      fc.property(
        fc.array(change, { minLength: 1, maxLength: 40 }),
        fc.option(fc.nat(bytes.length)),
        (changes, cut) => {
          const mutated = bytes.slice(0, cut ?? bytes.length);
          for (const [at, byte] of changes) if (at < mutated.length) mutated[at] = byte;
          return tolerate(() => read(mutated)).rows.length <= mutated.length;
        },
      ),
      { numRuns: 3000 },
    );
  });
});

describe("columnNames()", () => {
  it.each([
    "CREATE TABLE t (a, b TEXT, c VARCHAR(10, 2) DEFAULT (max(1, 2)))",
    "CREATE TABLE 't' ( \"a b\" INTEGER PRIMARY KEY , `c``d`, [e f], 'g''h' CHECK ([e f] IN (',', ')')) )",
    "CREATE TABLE t (a /* , x */, -- , y\n b, CONSTRAINT z UNIQUE (a, b))",
    "CREATE TABLE t (a, PRIMARY KEY (a), FOREIGN KEY (a) REFERENCES u (b))",
    "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT,Blob BLOB NOT NULL)",
  ])("agrees with SQLite on %s", (sql) => {
    using database = new DatabaseSync(":memory:");
    database.exec(sql);
    const rows = database.prepare(`SELECT name FROM pragma_table_info(?)`).all(
      sql.includes("Packages") ? "Packages" : "t",
    );
    expect(columnNames(sql)).toEqual(rows.map((row) => String(row["name"]).toLowerCase()));
  });
});

describe("readVarint()", () => {
  const rows: readonly [number[], number, number][] = [
    [[0x00], 0, 1],
    [[0x7f], 127, 1],
    [[0x81, 0x00], 128, 2],
    [[0xff, 0x7f], 16383, 2],
    [[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x05], 5, 9],
  ];
  it.each(rows)("reads %j", (bytes, value, next) => {
    expect(readVarint(Uint8Array.from(bytes), 0)).toEqual({ value, next });
  });
  it("has none where the bytes end", () => {
    expect(readVarint(Uint8Array.of(0x80), 0)).toBeUndefined();
    expect(readVarint(Uint8Array.of(), 0)).toBeUndefined();
  });
});

/** What is read, or nothing with the refusal as the damage: only the reader's own errors are tolerated. */
function tolerate(run: () => Read): Read {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof OutpostError)) throw error;
    return { rows: [], damages: [error.message] };
  }
}

/** The pages behind the schema and the roots of Packages and sqlite_sequence. */
function pagesOf(bytes: Uint8Array): Uint8Array[] {
  return Array.from({ length: bytes.length / 512 }, (_, at) => bytes.subarray(at * 512, (at + 1) * 512)).slice(3);
}

function sameBytes(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b !== undefined && a.length === b.length && a.every((byte, at) => byte === b[at]);
}
