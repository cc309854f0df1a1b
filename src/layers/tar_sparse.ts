/**
 * Sparse members: maps in the three places where GNU tar has put them, and the filling of holes.
 *
 * @module
 */
import { BLOCK_BYTES, parseNumeric } from "./tar_header.ts";
import { parseDecimal } from "./tar_pax.ts";

/** Data regions of a sparse file: offset, length, offset, length, … in order, in bytes of the logical file. */
export type SparseMap = readonly number[];

const decoder = new TextDecoder();
const ZEROS = new Uint8Array(16 * 1024);

/**
 * Reads the map of version 1.0, which stands in front of the data in whole blocks: feed blocks until `done`.
 */
export class SparseMapReader {
  #text = "";
  #newlines = 0;
  #needed = 1;
  #count: number | undefined;

  /** Takes one block. @returns "more", "done", or "bad" when the map is malformed. */
  push(block: Uint8Array): "more" | "done" | "bad" {
    for (let i = 0; i < BLOCK_BYTES; i++) if (block[i] === 0x0a) this.#newlines++;
    this.#text += decoder.decode(block.subarray(0, BLOCK_BYTES));
    if (this.#count === undefined && this.#newlines > 0) {
      this.#count = parseDecimal(this.#text.slice(0, this.#text.indexOf("\n")));
      if (this.#count === undefined || this.#count < 0) return "bad";
      this.#needed = 1 + 2 * this.#count;
    }
    return this.#newlines >= this.#needed ? "done" : "more";
  }

  /** The map, once `done`. Undefined when a number is malformed. */
  map(): SparseMap | undefined {
    const numbers = this.#text.split("\n").slice(1, this.#needed).map(parseDecimal);
    return numbers.includes(undefined) ? undefined : numbers as number[];
  }
}

/**
 * Appends the map entries of an old GNU header (`start` 386, 4 entries) or extension block (`start` 0, 21 entries).
 *
 * @returns Whether another extension block follows; undefined when a number is malformed.
 */
export function readOldSparse(block: Uint8Array, start: number, entries: number, into: number[]): boolean | undefined {
  for (let i = 0; i < entries; i++) {
    const at = start + i * 24;
    if (block[at] === 0) break;
    const offset = parseNumeric(block, at, 12);
    const length = parseNumeric(block, at + 12, 12);
    if (Number.isNaN(offset + length)) return undefined;
    into.push(offset, length);
  }
  return (block[start + entries * 24] ?? 0) > 0;
}

/** Whether regions are in order, do not overlap and end within `size`, and all `stored` bytes belong to one of them. */
export function sparseMapHolds(map: SparseMap, size: number, stored: number): boolean {
  if (size < 0) return false;
  let end = 0;
  let sum = 0;
  for (let i = 0; i < map.length; i += 2) {
    const offset = map[i] ?? 0;
    const length = map[i + 1] ?? 0;
    if (offset < 0 || length < 0 || offset < end || offset + length > size) return false;
    end = offset + length;
    sum += length;
  }
  return sum === stored;
}

/** Turns the stored bytes of a sparse member into its logical content. */
export class SparseFiller {
  readonly #map: SparseMap;
  readonly #size: number;
  readonly #emit: (bytes: Uint8Array) => void;
  #region = 0;
  #at = 0;

  /** `map` has passed {@link sparseMapHolds} for `size`. */
  constructor(map: SparseMap, size: number, emit: (bytes: Uint8Array) => void) {
    this.#map = map;
    this.#size = size;
    this.#emit = emit;
  }

  /** Takes the next stored bytes. */
  push(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      const start = this.#map[this.#region] ?? 0;
      const end = start + (this.#map[this.#region + 1] ?? 0);
      if (end > start) this.#zerosUntil(start);
      const taken = Math.max(0, Math.min(end - this.#at, bytes.length - at));
      if (taken > 0) this.#emit(bytes.subarray(at, at + taken));
      at += taken;
      this.#at += taken;
      if (this.#at >= end || start === end) this.#region += 2;
    }
  }

  /** Fills the hole at the end. */
  finish(): void {
    this.#zerosUntil(this.#size);
  }

  #zerosUntil(end: number): void {
    while (this.#at < end) {
      const length = Math.min(ZEROS.length, end - this.#at);
      this.#emit(ZEROS.subarray(0, length));
      this.#at += length;
    }
  }
}
