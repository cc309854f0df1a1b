/**
 * The chunked transfer coding (RFC 9112 §7.1): taken off in place, and put on.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";

/** What {@link ChunkDecoder} expects next. */
type State = "size" | "extension" | "size-lf" | "data" | "data-cr" | "data-lf" | "trailer" | "trailer-lf" | "end";

/** Most bytes of extensions and trailers of one body, which nobody reads. */
const IGNORED_BYTES = 16 * 1024;
/** 2^52 and more has to be wrong. */
const SIZE_DIGITS = 13;

/** Takes the coding off a body that comes in pieces of any size. */
export class ChunkDecoder {
  #state: State = "size";
  #left = 0;
  #digits = 0;
  #ignored = 0;
  #lineBytes = 0;

  /** Whether the last chunk and its trailers have been seen. */
  get ended(): boolean {
    return this.#state === "end";
  }

  /**
   * Decodes `bytes[start, end)` in place: the body's bytes move together at `start`.
   *
   * @returns where they end, and how far the input was read: not to `end` when the body was over before.
   * @throws {OutpostError} CONNECTION_FAILED when the coding is malformed.
   */
  decode(bytes: Uint8Array, start: number, end: number): { readonly end: number; readonly read: number } {
    let at = start;
    let out = start;
    while (at < end && this.#state !== "end") {
      if (this.#state === "data") {
        const take = Math.min(this.#left, end - at);
        if (out !== at) bytes.copyWithin(out, at, at + take);
        at += take;
        out += take;
        this.#left -= take;
        if (this.#left === 0) this.#state = "data-cr";
      } else {
        this.#control(bytes[at++] ?? 0);
      }
    }
    return { end: out, read: at };
  }

  /** A byte that is no data. Long, since it is the whole table of states. */
  #control(byte: number): void {
    switch (this.#state) {
      case "size": {
        const digit = hexDigit(byte);
        if (digit >= 0 && ++this.#digits <= SIZE_DIGITS) {
          this.#left = this.#left * 16 + digit;
          return;
        }
        if (digit >= 0 || this.#digits === 0) throw malformed();
        if (byte === 0x0d) this.#state = "size-lf";
        else if (byte === 0x3b || byte === 0x20 || byte === 0x09) this.#state = "extension";
        else throw malformed();
        return;
      }
      case "extension":
        this.#ignore(byte);
        if (byte === 0x0d) this.#state = "size-lf";
        return;
      case "size-lf":
        this.#expect(byte, 0x0a, this.#left === 0 ? "trailer" : "data");
        this.#digits = 0;
        this.#lineBytes = 0;
        return;
      case "data-cr":
        return this.#expect(byte, 0x0d, "data-lf");
      case "data-lf":
        return this.#expect(byte, 0x0a, "size");
      case "trailer":
        if (byte === 0x0d) this.#state = "trailer-lf";
        else this.#ignore(byte), this.#lineBytes++;
        return;
      case "trailer-lf":
        this.#expect(byte, 0x0a, this.#lineBytes === 0 ? "end" : "trailer");
        this.#lineBytes = 0;
        return;
    }
  }

  #expect(byte: number, wanted: number, next: State): void {
    if (byte !== wanted) throw malformed();
    this.#state = next;
  }

  /** A line feed alone is no line end: readers that take it for one see another message. */
  #ignore(byte: number): void {
    if (byte === 0x0a || ++this.#ignored > IGNORED_BYTES) throw malformed();
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

function malformed(): OutpostError {
  return new OutpostError("CONNECTION_FAILED", "Cannot read the answer: its chunked coding is malformed");
}

/** Ends a chunked body. */
export const LAST_CHUNK: Uint8Array<ArrayBuffer> = new TextEncoder().encode("0\r\n\r\n");

/** Room that the coding of one chunk takes. */
export const CHUNK_OVERHEAD = 12;

/** Writes one chunk, which must not be empty, to the beginning of `target`; returns the bytes written. */
export function encodeChunk(chunk: Uint8Array, target: Uint8Array): number {
  const size = chunk.length.toString(16);
  for (let at = 0; at < size.length; at++) target[at] = size.charCodeAt(at);
  let at = size.length;
  target[at++] = 0x0d;
  target[at++] = 0x0a;
  target.set(chunk, at);
  at += chunk.length;
  target[at++] = 0x0d;
  target[at++] = 0x0a;
  return at;
}
