/**
 * JSON text of megabytes, almost all of which is one string: the body of a request in base64. What is long is cut out of the
 * bytes before the rest becomes text and is parsed, and base64 is decoded from where it stands, so that neither is ever a
 * string of its own. Otherwise a body of 10 MiB would be 14 MiB of text, and 14 MiB more once it is parsed, in V8's heap.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { LIMITS } from "../core/limits.ts";

/** A string in a message that is longer than LIMITS.brokerTextBytes, and was not made. */
export class OversizedText {}

/** What is malformed, as text that quotes nothing. */
export class LargeJsonError extends Error {}

const QUOTE = 0x22;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
/** Values that begin with it stand for one that was cut out; strings that do so by themselves are cut out too. */
const MARK = "!";
const MARK_BYTE = 0x21;
/** Strings up to here stay where they are. */
const SHORT_BYTES = 4096;
/** Base64 that is decoded at once. */
const PIECE_BYTES = 64 * 1024;

/** JSON text without its long strings, and what they were. */
export class LargeJson {
  /** To be parsed. */
  readonly text: string;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #cuts: readonly (readonly [start: number, end: number])[];

  /**
   * Cuts. The bytes must not change while this is used.
   *
   * @throws {LargeJsonError} when there is more nesting than LIMITS.jsonDepth, there are more values than LIMITS.jsonValues,
   * or the rest has more than LIMITS.brokerTextBytes or is not UTF-8.
   */
  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#bytes = bytes;
    const { kept, cuts } = cut(bytes);
    this.#cuts = cuts;
    this.text = kept.map(decode).join("");
  }

  /** A parsed string as it was. */
  restore(value: string): string | OversizedText {
    const range = this.#range(value);
    if (range === undefined) return value;
    const [start, end] = range;
    if (end - start > LIMITS.brokerTextBytes) return new OversizedText();
    try {
      return JSON.parse(decode(this.#bytes.subarray(start - 1, end + 1)));
    } catch {
      throw new LargeJsonError("The message is not JSON");
    }
  }

  /**
   * The bytes that a parsed string is the base64 of.
   *
   * @throws {LargeJsonError} when it is not base64.
   */
  binary(value: string): Uint8Array<ArrayBuffer> {
    const [start, end] = this.#range(value) ?? [];
    try {
      if (start === undefined || end === undefined) return Uint8Array.fromBase64(value);
      return decodeBase64(this.#bytes.subarray(start, end));
    } catch {
      throw new LargeJsonError("The message holds $binary that is not base64");
    }
  }

  #range(value: string): readonly [number, number] | undefined {
    return value.startsWith(MARK) ? this.#cuts[Number(value.slice(1))] : undefined;
  }
}

interface Parts {
  readonly kept: readonly Uint8Array[];
  readonly cuts: readonly (readonly [number, number])[];
}

/** One pass over the bytes, strings at the speed of `indexOf`. Whether it is JSON at all is for the parser to say. */
function cut(bytes: Uint8Array<ArrayBuffer>): Parts {
  const kept: Uint8Array[] = [];
  const cuts: (readonly [number, number])[] = [];
  const { length } = bytes;
  let [from, size, depth, values] = [0, 0, 0, 0];
  const keep = (to: number): void => {
    size += to - from;
    if (size > LIMITS.brokerTextBytes) throw new LargeJsonError("The message holds more text than brokerTextBytes");
    kept.push(bytes.subarray(from, to));
  };
  for (let at = 0; at < length; at++) {
    const c = bytes[at];
    if (c === QUOTE) {
      const start = at + 1;
      const end = closingQuote(bytes, start);
      at = end;
      const odd = bytes[start] === MARK_BYTE || bytes[start] === BACKSLASH;
      if ((!odd && end - start <= SHORT_BYTES) || isKey(bytes, end)) continue;
      keep(start);
      kept.push(new TextEncoder().encode(`${MARK}${cuts.length}`));
      cuts.push([start, end]);
      from = end;
    } else if (c === 0x5b || c === 0x7b) {
      if (++depth > LIMITS.jsonDepth) throw new LargeJsonError("The message is nested deeper than jsonDepth");
      if (++values > LIMITS.jsonValues) throw new LargeJsonError("The message holds more values than jsonValues");
    } else if (c === 0x5d || c === 0x7d) {
      depth--;
    } else if (c === 0x2c && ++values > LIMITS.jsonValues) {
      throw new LargeJsonError("The message holds more values than jsonValues");
    }
  }
  keep(length);
  return { kept, cuts };
}

/** Position of the quote that closes a string whose content starts at `from`. */
function closingQuote(bytes: Uint8Array, from: number): number {
  for (let at = bytes.indexOf(QUOTE, from); at >= 0; at = bytes.indexOf(QUOTE, at + 1)) {
    let backslashes = 0;
    while (at - 1 - backslashes >= from && bytes[at - 1 - backslashes] === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return at;
  }
  throw new LargeJsonError("The message is not JSON");
}

/** Whether a string that ends at `end` is the name of a member. */
function isKey(bytes: Uint8Array, end: number): boolean {
  let at = end + 1;
  while (bytes[at] === 0x20 || bytes[at] === 0x09 || bytes[at] === 0x0a || bytes[at] === 0x0d) at++;
  return bytes[at] === COLON;
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new LargeJsonError("The message is not UTF-8");
  }
}

/** Piece by piece, since the decoder takes strings only. `\/` is the one escape that encoders write into base64. */
function decodeBase64(base64: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const source = Buffer.from(base64.buffer, base64.byteOffset, base64.length);
  const padding = base64.at(-1) !== 0x3d ? 0 : base64.at(-2) !== 0x3d ? 1 : 2;
  const decoded = new Uint8Array(Math.ceil(base64.length * 3 / 4) - padding);
  let written = 0;
  let rest = "";
  for (let at = 0; at < base64.length; at += PIECE_BYTES) {
    const text = (rest + source.toString("latin1", at, at + PIECE_BYTES)).replaceAll("\\/", "/");
    const done = decoded.subarray(written).setFromBase64(text, { lastChunkHandling: "stop-before-partial" });
    written += done.written;
    rest = text.slice(done.read);
    if (text.includes("=") && at + PIECE_BYTES < base64.length) throw new SyntaxError("Padding inside of base64");
  }
  written += decoded.subarray(written).setFromBase64(rest).written;
  return decoded.subarray(0, written);
}
