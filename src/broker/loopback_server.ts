/**
 * A broker server for this machine: what a broker client connects to in `outpost demo` and in tests. It speaks the wire
 * of Snyk's server (broker-protocol.md §1–3, §6) and keeps its habits: requests need an identified socket, the newest
 * one gets them, a socket without messages is dropped, answers come by upload.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { Clock, Logger } from "../core/ports.ts";
import { readBody, readHeaders } from "./brokered_request.ts";
import { isRecord } from "./codec.ts";
import type { Callback, CallbackAnswer } from "./callbacks.ts";
import type { Role } from "./events.ts";
import { LoopbackSocket } from "./loopback_socket.ts";
import { receiveUpload, toResponse } from "./loopback_upload.ts";

/** Options of {@link LoopbackBroker}. */
export interface LoopbackOptions {
  /** The only token that is known; compared in lower case, as the real server does. */
  readonly token: string;
  /** Time of the heartbeats. */
  readonly clock: Clock;
  /** Receives what is odd about a client. */
  readonly logger: Logger;
  /** A fresh random UUID. */
  readonly randomId: () => string;
  /** Turns a request into a websocket: `Deno.upgradeWebSocket`. */
  readonly upgrade: (request: Request) => { readonly socket: WebSocket; readonly response: Response };
  /** Receives the client's callbacks and answers for Snyk. */
  readonly onCallback: (callback: Callback) => CallbackAnswer | Promise<CallbackAnswer>;
  /** Whether answers may be uploaded; true by default. Without it the client answers with `chunk` events. */
  readonly receivesUploads?: boolean | undefined;
  /** Something happened to a socket. */
  readonly onSocket?: ((event: LoopbackSocketEvent) => void) | undefined;
}

/** What {@link LoopbackOptions.onSocket} is told. */
export interface LoopbackSocketEvent {
  /** What happened. */
  readonly kind: "connected" | "identified" | "closed";
  /** The socket's role, as its address says. */
  readonly role: Role;
  /** Headers of the handshake. */
  readonly headers: Headers;
}

/** How long after a loss the server expects the client back, in milliseconds. */
const RECONNECT_GRACE_MS = 60_000;

/** A caller whose answer has not come yet. */
interface Waiting {
  readonly resolve: (response: Response) => void;
  /** Present once `chunk` events have begun. */
  chunks?: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;
}

/** The server. Its `fetch` is a handler for `Deno.serve`. */
export class LoopbackBroker {
  readonly #options: LoopbackOptions;
  readonly #sockets: LoopbackSocket[] = [];
  readonly #waiting = new Map<string, Waiting>();
  readonly #changes = new Set<() => void>();
  #lostAt = -Infinity;

  /** Makes a server that nobody has connected to. */
  constructor(options: LoopbackOptions) {
    this.#options = options;
  }

  /** Identified sockets, the one that gets the requests first. */
  get sockets(): readonly LoopbackSocket[] {
    return this.#sockets.filter((socket) => socket.identified);
  }

