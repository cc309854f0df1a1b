/**
 * Bytes in a smaller form for the disk: zstd frames (RFC 8878), each with its length before it, made and read one after
 * another with pauses in between, since Deno's zlib works on the event loop's thread whatever its functions are called.
 *
 * @module
 */
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { LIMITS } from "../core/limits.ts";
import { concatBytes } from "./bytes.ts";

/** What is between two frames: other work gets its turn. */
export type Pause = () => Promise<void>;

/** Length of all bytes, at the start. */
const HEAD_BYTES = 8;
/** Lengths of a frame and of its content, before the frame: zstd's own decoder takes a frame that is cut off for whole. */
const FRAME_HEAD_BYTES = 8;

/** Packs bytes. Each frame carries a checksum of its content. */
export async function pack(bytes: Uint8Array, pause: Pause): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [head(bytes.length, 0)];
  for (let offset = 0; offset < bytes.length; offset += LIMITS.packedChunkBytes) {
    if (offset > 0) await pause();
    const chunk = bytes.subarray(offset, offset + LIMITS.packedChunkBytes);
    const frame = zstdCompressSync(chunk, { params: { [constants.ZSTD_c_checksumFlag]: 1 } });
    parts.push(head(frame.length, chunk.length), frame);
  }
  return concatBytes(parts);
}

function head(first: number, second: number): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, first, true);
  view.setUint32(4, second, true);
  return bytes;
}

/** How many bytes {@link unpack} would give. */
export function unpackedLength(packed: Uint8Array): number {
  if (packed.length < HEAD_BYTES) return 0;
  return new DataView(packed.buffer, packed.byteOffset, packed.byteLength).getUint32(0, true);
}

/**
 * Reads what {@link pack} made.
 *
 * @throws {Error} when it is damaged or cut off, or would give more than `maxBytes`.
 */
export async function unpack(packed: Uint8Array, maxBytes: number, pause: Pause): Promise<Uint8Array<ArrayBuffer>> {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  const length = packed.length < HEAD_BYTES ? Infinity : view.getUint32(0, true);
  if (length > maxBytes) throw new Error("The packed bytes are damaged, or give too much");
  const out = new Uint8Array(length);
  let at = 0;
  for (let offset = HEAD_BYTES; offset < packed.length;) {
    if (at > 0) await pause();
    const start = offset + FRAME_HEAD_BYTES;
    const end = start > packed.length ? Infinity : start + view.getUint32(offset, true);
    if (end > packed.length) throw new Error("The packed bytes are cut off");
    const part = zstdDecompressSync(packed.subarray(start, end), { maxOutputLength: LIMITS.packedChunkBytes });
    if (part.length !== view.getUint32(offset + 4, true) || at + part.length > length) {
      throw new Error("The packed bytes are damaged");
    }
    out.set(part, at);
    at += part.length;
    offset = end;
  }
  if (at !== length) throw new Error("The packed bytes are cut off");
  return out;
}
