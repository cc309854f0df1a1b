/**
 * A small read-only reader of SQLite database files (https://sqlite.org/fileformat2.html): the rows of one table.
 *
 * It exists because the database comes out of an image and must never be written to disk, and `node:sqlite` opens only
 * paths. It trusts nothing: every page is used at most once, so that neither a cycle nor overflow chains that share
 * pages can make it read more than the file holds.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { concatBytes } from "../lib/bytes.ts";
import type { OnDamage } from "./rpm_value.ts";
import { columnNames, readColumn, readVarint, type SqliteValue } from "./sqlite_record.ts";

/** Gives the pages of a database: those of its file, or with a write-ahead log laid over them (sqlite_wal.ts). */
export interface PageSource {
  readonly pageSize: number;
  readonly pageCount: number;
  /** The page of a number in 1…pageCount. */
  page(number: number): Uint8Array;
}

/** A row: its key and the wanted column. */
export interface SqliteRow {
  readonly rowid: number;
  /** Undefined when the row has no such column. */
  readonly value: SqliteValue | undefined;
}

const MAGIC = new TextEncoder().encode("SQLite format 3\0");
/** A database with this many faults is not worth its time. */
const MAX_DAMAGES = 10_000;
const LEAF = 0x0d;
const INTERIOR = 0x05;
const ENCODINGS = ["utf-8", "utf-8", "utf-16le", "utf-16be"];

/** Whether the bytes start as an SQLite database does. */
export function isSqlite(bytes: Uint8Array): boolean {
  return bytes.length >= 100 && MAGIC.every((byte, at) => bytes[at] === byte);
}

/**
 * The pages of a database file.
 *
 * @throws {OutpostError} ANALYSIS_FAILED when the file is no SQLite database.
 */
export function filePages(bytes: Uint8Array): PageSource {
  if (!isSqlite(bytes)) {
    throw new OutpostError("ANALYSIS_FAILED", "Cannot read the SQLite database: its header is missing");
  }
  const stated = viewOf(bytes).getUint16(16);
  const pageSize = stated === 1 ? 65536 : stated;
  if (pageSize < 512 || (pageSize & (pageSize - 1)) !== 0) {
    throw new OutpostError("ANALYSIS_FAILED", `Cannot read the SQLite database: page size ${pageSize} is not possible`);
  }
  return {
    pageSize,
    pageCount: Math.floor(bytes.length / pageSize),
    page: (number) => bytes.subarray((number - 1) * pageSize, number * pageSize),
  };
}

/** Reads tables of one database. */
export class SqliteReader {
  readonly #pages: PageSource;
  readonly #usable: number;
  readonly #decoder: TextDecoder;
  readonly #onDamage: OnDamage;
  #damages = 0;
  readonly #header: DataView;

  /**
   * @throws {OutpostError} ANALYSIS_FAILED when the database has no usable header.
   */
  constructor(pages: PageSource, onDamage: OnDamage) {
    if (pages.pageCount === 0) {
      throw new OutpostError("ANALYSIS_FAILED", "Cannot read the SQLite database: it is shorter than one page");
    }
    this.#pages = pages;
    this.#header = viewOf(pages.page(1));
    this.#usable = pages.pageSize - this.#header.getUint8(20);
    if (this.#usable < 480) {
      throw new OutpostError("ANALYSIS_FAILED", "Cannot read the SQLite database: its pages have no room for data");
    }
    this.#decoder = new TextDecoder(ENCODINGS[this.#header.getUint32(56)] ?? "utf-8", { ignoreBOM: true });
    this.#onDamage = onDamage;
    this.#checkLength();
  }

  /**
   * The rows of a table in the order of their keys, with one column. Damaged pages and rows are passed over and told.
   *
   * @throws {OutpostError} ANALYSIS_FAILED when there is no such table or column, LIMIT_EXCEEDED when the table's
   * definition is too long.
   */
  *rows(table: string, column: string): Generator<SqliteRow> {
    const { root, sql } = this.#findTable(table);
    const index = columnNames(sql).indexOf(column.toLowerCase());
    if (index < 0) {
      throw new OutpostError(
        "ANALYSIS_FAILED",
        `Cannot read the SQLite database: table ${table} has no column ${column}`,
      );
    }
    for (const { rowid, record } of this.#records(root)) {
      yield { rowid, value: readColumn(record, index, this.#decoder) };
    }
  }

  /**
   * Tells a fault.
   *
   * @throws {OutpostError} ANALYSIS_FAILED when there are too many.
   */
  #damaged(what: string): void {
    this.#onDamage(what);
    if (++this.#damages > MAX_DAMAGES) {
      throw new OutpostError("ANALYSIS_FAILED", "Cannot read on in the SQLite database: it has too many faults");
    }
  }

  /** The header's own page count counts only when the last writer kept it (fileformat2 §1.3.8). */
  #checkLength(): void {
    const stated = this.#header.getUint32(28);
    const isKept = this.#header.getUint32(24) === this.#header.getUint32(92);
    if (isKept && stated > this.#pages.pageCount) {
      this.#damaged(`the file ends after ${this.#pages.pageCount} of ${stated} pages`);
    }
  }

