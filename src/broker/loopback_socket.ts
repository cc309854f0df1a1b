/**
 * The server's end of one broker websocket (broker-protocol.md §1): open packet, heartbeats, identify, events.
 *
 * @module
 */
import type { Clock, Logger } from "../core/ports.ts";
import { decodeFrame, encodeFrame, isRecord, type SendableFrame } from "./codec.ts";
import type { Role } from "./events.ts";

/** engine.io's times, and the time after which Primus drops a socket from which no message came, in milliseconds. */
const PING_INTERVAL_MS = 25_000;
const PING_TIMEOUT_MS = 20_000;
const MESSAGE_TIMEOUT_MS = 35_000;

/** Options of {@link LoopbackSocket}. */
export interface LoopbackSocketOptions {
  readonly socket: WebSocket;
  readonly role: Role;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly sid: string;
  readonly capabilities: readonly string[];
  readonly onOpen: () => void;
  readonly onIdentified: () => void;
  readonly onClosed: () => void;
  /** A `request` event of the client; what it resolves to is the acknowledgement. */
  readonly onRequest: (argument: unknown) => Promise<unknown>;
  readonly onChunk: (args: readonly unknown[]) => void;
}

/** One connected client. */
export class LoopbackSocket {
  /** Primary or secondary. */
  readonly role: Role;
  readonly #options: LoopbackSocketOptions;
  readonly #life = new AbortController();
  readonly #acks = new Map<number, (answer: unknown) => void>();
  #nextAck = 1;
  #metadata: Readonly<Record<string, unknown>> | undefined;
  #messageAt = 0;
  #pongAt = 0;

  /** Takes over a websocket that is not open yet. */
  constructor(options: LoopbackSocketOptions) {
    this.#options = options;
    this.role = options.role;
    const { socket } = options;
    socket.addEventListener("open", () => this.#opened());
    socket.addEventListener("message", (event) => void this.#receive(event.data));
    socket.addEventListener("close", () => this.#ended());
    socket.addEventListener("error", () => this.#ended());
  }

  /** Whether the client has said who it is and can be reached. */
  get identified(): boolean {
    return this.#metadata !== undefined && this.#options.socket.readyState === WebSocket.OPEN;
  }

  /** What the client said in `identify`. */
  get metadata(): Readonly<Record<string, unknown>> | undefined {
    return this.#metadata;
  }

  /** Sends an event; false when the socket is gone. */
  emit(name: string, ...args: readonly unknown[]): boolean {
    return this.#send({ kind: "event", name, args });
  }

  /** Sends an event and waits for its acknowledgement; undefined when the socket goes first. */
  request(name: string, argument: unknown): Promise<unknown> {
    const id = this.#nextAck++;
    return new Promise((resolve) => {
      this.#acks.set(id, resolve);
      if (!this.#send({ kind: "event", name, args: [argument], id })) this.#acks.get(id)?.(undefined);
    });
  }

  /** Sends text as it is: for tests of what a hostile server may send. */
  sendRaw(text: string): void {
    this.#options.socket.send(text);
  }

  /** Ends the connection with `primus::server::close`. */
  closeOnPurpose(): void {
    this.#send({ kind: "server-close" });
    this.drop();
  }

  /** Ends the connection. */
  drop(): void {
    this.#ended();
    try {
      this.#options.socket.close();
    } catch { /* It was never open. */ }
  }

  #opened(): void {
    const { clock, sid, capabilities, onOpen } = this.#options;
    this.#messageAt = this.#pongAt = clock.now();
    this.#send({ kind: "open", sid, pingInterval: PING_INTERVAL_MS, pingTimeout: PING_TIMEOUT_MS });
    this.emit("identify", { capabilities });
    void this.#ping();
    void this.#dropSilent();
    onOpen();
  }

  #send(frame: SendableFrame): boolean {
    const { socket } = this.#options;
    if (socket.readyState !== WebSocket.OPEN) return false;
    socket.send(encodeFrame(frame));
    return true;
  }

  #ended(): void {
    if (this.#life.signal.aborted) return;
    this.#life.abort();
    for (const resolve of this.#acks.values()) resolve(undefined);
    this.#acks.clear();
    this.#options.onClosed();
  }

  async #receive(data: unknown): Promise<void> {
    const frame = decodeFrame(data);
    if (frame.kind === "pong") this.#pongAt = this.#options.clock.now();
    else if (frame.kind !== "ping" && frame.kind !== "noop") this.#messageAt = this.#options.clock.now();
    switch (frame.kind) {
      case "primus-ping":
        this.#send({ kind: "primus-pong", value: frame.value });
        return;
      case "ack":
        this.#acks.get(frame.id)?.(frame.args[0]);
        this.#acks.delete(frame.id);
        return;
      case "event":
        return await this.#event(frame.name, frame.args, frame.id);
      case "malformed":
        return this.#options.logger.warn("Skipped a malformed frame of a broker client", { reason: frame.reason });
      case "close":
        return this.drop();
    }
  }

  async #event(name: string, args: readonly unknown[], id: number | undefined): Promise<void> {
    if (name === "identify") {
      const metadata = isRecord(args[0]) ? args[0]["metadata"] : undefined;
      if (!isRecord(metadata) || this.#metadata !== undefined) return;
      this.#metadata = metadata;
      return this.#options.onIdentified();
    }
    // As at the real server: listeners for these exist only after identify.
    if (this.#metadata === undefined) return;
    if (name === "chunk") return this.#options.onChunk(args);
    if (name !== "request") return;
    const answer = await this.#options.onRequest(args[0]);
    if (id !== undefined) this.#send({ kind: "ack", id, args: [answer] });
  }

  async #ping(): Promise<void> {
    const { clock } = this.#options;
    while (await this.#sleep(PING_INTERVAL_MS)) {
      const asked = clock.now();
      this.#send({ kind: "ping", data: "" });
      if (!await this.#sleep(PING_TIMEOUT_MS)) return;
      if (this.#pongAt < asked) return this.drop();
    }
  }

  async #dropSilent(): Promise<void> {
    const { clock } = this.#options;
    for (;;) {
      const left = this.#messageAt + MESSAGE_TIMEOUT_MS - clock.now();
      if (left <= 0) return this.drop();
      if (!await this.#sleep(left)) return;
    }
  }

  async #sleep(ms: number): Promise<boolean> {
    try {
      await this.#options.clock.sleep(ms, this.#life.signal);
      return true;
    } catch {
      return false;
    }
  }
}
