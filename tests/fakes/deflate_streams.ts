/**
 * Raw DEFLATE streams of every kind, deterministic: what zlib writes at its levels and strategies, and what no
 * compressor writes, bit by bit.
 *
 * @module
 */
import { constants, deflateRawSync } from "node:zlib";

/** A sequence of numbers in [0, 1) from a seed (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Data with literals of a skewed distribution, and matches of all lengths and distances. */
export function mixedData(length: number, random: () => number): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(length);
  let at = 0;
  while (at < length) {
    const size = 1 + Math.floor(random() ** 3 * 300);
    const far = random() < 0.5 ? 1 + Math.floor(random() * 32) : 1 + Math.floor(random() * 32_768);
    const copies = at >= far && random() < 0.6;
    for (let i = 0; i < size && at < length; i++, at++) {
      data[at] = copies ? data[at - far] ?? 0 : Math.floor(random() ** 4 * 256);
    }
  }
  return data;
}

/** Streams by name, with what they decode to; `scale` is the size of each in bytes. */
export function deflateStreams(scale: number): { name: string; stream: Uint8Array; data: Uint8Array }[] {
  const random = randomOf(7);
  const mixed = mixedData(scale, random);
  const noise = Uint8Array.from({ length: scale }, () => random() * 256);
  const skewed = Uint8Array.from({ length: scale }, () => random() ** 6 * 256);
  const all: { name: string; data: Uint8Array; options: Parameters<typeof deflateRawSync>[1] }[] = [
    { name: "nothing", data: new Uint8Array(0), options: {} },
    { name: "one byte", data: Uint8Array.of(65), options: {} },
    { name: "stored", data: mixed, options: { level: 0 } },
    { name: "fixed codes", data: mixed, options: { strategy: constants.Z_FIXED } },
    { name: "dynamic codes, level 1", data: mixed, options: { level: 1 } },
    { name: "dynamic codes, level 6", data: mixed, options: { level: 6 } },
    { name: "dynamic codes, level 9, small blocks", data: mixed, options: { level: 9, memLevel: 1 } },
    { name: "Huffman only", data: mixed, options: { strategy: constants.Z_HUFFMAN_ONLY } },
    { name: "Huffman only, short codes", data: skewed, options: { strategy: constants.Z_HUFFMAN_ONLY } },
    { name: "run lengths", data: mixed, options: { strategy: constants.Z_RLE } },
    { name: "zeros", data: new Uint8Array(scale), options: {} },
    { name: "noise", data: noise, options: {} },
    { name: "small window", data: mixed, options: { windowBits: 9 } },
  ];
  return all.map(({ name, data, options }) => ({ name, data, stream: deflateRawSync(data, options) }));
}

/** Writes DEFLATE bit by bit. */
export class BitWriter {
  readonly #bytes: number[] = [];
  #bit = 0;

  /** Appends the lowest `count` bits of a value, lowest first. */
  bits(value: number, count: number): this {
    for (let i = 0; i < count; i++) {
      if (this.#bit === 0) this.#bytes.push(0);
      const last = this.#bytes.length - 1;
      this.#bytes[last] = (this.#bytes[last] ?? 0) | (((value >>> i) & 1) << this.#bit);
      this.#bit = (this.#bit + 1) & 7;
    }
    return this;
  }

  /** Appends a Huffman code, highest bit first. */
  code(value: number, count: number): this {
    for (let i = count - 1; i >= 0; i--) this.bits(value >>> i, 1);
    return this;
  }

  /** A symbol of the fixed literal and length code (RFC 1951, 3.2.6). */
  fixed(symbol: number): this {
    if (symbol < 144) return this.code(0x30 + symbol, 8);
    if (symbol < 256) return this.code(0x190 + symbol - 144, 9);
    if (symbol < 280) return this.code(symbol - 256, 7);
    return this.code(0xc0 + symbol - 280, 8);
  }

  /** A match in fixed codes. */
  match(length: number, distance: number): this {
    let symbol = 0;
    while (symbol < 28 && length >= lengthBase(symbol + 1)) symbol++;
    this.fixed(257 + symbol).bits(length - lengthBase(symbol), lengthExtra(symbol));
    let code = 0;
    while (code < 29 && distance >= distanceBase(code + 1)) code++;
    return this.code(code, 5).bits(distance - distanceBase(code), distanceExtra(code));
  }

  /**
   * Begins a dynamic block (RFC 1951, 3.2.7) of codes with these lengths.
   *
   * @returns What writes a symbol of the literal and length code, and one of the distance code.
   */
  dynamic(
    literals: readonly number[],
    distances: readonly number[],
  ): { literal(symbol: number): void; distance(symbol: number): void } {
    this.bits(2, 2).bits(literals.length - 257, 5).bits(distances.length - 1, 5);
    // All lengths up to 15 by four bits each, in the order of the format.
    this.bits(15, 4).bits(0, 9);
    for (let symbol = 0; symbol < 16; symbol++) this.bits(4, 3);
    for (const length of [...literals, ...distances]) this.code(length, 4);
    const writer = (lengths: readonly number[]): (symbol: number) => void => {
      const codes = canonicalCodes(lengths);
      return (symbol) => void this.code(codes[symbol] ?? 0, lengths[symbol] ?? 0);
    };
    return { literal: writer(literals), distance: writer(distances) };
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.#bytes);
  }
}

/** The codes of symbols by their lengths (RFC 1951, 3.2.2). */
function canonicalCodes(lengths: readonly number[]): number[] {
  const codes: number[] = [];
  let next = 0;
  for (let bits = 1; bits <= 15; bits++) {
    for (const [symbol, length] of lengths.entries()) if (length === bits) codes[symbol] = next++;
    next <<= 1;
  }
  return codes;
}

function lengthExtra(symbol: number): number {
  return symbol < 8 || symbol === 28 ? 0 : (symbol >> 2) - 1;
}

function lengthBase(symbol: number): number {
  if (symbol === 28) return 258;
  return symbol < 8 ? 3 + symbol : 3 + ((4 + (symbol & 3)) << lengthExtra(symbol));
}

function distanceExtra(code: number): number {
  return code < 4 ? 0 : (code >> 1) - 1;
}

function distanceBase(code: number): number {
  return code < 4 ? 1 + code : 1 + ((2 + (code & 1)) << distanceExtra(code));
}
