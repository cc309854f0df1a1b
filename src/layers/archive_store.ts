/**
 * Where the files of an image archive are kept: a tar, a compressed tar, or a directory. Readers of the formats see
 * only names.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import type { ByteSource } from "../core/ports.ts";

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
  /** The file from its start; reading fails when not all of it can be had. */
  source(name: string, signal: AbortSignal): Promise<ByteSource>;
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
  /** Reads the next bytes into `into`; returns how many, 0 at the end of what there is. */
  read(into: Uint8Array): Promise<number>;
  /** Gives the underlying file or decoder back; called exactly once. */
  release(): void;
}

/** Reads `size` bytes of a range, up to {@link READ_BYTES} at a time and all into one buffer. */
export function rangeSource(name: string, size: number, range: RangeReader, signal: AbortSignal): ByteSource {
  const buffer = new Uint8Array(Math.min(size, READ_BYTES));
  let left = size;
  let open = true;
  const release = (): void => {
    if (open) range.release();
    open = false;
  };
  return {
    async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
      signal.throwIfAborted();
      if (left === 0) {
        release();
        return undefined;
      }
      if (!open) throw new Error("The file was given up");
      const count = await range.read(buffer.subarray(0, Math.min(buffer.length, left)));
      if (count === 0) throw endsWithin(name);
      left -= count;
      return buffer.subarray(0, count);
    },
    close: () => Promise.resolve(release()),
  };
}

/** Reads `size` bytes of a range into memory. */
export async function readRange(name: string, size: number, range: RangeReader): Promise<Uint8Array> {
  const whole = new Uint8Array(size);
  try {
    for (let at = 0; at < size;) {
      const count = await range.read(whole.subarray(at));
      if (count === 0) throw endsWithin(name);
      at += count;
    }
    return whole;
  } finally {
    range.release();
  }
}

function endsWithin(name: string): OutpostError {
  return invalidArchive(`it ends within ${quoted(name)}`);
}