  #findTable(table: string): { root: number; sql: string } {
    for (const { record } of this.#records(1)) {
      const column = (index: number): SqliteValue | undefined => readColumn(record, index, this.#decoder);
      const name = column(1);
      if (column(0) !== "table" || typeof name !== "string" || name.toLowerCase() !== table.toLowerCase()) continue;
      const root = column(3);
      const sql = column(4);
      if (typeof root !== "number" || typeof sql !== "string") continue;
      if (sql.length <= LIMITS.sqliteSchemaChars) return { root, sql };
      throw new OutpostError(
        "LIMIT_EXCEEDED",
        `Cannot read the SQLite database: the definition of ${table} has more than ${LIMITS.sqliteSchemaChars} characters`,
      );
    }
    throw new OutpostError("ANALYSIS_FAILED", `Cannot read the SQLite database: it has no table ${table}`);
  }

  /** Walks a table b-tree, left to right, with an explicit stack (its depth is the attacker's choice). */
  *#records(root: number): Generator<{ rowid: number; record: Uint8Array }> {
    const used = new Uint8Array(this.#pages.pageCount + 1);
    const stack = this.#take(root, used) === undefined ? [] : [root];
    for (let number = stack.pop(); number !== undefined; number = stack.pop()) {
      const page = this.#pages.page(number);
      const start = number === 1 ? 100 : 0;
      const type = page[start];
      if (type === LEAF) {
        yield* this.#leaf(page, start, number, used);
      } else if (type === INTERIOR) {
        const children = this.#children(page, start, number);
        stack.push(...children.filter((child) => this.#take(child, used) !== undefined).reverse());
      } else {
        this.#damaged(`page ${number} is no page of a table`);
      }
    }
  }

  /** Hands out a page once. */
  #take(number: number, used: Uint8Array): Uint8Array | undefined {
    if (number < 1 || number > this.#pages.pageCount) {
      this.#damaged(`page ${number} does not exist`);
      return undefined;
    }
    if (used[number] === 1) {
      this.#damaged(`page ${number} is used twice`);
      return undefined;
    }
    used[number] = 1;
    return this.#pages.page(number);
  }

  /** Offsets of the cells of a b-tree page. */
  #cells(page: Uint8Array, start: number, headerSize: number, number: number): number[] {
    const view = viewOf(page);
    const count = view.getUint16(start + 3);
    const array = start + headerSize;
    const fitting = Math.min(count, Math.floor((this.#usable - array) / 2));
    if (fitting < count) this.#damaged(`page ${number} claims ${count} cells`);
    const offsets: number[] = [];
    for (let i = 0; i < fitting; i++) offsets.push(view.getUint16(array + 2 * i));
    return offsets;
  }

  #children(page: Uint8Array, start: number, number: number): number[] {
    const view = viewOf(page);
    const children: number[] = [];
    for (const cell of this.#cells(page, start, 12, number)) {
      if (cell + 4 <= this.#usable) children.push(view.getUint32(cell));
      else this.#damaged(`page ${number} has a cell outside of itself`);
    }
    children.push(view.getUint32(start + 8));
    return children;
  }

  *#leaf(
    page: Uint8Array,
    start: number,
    number: number,
    used: Uint8Array,
  ): Generator<{ rowid: number; record: Uint8Array }> {
    const body = page.subarray(0, this.#usable);
    let room = body.length;
    for (const cell of this.#cells(page, start, 8, number)) {
      const length = readVarint(body, cell);
      const rowid = length && readVarint(body, length.next);
      const record = rowid && this.#payload(body, rowid.next, length.value, used);
      if (length === undefined || rowid === undefined || record === undefined) {
        this.#damaged(`page ${number} has a broken row${rowid === undefined ? "" : ` ${rowid.value}`}`);
        continue;
      }
      room -= rowid.next - cell + this.#localLength(length.value);
      if (room < 0) return this.#damaged(`page ${number} has rows that overlap`);
      yield { rowid: rowid.value, record };
    }
  }

  /**
   * A cell's payload: what is on the page itself, then a chain of overflow pages (fileformat2 §1.6). Memory is taken
   * only for a chain that is whole, because the length is a mere claim.
   */
  #payload(body: Uint8Array, at: number, length: number, used: Uint8Array): Uint8Array | undefined {
    const local = this.#localLength(length);
    if (at + local > body.length) return undefined;
    if (local === length) return body.subarray(at, at + length);
    if (length > this.#pages.pageCount * this.#pages.pageSize || at + local + 4 > body.length) return undefined;
    if (length > LIMITS.rpmHeaderBytes) {
      this.#damaged(`a row has ${length} bytes, more than ${LIMITS.rpmHeaderBytes} (rpmHeaderBytes)`);
      return undefined;
    }
    const chunks = [body.subarray(at, at + local)];
    let missing = length - local;
    let next = viewOf(body).getUint32(at + local);
    while (missing > 0) {
      const page = this.#take(next, used);
      if (page === undefined) return undefined;
      const chunk = page.subarray(4, Math.min(this.#usable, 4 + missing));
      chunks.push(chunk);
      missing -= chunk.length;
      next = viewOf(page).getUint32(0);
    }
    return concatBytes(chunks);
  }

  #localLength(length: number): number {
    const usable = this.#usable;
    if (length <= usable - 35) return length;
    const least = Math.floor((usable - 12) * 32 / 255) - 23;
    const fitting = least + (length - least) % (usable - 4);
    return fitting <= usable - 35 ? fitting : least;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
