/**
 * A websocket whose other end is the test.
 *
 * @module
 */
import { decodeFrame, encodeFrame, type Frame, type SendableFrame } from "../../src/broker/codec.ts";
import type { WebSocketLike } from "../../src/broker/mod.ts";

/** Starts CONNECTING; the test accepts, refuses, sends and closes. */
export class FakeWebSocket extends EventTarget implements WebSocketLike {
  readyState: number = WebSocket.CONNECTING;
  bufferedAmount = 0;
  /** Frames that the client sent, decoded. */
  readonly sent: Frame[] = [];
  /** Whether the client has closed it. */
  closed = false;
  /** What reads no more for a while; by default nothing can. */
  hold?: (until: Promise<unknown>) => void;
  /** A dead peer: the closing handshake never ends. */
  dead = false;
  /** What the client asked for. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;

  constructor(url = "", options: { readonly headers: Readonly<Record<string, string>> } = { headers: {} }) {
    super();
    this.url = url;
    this.headers = options.headers;
  }

  send(data: Parameters<WebSocket["send"]>[0]): void {
    this.sent.push(decodeFrame(data));
  }

  close(): void {
    this.closed = true;
    if (!this.dead) this.shut();
  }

  /** The websocket and engine.io are open; the server says what it can do. */
  accept(capabilities: readonly string[] = ["receive-post-streams"]): void {
    this.readyState = WebSocket.OPEN;
    this.dispatchEvent(new Event("open"));
    this.receive({ kind: "open", sid: "s", pingInterval: 25_000, pingTimeout: 20_000 });
    this.receive({ kind: "event", name: "identify", args: [{ capabilities }] });
  }

  /** The server sends a frame. */
  receive(frame: SendableFrame): void {
    this.receiveRaw(encodeFrame(frame));
  }

  /** The server sends anything. */
  receiveRaw(data: unknown): void {
    this.dispatchEvent(new MessageEvent("message", { data }));
  }

  /** The connection is over. */
  shut(code = 1006, reason = ""): void {
    if (this.readyState === WebSocket.CLOSED) return;
    this.readyState = WebSocket.CLOSED;
    this.dispatchEvent(new CloseEvent("close", { code, reason }));
  }

  /** The connection fails with a message. */
  fail(message: string): void {
    this.dispatchEvent(new ErrorEvent("error", { message }));
    this.shut();
  }

  /** Frames of one kind that the client sent. */
  sentOf<K extends Frame["kind"]>(kind: K): readonly Extract<Frame, { readonly kind: K }>[] {
    return this.sent.filter((frame): frame is Extract<Frame, { readonly kind: K }> => frame.kind === kind);
  }
}
