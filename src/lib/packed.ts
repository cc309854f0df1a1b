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

/** Packs bytes, or the bytes of several arrays one after another. Each frame carries a checksum of its content. */
export async function pack(
  input: Uint8Array | readonly Uint8Array[],
  pause: Pause,
): Promise<Uint8Array<ArrayBuffer>> {
  const arrays = input instanceof Uint8Array ? [input] : input;
  const parts: Uint8Array[] = [head(arrays.reduce((sum, { length }) => sum + length, 0), 0)];
  for (const chunk of chunks(arrays)) {
    if (parts.length > 1) await pause();
    const frame = zstdCompressSync(chunk, { params: { [constants.ZSTD_c_checksumFlag]: 1 } });
    parts.push(head(frame.length, chunk.length), frame);
  }
  return concatBytes(parts);
}

/** The bytes of all arrays in pieces of LIMITS.packedChunkBytes; each is valid until the next. */
function* chunks(arrays: readonly Uint8Array[]): Generator<Uint8Array> {
  const buffer = new Uint8Array(LIMITS.packedChunkBytes);
  let filled = 0;
  for (const array of arrays) {
    for (let at = 0; at < array.length;) {
      const piece = array.subarray(at, at + buffer.length - filled);
      buffer.set(piece, filled);
      filled += piece.length;
      at += piece.length;
      if (filled < buffer.length) continue;
      yield buffer;
      filled = 0;
    }
  }
  if (filled > 0) yield buffer.subarray(0, filled);
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
