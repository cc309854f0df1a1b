/**
 * Shortens text databases to the lines that somebody reads: of a dpkg status those are a tenth, and what is kept of a layer
 * stands in memory while packages and graph are made. They are never held whole.
 *
 * @module
 */
import type { FilePattern } from "../core/ports.ts";

const NEWLINE = 0x0a;

/** Beginnings of the lines to keep, by path. */
export type KeptLines = ReadonlyMap<string, readonly Uint8Array[]>;

/** Collects {@link FilePattern.lines} of patterns with exact paths. */
export function keptLinesOf(patterns: readonly FilePattern[]): KeptLines {
  const encoder = new TextEncoder();
  const all = patterns.flatMap(({ paths = [], lines }) =>
    lines === undefined ? [] : paths.map((path) => [path, lines.map((line) => encoder.encode(line))] as const)
  );
  return new Map(all);
}

/** Kept lines are gathered in pieces of this size: memory is asked for, and given back, piece by piece. */
const PIECE_BYTES = 256 * 1024;

/** Where in a line the filter is. */
type Place = "begin" | "kept" | "left out";

/**
 * Keeps, of a text that streams by, the lines that begin so, and the first, in front of which a byte-order mark may stand.
 * The text itself is never held, so that it may be of any size.
 */
export class LineFilter {
  readonly #beginnings: readonly Uint8Array[];
  /** So many bytes of a line decide. */
  readonly #deciding: number;
  /** Told before memory is taken for so many bytes, and at the end of those that were not needed (negative). */
  readonly #charge: (bytes: number) => void;
  readonly #pieces: Uint8Array<ArrayBuffer>[] = [];
  /** Bytes in the last piece. */
  #filled = PIECE_BYTES;
  /** The beginning of a line that has not come far enough. */
  readonly #head: Uint8Array<ArrayBuffer>;
  #headLength = 0;
  #place: Place = "begin";
  #first = true;

  constructor(beginnings: readonly Uint8Array[], charge: (bytes: number) => void) {
    this.#beginnings = beginnings;
    this.#deciding = Math.max(1, ...beginnings.map((beginning) => beginning.length));
    this.#head = new Uint8Array(this.#deciding);
    this.#charge = charge;
  }

  /** Takes the next bytes. */
  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      if (this.#place === "begin") {
        at = this.#begin(bytes, at);
        continue;
      }
      const newline = bytes.indexOf(NEWLINE, at);
      const end = newline < 0 ? bytes.length : newline + 1;
      if (this.#place === "kept") this.#append(bytes, at, end);
      if (newline >= 0) this.#place = "begin";
      at = end;
    }
  }

  /** The lines, once the text is complete. The pieces' memory is free at once: so much must not wait for the collector. */
  finish(): Uint8Array<ArrayBuffer> {
    // The last line may be shorter than what decides.
    if (this.#headLength > 0) this.#decideHead();
    const { length } = this.#pieces;
    const total = length === 0 ? 0 : (length - 1) * PIECE_BYTES + this.#filled;
    const lines = new Uint8Array(total);
    for (const [index, piece] of this.#pieces.entries()) {
      lines.set(piece.subarray(0, total - index * PIECE_BYTES), index * PIECE_BYTES);
      piece.buffer.transfer(0);
    }
    this.#charge(total - length * PIECE_BYTES);
    this.#pieces.length = 0;
    return lines;
  }

  /** At the begin of a line; returns the position after what was taken of it. */
  #begin(bytes: Uint8Array, at: number): number {
    if (this.#headLength === 0 && bytes.length - at >= this.#deciding) {
      this.#decide(bytes, at);
      return at;
    }
    let end = at;
    let complete = false;
    while (end < bytes.length && !complete && this.#headLength < this.#deciding) {
      complete = bytes[end] === NEWLINE;
      this.#head[this.#headLength++] = bytes[end++] ?? 0;
    }
    if (!complete && this.#headLength < this.#deciding) return end;
    this.#decideHead();
    if (complete) this.#place = "begin";
    return end;
  }

  #decideHead(): void {
    this.#decide(this.#head.subarray(0, this.#headLength), 0);
    if (this.#place === "kept") this.#append(this.#head, 0, this.#headLength);
    this.#headLength = 0;
  }

  #decide(bytes: Uint8Array, at: number): void {
    this.#place = this.#first || this.#isWanted(bytes, at) ? "kept" : "left out";
    this.#first = false;
  }

  #isWanted(bytes: Uint8Array, at: number): boolean {
    for (const beginning of this.#beginnings) if (beginsWith(bytes, at, beginning)) return true;
    return false;
  }

  #append(bytes: Uint8Array, from: number, to: number): void {
    for (let at = from; at < to;) {
      if (this.#filled === PIECE_BYTES) {
        this.#charge(PIECE_BYTES);
        this.#pieces.push(new Uint8Array(PIECE_BYTES));
        this.#filled = 0;
      }
      const end = Math.min(to, at + PIECE_BYTES - this.#filled);
      this.#pieces.at(-1)?.set(bytes.subarray(at, end), this.#filled);
      this.#filled += end - at;
      at = end;
    }
  }
}

/** Beginnings hold no newline, so that none reaches beyond its line. */
function beginsWith(bytes: Uint8Array, at: number, beginning: Uint8Array): boolean {
  for (let i = 0; i < beginning.length; i++) if (bytes[at + i] !== beginning[i]) return false;
  return true;
}
