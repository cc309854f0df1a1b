/**
 * The bytes of a blob from first to last, over as many connections as it takes.
 *
 * When a body breaks or stalls, the rest is asked for with a closed range (RFC 9110 §14; open and suffix ranges fail at
 * several registries). An answer that does not continue where the last one ended - no or another `Content-Range`, another
 * `ETag`, 200 or 416 to a range - makes one request for the whole, of which the part that is already delivered is skipped.
 * Nobody reads ahead of the consumer, and one buffer serves all reads: the pieces that `fetch` would allocate otherwise are
 * most of a scan's memory.
 *
 * @module
 */
import { LayerError, OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ByteSource, Clock, Logger } from "../core/ports.ts";
import type { Descriptor } from "../core/types.ts";
import { BodyReader, cancelBody, cancelled } from "../net/body.ts";
import type { StreamedResponse } from "../net/http.ts";
import { backoffMs } from "../net/retry.ts";

/** Options of {@link openBlob}. */
export interface BlobOptions {
  readonly descriptor: Descriptor;
  /** Sends the GET, with a `Range` when one is given; answers of other status than 200, 206 and 416 are thrown. */
  readonly request: (range: string | undefined) => Promise<StreamedResponse>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Opens a blob. The first answer has arrived when this resolves. Reading gives exactly `descriptor.size` bytes or fails;
 * their digest is for the reader to check.
 *
 * @throws {LayerError} naming the blob: what the registry's refusal means, or INTEGRITY when it announces another size.
 */
export async function openBlob(options: BlobOptions): Promise<ByteSource> {
  const source = new BlobSource(options);
  await source.start();
  return source;
}

class BlobSource implements ByteSource {
  readonly #options: BlobOptions;
  #reader: BodyReader | undefined;
  /** Bytes handed on. */
  #received = 0;
  /** Bytes of the present answer that were handed on before. */
  #skip = 0;
  #etag: string | null | undefined;
  #rangesWork = true;
  #failures = 0;
  #receivedAtFailure = 0;
  #closed = false;

  constructor(options: BlobOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    try {
      await this.#connect();
    } catch (error) {
      throw this.#explain(error);
    }
  }

  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    if (this.#closed) throw new Error("The blob was given up");
    try {
      return await this.#next();
    } catch (error) {
      await this.close();
      throw this.#explain(error);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#reader?.cancel();
  }

  /** The next bytes that were not handed on yet; undefined when all were. */
  async #next(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const { size } = this.#options.descriptor;
    for (;;) {
      const chunk = await this.#read();
      if (chunk === undefined) {
        if (this.#received === size) return undefined;
        continue;
      }
      const fresh = chunk.subarray(Math.min(this.#skip, chunk.byteLength));
      this.#skip -= chunk.byteLength - fresh.byteLength;
      if (fresh.byteLength === 0) continue;
      this.#received += fresh.byteLength;
      if (this.#received > size) throw this.#damaged(`it is longer than ${size} bytes`);
      return fresh;
    }
  }

  /** Reads from the present answer; when that breaks or ends early, opens the next one and gives undefined. */
  async #read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const { descriptor, signal } = this.#options;
    try {
      const chunk = await this.#reader?.read();
      if (chunk !== undefined || this.#received === descriptor.size) return chunk;
      throw new OutpostError("CONNECTION_RESET", `The body ended after ${this.#received} of ${descriptor.size} bytes`);
    } catch (error) {
      if (signal.aborted) throw cancelled(signal);
      if (this.#closed || !isInterruption(error)) throw error;
      // All bytes are here: how the connection ended does not matter, their digest does.
      if (this.#received < descriptor.size) await this.#resume(error);
      return undefined;
    }
  }

  /** Opens the next answer after an interruption; gives up after several without progress. */
  async #resume(interruption: OutpostError): Promise<void> {
    const { clock, logger, descriptor, signal } = this.#options;
    for (let error = interruption;;) {
      const progress = this.#received - this.#receivedAtFailure >= LIMITS.resumeProgressBytes;
      this.#failures = progress ? 1 : this.#failures + 1;
      this.#receivedAtFailure = this.#received;
      if (this.#failures > LIMITS.resumesWithoutProgress) throw error;
      logger.debug("Blob is resumed", { digest: descriptor.digest, at: this.#received, code: error.code });
      if (this.#failures > 1) await clock.sleep(backoffMs(this.#failures - 1, clock), signal);
      try {
        return await this.#connect();
      } catch (failure) {
        if (signal.aborted || !isInterruption(failure)) throw failure;
        error = failure;
      }
    }
  }

  /** Sends a request for what is missing and checks that the answer continues there. */
  async #connect(): Promise<void> {
    const { size } = this.#options.descriptor;
    const ranged = this.#received > 0 && this.#rangesWork;
    const response = await this.#options.request(ranged ? `bytes=${this.#received}-${size - 1}` : undefined);
    const problem = this.#mismatch(response, ranged);
    if (problem === undefined) return this.#accept(response, response.status === 206 ? this.#received : 0);
    await cancelBody(response.body);
    if (!ranged) throw this.#damaged(problem);
    this.#options.logger.debug("Registry does not resume", { problem });
    this.#rangesWork = false;
    await this.#connect();
  }

  /** Why an answer cannot be used, or undefined. */
  #mismatch(response: StreamedResponse, ranged: boolean): string | undefined {
    const { size } = this.#options.descriptor;
    const length = response.headers.get("content-length");
    if (response.status === 416) return "the range was refused";
    if (response.status === 200) {
      return length !== null && Number(length) !== size ? `it has ${length} bytes instead of ${size}` : undefined;
    }
    if (!ranged) return "a part was sent for the whole";
    const [, start, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/i.exec(response.headers.get("content-range") ?? "") ?? [];
    if (start === undefined || Number(start) !== this.#received) return "another part was sent";
    if (total !== "*" && Number(total) !== size) throw this.#damaged(`it has ${total} bytes instead of ${size}`);
    const etag = response.headers.get("etag");
    return etag !== null && this.#etag !== null && this.#etag !== undefined && etag !== this.#etag
      ? "the content's tag changed"
      : undefined;
  }

  #accept(response: StreamedResponse, from: number): void {
    const { clock, signal } = this.#options;
    this.#etag = response.headers.get("etag") ?? this.#etag ?? null;
    this.#skip = this.#received - from;
    this.#reader = response.body === null
      ? undefined
      : new BodyReader(response.body, { clock, url: response.url, signal, reuseBuffer: true });
  }

  #damaged(problem: string): OutpostError {
    return new OutpostError("INTEGRITY", problem);
  }

  /** Every failure names the blob. */
  #explain(error: unknown): unknown {
    const { descriptor, signal } = this.#options;
    if (signal.aborted) return cancelled(signal);
    if (!(error instanceof OutpostError) || error instanceof LayerError || error.code === "CANCELLED") return error;
    const { status, hint, retryAt, retryable } = error;
    const problem = error.message.replace(/^Cannot .*?: /, "");
    return new LayerError(error.code, descriptor.digest, problem, { status, hint, retryAt, retryable, cause: error });
  }
}

/** Whether the rest may be asked for again. */
function isInterruption(error: unknown): error is OutpostError {
  if (!(error instanceof OutpostError)) return false;
  return error.code === "CONNECTION_RESET" || error.code === "CONNECTION_FAILED" || error.code === "TIMEOUT" ||
    error.code === "CONNECTION_REFUSED" || error.code === "DNS";
}
