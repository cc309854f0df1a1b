import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../core/limits.ts";
import { pack, unpack, unpackedLength } from "./packed.ts";

const pause = (): Promise<void> => Promise.resolve();

describe("pack() and unpack()", () => {
  it("give the same bytes back, however many frames they are", async () => {
    for (const size of [0, 1, LIMITS.packedChunkBytes, LIMITS.packedChunkBytes + 1, 3 * LIMITS.packedChunkBytes]) {
      const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 7919) >> 3);
      let pauses = 0;
      const packed = await pack(bytes, () => Promise.resolve(void pauses++));
      expect(pauses).toBe(Math.max(0, Math.ceil(size / LIMITS.packedChunkBytes) - 1));
      expect(unpackedLength(packed)).toBe(size);
      expect(await unpack(packed, size, pause)).toEqual(bytes);
    }
    expect(unpackedLength(new Uint8Array(3))).toBe(0);
  });

  it("take several arrays as one", async () => {
    const arrays = [3, 0, LIMITS.packedChunkBytes - 3, 5, 2 * LIMITS.packedChunkBytes].map((length, n) =>
      new Uint8Array(length).fill(n + 1)
    );
    const whole = new Uint8Array(await new Blob(arrays).arrayBuffer());
    expect(await pack(arrays, pause)).toEqual(await pack(whole, pause));
    expect(await unpack(await pack(arrays, pause), whole.length, pause)).toEqual(whole);
  });

  it("refuse what is damaged, cut off or too much", async () => {
    const bytes = new TextEncoder().encode("all work and no play ".repeat(30_000));
    const packed = await pack(bytes, pause);
    await expect(unpack(packed, bytes.length - 1, pause)).rejects.toThrow("too much");
    await expect(unpack(packed.subarray(0, packed.length - 1), bytes.length, pause)).rejects.toThrow("cut off");
    await fc.assert(fc.asyncProperty(fc.nat(packed.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
      const damaged = packed.slice();
      damaged[at] = (damaged[at] ?? 0) ^ flip;
      const read = await unpack(damaged, bytes.length, pause).catch(() => undefined);
      // A bit that nothing depends on may differ, the content may not.
      if (read !== undefined) expect(read).toEqual(bytes);
    }));
  });
});
