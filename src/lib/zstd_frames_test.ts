import fc from "fast-check";
import { constants, zstdCompressSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import { concatBytes } from "./bytes.ts";
import { decodeZstd, isZstd } from "./zstd_frames.ts";

const TEXT = new TextEncoder().encode("0123456789 and so on, ".repeat(20_000));
const SKIPPABLE = Uint8Array.of(0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3);

function compress(bytes: Uint8Array, checksum = false): Uint8Array {
  return zstdCompressSync(bytes, { params: { [constants.ZSTD_c_checksumFlag]: checksum ? 1 : 0 } });
}

describe("decodeZstd()", () => {
  it.each([
    ["one frame", [compress(TEXT)], TEXT],
    ["a frame with a checksum", [compress(TEXT, true)], TEXT],
    [
      "frames and skippable frames",
      [SKIPPABLE, compress(TEXT), SKIPPABLE, compress(TEXT), SKIPPABLE],
      concatBytes([TEXT, TEXT]),
    ],
    ["an empty frame", [compress(new Uint8Array())], new Uint8Array()],
    ["one byte over and over", [compress(new Uint8Array(1_000_000))], new Uint8Array(1_000_000)],
    ["nothing", [], new Uint8Array()],
  ])("decodes %s", (_name, frames, expected) => {
    expect(decodeZstd(concatBytes(frames), 10_000_000).length).toBe(expected.length);
    expect(new Uint8Array(decodeZstd(concatBytes(frames), 10_000_000))).toEqual(expected);
  });

  it("refuses a frame that is cut off at any byte, and what is none", () => {
    const frame = compress(TEXT, true);
    for (let length = 1; length < frame.length; length += 7) {
      expect(() => decodeZstd(frame.subarray(0, length), 10_000_000)).toThrow("cut off");
    }
    expect(() => decodeZstd(concatBytes([frame, TEXT]), 10_000_000)).toThrow("what follows a frame is none");
  });

  it("bounds what comes out", () => {
    expect(decodeZstd(compress(TEXT), TEXT.length).length).toBe(TEXT.length);
    expect(() => decodeZstd(compress(TEXT), TEXT.length - 1)).toThrow("more than");
    expect(() => decodeZstd(concatBytes([compress(TEXT), compress(TEXT)]), TEXT.length + 1)).toThrow(OutpostError);
  });

  it("decodes or refuses whatever bytes it gets", () => {
    const frame = compress(TEXT.subarray(0, 5000), true);
    const changed = fc.tuple(fc.nat(frame.length - 1), fc.nat(255)).map(([at, value]) => frame.with(at, value));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), changed), (bytes) => {
        try {
          expect(decodeZstd(bytes, 100_000).length).toBeLessThanOrEqual(100_000);
        } catch (error) {
          expect(error).toBeInstanceOf(OutpostError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("isZstd()", () => {
  it("knows frames and skippable frames", () => {
    expect([compress(TEXT), SKIPPABLE, TEXT, new Uint8Array(3)].map(isZstd)).toEqual([true, true, false, false]);
  });
});
