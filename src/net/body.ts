/**
 * Reading answers: in pieces that must keep coming, and whole ones up to a bound.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ByteStream, Clock } from "../core/ports.ts";
import { concatBytes } from "../lib/bytes.ts";
import { classifyTransportError } from "./classify.ts";
import type { PulledBody } from "./pulled_body.ts";

/** The body of an answer that is still on its way: of `fetch`, or of a connection of our own. */
export type AnswerBody = ByteStream | PulledBody;

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

/** Why the timer stops: made once, since a reason of its own for each costs as much as all the rest. */
const OVER = new DOMException("The body is over", "AbortError");

type Reader = ReadableStreamBYOBReader | ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>> | PulledBody;

/**
 * Reads a body piece by piece without copying. A body that brings fewer than LIMITS.progressBytes in LIMITS.noProgressMs
 * of waiting is given up; time that the reader's owner spends between reads does not count.
 */
export class BodyReader {
  readonly #reader: Reader;
  readonly #options: BodyReaderOptions;
  readonly #patience: Patience;
  #buffer = new ArrayBuffer(0);

  constructor(body: AnswerBody, options: BodyReaderOptions) {
    this.#reader = readerOf(body, options);
    if (this.#reader instanceof ReadableStreamBYOBReader) this.#buffer = new ArrayBuffer(BUFFER_BYTES);
    this.#options = options;
    this.#patience = new Patience(options);
  }

  /**
   * The next piece, or undefined at the end.
   *
   * @throws {OutpostError} CONNECTION_RESET when the body breaks, TIMEOUT when it stalls, CANCELLED on abort.
   */
  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    try {
      const piece = await this.#patience.wait(this.#pull());
      if (piece === undefined) this.#patience.end();
      else this.#patience.note(piece.byteLength);
      return piece;
    } catch (error) {
      await this.cancel();
      throw this.#explain(error);
    }
  }

  /** Gives the connection back; safe to call at any time. */
  async cancel(): Promise<void> {
    this.#patience.end();
    await Promise.resolve(this.#reader.cancel()).catch(() => {});
  }

  async #pull(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    if (isPulled(this.#reader)) {
      const piece = await this.#reader.read();
      return this.#options.reuseBuffer === true ? piece : piece?.slice();
    }
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
 * Waits for the pieces of one body with one timer and one look at the signal: those of their own for each of ten thousand
 * pieces would cost as much as receiving them.
 */
class Patience {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #over = new AbortController();
  readonly #giveUp = (): void => this.#reject?.(this.#signal.reason);
  #started = false;
  #timing = false;
  #reject: ((reason: unknown) => void) | undefined;
  /** When the present wait began, and how long those before it took since the last progress. */
  #began = 0;
  #waitedMs = 0;
  #windowBytes = 0;

  constructor({ clock, signal }: BodyReaderOptions) {
    this.#clock = clock;
    this.#signal = signal;
  }

  /** The piece, unless it takes too long or the signal aborts; then what the piece becomes is nobody's concern. */
  async wait<T>(piece: Promise<T>): Promise<T> {
    const { promise: refused, reject } = Promise.withResolvers<never>();
    if (this.#signal.aborted) reject(this.#signal.reason);
    else if (!this.#started) this.#signal.addEventListener("abort", this.#giveUp, { once: true });
    this.#started = true;
    this.#reject = reject;
    this.#began = this.#clock.now();
    this.#time();
    try {
      return await Promise.race([piece, refused]);
    } finally {
      this.#reject = undefined;
      this.#waitedMs += this.#clock.now() - this.#began;
      piece.catch(() => {});
    }
  }

  /** Counts what came. */
  note(bytes: number): void {
    this.#windowBytes += bytes;
    if (this.#windowBytes < LIMITS.progressBytes) return;
    this.#waitedMs = 0;
    this.#windowBytes = 0;
  }

  /** Lets go of timer and signal. */
  end(): void {
    this.#over.abort(OVER);
    this.#signal.removeEventListener("abort", this.#giveUp);
  }

  /** The timer goes on from piece to piece; it looks at what was waited for only when it is over. */
  #time(): void {
    if (this.#timing || this.#over.signal.aborted) return;
    this.#timing = true;
    void this.#clock.sleep(Math.max(1, LIMITS.noProgressMs - this.#waitedMs), this.#over.signal).then(() => {
      this.#timing = false;
      const reject = this.#reject;
      if (reject === undefined) return;
      if (this.#waitedMs + this.#clock.now() - this.#began < LIMITS.noProgressMs) this.#time();
      else reject(new OutpostError("TIMEOUT", "The body does not come"));
    }, () => {});
  }
}

/**
 * Reads a body to its end.
 *
 * @param maxBytes Bound; what comes after it is an error, or is dropped when `truncate` is set.
 * @throws {OutpostError} LIMIT_EXCEEDED, and what {@link BodyReader.read} throws.
 */
export async function readAll(
  body: AnswerBody,
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

/** Gives up a body that nobody reads; never rejects. */
export async function cancelBody(body: AnswerBody | null): Promise<void> {
  if (body instanceof ReadableStream && body.locked) return;
  await Promise.resolve(body?.cancel()).catch(() => {});
}

function readerOf(body: AnswerBody, { reuseBuffer }: BodyReaderOptions): Reader {
  if (!(body instanceof ReadableStream)) return body;
  return reuseBuffer === true ? byteReader(body) : body.getReader();
}

function isPulled(reader: Reader): reader is PulledBody {
  return "take" in reader;
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
