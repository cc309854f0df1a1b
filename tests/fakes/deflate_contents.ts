/**
 * Contents that lead a DEFLATE encoder into every corner, the same in every run.
 *
 * @module
 */

/** Seeded pseudo-random numbers (xorshift32). */
export class Chance {
  #state: number;

  /** `seed` must not be 0. */
  constructor(seed: number) {
    this.#state = seed;
    for (let i = 0; i < 8; i++) this.#next();
  }

  /** A whole number from 0 to below `bound`. */
  below(bound: number): number {
    return bound === 0 ? 0 : this.#next() % bound;
  }

  /** Incompressible bytes. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => this.#next() >>> 13);
  }

  #next(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return this.#state >>> 0;
  }
}

const WINDOW = 32_768;
let made: readonly (readonly [string, Uint8Array<ArrayBuffer>])[] | undefined;

/** Contents by name, 0 to 400,000 bytes long; the last is a mixture larger than ten windows. */
export function contents(): readonly (readonly [string, Uint8Array<ArrayBuffer>])[] {
  return made ??= make();
}

function make(): readonly (readonly [string, Uint8Array<ArrayBuffer>])[] {
  const chance = new Chance(3);
  const noise = chance.bytes(70_000);
  const text = new TextEncoder().encode("The quick brown fox jumps over the lazy dog. ".repeat(40));
  return [
    ["nothing", new Uint8Array(0)],
    ["one byte", Uint8Array.of(0x80)],
    ["zeros", new Uint8Array(100_000)],
    ["short text", text.slice(0, 60)],
    ["text", text],
    ["every byte", Uint8Array.from({ length: 1024 }, (_, at) => at)],
    ["noise", noise],
    ["short noise", noise.slice(0, 100)],
    ["skewed noise", Uint8Array.from(noise, (byte) => 31 - Math.clz32(byte + 1))],
    ["the longest distance", distances(noise, [WINDOW])],
    ["distances of every magnitude", distances(noise, Array.from({ length: 16 }, (_, log) => 1 << log))],
    ["a mixture", mixture(chance, noise, text)],
  ];
}

/** Noise in which runs repeat what stands at the given distances before. */
function distances(noise: Uint8Array, all: readonly number[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(noise.length + all.length * 1000);
  bytes.set(noise);
  let at = noise.length;
  for (const distance of all) {
    for (const end = at + 1000; at < end; at++) bytes[at] = bytes[at - distance] ?? 0;
  }
  return bytes;
}

/** Pieces of noise, text and runs, and matches that reach over the end of a window. */
function mixture(chance: Chance, noise: Uint8Array, text: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(400_000);
  for (let at = 0; at < bytes.length;) {
    const length = Math.min(1 + chance.below(3000), bytes.length - at);
    const kind = chance.below(4);
    if (kind === 0) bytes.set(noise.subarray(0, length), at);
    else if (kind === 1) bytes.set(text.subarray(0, length), at);
    else if (kind === 2) bytes.fill(chance.below(256), at, at + length);
    else {
      const distance = 1 + chance.below(Math.min(WINDOW, at + 1));
      for (let i = at; i < at + length; i++) bytes[i] = bytes[i - distance] ?? 0;
    }
    at += length;
  }
  return bytes;
}
