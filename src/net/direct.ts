/**
 * HTTP/1.1 without `fetch`, for what the broker relays and for layers (docs/adr/008-direct-http.md): no stream, no `Headers` and no
 * `Request` for each exchange, bodies verbatim, one buffer per body. Connections are kept for the next exchange. It makes
 * direct connections only; where none can be made, its owner asks `fetch`, which knows proxies and explains failures.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock } from "../core/ports.ts";
import { abortable } from "./body.ts";
import { type ByteConnection, DirectConnection } from "./direct_connection.ts";
import { CHUNK_OVERHEAD, encodeChunk, LAST_CHUNK } from "./http1_chunks.ts";
import {
  type Field,
  type Framing,
  isFieldName,
  isFieldValue,
  type ResponseHead,
  writeRequestHead,
} from "./http1_head.ts";
import type { PulledBody } from "./pulled_body.ts";

/** Opens a connection to the URL's host and port, with TLS for `https:`. */
export type Dial = (url: URL) => Promise<ByteConnection>;

/** What {@link DirectClient} needs. */
export interface DirectOptions {
  readonly dial: Dial;
  readonly clock: Clock;
}

/** A request. Only requests that may arrive twice without harm should be given. */
export interface DirectRequest {
  readonly method: "GET" | "HEAD" | "POST";
  readonly url: URL;
  /** Beside `host` and the body's length. */
  readonly fields: readonly Field[];
  readonly body?: {
    /** Sent before the source. */
    readonly prefix: Uint8Array;
    readonly source: PulledBody | undefined;
  } | undefined;
  readonly signal: AbortSignal;
  /** Aborts as `signal` does, but not any more once the head of the answer is there. */
  readonly headSignal?: AbortSignal | undefined;
  /** Told how many bytes of the body's source were sent, as they are. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

/** The answer; its body must be read to its end or cancelled. */
export interface DirectResponse {
  readonly status: number;
  readonly fields: readonly Field[];
  readonly body: PulledBody;
  /** Whether the whole request was sent before the answer. */
  readonly sent: boolean;
}

/** {@link DirectClient.exchange}. */
export type DirectExchange = (request: DirectRequest) => Promise<DirectResponse | undefined>;

/** The first bytes of a request, kept for another attempt. */
interface Opening {
  readonly bytes: Uint8Array;
  readonly chunked: boolean;
  /** Nothing follows. */
  readonly whole: boolean;
  /** Bytes of the body's source that are among them. */
  readonly taken: number;
}

/** Sends requests over connections of its own. */
export class DirectClient {
  readonly #options: DirectOptions;
  readonly #idle = new Map<string, DirectConnection[]>();
  readonly #busy = new Set<DirectConnection>();
  #closed = false;

  constructor(options: DirectOptions) {
    this.#options = options;
  }

  /**
   * Sends a request and reads the head of its answer.
   *
   * @returns undefined when no connection could be made: nothing was sent, and the body was not touched.
   * @throws {OutpostError} REQUEST_INVALID for a header field that cannot be sent, CONNECTION_RESET when the connection
   *   breaks or `headSignal` aborts, CONNECTION_FAILED for a malformed answer; the signal's reason; what the body's source
   *   throws.
   */
  async exchange(request: DirectRequest): Promise<DirectResponse | undefined> {
    for (const [name, value] of request.fields) {
      if (!isFieldName(name) || !isFieldValue(value)) {
        throw new OutpostError("REQUEST_INVALID", "Cannot send the request: a header field is invalid");
      }
    }
    request.signal.throwIfAborted();
    let opening: Opening | undefined;
    for (;;) {
      const connection = this.#take(request.url.origin) ?? await this.#dial(request);
      if (connection === undefined) {
        if (opening === undefined) return undefined;
        throw connectionBroke();
      }
      opening ??= openingOf(request, connection);
      const response = await this.#attempt(connection, request, opening);
      if (response !== undefined) return response;
      // The peer had closed a connection at rest, so that it has not seen the request. The others are as old.
      if (!connection.reused || !opening.whole || request.headSignal?.aborted) throw connectionBroke();
      this.#drop(request.url.origin);
    }
  }

