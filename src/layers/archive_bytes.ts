/**
 * The bytes of an outer tar: of a plain file by seeking, of a compressed one by decoders that only run forward.
 *
 * @module
 */
import { createGunzip, createZstdDecompress } from "node:zlib";
import type { RandomAccess } from "../core/ports.ts";
import { invalidArchive, type RangeReader, READ_BYTES } from "./archive_store.ts";
import { ZlibPump, type ZlibStream } from "./zlib_pump.ts";

/** The bytes of an archive, decompressed. */
export interface ArchiveBytes {
  /** Number of bytes, when it is known without reading them: then reading anywhere costs the same. */
  readonly size: number | undefined;
  /** A reader that starts at an offset. Several may be in use at once. */
  range(offset: number, signal: AbortSignal): RangeReader;
}

/** Opens the bytes of an archive; the compression is told by the first bytes. */
export async function openBytes(file: RandomAccess): Promise<ArchiveBytes> {
  const magic = new Uint8Array(4);
  await file.read(magic, 0);
  const [a, b, c, d] = magic;
  if (a === 0x1f && b === 0x8b) return new CompressedBytes(file, () => createGunzip({ chunkSize: READ_BYTES }));
  if (a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd) {
    return new CompressedBytes(file, () => createZstdDecompress({ chunkSize: READ_BYTES }));
  }
  return new PlainBytes(file);
}

/** Reads the next bytes of a file into a buffer of their own. */
export async function readAt(
  file: RandomAccess,
  offset: number,
  length: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const buffer = new Uint8Array(length);
  const count = await file.read(buffer, offset);
  return count === 0 ? undefined : buffer.subarray(0, count);
}

class PlainBytes implements ArchiveBytes {
  readonly #file: RandomAccess;

  constructor(file: RandomAccess) {
    this.#file = file;
  }

  get size(): number {
    return this.#file.size;
  }

  range(offset: number): RangeReader {
    const file = this.#file;
    let at = offset;
    return {
      async next(maxBytes): Promise<Uint8Array<ArrayBuffer> | undefined> {
        const bytes = await readAt(file, at, maxBytes);
        at += bytes?.length ?? 0;
        return bytes;
      },
      release: () => {},
    };
  }
}

/**
 * Decoders run forward only. One that is no longer used waits for a reader that starts where it is or later; whoever
 * starts before it gets a new decoder from the beginning. Nothing is kept on disk.
 */
class CompressedBytes implements ArchiveBytes {
  readonly size = undefined;
  readonly #file: RandomAccess;
  readonly #makeDecoder: () => ZlibStream;
  #idle: Cursor | undefined;

  constructor(file: RandomAccess, makeDecoder: () => ZlibStream) {
    this.#file = file;
    this.#makeDecoder = makeDecoder;
  }

  range(offset: number, signal: AbortSignal): RangeReader {
    let cursor = this.#idle;
    if (cursor === undefined || cursor.position > offset) cursor = new Cursor(this.#file, this.#makeDecoder());
    else this.#idle = undefined;
    const own = cursor;
    return {
      async next(maxBytes): Promise<Uint8Array<ArrayBuffer> | undefined> {
        while (own.position < offset) {
          signal.throwIfAborted();
          if (!await own.skip(offset - own.position)) return undefined;
        }
        return await own.next(maxBytes);
      },
      release: () => {
        this.#idle?.close();
        this.#idle = own;
      },
    };
  }
}

/** Bytes given to the decoder at once: DEFLATE may make a thousand times as many of them. */
const INPUT_BYTES = 16 * 1024;

/** One decoder on its way through the file. */
class Cursor {
  position = 0;
  readonly #file: RandomAccess;
  readonly #pump: ZlibPump;
  #queue: Uint8Array[] = [];
  #offset = 0;
  #ended = false;

  constructor(file: RandomAccess, decoder: ZlibStream) {
    this.#file = file;
    this.#pump = new ZlibPump(decoder, (bytes) => this.#queue.push(bytes));
  }

  /** The next bytes, at most `maxBytes`, in a buffer of their own; undefined at the end. */
  async next(maxBytes: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const bytes = await this.#take(maxBytes);
    return bytes === undefined ? undefined : new Uint8Array(bytes);
  }

  /** Passes over some bytes, at most `maxBytes`; false at the end. */
  async skip(maxBytes: number): Promise<boolean> {
    return await this.#take(maxBytes) !== undefined;
  }

  async #take(maxBytes: number): Promise<Uint8Array | undefined> {
    while (this.#queue.length === 0 && !this.#ended) await this.#fill();
    const first = this.#queue[0];
    if (first === undefined) return undefined;
    const bytes = first.subarray(0, maxBytes);
    if (bytes.length === first.length) this.#queue.shift();
    else this.#queue[0] = first.subarray(bytes.length);
    this.position += bytes.length;
    return bytes;
  }

  close(): void {
    this.#queue = [];
    this.#ended = true;
    this.#pump.close();
  }

  async #fill(): Promise<void> {
    const input = await readAt(this.#file, this.#offset, INPUT_BYTES);
    if (input === undefined) {
      this.#ended = true;
      this.#pump.close();
      return;
    }
    this.#offset += input.length;
    try {
      // A decoder that takes less than it gets is through with its last member; what follows is padding.
      if (await this.#pump.push(input) < input.length) this.#ended = true;
    } catch (error) {
      throw invalidArchive("its compressed data is damaged", error);
    }
  }
}
