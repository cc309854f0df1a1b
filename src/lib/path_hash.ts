/**
 * A 53-bit hash of a path: how layer facts remember the many paths that matter only because they replace others.
 *
 * @module
 */

/** Two odd multipliers of murmur3's family: each byte goes through both, so that 2 × 32 bits vary independently. */
const FIRST = 0x9e3779b1;
const SECOND = 0x5f356495;

/**
 * Hashes a path to an integer in [0, 2^53), exact in a `Float64Array`. The path is hashed as UTF-8 bytes, so that an
 * engine that never makes strings computes the same number; a lone surrogate counts as U+FFFD, as TextEncoder has it.
 *
 * The construction is cyrb53's (two multiplicative lanes, murmur3's finaliser), which is not cryptographic: an image
 * that makes two of its own paths collide only hides one of its own files, which it could as well have left out.
 * Among 10^6 paths that mean no harm the chance of any collision is below 10^-4.
 */
export function pathHash(path: string): number {
  let first = 0xdeadbeef;
  let second = 0x41c6ce57;
  for (let i = 0; i < path.length; i++) {
    let unit = path.charCodeAt(i);
    if (unit < 0x80) {
      first = Math.imul(first ^ unit, FIRST);
      second = Math.imul(second ^ unit, SECOND);
      continue;
    }
    if (unit >= 0xd800 && unit <= 0xdfff) {
      const point = path.codePointAt(i) ?? 0;
      if (point > 0xffff) i++;
      unit = point > 0xffff ? point : 0xfffd;
    }
    // The lead byte and the continuation bytes of UTF-8, high bits first.
    const count = unit < 0x800 ? 1 : unit < 0x10000 ? 2 : 3;
    const lead = count === 1 ? 0xc0 : count === 2 ? 0xe0 : 0xf0;
    for (let left = count; left >= 0; left--) {
      const byte = left === count ? lead | (unit >> (6 * left)) : 0x80 | ((unit >> (6 * left)) & 0x3f);
      first = Math.imul(first ^ byte, FIRST);
      second = Math.imul(second ^ byte, SECOND);
    }
  }
  first = mix(first, second);
  second = mix(second, first);
  return 0x100000000 * (second & 0x1fffff) + (first >>> 0);
}

function mix(lane: number, other: number): number {
  const mixed = Math.imul(lane ^ (lane >>> 16), 0x85ebca6b);
  return mixed ^ Math.imul(other ^ (other >>> 13), 0xc2b2ae35);
}