  /** Closes all connections; whoever waits for an answer fails. */
  close(): void {
    this.#closed = true;
    for (const connection of [...this.#busy, ...[...this.#idle.values()].flat()]) connection.close();
    this.#idle.clear();
  }

  /** A connection at rest that the peer has not closed. */
  #take(origin: string): DirectConnection | undefined {
    const idle = this.#idle.get(origin);
    for (let connection = idle?.pop(); connection !== undefined; connection = idle?.pop()) {
      const age = this.#options.clock.now() - connection.idleSince;
      if (connection.silent && age < LIMITS.httpIdleMs) return connection;
      connection.close();
    }
    return undefined;
  }

  #drop(origin: string): void {
    for (const connection of this.#idle.get(origin) ?? []) connection.close();
    this.#idle.delete(origin);
  }

  #release(origin: string, connection: DirectConnection): void {
    const idle = this.#idle.get(origin) ?? [];
    if (this.#closed || connection.dirty || idle.length >= LIMITS.httpIdleConnections) return connection.close();
    connection.idleSince = this.#options.clock.now();
    connection.listen();
    this.#idle.set(origin, idle);
    idle.push(connection);
  }

  async #dial({ url, signal }: DirectRequest): Promise<DirectConnection | undefined> {
    const dialing = this.#options.dial(url);
    let io: ByteConnection;
    try {
      io = await abortable(dialing, signal);
    } catch {
      if (!signal.aborted) return undefined;
      dialing.then((late) => late.close()).catch(() => {});
      throw signal.reason;
    }
    const connection = new DirectConnection(io);
    if (!this.#closed) return connection;
    connection.close();
    throw connectionBroke();
  }

  /** One attempt; undefined when the connection ended without a byte of an answer. */
  async #attempt(
    connection: DirectConnection,
    request: DirectRequest,
    opening: Opening,
  ): Promise<DirectResponse | undefined> {
    const { signal, headSignal, method, url } = request;
    const close = (): void => connection.close();
    const leave = (): void => {
      signal.removeEventListener("abort", close);
      this.#busy.delete(connection);
    };
    signal.addEventListener("abort", close, { once: true });
    headSignal?.addEventListener("abort", close, { once: true });
    this.#busy.add(connection);
    const outcome: { sent: boolean; failure?: unknown } = { sent: false };
    connection.begin();
    const sending = send(connection, request, opening).then(() => void (outcome.sent = true), (error) => {
      outcome.failure = error;
      connection.close();
    });
    try {
      const head = await connection.head(method === "HEAD");
      headSignal?.removeEventListener("abort", close);
      if (head === undefined) {
        connection.close();
        await sending;
        signal.throwIfAborted();
        if (outcome.failure instanceof SourceError) throw outcome.failure.cause;
        leave();
        return undefined;
      }
      if (!outcome.sent) await this.#settle(head, sending, signal);
      const sent = outcome.sent;
      const body = connection.body(head.framing, (whole) => {
        leave();
        if (whole && sent && head.keepAlive) this.#release(url.origin, connection);
        else connection.close();
      });
      return { status: head.status, fields: head.fields, body, sent };
    } catch (error) {
      leave();
      headSignal?.removeEventListener("abort", close);
      connection.close();
      signal.throwIfAborted();
      throw error instanceof OutpostError || outcome.failure !== undefined ? error : connectionBroke();
    }
  }

  /** An answer overtook the request: a success is given time to take the rest, for a refusal there is no point. */
  async #settle(head: ResponseHead, sending: Promise<void>, signal: AbortSignal): Promise<void> {
    if (head.status >= 300) return;
    const waiting = new AbortController();
    const late = this.#options.clock.sleep(LIMITS.httpSettleMs, AbortSignal.any([waiting.signal, signal])).catch(
      () => {},
    );
    await Promise.race([sending, late]);
    waiting.abort();
  }
}

/** Marks a failure of the body's source, so that it is not taken for one of the connection. */
class SourceError extends Error {}

/**
 * Head, prefix and what of the body is here already: in one piece, since each write costs the peer a wake-up, and in the
 * connection's own buffer where it fits.
 */
function openingOf(request: DirectRequest, connection: DirectConnection): Opening {
  const { body } = request;
  if (body === undefined) {
    const { bytes, end } = headOf(request, undefined, 0, connection.output);
    return { bytes: bytes.subarray(0, end), chunked: false, whole: true, taken: 0 };
  }
  const { prefix, source } = body;
  const length = source === undefined ? 0 : source.length;
  const framing: Framing = length === undefined
    ? { kind: "chunked" }
    : { kind: "length", bytes: prefix.length + length };
  const chunked = framing.kind === "chunked";
  const first = source?.take();
  const taken = first?.length ?? 0;
  const whole = source === undefined || source.ended;
  const room = prefix.length + taken + 2 * CHUNK_OVERHEAD + LAST_CHUNK.length;
  const { bytes, end } = headOf(request, framing, room, connection.output);
  let at = end;
  const put = (part: Uint8Array): void => {
    if (chunked) {
      at += encodeChunk(part, bytes.subarray(at));
    } else {
      bytes.set(part, at);
      at += part.length;
    }
  };
  put(prefix);
  if (first !== undefined) put(first);
  if (chunked && whole) {
    bytes.set(LAST_CHUNK, at);
    at += LAST_CHUNK.length;
  }
  return { bytes: bytes.subarray(0, at), chunked, whole, taken };
}

/** The head in a buffer that has room for so many bytes behind it: the given one if it is large enough. */
function headOf(
  { method, url, fields }: DirectRequest,
  framing: Framing | undefined,
  room: number,
  buffer: Uint8Array,
): { readonly bytes: Uint8Array; readonly end: number } {
  for (let bytes = buffer;; bytes = new Uint8Array(bytes.length * 2 + room)) {
    const end = writeRequestHead(method, url, fields, framing, bytes);
    if (end !== undefined && end + room <= bytes.length) return { bytes, end };
  }
}

async function send(connection: DirectConnection, request: DirectRequest, opening: Opening): Promise<void> {
  await connection.send(opening.bytes);
  request.onProgress?.(opening.taken);
  const source = request.body?.source;
  if (source === undefined) return;
  let scratch = new Uint8Array(0);
  for (let piece = await pull(source); piece !== undefined; piece = await pull(source)) {
    if (opening.chunked) {
      if (scratch.length < piece.length + CHUNK_OVERHEAD) scratch = new Uint8Array(piece.length + CHUNK_OVERHEAD);
      await connection.send(scratch.subarray(0, encodeChunk(piece, scratch)));
    } else {
      await connection.send(piece);
    }
    request.onProgress?.(piece.length);
  }
  if (opening.chunked && !opening.whole) await connection.send(LAST_CHUNK);
}

async function pull(source: PulledBody): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    return await source.read();
  } catch (cause) {
    throw new SourceError("The body's source failed", { cause });
  }
}

function connectionBroke(): OutpostError {
  return new OutpostError("CONNECTION_RESET", "Cannot exchange messages: the connection broke");
}
