/**
 * A broker server that sends whatever a test wants: it takes every websocket and every upload, and keeps no rule of the
 * protocol by itself.
 *
 * @module
 */
import { decodeFrame, encodeFrame, type Frame } from "../../src/broker/codec.ts";

/** An answer that a client uploaded. */
export interface HostileUpload {
  /** The stream's id as it stood in the address, decoded. */
  readonly id: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly errorType?: string;
  readonly body: string;
}

/** One websocket of a client. */
export interface HostileSocket {
  readonly role: string;
  readonly open: boolean;
  /** Sends a frame of text or bytes as it is. */
  send(frame: string | Uint8Array<ArrayBuffer>): void;
  /** Sends a `request` event: GET /list, unless `argument` says otherwise; with `id` it wants an acknowledgement. */
  ask(argument: unknown, id?: number): void;
  close(): void;
}

/** A running server. */
export interface HostileBroker extends AsyncDisposable {
  /** `http://127.0.0.1:port`. */
  readonly url: string;
  /** Open websockets, oldest first. */
  readonly sockets: readonly HostileSocket[];
  /** Websockets so far. */
  readonly connections: number;
  /** Uploads so far, in the order of their ends. */
  readonly uploads: readonly HostileUpload[];
  /** Frames of clients so far, decoded. */
  readonly frames: readonly Frame[];
  /** Addresses that were asked for outside of websockets and uploads. */
  readonly others: readonly string[];
  /** The text of what follows the handshake; by default engine.io's open packet and the server's `identify`. */
  greeting: readonly string[];
  /** Answers uploads. */
  answerUpload: () => Response;
  /** Resolves when the condition, looked at after every event, holds; rejects with the signal's reason. */
  until(condition: () => boolean, signal: AbortSignal): Promise<void>;
  /** The upload for a stream, come or coming. */
  upload(id: string, signal: AbortSignal): Promise<HostileUpload>;
}

/** What a well-behaved server says first. */
export const GREETING: readonly string[] = [
  encodeFrame({ kind: "open", sid: "s", pingInterval: 25_000, pingTimeout: 20_000 }),
  encodeFrame({ kind: "event", name: "identify", args: [{ capabilities: ["receive-post-streams"] }] }),
];

/** Starts the server. */
export function startHostileBroker(port = 0): HostileBroker {
  const sockets: (HostileSocket & { readonly socket: WebSocket })[] = [];
  const uploads: HostileUpload[] = [];
  const frames: Frame[] = [];
  const others: string[] = [];
  const watchers = new Set<() => void>();
  let connections = 0;
  const changed = (): void => {
    for (const look of [...watchers]) look();
  };

  function connect(request: Request): Response {
    const { socket, response } = Deno.upgradeWebSocket(request, { idleTimeout: 0 });
    const made = {
      socket,
      role: new URL(request.url).searchParams.get("connection_role") ?? "",
      get open(): boolean {
        return socket.readyState === WebSocket.OPEN;
      },
      send: (frame: string | Uint8Array<ArrayBuffer>): void => socket.send(frame),
      ask: (argument: unknown, id?: number): void => socket.send(requestFrame(argument, id)),
      close: (): void => socket.close(),
    };
    socket.onopen = () => {
      connections++;
      for (const frame of self.greeting) socket.send(frame);
      sockets.push(made);
      changed();
    };
    socket.onmessage = ({ data }) => {
      frames.push(decodeFrame(data));
      changed();
    };
    socket.onclose = () => {
      const at = sockets.indexOf(made);
      if (at >= 0) sockets.splice(at, 1);
      changed();
    };
    socket.onerror = () => {};
    return response;
  }

  async function serve(request: Request): Promise<Response> {
    const url = new URL(request.url);
    if (request.headers.get("upgrade") === "websocket") return connect(request);
    if (!url.pathname.startsWith("/response-data/")) {
      others.push(`${request.method} ${url.pathname}`);
      return Response.json({ ok: true, version: "5.22.14" });
    }
    const bytes = await request.bytes();
    const size = new DataView(bytes.buffer).getUint32(0, true);
    const text = new TextDecoder();
    const head = JSON.parse(text.decode(bytes.subarray(4, 4 + size)));
    const id = decodeURIComponent(url.pathname.split("/")[3] ?? "");
    uploads.push({ id, ...head, body: text.decode(bytes.subarray(4 + size)) });
    changed();
    return self.answerUpload();
  }

  const server = Deno.serve(
    { hostname: "127.0.0.1", port, onListen: () => {}, onError: () => Response.error() },
    serve,
  );
  const self: HostileBroker = {
    url: `http://127.0.0.1:${server.addr.port}`,
    sockets,
    get connections(): number {
      return connections;
    },
    uploads,
    frames,
    others,
    greeting: GREETING,
    answerUpload: () => Response.json({}),
    until: (condition, signal) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const look = (): void => {
        if (condition()) resolve();
      };
      const abort = (): void => reject(signal.reason);
      watchers.add(look);
      signal.addEventListener("abort", abort, { once: true });
      look();
      return promise.finally(() => {
        watchers.delete(look);
        signal.removeEventListener("abort", abort);
      });
    },
    upload: async (id, signal) => {
      await self.until(() => uploads.some((upload) => upload.id === id), signal);
      return uploads.find((upload) => upload.id === id) ?? await Promise.reject(new Error("unreachable"));
    },
    [Symbol.asyncDispose]: async () => {
      for (const { socket } of [...sockets]) socket.close();
      await server.shutdown();
    },
  };
  return self;
}

/** The text of a `request` event. An object is completed to GET /list; anything else is sent as it is. */
function requestFrame(argument: unknown, id: number | undefined): string {
  const whole = typeof argument === "object" && argument !== null && !Array.isArray(argument)
    ? { url: "/list", method: "GET", headers: {}, streamingID: crypto.randomUUID(), ...argument }
    : argument;
  return encodeFrame({ kind: "event", name: "request", args: [whole], ...(id === undefined ? {} : { id }) });
}
