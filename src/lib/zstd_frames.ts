/**
 * Zstandard in memory (RFC 8878): whole inputs of known length, as package manifests have them. Layers are streams, which
 * layers/zstd.ts decodes.
 *
 * node:zlib's synchronous decoder stops after the first frame and takes a frame that is cut off for whole, so the frames
 * are found first and decoded one by one.
 *
 * @module
 */
import { constants, zstdDecompressSync } from "node:zlib";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { concatBytes } from "./bytes.ts";

const MAGIC = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;
/** Length of the frame content size field by its flag (RFC 8878 §3.1.1.1.1.1); flag 0 has one byte in a single segment. */
const CONTENT_SIZE_BYTES = [0, 2, 4, 8] as const;
/** Length of the dictionary identifier by its flag. */
const DICTIONARY_BYTES = [0, 1, 2, 4] as const;
const RLE_BLOCK = 1;

/** Whether the bytes begin with a frame or a skippable frame. */
export function isZstd(bytes: Uint8Array): boolean {
  if (bytes.length < 4) return false;
  const magic = viewOf(bytes).getUint32(0, true);
  return magic === MAGIC || isSkippable(magic);
}

/**
 * Decodes all frames.
 *
 * @param maxBytes Most bytes that may come out.
 * @throws {OutpostError} ANALYSIS_FAILED when the input is damaged or cut off, LIMIT_EXCEEDED above `maxBytes`.
 */
export function decodeZstd(bytes: Uint8Array, maxBytes: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let room = maxBytes;
  for (const frame of frames(bytes)) {
    const part = decodeFrame(frame, room);
    if (part.length > room) throw tooLong(maxBytes);
    room -= part.length;
    parts.push(part);
  }
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : concatBytes(parts);
}

function decodeFrame(frame: Uint8Array, room: number): Uint8Array {
  try {
    const params = { [constants.ZSTD_d_windowLogMax]: LIMITS.zstdWindowLog };
    return zstdDecompressSync(frame, { params, maxOutputLength: room + 1 });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE") throw tooLong(room);
    throw broken("a frame cannot be decoded", error);
  }
}

/** The frames that hold data, each with its header and checksum. */
function* frames(bytes: Uint8Array): Generator<Uint8Array> {
  const view = viewOf(bytes);
  for (let at = 0; at < bytes.length;) {
    if (at + 8 > bytes.length) throw broken("it is cut off");
    const magic = view.getUint32(at, true);
    const end = isSkippable(magic) ? at + 8 + view.getUint32(at + 4, true) : frameEnd(view, at);
    if (end > bytes.length) throw broken("it is cut off");
    if (!isSkippable(magic)) yield bytes.subarray(at, end);
    at = end;
  }
}

function frameEnd(view: DataView, start: number): number {
  if (view.getUint32(start, true) !== MAGIC) throw broken("what follows a frame is none");
  const descriptor = view.getUint8(start + 4);
  const single = (descriptor >> 5) & 1;
  const size = CONTENT_SIZE_BYTES[descriptor >> 6 & 3] || single;
  let at = start + 5 + (1 - single) + (DICTIONARY_BYTES[descriptor & 3] ?? 0) + size;
  for (let last = 0; last === 0;) {
    if (at + 3 > view.byteLength) throw broken("it is cut off");
    const block = view.getUint16(at, true) | view.getUint8(at + 2) << 16;
    last = block & 1;
    at += 3 + ((block >> 1 & 3) === RLE_BLOCK ? 1 : block >> 3);
  }
  return at + ((descriptor >> 2) & 1) * 4;
}

function isSkippable(magic: number): boolean {
  return (magic & 0xfffffff0) >>> 0 === SKIPPABLE;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function tooLong(maxBytes: number): OutpostError {
  return new OutpostError("LIMIT_EXCEEDED", `Cannot decode the Zstandard data: it has more than ${maxBytes} bytes`);
}

function broken(why: string, cause?: unknown): OutpostError {
  return new OutpostError("ANALYSIS_FAILED", `Cannot decode the Zstandard data: ${why}`, { cause });
}
