/**
 * Streams an answer to the broker server: `POST /response-data/{token}/{streamingID}` (broker-protocol.md §3.1).
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ByteStream, Clock, Fetch } from "../core/ports.ts";
import type { DirectExchange } from "../net/direct.ts";
import { streamFrom } from "../net/pulled_body.ts";
import { type Answer, bodyStream, isConnectFailure } from "./answer.ts";
import { pulledBody, uploadDirectly } from "./direct_upload.ts";
import type { Role } from "./events.ts";
import type { BrokerEndpoints } from "./handshake.ts";

/** Fixed parts of every upload. */
export interface UploadOptions {
  readonly fetch: Fetch;
  /** Direct connections; without them, and where none can be made, `fetch` uploads. */
  readonly uploadExchange?: DirectExchange | undefined;
  readonly clock: Clock;
  readonly endpoints: BrokerEndpoints;
  readonly protocolVersion: string;
  /** An upload that makes no progress for this long is given up (BROKER_CLIENT_POST_TIMEOUT). */
  readonly uploadIdleMs: number;
}

/** One answer to upload. */
export interface Upload {
  readonly answer: Answer;
  readonly streamingId: string;
  readonly role: Role;
  /** The server that the request came from, where one was named. */
  readonly serverId?: string | undefined;
  readonly requestId: string;
  /** Headers of the brokered request, of which the routing ones are repeated. */
  readonly requestHeaders: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** The only content type that the server's body parser leaves alone. */
export const STREAM_CONTENT_TYPE = "application/vnd.broker.stream+octet-stream";

const ROUTING_HEADERS = [
  "snyk-acting-org-public-id",
  "snyk-acting-group-public-id",
  "snyk-product-line",
  "snyk-flow-name",
];

/**
 * Uploads the answer; resolves with the bytes of its body when the server has taken all of them. Connecting is tried
 * LIMITS.brokerUploadAttempts times; an upload that has begun is never replayed.
 *
 * @throws {OutpostError} BROKER_DISCONNECTED when the server cannot be reached or the upload breaks, BROKER_REFUSED
 *   when it answers anything but 200, TIMEOUT after `uploadIdleMs` without progress.
 */
export async function uploadAnswer(options: UploadOptions, upload: Upload): Promise<number> {
  if (options.uploadExchange === undefined) return await uploadByFetch(options, upload);
  const { answer, signal } = upload;
  const body = pulledBody(answer.body);
  try {
    const outcome = await uploadDirectly({
      exchange: options.uploadExchange,
      clock: options.clock,
      url: new URL(options.endpoints.upload(upload.streamingId, upload.role, upload.serverId)),
      fields: Object.entries(uploadHeaders(options.protocolVersion, upload)),
      head: encodeHead(answer),
      body,
      idleMs: options.uploadIdleMs,
      signal,
    });
    if (outcome !== undefined) {
      checkTaken(outcome.status, outcome.whole);
      return outcome.bytes;
    }
  } catch (error) {
    body?.cancel();
    throw uploadError(error, signal);
  }
  if (body === undefined || answer.body.kind === "json") return await uploadByFetch(options, upload);
  return await uploadByFetch(options, {
    ...upload,
    answer: { ...answer, body: { kind: "stream", stream: streamFrom(body) } },
  });
}

async function uploadByFetch(options: UploadOptions, upload: Upload): Promise<number> {
  const source = new AnswerSource(upload.answer);
  try {
    for (let attempt = 1;; attempt++) {
      try {
        return await attemptUpload(options, upload, source);
      } catch (error) {
        const again = attempt < LIMITS.brokerUploadAttempts && isConnectFailure(error) && source.replayable;
        if (!again || upload.signal.aborted) throw uploadError(error, upload.signal);
      }
      await options.clock.sleep(LIMITS.brokerUploadRetryMs, upload.signal);
    }
  } catch (error) {
    source.cancel(error);
    throw error;
  }
}

async function attemptUpload(options: UploadOptions, upload: Upload, source: AnswerSource): Promise<number> {
  const over = new AbortController();
  const idle = watchIdle(options, source, over);
  try {
    const request = new Request(options.endpoints.upload(upload.streamingId, upload.role, upload.serverId), {
      method: "POST",
      headers: uploadHeaders(options.protocolVersion, upload),
      body: source.stream(),
      redirect: "manual",
      signal: AbortSignal.any([upload.signal, over.signal]),
    });
    const response = await options.fetch(request);
    await response.body?.cancel();
    checkTaken(response.status, source.finished);
    return source.bytes;
  } finally {
    over.abort();
    await idle;
  }
}

function checkTaken(status: number, whole: boolean): void {
  if (status !== 200) {
    throw new OutpostError("BROKER_REFUSED", `Cannot deliver an answer: the broker server said ${status}`);
  }
  if (!whole) {
    throw new OutpostError("BROKER_REFUSED", "Cannot deliver an answer: the broker server did not read all of it");
  }
}

function uploadHeaders(protocolVersion: string, upload: Upload): Record<string, string> {
  const routing = ROUTING_HEADERS.flatMap((name) => {
    const value = upload.requestHeaders[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    ...Object.fromEntries(routing),
    "content-type": STREAM_CONTENT_TYPE,
    "snyk-request-id": upload.requestId,
    "user-agent": `Snyk Broker client ${protocolVersion}`,
    "x-broker-client-version": protocolVersion,
    "snyk-broker-retry-count": "0",
  };
}

/** Aborts the upload when the source has not moved for `uploadIdleMs`. */
async function watchIdle(options: UploadOptions, source: AnswerSource, over: AbortController): Promise<void> {
  for (let seen = -1; seen !== source.reads;) {
    seen = source.reads;
    try {
      await options.clock.sleep(options.uploadIdleMs, over.signal);
    } catch {
      return;
    }
  }
  over.abort(new OutpostError("TIMEOUT", "Cannot deliver an answer: the upload made no progress"));
}

/** How a direct connection, the server's or the agent's, failed. */
const LINK_ERRORS: ReadonlySet<string> = new Set(["CONNECTION_RESET", "CONNECTION_FAILED"]);

/** Deno's own message quotes the address, which holds the token: it stays in `cause` of nothing. */
function uploadError(error: unknown, signal: AbortSignal): OutpostError {
  if (error instanceof OutpostError && !LINK_ERRORS.has(error.code)) return error;
  if (signal.aborted) return new OutpostError("CANCELLED", "Cannot deliver an answer: the broker client is closing");
  return isConnectFailure(error)
    ? new OutpostError("BROKER_DISCONNECTED", "Cannot deliver an answer: the broker server cannot be reached")
    : new OutpostError("BROKER_DISCONNECTED", "Cannot deliver an answer: the upload was cut off");
}

const encoder = new TextEncoder();

/** Length of the head as uint32 little-endian, and the head itself: in one piece, since older servers need that. */
export function encodeHead(answer: Pick<Answer, "status" | "headers" | "errorType">): Uint8Array<ArrayBuffer> {
  const { status, headers, errorType } = answer;
  const json = JSON.stringify({ status, headers, errorType });
  // UTF-8 takes at most three bytes for what is one unit in a string.
  const head = new Uint8Array(4 + 3 * json.length);
  const { written } = encoder.encodeInto(json, head.subarray(4));
  new DataView(head.buffer).setUint32(0, written, true);
  return head.subarray(0, 4 + written);
}

/**
 * The bytes of an upload: head, then body. What has been read of the body is kept until it exceeds
 * LIMITS.brokerUploadReplayBytes, which happens only once a connection takes it, so that an attempt whose connection
 * never stood can be repeated.
 */
class AnswerSource {
  readonly #head: Uint8Array<ArrayBuffer>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>> | undefined;
  #kept: Uint8Array<ArrayBuffer>[] = [];
  #dropped = 0;
  #reading: Promise<void> | undefined;
  #ended: boolean;
  #bytes = 0;
  #reads = 0;
  #finished = false;
  #replayable = true;

  constructor(answer: Answer) {
    this.#head = encodeHead(answer);
    this.#reader = bodyStream(answer.body)?.getReader();
    this.#ended = this.#reader === undefined;
    if (answer.body.kind === "json") this.#keep(new TextEncoder().encode(JSON.stringify(answer.body.value)));
  }

  /** Whether another attempt can start from the first byte. */
  get replayable(): boolean {
    return this.#replayable;
  }

  /** Whether an attempt has taken everything. */
  get finished(): boolean {
    return this.#finished;
  }

  /** Body bytes read so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Grows with every piece that is taken. */
  get reads(): number {
    return this.#reads;
  }

  /** Stops the agent's answer. */
  cancel(reason: unknown): void {
    this.#reader?.cancel(reason).catch(() => {});
  }

  /** The whole upload, from the first byte. A failure of the agent's answer fails it, so that nobody takes it for whole. */
  stream(): ByteStream {
    let next = 0;
    let headSent = false;
    return new ReadableStream({
      pull: async (controller) => {
        this.#reads++;
        if (!headSent) {
          headSent = true;
          return controller.enqueue(this.#head);
        }
        const chunk = await this.#at(next++);
        if (chunk !== undefined) return controller.enqueue(chunk);
        this.#finished = true;
        controller.close();
      },
    }, { highWaterMark: 0 });
  }

  async #at(index: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    while (!this.#ended && index - this.#dropped >= this.#kept.length) {
      this.#reading ??= this.#read().finally(() => this.#reading = undefined);
      await this.#reading;
    }
    const chunk = this.#kept[index - this.#dropped];
    if (!this.#replayable && chunk !== undefined) {
      this.#dropped = index + 1;
      this.#kept = [];
    }
    return chunk;
  }

  async #read(): Promise<void> {
    const result = await this.#reader?.read();
    if (result === undefined || result.done) this.#ended = true;
    else if (result.value.length > 0) this.#keep(result.value);
  }

  #keep(chunk: Uint8Array<ArrayBuffer>): void {
    this.#kept.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes > LIMITS.brokerUploadReplayBytes) this.#replayable = false;
  }
}
