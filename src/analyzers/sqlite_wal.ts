/**
 * SQLite's write-ahead log (https://sqlite.org/fileformat2.html §4): pages that were committed, but not yet written back
 * into the database file, as they are after a build step that was killed or that never closed the database.
 *
 * @module
 */
import { filePages, isSqlite, type PageSource } from "./sqlite_reader.ts";

const MAGIC_LITTLE = 0x377f0682;
const MAGIC_BIG = 0x377f0683;
const VERSION = 3007000;
const HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;

/**
 * The pages of a database with its log laid over them, as SQLite itself would see them: frames count up to the last
 * commit before the first frame that has another salt or a wrong checksum.
 *
 * @throws {OutpostError} ANALYSIS_FAILED when neither the file nor the log make a database.
 */
export function pagesWithLog(file: Uint8Array, log: Uint8Array | undefined): PageSource {
  const frames = log === undefined ? undefined : readLog(log);
  if (frames === undefined || frames.pageCount === 0) return filePages(file);
  const { pageSize, pageCount, pages } = frames;
  const base = isSqlite(file) ? filePages(file) : undefined;
  if (!pages.has(1) && base?.pageSize !== pageSize) return filePages(file);
  return {
    pageSize,
    // The commit's page count is a claim: every page of a database stands in the file or in the log.
    pageCount: Math.min(pageCount, Math.floor(file.length / pageSize) + pages.size),
    page: (number) => pages.get(number) ?? padded(file.subarray((number - 1) * pageSize, number * pageSize), pageSize),
  };
}

/** A page that neither the log nor the file has is empty: a reader finds no page of a table in it. */
function padded(page: Uint8Array, pageSize: number): Uint8Array {
  return page.length === pageSize ? page : new Uint8Array(pageSize);
}

interface Log {
  readonly pageSize: number;
  /** Pages of the database after the last commit; 0 when nothing was committed. */
  readonly pageCount: number;
  readonly pages: ReadonlyMap<number, Uint8Array>;
}

/** Undefined when it is no log. */
function readLog(log: Uint8Array): Log | undefined {
  if (log.length < HEADER_BYTES) return undefined;
  const view = new DataView(log.buffer, log.byteOffset, log.byteLength);
  const magic = view.getUint32(0);
  const pageSize = view.getUint32(8);
  const isLog = (magic === MAGIC_LITTLE || magic === MAGIC_BIG) && view.getUint32(4) === VERSION;
  if (!isLog || pageSize < 512 || pageSize > 65536 || (pageSize & (pageSize - 1)) !== 0) return undefined;
  const sum = new Checksum(view, magic === MAGIC_LITTLE);
  if (!sum.add(0, HEADER_BYTES - 8, HEADER_BYTES - 8)) return undefined;
  const pages = new Map<number, Uint8Array>();
  let pending = new Map<number, Uint8Array>();
  let pageCount = 0;
  const frameBytes = FRAME_HEADER_BYTES + pageSize;
  for (let at = HEADER_BYTES; at + frameBytes <= log.length; at += frameBytes) {
    const number = view.getUint32(at);
    const sameSalt = view.getUint32(at + 8) === view.getUint32(16) && view.getUint32(at + 12) === view.getUint32(20);
    if (!sameSalt || number === 0) break;
    sum.update(at, 8);
    if (!sum.add(at + FRAME_HEADER_BYTES, pageSize, at + 16)) break;
    pending.set(number, log.subarray(at + FRAME_HEADER_BYTES, at + frameBytes));
    const committed = view.getUint32(at + 4);
    if (committed === 0) continue;
    for (const [page, bytes] of pending) pages.set(page, bytes);
    pending = new Map();
    pageCount = committed;
  }
  return { pageSize, pageCount, pages };
}

/** The log's running checksum (fileformat2 §4.2). */
class Checksum {
  readonly #view: DataView;
  readonly #little: boolean;
  #first = 0;
  #second = 0;

  constructor(view: DataView, little: boolean) {
    this.#view = view;
    this.#little = little;
  }

  update(from: number, length: number): void {
    for (let at = from; at < from + length; at += 8) {
      this.#first = (this.#first + this.#view.getUint32(at, this.#little) + this.#second) >>> 0;
      this.#second = (this.#second + this.#view.getUint32(at + 4, this.#little) + this.#first) >>> 0;
    }
  }

  /** Adds bytes, and tells whether the sum is then what stands (big-endian) at an offset. */
  add(from: number, length: number, stated: number): boolean {
    this.update(from, length);
    return this.#first === this.#view.getUint32(stated) && this.#second === this.#view.getUint32(stated + 4);
  }
}
