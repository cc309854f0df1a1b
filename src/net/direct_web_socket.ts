/**
 * A websocket client over a connection of its own (RFC 6455). Deno's `WebSocket` collects the fragments of a message
 * without a bound before the program sees any of it; this one refuses the message. Where no connection can be made, it
 * hands over to another websocket, which knows proxies and explains failures.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { Clock } from "../core/ports.ts";
import { TextBytes } from "../lib/text_bytes.ts";
import type { Dial } from "./direct.ts";
import type { ByteConnection } from "./direct_connection.ts";
import { encodeRequestHead, headEnd, parseResponseHead } from "./http1_head.ts";
import { encodeClientFrame, FrameError, FrameReader, type Incoming, OPCODE } from "./websocket_frames.ts";

/** The part of a `WebSocket` that is offered. */
export type WebSocketPart = Pick<WebSocket, "readyState" | "bufferedAmount" | "send" | "close" | "addEventListener">;

/** What {@link DirectWebSocket} needs. */
export interface DirectWebSocketOptions {
  /** `ws:` or `wss:`. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly dial: Dial;
  /** Opens the same by other means, when no connection can be made. */
  readonly fallback: () => WebSocketPart;
  /** Most bytes of a message. */
  readonly maxBytes: number;
  readonly clock: Clock;
  /** So many random bytes: keys of handshake and masks, which nobody may foresee (RFC 6455 §10.3). */
  readonly randomBytes: (count: number) => Uint8Array;
}

const ACCEPT_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const HANDSHAKE_BYTES = 16 * 1024;
const EVENTS = ["open", "message", "error", "close"] as const;

/** A websocket; starts to connect at once, and tells by events as `WebSocket` does. */
export class DirectWebSocket extends EventTarget implements WebSocketPart {
  readonly #options: DirectWebSocketOptions;
  readonly #over = new AbortController();
  #other: WebSocketPart | undefined;
  #io: ByteConnection | undefined;
  #state: number = WebSocket.CONNECTING;
  #buffered = 0;
  #writing: Promise<void> = Promise.resolve();
  #held: Promise<unknown> | undefined;

  constructor(options: DirectWebSocketOptions) {
    super();
    this.#options = options;
    void this.#run();
  }

  get readyState(): WebSocket["readyState"] {
    return this.#other?.readyState ?? (this.#state as WebSocket["readyState"]);
  }

  /** Bytes that the network has not taken yet. */
  get bufferedAmount(): number {
    return this.#other?.bufferedAmount ?? this.#buffered;
  }

