/**
 * The bytes of an outer tar: of a plain file by seeking, of a compressed one by decoders that only run forward.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import type { RandomAccess } from "../core/ports.ts";
import { invalidArchive, type RangeReader, READ_BYTES } from "./archive_store.ts";
import { Decompressor, detectCompression } from "./decompress.ts";
import type { Fail } from "./fail.ts";

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
  return detectCompression(magic) === "none" ? new PlainBytes(file) : new CompressedBytes(file);
}

/** Reads a file from an offset on. */
export function fileRange(file: RandomAccess, offset: number, release: () => void = () => {}): RangeReader {
  let at = offset;
  return {
    async read(into): Promise<number> {
      const count = await file.read(into, at);
      at += count;
      return count;
    },
    release,
  };
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
    return fileRange(this.#file, offset);
  }
}

/**
 * Decoders run forward only. One that is no longer used waits for a reader that starts where it is or later; whoever
 * starts before it gets a new decoder from the beginning. Nothing is kept on disk.
 */
class CompressedBytes implements ArchiveBytes {
  readonly size = undefined;
  readonly #file: RandomAccess;
  #idle: Cursor | undefined;

  constructor(file: RandomAccess) {
    this.#file = file;
  }

  range(offset: number, signal: AbortSignal): RangeReader {
    const waiting = this.#idle;
    const reusable = waiting !== undefined && waiting.position <= offset;
    const cursor = reusable ? waiting : new Cursor(this.#file);
    if (reusable) this.#idle = undefined;
    return {
      async read(into): Promise<number> {
        while (cursor.position < offset) {
          signal.throwIfAborted();
          if ((await cursor.take(offset - cursor.position)).length === 0) return 0;
        }
        const bytes = await cursor.take(into.length);
        into.set(bytes);
        return bytes.length;
      },
      release: () => {
        this.#idle?.close();
        this.#idle = cursor;
      },
    };
  }
}

/** Bytes given to the decoder at once: DEFLATE may make a thousand times as many of them. */
const INPUT_BYTES = 16 * 1024;

/** Used buffers that a decoder keeps. */
const FREE_BUFFERS = 16;

const NOTHING = new Uint8Array(0);

const fail: Fail = (code, problem, cause) =>
  code === "LIMIT_EXCEEDED"
    ? new OutpostError(code, `Cannot read the image archive: ${problem}`, { cause })
    : invalidArchive(problem, cause);

/** One decoder on its way through the file. */
class Cursor {
  /** Decoded bytes that have been taken. */
  position = 0;
  readonly #file: RandomAccess;
  readonly #decoder: Decompressor;
  readonly #input = new Uint8Array(INPUT_BYTES);
  #queue: Uint8Array[] = [];
  /** The queue's first buffer is given back to be filled again once all of it has been taken. */
  #free: Uint8Array[] = [];
  #taken = 0;
  #offset = 0;
  #ended = false;

  constructor(file: RandomAccess) {
    this.#file = file;
    this.#decoder = new Decompressor({ emit: (bytes) => this.#keep(bytes), fail });
  }

  /** The next bytes, at most `maxBytes`; none at the end. They are valid until the next call. */
  async take(maxBytes: number): Promise<Uint8Array> {
    this.#recycle();
    while (this.#queue.length === 0 && !this.#ended) await this.#fill();
    const first = this.#queue[0] ?? NOTHING;
    const bytes = first.subarray(this.#taken, this.#taken + maxBytes);
    this.#taken += bytes.length;
    this.position += bytes.length;
    return bytes;
  }

  #recycle(): void {
    const [first] = this.#queue;
    if (first === undefined || this.#taken < first.length) return;
    this.#queue.shift();
    this.#taken = 0;
    if (first.buffer.byteLength === READ_BYTES && this.#free.length < FREE_BUFFERS) {
      this.#free.push(new Uint8Array(first.buffer));
    }
  }

  /** The decoder's output is valid during the call only: it is copied, into used buffers, since garbage is memory. */
  #keep(bytes: Uint8Array): void {
    if (bytes.length > READ_BYTES) return void this.#queue.push(bytes.slice());
    const buffer = this.#free.pop() ?? new Uint8Array(READ_BYTES);
    buffer.set(bytes);
    this.#queue.push(buffer.subarray(0, bytes.length));
  }

  close(): void {
    this.#queue = [];
    this.#free = [];
    this.#ended = true;
    this.#decoder.close();
  }

  async #fill(): Promise<void> {
    const count = await this.#file.read(this.#input, this.#offset);
    this.#offset += count;
    if (count > 0) return await this.#decoder.push(this.#input.subarray(0, count));
    this.#ended = true;
    await this.#decoder.finish();
    this.#decoder.close();
  }
}