  /** Serves `/primus/<token>/`, `/response-data/<token>/<id>`, `/broker/<token>/…` and `/healthcheck`. */
  readonly fetch = async (request: Request): Promise<Response> => {
    const url = new URL(request.url);
    const [, area, token = "", ...rest] = url.pathname.split("/");
    if (area === "healthcheck" || area === "") return Response.json({ ok: true, version: "loopback" });
    if (decodeURIComponent(token).toLowerCase() !== this.#options.token.toLowerCase()) return noConnection();
    if (area === "primus") return this.#connect(request, url);
    if (area === "response-data" && request.method === "POST") {
      return await this.#upload(request, decodeURIComponent(rest[0] ?? ""));
    }
    if (area === "broker") return await this.call(request, url.pathname.slice(`/broker/${token}`.length) + url.search);
    return new Response(null, { status: 404 });
  };

  /** Resolves when at least `count` sockets have identified; rejects with the signal's reason. */
  async connected(count: number, signal: AbortSignal): Promise<void> {
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => {});
    const abort = (): void => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    try {
      while (this.sockets.length < count) {
        signal.throwIfAborted();
        const change = Promise.withResolvers<void>();
        this.#changes.add(change.resolve);
        await Promise.race([change.promise, promise]).finally(() => this.#changes.delete(change.resolve));
      }
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  /**
   * Sends a request to the client and gives its answer, as the real server's HTTP side does for `/broker/<token>/…`.
   * `url` is the path and query for the client; by default the request's own. With `x-broker-ws-response` the answer
   * comes by acknowledgement.
   */
  async call(request: Request, url?: string): Promise<Response> {
    const socket = this.sockets[0];
    if (socket === undefined) return this.#noConnection();
    const own = new URL(request.url);
    const body = new Uint8Array(await request.arrayBuffer());
    if (body.length > LIMITS.brokerRequestBodyBytes) return new Response(null, { status: 413 });
    const requestId = this.#options.randomId();
    const headers = { ...Object.fromEntries(request.headers), "snyk-request-id": requestId };
    const message = {
      url: url ?? own.pathname + own.search,
      method: request.method,
      headers,
      requestId,
      ...(body.length === 0 ? {} : { body }),
    };
    const byWebsocket = "x-broker-ws-response" in headers;
    return byWebsocket ? await acknowledged(socket, message) : await this.#streamed(socket, message, request.signal);
  }

  /** Ends every connection as the real server does on purpose: `primus::server::close`, then the close itself. */
  closeClients(): void {
    for (const socket of [...this.#sockets]) socket.closeOnPurpose();
  }

  /** Drops every connection and every waiting caller. */
  close(): void {
    for (const socket of [...this.#sockets]) socket.drop();
    for (const [id, waiting] of this.#waiting) this.#finish(id, waiting, new Response(null, { status: 502 }));
  }

  #connect(request: Request, url: URL): Response {
    if (request.headers.get("upgrade")?.toLowerCase() !== "websocket" || url.searchParams.get("EIO") !== "4") {
      return Response.json({ code: 0, message: "Transport unknown" }, { status: 400 });
    }
    const { socket, response } = this.#options.upgrade(request);
    const role = url.searchParams.get("connection_role") === "secondary" ? "secondary" : "primary";
    const { headers } = request;
    const { clock, logger, randomId, onCallback, receivesUploads, onSocket } = this.#options;
    const made = new LoopbackSocket({
      socket,
      role,
      clock,
      logger,
      sid: randomId(),
      capabilities: receivesUploads === false ? [] : ["receive-post-streams"],
      onOpen: () => onSocket?.({ kind: "connected", role, headers }),
      onIdentified: () => {
        this.#sockets.unshift(made);
        onSocket?.({ kind: "identified", role, headers });
        this.#changed();
      },
      onClosed: () => {
        const at = this.#sockets.indexOf(made);
        if (at >= 0) this.#sockets.splice(at, 1);
        this.#lostAt = clock.now();
        onSocket?.({ kind: "closed", role, headers });
        this.#changed();
      },
      onRequest: async (argument) => await onCallback(readCallback(argument)),
      onChunk: (args) => this.#chunk(args),
    });
    return response;
  }

  #noConnection(): Response {
    return noConnection(this.#options.clock.now() - this.#lostAt < RECONNECT_GRACE_MS);
  }

  #changed(): void {
    for (const change of this.#changes) change();
  }

  #streamed(socket: LoopbackSocket, message: Record<string, unknown>, signal: AbortSignal): Promise<Response> {
    const streamingID = this.#options.randomId();
    return new Promise((resolve) => {
      const waiting: Waiting = { resolve };
      this.#waiting.set(streamingID, waiting);
      signal.addEventListener("abort", () => this.#waiting.delete(streamingID), { once: true });
      if (!socket.emit("request", { ...message, streamingID })) {
        this.#finish(streamingID, waiting, this.#noConnection());
      }
    });
  }

  #finish(id: string, waiting: Waiting, response: Response): void {
    this.#waiting.delete(id);
    waiting.resolve(response);
  }

  async #upload(request: Request, id: string): Promise<Response> {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) {
      return Response.json({ message: "Unable to find request matching streaming id." }, { status: 500 });
    }
    this.#waiting.delete(id);
    return await receiveUpload(request, waiting.resolve);
  }

  /** Answers of clients that were told that uploads are not possible. */
  #chunk(args: readonly unknown[]): void {
    const [id, data, finished, head] = args;
    const waiting = typeof id === "string" ? this.#waiting.get(id) : undefined;
    if (waiting === undefined || typeof id !== "string") return;
    if (isRecord(head)) {
      const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
        start: (controller) => void (waiting.chunks = controller),
      });
      waiting.resolve(toResponse(head, body));
    }
    const bytes = readBody(data);
    if (bytes !== undefined && bytes.length > 0) waiting.chunks?.enqueue(bytes);
    if (finished !== true) return;
    this.#waiting.delete(id);
    waiting.chunks?.close();
  }
}

async function acknowledged(socket: LoopbackSocket, message: Record<string, unknown>): Promise<Response> {
  const answer = await socket.request("request", { ...message, streamingID: "" });
  if (!isRecord(answer)) return new Response(null, { status: 502 });
  const { body } = answer;
  const bytes = typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body);
  return toResponse(answer, bytes as BodyInit);
}

function readCallback(argument: unknown): Callback {
  const { url, method, headers, body } = isRecord(argument) ? argument : {};
  return {
    url: String(url),
    method: String(method),
    headers: readHeaders(headers),
    body: readBody(body) ?? new Uint8Array(0),
  };
}

/** Nobody to ask: worth trying again within a minute of a loss, as the real server says. */
function noConnection(recentlyLost = false): Response {
  return recentlyLost
    ? Response.json({ ok: false }, {
      status: 503,
      headers: { "x-broker-failure": "connection-not-ready", "retry-after": "1" },
    })
    : Response.json({ ok: false }, { status: 404, headers: { "x-broker-failure": "no-connection" } });
}
