/**
 * Where the files of an image archive are kept: a tar, a compressed tar, or a directory. Readers of the formats see
 * only names.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import type { ByteStream } from "../core/ports.ts";

/** Named files. Names are relative, `/`-separated, clean (`cleanPath`). */
export interface ArchiveStore {
  /** Size of a file in bytes, links followed; undefined when there is none. */
  size(name: string): Promise<number | undefined>;
  /**
   * The whole file.
   *
   * @throws {OutpostError} LIMIT_EXCEEDED above `maxBytes`, ARCHIVE_INVALID when it is missing or cut off.
   */
  read(name: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array>;
  /** The file from its start; the stream fails when it cannot deliver all of it. */
  stream(name: string, signal: AbortSignal): Promise<ByteStream>;
}

/** Bytes of one read from a file: the size at which system calls stop to matter. */
export const READ_BYTES = 64 * 1024;

const HINT = "Write the archive again, with docker save or skopeo copy, and check that the copy is complete.";

/** An archive that cannot be used. `problem` reads well after a colon. */
export function invalidArchive(problem: string, cause?: unknown, hint = HINT): OutpostError {
  return new OutpostError("ARCHIVE_INVALID", `Cannot read the image archive: ${problem}`, { hint, cause });
}

/** A name out of an archive for a message: bounded, without control characters. */
export function quoted(name: string): string {
  // deno-lint-ignore no-control-regex
  const clean = name.replaceAll(/[\u0000-\u001f\u007f]/g, "\ufffd");
  return `"${clean.length > 200 ? `${clean.slice(0, 200)}…` : clean}"`;
}

/** Refuses a file that is larger than its kind may be. */
export function checkSize(name: string, size: number, maxBytes: number): void {
  if (size <= maxBytes) return;
  const problem = `${quoted(name)} has ${size} bytes, more than ${maxBytes}`;
  throw new OutpostError("LIMIT_EXCEEDED", `Cannot read the image archive: ${problem}`);
}

/** A range of bytes that is read front to back. */
export interface RangeReader {
  /** The next bytes, in a buffer of their own; undefined at the end of what there is. */
  next(maxBytes: number): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Gives the underlying file or decoder back; called exactly once. */
  release(): void;
}

/** Streams `size` bytes of a range. Every chunk has its own buffer, so that consumers may keep it. */
export function streamRange(name: string, size: number, range: RangeReader, signal: AbortSignal): ByteStream {
  let left = size;
  let open = true;
  const release = (): void => {
    if (open) range.release();
    open = false;
  };
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller): Promise<void> {
      try {
        signal.throwIfAborted();
        const chunk = left === 0 ? undefined : await range.next(Math.min(left, READ_BYTES));
        if (chunk === undefined && left > 0) throw invalidArchive(`it ends within ${quoted(name)}`);
        left -= chunk?.length ?? 0;
        if (chunk !== undefined) controller.enqueue(chunk);
        if (left > 0) return;
        release();
        controller.close();
      } catch (error) {
        release();
        controller.error(error);
      }
    },
    cancel: release,
  }, { highWaterMark: 0 });
}

/** Reads `size` bytes of a range into memory. */
export async function readRange(name: string, size: number, range: RangeReader): Promise<Uint8Array> {
  const whole = new Uint8Array(size);
  try {
    for (let at = 0; at < size;) {
      const chunk = await range.next(Math.min(size - at, READ_BYTES));
      if (chunk === undefined) throw invalidArchive(`it ends within ${quoted(name)}`);
      whole.set(chunk, at);
      at += chunk.length;
    }
    return whole;
  } finally {
    range.release();
  }
}