  /** Sends a message of text, or of bytes. */
  send(data: Parameters<WebSocket["send"]>[0]): void {
    if (this.#other !== undefined) return this.#other.send(data);
    if (this.#state === WebSocket.CONNECTING) throw new DOMException("The websocket is not open", "InvalidStateError");
    if (this.#state !== WebSocket.OPEN) return;
    if (typeof data === "string") return this.#write(OPCODE.text, new TextEncoder().encode(data));
    if (data instanceof Uint8Array) return this.#write(OPCODE.binary, data);
    throw new DOMException("Only text and bytes can be sent", "NotSupportedError");
  }

  /** Starts the closing handshake; a peer that does not take part in it is left after LIMITS.brokerCloseMs. */
  close(): void {
    if (this.#other !== undefined) return this.#other.close();
    if (this.#state === WebSocket.CONNECTING) return this.#finish(1006, "");
    if (this.#state !== WebSocket.OPEN) return;
    this.#state = WebSocket.CLOSING;
    this.#write(OPCODE.close, new Uint8Array([0x03, 0xe8]));
    const { clock } = this.#options;
    void clock.sleep(LIMITS.brokerCloseMs, this.#over.signal).then(() => this.#finish(1006, ""), () => {});
  }

  /** Reads no further message until the promise is settled; where another websocket does the work, nothing happens. */
  hold(until: Promise<unknown>): void {
    this.#held = until;
  }

  async #run(): Promise<void> {
    const url = new URL(this.#options.url);
    url.protocol = url.protocol === "wss:" ? "https:" : "http:";
    let io: ByteConnection;
    try {
      io = await this.#options.dial(url);
    } catch {
      if (this.#state === WebSocket.CONNECTING) this.#handOver();
      return;
    }
    if (this.#state !== WebSocket.CONNECTING) return closeQuietly(io);
    this.#io = io;
    try {
      const first = await this.#handshake(io, url);
      // `close()` may have been called while the answer was on its way.
      if (first === undefined || this.readyState !== WebSocket.CONNECTING) return;
      this.#state = WebSocket.OPEN;
      this.dispatchEvent(new Event("open"));
      await this.#receive(new FrameReader((buffer) => io.read(buffer), { maxBytes: this.#options.maxBytes, first }));
    } catch (error) {
      this.#fail(error instanceof FrameError ? error.message : "The connection was lost");
    }
  }

  /** Bytes behind the server's consent; undefined when it did not come. */
  async #handshake(io: ByteConnection, url: URL): Promise<Uint8Array | undefined> {
    const key = this.#options.randomBytes(16).toBase64();
    const fields = [
      ...Object.entries(this.#options.headers),
      ["connection", "Upgrade"],
      ["upgrade", "websocket"],
      ["sec-websocket-version", "13"],
      ["sec-websocket-key", key],
    ] as const;
    await writeAll(io, encodeRequestHead("GET", url, fields, undefined));
    const buffer = new Uint8Array(HANDSHAKE_BYTES);
    for (let length = 0; length < buffer.length;) {
      const count = await io.read(buffer.subarray(length));
      if (count === null) break;
      const end = headEnd(buffer, 0, length += count);
      if (end < 0) continue;
      const { status, fields: answered } = parseResponseHead(buffer.subarray(0, end), true);
      const accept = await acceptOf(key);
      const values = new Map(answered);
      if (status !== 101) return void this.#fail(`Invalid status code: ${status}`);
      if (values.get("sec-websocket-accept") !== accept || values.get("upgrade")?.toLowerCase() !== "websocket") {
        return void this.#fail("The server's handshake is invalid");
      }
      return buffer.slice(end, length);
    }
    return void this.#fail("The server's handshake is incomplete");
  }

  async #receive(frames: FrameReader): Promise<void> {
    for (;;) {
      try {
        const incoming = await frames.next();
        if (this.#state === WebSocket.CLOSED) return;
        if (incoming === undefined) return this.#fail("Unexpected EOF");
        if (incoming.opcode === OPCODE.close) return await this.#closedByPeer(incoming.payload);
        this.#take(incoming);
        while (this.#held !== undefined) {
          const held = this.#held;
          this.#held = undefined;
          await held;
        }
      } catch (error) {
        if (error instanceof FrameError) await this.#lastWord(new Uint8Array([error.code >> 8, error.code & 0xff]));
        throw error;
      }
    }
  }

  #take({ opcode, payload }: Incoming): void {
    if (opcode === OPCODE.pong) return;
    if (opcode === OPCODE.ping) {
      // A peer that does not read gets no more answers than it has read.
      if (this.#buffered === 0 && this.#state === WebSocket.OPEN) this.#write(OPCODE.pong, payload);
      return;
    }
    this.dispatchEvent(
      new MessageEvent("message", { data: opcode === OPCODE.text ? textOf(payload) : payload.slice() }),
    );
  }

  /** Writes a close frame, for which a peer that does not read gets LIMITS.brokerCloseMs. */
  async #lastWord(payload: Uint8Array): Promise<void> {
    if (this.#state === WebSocket.OPEN) this.#write(OPCODE.close, payload);
    await Promise.race([this.#writing, this.#options.clock.sleep(LIMITS.brokerCloseMs, this.#over.signal)]).catch(
      () => {},
    );
  }

  async #closedByPeer(payload: Uint8Array): Promise<void> {
    const code = payload.length < 2 ? 1005 : ((payload[0] ?? 0) << 8) | (payload[1] ?? 0);
    await this.#lastWord(payload.subarray(0, 2));
    this.#finish(code, new TextDecoder().decode(payload.subarray(2)));
  }

  /** Frames leave one after the other, each in one write. */
  #write(opcode: number, payload: Uint8Array): void {
    const frame = encodeClientFrame(opcode, payload, this.#options.randomBytes(4));
    this.#buffered += frame.length;
    this.#writing = this.#writing.then(async () => {
      if (this.#io === undefined) return;
      await writeAll(this.#io, frame);
      this.#buffered -= frame.length;
    }).catch(() => this.#fail("The connection was lost"));
  }

  #fail(message: string): void {
    if (this.#state === WebSocket.CLOSED) return;
    if (this.#state !== WebSocket.CLOSING) this.dispatchEvent(new ErrorEvent("error", { message }));
    this.#finish(1006, "");
  }

  #finish(code: number, reason: string): void {
    if (this.#state === WebSocket.CLOSED) return;
    this.#state = WebSocket.CLOSED;
    this.#over.abort();
    if (this.#io !== undefined) closeQuietly(this.#io);
    this.#io = undefined;
    this.dispatchEvent(new CloseEvent("close", { code, reason }));
  }

  #handOver(): void {
    const other = this.#options.fallback();
    this.#other = other;
    for (const type of EVENTS) other.addEventListener(type, (event) => this.dispatchEvent(copyOf(event)));
  }
}

/** An event can be dispatched once only. */
function copyOf(event: Event): Event {
  if (event instanceof MessageEvent) return new MessageEvent("message", { data: event.data });
  if (event instanceof CloseEvent) return new CloseEvent("close", { code: event.code, reason: event.reason });
  if (event instanceof ErrorEvent) return new ErrorEvent("error", { message: event.message });
  return new Event(event.type);
}

/** What a server that understands websockets makes of the key (RFC 6455 §4.2.2). */
async function acceptOf(key: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-1", new TextEncoder().encode(key + ACCEPT_SUFFIX));
  return new Uint8Array(digest).toBase64();
}

/** Large text stays bytes, which are valid while the event is dispatched; whoever takes it has to validate it. */
function textOf(payload: Uint8Array<ArrayBuffer>): string | TextBytes {
  if (payload.length > TextBytes.threshold) return new TextBytes(payload);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(payload);
  } catch {
    throw new FrameError(1007, "A message is not UTF-8");
  }
}

async function writeAll(io: ByteConnection, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await io.write(bytes.subarray(at));
}

function closeQuietly(io: ByteConnection): void {
  try {
    io.close();
  } catch { /* The peer was faster. */ }
}
