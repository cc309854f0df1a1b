/**
 * A small read-only reader of rpm's `Packages` in Berkeley DB form: the values of a hash database, in the order of its
 * pages (Berkeley DB's dbinc/db_page.h; rpm before 4.16 writes it).
 *
 * Pages of three kinds matter: the metadata page 0, hash pages with an index of keys and values, and overflow pages, which
 * are chained to hold a value that is too large for a hash page. It trusts nothing: every overflow page is used at most
 * once, so that neither a cycle nor chains that share pages can make it read more than the file holds.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { concatBytes } from "../lib/bytes.ts";
import type { OnDamage, RpmValue } from "./rpm_value.ts";

const HASH_MAGIC = 0x061561;
/** The metadata page's fields end here (HMETA33 up to `nelem`). */
const META_BYTES = 92;
const PAGE_HEADER = 26;
const P_OVERFLOW = 7;
const P_HASHMETA = 8;
const P_HASH = 13;
/** rpm's databases of before 4.4 have unsorted hash pages of this type (P_HASH_UNSORTED). */
const P_HASH_UNSORTED = 2;
const H_KEYDATA = 1;
const H_OFFPAGE = 3;
const H_OFFPAGE_BYTES = 12;
/** DBMETA_CHKSUM: pages carry a checksum behind a longer header. rpm never asks for it. */
const FLAG_CHECKSUM = 0x01;
/** The value of key 0 is no package: it counts the package numbers given out. */
const COUNTER_BYTES = 4;

/** Whether the bytes start as a hash database of Berkeley DB does, in either byte order. */
export function isBdbHash(bytes: Uint8Array): boolean {
  if (bytes.length < META_BYTES) return false;
  const view = viewOf(bytes);
  return view.getUint32(12, true) === HASH_MAGIC || view.getUint32(12, false) === HASH_MAGIC;
}

/**
 * The values of the database. What is damaged is passed over and told. Blobs may be views of `bytes`.
 *
 * @throws {OutpostError} ANALYSIS_FAILED when the file is no hash database, or of a kind that rpm does not write.
 */
export function* bdbValues(bytes: Uint8Array, onDamage: OnDamage): Generator<RpmValue> {
  if (!isBdbHash(bytes)) throw broken("its header is missing");
  const meta = viewOf(bytes);
  const little = meta.getUint32(12, true) === HASH_MAGIC;
  const pageSize = meta.getUint32(20, little);
  if (pageSize < 512 || pageSize > 65536 || (pageSize & (pageSize - 1)) !== 0) {
    throw broken(`page size ${pageSize} is not possible`);
  }
  if (meta.getUint8(25) !== P_HASHMETA) throw broken("its first page is not that of a hash database");
  if (meta.getUint8(24) !== 0) throw broken("it is encrypted");
  if ((meta.getUint8(26) & FLAG_CHECKSUM) !== 0) throw broken("its pages have checksums, which are not supported");
  const lastPage = meta.getUint32(32, little);
  const pages = Math.floor(bytes.length / pageSize);
  if (lastPage >= pages) onDamage(`the file ends after ${pages} of ${lastPage + 1} pages`);
  yield* new BdbReader(bytes, pageSize, little, onDamage).values(Math.min(lastPage + 1, pages));
}

class BdbReader {
  readonly #bytes: Uint8Array;
  readonly #pageSize: number;
  readonly #little: boolean;
  readonly #onDamage: OnDamage;
  readonly #used: Uint8Array;

  constructor(bytes: Uint8Array, pageSize: number, little: boolean, onDamage: OnDamage) {
    this.#bytes = bytes;
    this.#pageSize = pageSize;
    this.#little = little;
    this.#onDamage = onDamage;
    this.#used = new Uint8Array(Math.floor(bytes.length / pageSize));
  }

  *values(pageCount: number): Generator<RpmValue> {
    for (let number = 1; number < pageCount; number++) {
      const page = this.#page(number);
      const type = page.getUint8(25);
      if (type === P_HASH || type === P_HASH_UNSORTED) yield* this.#hashPage(page, number);
    }
  }

  #page(number: number): DataView {
    return viewOf(this.#bytes.subarray(number * this.#pageSize, (number + 1) * this.#pageSize));
  }

  /** Entries come in pairs of key and value; the index holds the offset of each in the page. */
  *#hashPage(page: DataView, number: number): Generator<RpmValue> {
    const stated = page.getUint16(20, this.#little);
    const entries = Math.min(stated, Math.floor((this.#pageSize - PAGE_HEADER) / 2));
    if (entries !== stated || entries % 2 !== 0) this.#onDamage(`page ${number} claims ${stated} entries`);
    const offset = (index: number): number => page.getUint16(PAGE_HEADER + 2 * index, this.#little);
    for (let index = 1; index < entries; index += 2) {
      const place = `page ${number}, entry ${index}`;
      const at = offset(index);
      const type = at < PAGE_HEADER || at >= this.#pageSize ? undefined : page.getUint8(at);
      if (type === H_OFFPAGE) {
        const blob = this.#tryOffPage(page, at, place);
        if (blob !== undefined) yield { place, blob };
      } else if (type === H_KEYDATA) {
        // Entries grow from the end of the page, so a value ends where its key starts.
        const end = offset(index - 1);
        if (end <= at || end > this.#pageSize) this.#onDamage(`${place} has no length`);
        else if (end - at - 1 !== COUNTER_BYTES) yield { place, blob: bytesOf(page).subarray(at + 1, end) };
      } else {
        this.#onDamage(type === undefined ? `${place} lies outside of it` : `${place} has type ${type}`);
      }
    }
  }

  #tryOffPage(page: DataView, at: number, place: string): Uint8Array | undefined {
    try {
      return this.#offPage(page, at);
    } catch (error) {
      if (!(error instanceof OutpostError)) throw error;
      this.#onDamage(`${place}: ${error.message}`);
      return undefined;
    }
  }

  /** A value on overflow pages: `hf_offset` of each says how many bytes it holds (OV_LEN). */
  #offPage(page: DataView, at: number): Uint8Array {
    if (at + H_OFFPAGE_BYTES > this.#pageSize) throw broken("a reference to overflow pages is cut off");
    const length = page.getUint32(at + 8, this.#little);
    if (length > LIMITS.rpmHeaderBytes) {
      throw broken(`a value has ${length} bytes, more than ${LIMITS.rpmHeaderBytes} (rpmHeaderBytes)`);
    }
    const parts: Uint8Array[] = [];
    let missing = length;
    for (let number = page.getUint32(at + 4, this.#little); missing > 0;) {
      const overflow = this.#take(number);
      const held = overflow.getUint16(22, this.#little);
      if (held === 0 || held > this.#pageSize - PAGE_HEADER || held > missing) {
        throw broken(`overflow page ${number} claims ${held} bytes`);
      }
      parts.push(bytesOf(overflow).subarray(PAGE_HEADER, PAGE_HEADER + held));
      missing -= held;
      number = overflow.getUint32(16, this.#little);
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : concatBytes(parts);
  }

  /** Hands out an overflow page once. */
  #take(number: number): DataView {
    if (number < 1 || number >= this.#used.length) throw broken(`overflow page ${number} does not exist`);
    if (this.#used[number] === 1) throw broken(`overflow page ${number} is used twice`);
    this.#used[number] = 1;
    const page = this.#page(number);
    if (page.getUint8(25) !== P_OVERFLOW) throw broken(`page ${number} is no overflow page`);
    return page;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function broken(why: string): OutpostError {
  return new OutpostError("ANALYSIS_FAILED", `Cannot read the Berkeley DB: ${why}`);
}
