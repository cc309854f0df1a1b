/**
 * SHA-256 of short texts (FIPS 180-4), synchronous. For tokens and names only: `node:crypto` hashes megabytes twenty times as
 * fast, but loading it costs every process 3 MB and 25 ms of its start.
 *
 * @module
 */

/** Hexadecimal SHA-256 of the text's UTF-8 bytes. */
export function sha256Hex(text: string): string {
  const bytes = new TextEncoder().encode(text);
  // A 1 bit, zeros, and the length in bits, to a multiple of 64 bytes.
  const padded = new Uint8Array((bytes.length + 9 + 63) & ~63);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(padded.length - 8, BigInt(bytes.length) * 8n);
  const state = rootBits(8, 1 / 2);
  for (let at = 0; at < padded.length; at += 64) compress(state, view, at);
  return [...state].map((word) => word.toString(16).padStart(8, "0")).join("");
}

const ROUNDS = 64;

/** First 32 bits of the fractional parts of roots of the first primes: the constants of §4.2.2 and §5.3.3. */
function rootBits(count: number, exponent: number): Uint32Array {
  const words = new Uint32Array(count);
  for (let prime = 2, found = 0; found < count; prime++) {
    if (!isPrime(prime)) continue;
    const root = prime ** exponent;
    words[found++] = (root - Math.floor(root)) * 2 ** 32;
  }
  return words;
}

function isPrime(value: number): boolean {
  for (let factor = 2; factor * factor <= value; factor++) if (value % factor === 0) return false;
  return true;
}

const K = rootBits(ROUNDS, 1 / 3);
const schedule = new Uint32Array(ROUNDS);

function rotate(word: number, count: number): number {
  return (word >>> count) | (word << (32 - count));
}

/** One block of 64 bytes (§6.2.2). */
function compress(state: Uint32Array, block: DataView, at: number): void {
  const w = schedule;
  for (let t = 0; t < 16; t++) w[t] = block.getUint32(at + 4 * t);
  for (let t = 16; t < ROUNDS; t++) {
    const [x, y] = [w[t - 15] ?? 0, w[t - 2] ?? 0];
    const s0 = rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3);
    const s1 = rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10);
    w[t] = (w[t - 16] ?? 0) + s0 + (w[t - 7] ?? 0) + s1;
  }
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = state;
  for (let t = 0; t < ROUNDS; t++) {
    const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const one = (h + s1 + ((e & f) ^ (~e & g)) + (K[t] ?? 0) + (w[t] ?? 0)) | 0;
    const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const two = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((word, index) => state[index] = (state[index] ?? 0) + word);
}
