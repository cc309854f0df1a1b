/**
 * SQLite's variable-length integers, records and column names (https://sqlite.org/fileformat2.html §1.6, §2.1).
 *
 * @module
 */

/** A value of a column. */
export type SqliteValue = null | number | bigint | string | Uint8Array;

/** A variable-length integer and the offset behind it. */
export interface Varint {
  readonly value: number;
  readonly next: number;
}

/**
 * Reads a big-endian varint of 1 to 9 bytes. Values above 2^53 lose precision: no length, page or serial type that is
 * valid comes near. Undefined when the bytes end inside it.
 */
export function readVarint(bytes: Uint8Array, at: number): Varint | undefined {
  let value = 0;
  for (let i = 0; i < 9; i++) {
    const byte = bytes[at + i];
    if (byte === undefined) return undefined;
    if (i === 8) return { value: value * 256 + byte, next: at + 9 };
    value = value * 128 + (byte & 0x7f);
    if (byte < 0x80) return { value, next: at + i + 1 };
  }
  return undefined;
}

/**
 * The value of one column of a record; undefined when the record has fewer columns, or its header does not fit its
 * bytes. Blobs are views of `record`.
 */
export function readColumn(record: Uint8Array, column: number, decoder: TextDecoder): SqliteValue | undefined {
  const header = readVarint(record, 0);
  if (header === undefined || header.value > record.length) return undefined;
  let at = header.next;
  let body = header.value;
  for (let index = 0; at < header.value; index++) {
    const type = readVarint(record, at);
    if (type === undefined) return undefined;
    const size = sizeOf(type.value);
    if (size === undefined || body + size > record.length) return undefined;
    if (index === column) return decodeValue(record.subarray(body, body + size), type.value, decoder);
    body += size;
    at = type.next;
  }
  return undefined;
}

const INTEGER_SIZES = [0, 1, 2, 3, 4, 6, 8, 8, 0, 0];

function sizeOf(serialType: number): number | undefined {
  return serialType >= 12 ? Math.floor((serialType - 12) / 2) : INTEGER_SIZES[serialType];
}

function decodeValue(bytes: Uint8Array, serialType: number, decoder: TextDecoder): SqliteValue {
  if (serialType >= 12) return serialType % 2 === 0 ? bytes : decoder.decode(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (serialType === 0) return null;
  if (serialType === 7) return view.getFloat64(0);
  if (serialType >= 8) return serialType - 8;
  if (bytes.length === 8) {
    const wide = view.getBigInt64(0);
    return Number.isSafeInteger(Number(wide)) ? Number(wide) : wide;
  }
  let value = view.getInt8(0);
  for (const byte of bytes.subarray(1)) value = value * 256 + byte;
  return value;
}

/** `'a'`, `"a"`, `` `a` `` and `[a]`, a bare word, one punctuation mark, or a comment. */
const TOKEN =
  /'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|\/\*[^]*?\*\/|[\w$\u0080-\uffff]+|[(),]|[^\s\w]/g;

const CONSTRAINTS = new Set(["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"]);

/** Column names of a `CREATE TABLE` statement, lower-cased as SQLite compares them. */
export function columnNames(createTable: string): string[] {
  const names: string[] = [];
  let depth = 0;
  let expectName = false;
  for (const [token] of createTable.matchAll(TOKEN)) {
    if (token.startsWith("--") || token.startsWith("/*")) continue;
    if (expectName) {
      expectName = false;
      if (CONSTRAINTS.has(token.toUpperCase())) break;
      names.push(unquote(token).toLowerCase());
    } else if (token === "(") {
      expectName = ++depth === 1 && names.length === 0;
    } else if (token === ")") {
      if (--depth === 0) break;
    } else if (token === "," && depth === 1) {
      expectName = true;
    }
  }
  return names;
}

function unquote(token: string): string {
  const quote = token[0] ?? "";
  if (quote === "[") return token.slice(1, -1);
  return "'\"`".includes(quote) ? token.slice(1, -1).replaceAll(quote + quote, quote) : token;
}
