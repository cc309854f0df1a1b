/**
 * Headers of DEFLATE blocks (RFC 1951, 3.2.3 to 3.2.7), read as strictly as zlib's inflate() reads them.
 *
 * @module
 */
import { InflateError } from "../lib/inflate_error.ts";

/** A block header. */
export interface BlockHeader {
  /** Whether the block is the stream's last. */
  readonly final: boolean;
  readonly type: "stored" | "fixed" | "dynamic";
  /** Position of the first bit after the header; a stored block's lengths belong to its header. */
  readonly end: number;
  /** Bytes that follow in a stored block; 0 in others. */
  readonly storedBytes: number;
}

const TYPES = ["stored", "fixed", "dynamic"] as const;
/** Order in which the lengths of the code length code are written (RFC 1951, 3.2.7). */
const LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15] as const;
const END_OF_BLOCK = 256;
/** Literals, end of block and lengths that may occur; two more symbols are reserved. */
export const LITERAL_CODES = 286;
/** Distances that may occur; two more symbols are reserved. */
export const DISTANCE_CODES = 30;
const MAX_CODE_BITS = 15;

/**
 * Reads the header at a bit position.
 *
 * @returns undefined when `bytes` ends inside the header.
 * @throws {InflateError} When zlib would refuse it: unknown type, lengths that contradict each other, too many codes, a set of
 * codes that is over-subscribed or incomplete, a repetition of nothing or past the end, no end-of-block code.
 */
export function readBlockHeader(bytes: Uint8Array, bit: number): BlockHeader | undefined {
  const reader = new BitReader(bytes, bit);
  const final = reader.take(1) === 1;
  const type = TYPES[reader.take(2)];
  const [storedBytes, problem] = type === "stored"
    ? readStored(reader)
    : [0, type === "dynamic" ? problemOfCodes(reader) : undefined];
  // Bits that are not there yet were read as zeros: whatever they seem to say is not known.
  if (reader.overrun) return undefined;
  if (problem !== undefined || type === undefined) throw new InflateError(problem ?? "invalid block type");
  return { final, type, end: reader.bit, storedBytes };
}

function readStored(reader: BitReader): readonly [number, string | undefined] {
  reader.align();
  const length = reader.take(16);
  return [length, reader.take(16) === (~length & 0xffff) ? undefined : "invalid stored block lengths"];
}

/** Reads the codes of a dynamic block and says what is wrong with them. */
function problemOfCodes(reader: BitReader): string | undefined {
  const literals = reader.take(5) + 257;
  const distances = reader.take(5) + 1;
  const written = reader.take(4) + 4;
  if (literals > LITERAL_CODES || distances > DISTANCE_CODES) return "too many length or distance symbols";
  const orderedLengths = new Uint8Array(LENGTH_ORDER.length);
  for (const symbol of LENGTH_ORDER.slice(0, written)) orderedLengths[symbol] = reader.take(3);
  const lengthCode = new PrefixCode(orderedLengths);
  if (lengthCode.unused !== 0) return "invalid code lengths set";
  const lengths = readLengths(reader, lengthCode, literals + distances);
  if (lengths === undefined) return "invalid bit length repeat";
  if (lengths[END_OF_BLOCK] === 0) return "missing end-of-block";
  if (!isUsable(new PrefixCode(lengths.subarray(0, literals)))) return "invalid literal/lengths set";
  if (!isUsable(new PrefixCode(lengths.subarray(literals)))) return "invalid distances set";
  return undefined;
}

/** Code lengths of both codes, which are written as one sequence; undefined when a repetition does not fit. */
function readLengths(reader: BitReader, code: PrefixCode, count: number): Uint8Array | undefined {
  const lengths = new Uint8Array(count);
  for (let at = 0; at < count;) {
    const symbol = code.decode(reader);
    if (symbol < 16) {
      lengths[at++] = symbol;
      continue;
    }
    if (symbol === 16 && at === 0) return undefined;
    const value = symbol === 16 ? lengths[at - 1] ?? 0 : 0;
    const times = symbol === 16 ? 3 + reader.take(2) : symbol === 17 ? 3 + reader.take(3) : 11 + reader.take(7);
    if (at + times > count) return undefined;
    lengths.fill(value, at, at + times);
    at += times;
  }
  return lengths;
}

/** zlib takes an incomplete code when it is none at all, or one code of one bit. */
function isUsable(code: PrefixCode): boolean {
  return code.unused === 0 || (code.unused > 0 && code.longest <= 1);
}

/** A canonical prefix code (RFC 1951, 3.2.2). */
class PrefixCode {
  /** Bit strings of the greatest length that no code begins: 0 for a complete code, negative for an over-subscribed one. */
  readonly unused: number;
  /** Bits of the longest code, 0 when there is none. */
  readonly longest: number;
  readonly #counts = new Uint16Array(MAX_CODE_BITS + 1);
  readonly #lengths: Uint8Array;
  /** Symbols in the order of their codes; made when one is decoded. */
  #symbols: number[] | undefined;

  /** `lengths` holds the bits of each symbol's code, 0 for none. */
  constructor(lengths: Uint8Array) {
    this.#lengths = lengths;
    for (const length of lengths) this.#counts[length] = (this.#counts[length] ?? 0) + 1;
    this.#counts[0] = 0;
    this.longest = this.#counts.findLastIndex((count) => count > 0);
    if (this.longest < 0) this.longest = 0;
    let unused = 1;
    for (let bits = 1; bits <= MAX_CODE_BITS && unused >= 0; bits++) unused = 2 * unused - (this.#counts[bits] ?? 0);
    this.unused = unused;
  }

  /** The next symbol; the code must be complete. */
  decode(reader: BitReader): number {
    this.#symbols ??= this.#order();
    let code = 0;
    let first = 0;
    let index = 0;
    for (let bits = 1; bits <= this.longest; bits++) {
      const count = this.#counts[bits] ?? 0;
      code |= reader.take(1);
      if (code - first < count) return this.#symbols[index + code - first] ?? 0;
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    throw new InflateError("invalid code");
  }

  #order(): number[] {
    const symbols = Array.from(this.#lengths.keys()).filter((symbol) => this.#lengths[symbol] !== 0);
    return symbols.toSorted((a, b) => (this.#lengths[a] ?? 0) - (this.#lengths[b] ?? 0));
  }
}

/** Bits of a byte sequence, least significant first; beyond its end there are zeros. */
class BitReader {
  /** Position of the next bit. */
  bit: number;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, bit: number) {
    this.#bytes = bytes;
    this.bit = bit;
  }

  /** Whether bits were taken that are not there. */
  get overrun(): boolean {
    return this.bit > this.#bytes.length * 8;
  }

  /** The next bits as a number; at most 16. */
  take(bits: number): number {
    const at = this.bit >> 3;
    const three = (this.#bytes[at] ?? 0) | (this.#bytes[at + 1] ?? 0) << 8 | (this.#bytes[at + 2] ?? 0) << 16;
    const value = (three >> (this.bit & 7)) & ((1 << bits) - 1);
    this.bit += bits;
    return value;
  }

  /** Goes to the next byte boundary. */
  align(): void {
    this.bit = (this.bit + 7) & ~7;
  }
}
