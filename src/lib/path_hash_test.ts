import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { pathHash } from "./path_hash.ts";

/** The same construction written over bytes: the form that an engine without strings uses. */
function hashBytes(bytes: Uint8Array): number {
  let a = 0xdeadbeef;
  let b = 0x41c6ce57;
  for (const byte of bytes) {
    a = Math.imul(a ^ byte, 0x9e3779b1);
    b = Math.imul(b ^ byte, 0x5f356495);
  }
  a = Math.imul(a ^ (a >>> 16), 0x85ebca6b) ^ Math.imul(b ^ (b >>> 13), 0xc2b2ae35);
  b = Math.imul(b ^ (b >>> 16), 0x85ebca6b) ^ Math.imul(a ^ (a >>> 13), 0xc2b2ae35);
  return 0x100000000 * (b & 0x1fffff) + (a >>> 0);
}

describe("pathHash()", () => {
  it("equals the hash of the UTF-8 bytes, whatever the text", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.string({ unit: "grapheme" })), (text) => {
        expect(pathHash(text)).toBe(hashBytes(new TextEncoder().encode(text)));
      }),
    );
    for (const text of ["a\ud800b", "\udc00", "\ud83d\ude00", "ü/ß", "\uffff"]) {
      expect(pathHash(text)).toBe(hashBytes(new TextEncoder().encode(text)));
    }
  });

  it("is stable: stored facts depend on it", () => {
    expect(["", "etc/passwd", "usr/lib/ünïcödé"].map(pathHash)).toEqual([
      3338908027751811,
      525980885625924,
      1376819087053890,
    ]);
  });

  it("keeps 300,000 similar paths apart", () => {
    const seen = new Set<number>();
    for (let i = 0; i < 300_000; i++) seen.add(pathHash(`usr/share/doc/package-${i % 1000}/file-${i}.gz`));
    expect(seen.size).toBe(300_000);
    expect([...seen].every((hash) => Number.isSafeInteger(hash) && hash >= 0)).toBe(true);
  });
});
