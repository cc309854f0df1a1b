/**
 * Reading a byte stream with little garbage.
 *
 * @module
 */
import type { ByteStream } from "../core/ports.ts";

/** Buffer of one read; `fetch` delivers at most so much at once. */
const BUFFER_BYTES = 64 * 1024;

/** Chunks of a stream, each valid until the next is asked for. */
export interface ByteSource {
  /** The next chunk, undefined at the end. Rejects with the signal's reason once it aborts. */
  read(): Promise<Uint8Array | undefined>;
  /** Gives the stream up; whatever was not read is cancelled. */
  close(): Promise<void>;
}

/**
 * Opens a stream for reading. A byte stream (what `fetch` gives) is read into one buffer over and over: the chunks that
 * it would allocate otherwise are most of a scan's memory.
 */
export function openByteSource(stream: ByteStream, signal: AbortSignal): ByteSource {
  const reader = readerOf(stream);
  const abort = (): void => void reader.cancel(signal.reason).catch(() => {});
  signal.addEventListener("abort", abort, { once: true });
  let buffer = new Uint8Array(reader instanceof ReadableStreamBYOBReader ? BUFFER_BYTES : 0);
  return {
    async read(): Promise<Uint8Array | undefined> {
      signal.throwIfAborted();
      const { value, done } = reader instanceof ReadableStreamBYOBReader
        ? await reader.read(buffer)
        : await reader.read();
      signal.throwIfAborted();
      if (done || value === undefined) return undefined;
      if (reader instanceof ReadableStreamBYOBReader) buffer = new Uint8Array(value.buffer);
      return value;
    },
    async close(): Promise<void> {
      signal.removeEventListener("abort", abort);
      // A stream that has failed rejects here with what `read` has rejected with already.
      await reader.cancel(signal.reason).catch(() => {});
      reader.releaseLock();
    },
  };
}

type Reader = ReadableStreamBYOBReader | ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;

function readerOf(stream: ByteStream): Reader {
  try {
    return stream.getReader({ mode: "byob" });
  } catch (error) {
    // The only way to ask a stream whether it is a byte stream.
    if (error instanceof TypeError && !stream.locked) return stream.getReader();
    throw error;
  }
}
