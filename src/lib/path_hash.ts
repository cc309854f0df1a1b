/**
 * A set of paths that costs eight bytes per path: 53-bit hashes in a sorted array of doubles.
 *
 * Layers hold up to two million entries of which only the existence matters. Two paths collide by accident with a
 * chance of 1 in 9 × 10¹⁵ per pair; whoever builds a collision on purpose can hide a file of a lower layer, which the
 * author of a layer can do with a whiteout anyway.
 *
 * @module
 */

const encoder = new TextEncoder();
const FIRST_CAPACITY = 256;
const FIRST_LANE = 0x9e3779b1;
const SECOND_LANE = 0x85ebca6b;

/**
 * Hashes the UTF-8 bytes of a path to an integer in [0, 2⁵³): two 32-bit lanes, each byte mixed in by xor and a
 * multiplication, finished with MurmurHash3's avalanche; 21 bits of one lane on top of 32 of the other. Part of stored
 * facts, so a change of the result needs another extractor version.
 */
export function pathHash(path: string): number {
  let a = FIRST_LANE;
  let b = SECOND_LANE;
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i);
    if (code > 0x7f) return byteHash(encoder.encode(path));
    a = Math.imul(a ^ code, 0x9e3779b1);
    b = Math.imul(b ^ code, 0x5f356495);
    a ^= b >>> 15;
  }
  return finish(a, b, path.length);
}

function byteHash(bytes: Uint8Array): number {
  let a = FIRST_LANE;
  let b = SECOND_LANE;
  for (const byte of bytes) {
    a = Math.imul(a ^ byte, 0x9e3779b1);
    b = Math.imul(b ^ byte, 0x5f356495);
    a ^= b >>> 15;
  }
  return finish(a, b, bytes.length);
}

function finish(one: number, other: number, length: number): number {
  const a = avalanche(one ^ other);
  const b = avalanche(other ^ length);
  return (a & 0x1fffff) * 0x1_0000_0000 + (b >>> 0);
}

function avalanche(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** Whether a sorted array of hashes, as {@link PathHashes.sorted} gives it, holds the path's hash. */
export function hasPath(sorted: Float64Array, path: string): boolean {
  const wanted = pathHash(path);
  let low = 0;
  let high = sorted.length - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const value = sorted[middle] ?? 0;
    if (value === wanted) return true;
    if (value < wanted) low = middle + 1;
    else high = middle - 1;
  }
  return false;
}

/** Collects hashes of paths: a typed array that doubles, because an array of numbers would cost three times as much. */
export class PathHashes {
  #hashes = new Float64Array(FIRST_CAPACITY);
  #length = 0;

  /** Adds a path; adding it twice is as good as once. */
  add(path: string): void {
    if (this.#length === this.#hashes.length) this.#resize(this.#hashes.length * 2);
    this.#hashes[this.#length++] = pathHash(path);
  }

  /** The distinct hashes, ascending, in an array of their own. */
  sorted(): Float64Array<ArrayBuffer> {
    this.#sort();
    return this.#hashes.slice(0, this.#length);
  }

  /** The same, and none of them is left here. */
  take(): Float64Array<ArrayBuffer> {
    this.#sort();
    this.#resize(this.#length);
    const all = this.#hashes;
    this.#hashes = new Float64Array(FIRST_CAPACITY);
    this.#length = 0;
    return all;
  }

  #sort(): void {
    const all = this.#hashes.subarray(0, this.#length).sort();
    let kept = 0;
    for (let i = 0; i < all.length; i++) {
      if (i === 0 || all[i] !== all[i - 1]) all[kept++] = all[i] ?? 0;
    }
    this.#length = kept;
  }

  /** What it moves out of is freed at once: two million paths take 18 MB less than when that is left to the collector. */
  #resize(capacity: number): void {
    this.#hashes = new Float64Array(this.#hashes.buffer.transfer(capacity * Float64Array.BYTES_PER_ELEMENT));
  }
}
