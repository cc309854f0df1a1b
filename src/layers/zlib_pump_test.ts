import { Buffer } from "node:buffer";
import { createInflateRaw, deflateRawSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { concatBytes } from "../lib/bytes.ts";
import { ZlibPump } from "./zlib_pump.ts";

const CHUNK_BYTES = 64 * 1024;
const content = Uint8Array.from({ length: 10 * CHUNK_BYTES + 1 }, (_, at) => (at * 31 + (at >> 7)) & 255);

async function pump(chunkSize: number, emit: (bytes: Uint8Array) => void): Promise<void> {
  const deflated = deflateRawSync(content);
  const zlib = new ZlibPump(createInflateRaw({ chunkSize }), emit);
  for (let at = 0; at < deflated.length; at += 1000) await zlib.push(deflated.subarray(at, at + 1000));
  zlib.close();
}

describe("ZlibPump", () => {
  it("gives every byte once, in arrays whose slice() copies", async () => {
    const parts: Uint8Array[] = [];
    await pump(CHUNK_BYTES, (bytes) => void parts.push(bytes.slice()));
    expect(concatBytes(parts)).toEqual(content);
  });

  it("has given every full buffer back when the call is over", async () => {
    const full: Uint8Array[] = [];
    await pump(CHUNK_BYTES, (bytes) => {
      if (bytes.byteOffset + bytes.byteLength === bytes.buffer.byteLength) full.push(bytes);
    });
    expect(full.length).toBeGreaterThanOrEqual(10);
    expect(full.map((bytes) => bytes.buffer.byteLength)).toEqual(full.map(() => 0));
  });

  it("leaves the pool alone that Node shares among small buffers", async () => {
    const own = Buffer.allocUnsafe(8).fill(7);
    await pump(1024, () => {});
    expect([...own]).toEqual([7, 7, 7, 7, 7, 7, 7, 7]);
    expect(own.buffer.byteLength).toBe(Buffer.poolSize);
  });
});
