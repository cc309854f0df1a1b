/**
 * Reading answers: in pieces that must keep coming, and whole ones up to a bound.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ByteStream, Clock } from "../core/ports.ts";
import { concatBytes } from "../lib/bytes.ts";
import { withDeadline } from "../lib/deadline.ts";
import { classifyTransportError } from "./classify.ts";

/** Options of {@link BodyReader}. */
export interface BodyReaderOptions {
  readonly clock: Clock;
  /** Where the body comes from, for messages. */
  readonly url: URL;
  readonly signal: AbortSignal;
  /** Reads all pieces into one buffer: each is valid until the next read. For long bodies, whose pieces are garbage else. */
  readonly reuseBuffer?: boolean | undefined;
}

/** Buffer of one read; `fetch` delivers at most so much at once. */
const BUFFER_BYTES = 64 * 1024;

type Reader = ReadableStreamBYOBReader | ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;

/**
 * Reads a body piece by piece without copying. A body that brings fewer than LIMITS.progressBytes in LIMITS.noProgressMs
 * of waiting is given up; time that the reader's owner spends between reads does not count.
 */
export class BodyReader {
  readonly #reader: Reader;
  readonly #options: BodyReaderOptions;
  #buffer = new ArrayBuffer(0);
  #waitedMs = 0;
  #windowBytes = 0;

  constructor(body: ByteStream, options: BodyReaderOptions) {
    this.#reader = options.reuseBuffer === true ? byteReader(body) : body.getReader();
    if (this.#reader instanceof ReadableStreamBYOBReader) this.#buffer = new ArrayBuffer(BUFFER_BYTES);
    this.#options = options;
  }

  /**
   * The next piece, or undefined at the end.
   *
   * @throws {OutpostError} CONNECTION_RESET when the body breaks, TIMEOUT when it stalls, CANCELLED on abort.
   */
  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const { clock, url, signal } = this.#options;
    const began = clock.now();
    const ms = Math.max(1, LIMITS.noProgressMs - this.#waitedMs);
    try {
      const piece = await withDeadline(
        { clock, ms, what: `Reading from ${url.host}`, signal },
        (deadline) => abortable(this.#pull(), deadline),
      );
      this.#note(piece?.byteLength ?? 0, clock.now() - began);
      return piece;
    } catch (error) {
      await this.cancel();
      throw this.#explain(error);
    }
  }

  /** Gives the connection back; safe to call at any time. */
  async cancel(): Promise<void> {
    await this.#reader.cancel().catch(() => {});
  }

  #note(bytes: number, ms: number): void {
    this.#waitedMs += ms;
    this.#windowBytes += bytes;
    if (this.#windowBytes < LIMITS.progressBytes) return;
    this.#waitedMs = 0;
    this.#windowBytes = 0;
  }

  async #pull(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const { done, value } = this.#reader instanceof ReadableStreamBYOBReader
      ? await this.#reader.read(new Uint8Array(this.#buffer))
      : await this.#reader.read();
    if (done || value === undefined) return undefined;
    this.#buffer = value.buffer;
    return value;
  }

  #explain(error: unknown): OutpostError {
    const { url, signal } = this.#options;
    if (signal.aborted) return cancelled(signal);
    if (error instanceof OutpostError && error.code === "TIMEOUT") {
      const seconds = LIMITS.noProgressMs / 1000;
      return new OutpostError("TIMEOUT", `Cannot read from ${url.host}: no progress for ${seconds} s`, {
        cause: error,
      });
    }
    return classifyTransportError(error, url);
  }
}

/**
 * Reads a body to its end.
 *
 * @param maxBytes Bound; what comes after it is an error, or is dropped when `truncate` is set.
 * @throws {OutpostError} LIMIT_EXCEEDED, and what {@link BodyReader.read} throws.
 */
export async function readAll(
  body: ByteStream,
  maxBytes: number,
  options: BodyReaderOptions & { readonly truncate?: boolean },
): Promise<Uint8Array<ArrayBuffer>> {
  const reader = new BodyReader(body, options);
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let total = 0;
  for (let chunk = await reader.read(); chunk !== undefined; chunk = await reader.read()) {
    const room = maxBytes - total;
    if (chunk.byteLength > room) {
      await reader.cancel();
      if (options.truncate !== true) throw tooLarge(options.url, maxBytes);
      chunk = chunk.subarray(0, room);
      chunks.push(chunk);
      total += chunk.byteLength;
      break;
    }
    chunks.push(chunk);
    total += chunk.byteLength;
  }
  const [only] = chunks;
  return chunks.length === 1 && only !== undefined ? only : concatBytes(chunks);
}

/** A reader that fills the caller's buffer, where the stream is a byte stream: bodies of `fetch` are. */
function byteReader(body: ByteStream): Reader {
  try {
    return body.getReader({ mode: "byob" });
  } catch (error) {
    // The only way to ask a stream whether it is a byte stream.
    if (error instanceof TypeError && !body.locked) return body.getReader();
    throw error;
  }
}

/** What an aborted signal means as an error of ours. */
export function cancelled(signal: AbortSignal): OutpostError {
  const reason: unknown = signal.reason;
  if (reason instanceof OutpostError) return reason;
  return reason instanceof DOMException && reason.name === "TimeoutError"
    ? new OutpostError("TIMEOUT", "The operation took too long", { cause: reason })
    : new OutpostError("CANCELLED", "The operation was cancelled", { cause: reason });
}

/** Rejects with the signal's reason when it aborts before the promise settles. */
export async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    promise.catch(() => {});
    throw signal.reason;
  }
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
    promise.catch(() => {});
  }
}

function tooLarge(url: URL, maxBytes: number): OutpostError {
  return new OutpostError(
    "LIMIT_EXCEEDED",
    `Cannot read the answer of ${url.host}: it is larger than ${Math.floor(maxBytes / 1024)} KiB`,
  );
}
