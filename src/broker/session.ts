/**
 * One websocket to the broker server, from connecting to its end: opening, both heartbeats, acknowledgements
 * (broker-protocol.md §1.1–1.3).
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock, Logger } from "../core/ports.ts";
import { TextBytes } from "../lib/text_bytes.ts";
import { decodeFrame, encodeFrame, type Frame, isRecord, type SendableFrame } from "./codec.ts";
import type { BrokerEventSink, Role, SessionEndReason } from "./events.ts";

/** The part of a WebSocket that we use. */
export type WebSocketLike =
  & Pick<WebSocket, "readyState" | "bufferedAmount" | "send" | "close" | "addEventListener">
  & {
    /** Reads nothing more until the promise is settled. Not every websocket can. */
    readonly hold?: (until: Promise<unknown>) => void;
  };

/** How often a full websocket is looked at again, in milliseconds: it has no event for "drained". */
const DRAIN_POLL_MS = 20;

/** How a session ended. */
export interface SessionEnd {
  readonly reason: SessionEndReason;
  /** More about it, for the log; may hold the socket's address and has to be redacted. */
  readonly detail: string | undefined;
}

/** Times of a session in milliseconds. */
export interface SessionTimes {
  /** Between two Primus pings (SOCKET_PING_INTERVAL). */
  readonly pingIntervalMs: number;
  /** For the answer to one (SOCKET_PONG_TIMEOUT). */
  readonly pongTimeoutMs: number;
  /** Until the server has opened the session (SOCKET_CONNECT_TIMEOUT). */
  readonly connectTimeoutMs: number;
}

/** Options of {@link BrokerSession}. */
export interface SessionOptions {
  readonly role: Role;
  /** The server that the websocket's address names. */
  readonly serverId?: string | undefined;
  readonly socket: WebSocketLike;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onEvent: BrokerEventSink;
  readonly times: SessionTimes;
  /** The argument of `identify`, sent before anything else. */
  readonly identify: Readonly<Record<string, unknown>>;
  /** An event of the server that is not part of the set-up. */
  readonly onMessage: (session: BrokerSession, message: ServerMessage) => void;
  /** The session has identified itself. */
  readonly onOpen: (session: BrokerSession) => void;
}

/** An event that the server sent. */
export interface ServerMessage {
  readonly name: string;
  readonly args: readonly unknown[];
  /** Present when the server waits for an acknowledgement. */
  readonly id: number | undefined;
}

interface PendingAck {
  readonly resolve: (args: readonly unknown[]) => void;
  readonly reject: (error: OutpostError) => void;
}

/** A connection attempt and, when it succeeds, the connection. Used once. */
export class BrokerSession {
  readonly role: Role;
  /** The server that it was asked to be connected to; answers go there as well. */
  readonly serverId: string | undefined;
  readonly #options: SessionOptions;
  readonly #life = new AbortController();
  readonly #acks = new Map<number, PendingAck>();
  readonly #ended = Promise.withResolvers<SessionEnd>();
  readonly #released = Promise.withResolvers<void>();
  #nextAck = 1;
  #openedAt: number | undefined;
  #heardAt = 0;
  #silenceMs = 0;
  #pongedAt = -Infinity;
  #pong: { readonly value: string; readonly done: () => void } | undefined;
  #capabilities: ReadonlySet<string> = new Set();
  #failure: string | undefined;

  constructor(options: SessionOptions) {
    this.role = options.role;
    this.serverId = options.serverId;
    this.#options = options;
    const { socket } = options;
    const signal = this.#life.signal;
    socket.addEventListener("message", (event) => this.#receive((event as MessageEvent).data), { signal });
    socket.addEventListener("error", (event) => {
      this.#failure = "message" in event && typeof event.message === "string" ? event.message : undefined;
    }, { signal });
    socket.addEventListener("close", (event) => {
      this.#released.resolve();
      const { code, reason } = event as CloseEvent;
      const opened = this.#openedAt !== undefined;
      const detail = this.#failure ?? (opened || reason !== "" ? `code ${code} ${reason}`.trim() : undefined);
      this.#end(opened ? "closed-by-server" : "connect-failed", detail);
    });
    void this.#afterwards(options.times.connectTimeoutMs, () => {
      if (this.#openedAt === undefined) this.#end("connect-timeout");
    });
  }

  /** Resolves when the session has ended, for whatever reason. */
  get ended(): Promise<SessionEnd> {
    return this.#ended.promise;
  }

  /** Resolves when the websocket itself has closed, which a dead peer can delay for long. */
  get released(): Promise<void> {
    return this.#released.promise;
  }

  /** Whether the session has identified itself and lives. */
  get open(): boolean {
    return this.#openedAt !== undefined && !this.#life.signal.aborted;
  }

  /** When the session was opened, in milliseconds since the epoch. */
  get openedAt(): number | undefined {
    return this.#openedAt;
  }

  /** Aborts when the session ends. */
  get signal(): AbortSignal {
    return this.#life.signal;
  }

  /** Bytes handed to the websocket that the network has not taken yet. */
  get bufferedBytes(): number {
    return this.#options.socket.bufferedAmount;
  }

  /** Whether the server said that it can do this (`receive-post-streams`). */
  can(capability: string): boolean {
    return this.#capabilities.has(capability);
  }

  /** Ends the session from our side. */
  close(): void {
    this.#end("closed-by-us");
  }

  /**
   * Takes no more messages, where the websocket can do that, until the promise is settled; LIMITS.brokerHoldMs is the longest,
   * and half the time of a pong, which is behind what is not read.
   */
  hold(until: Promise<void>): void {
    const { socket, times } = this.#options;
    if (socket.hold === undefined) return;
    const settled = new AbortController();
    const late = this.#sleep(Math.min(LIMITS.brokerHoldMs, times.pongTimeoutMs / 2), settled.signal);
    socket.hold(Promise.race([until, late]).finally(() => settled.abort()));
  }

  /** Resolves when the websocket has room for another frame, or the session is over. */
  async drained(): Promise<void> {
    while (this.open && !this.hasRoom) await this.#sleep(DRAIN_POLL_MS);
  }

  /** Sends an event; returns false when the session is over, or the peer does not read ({@link drained}). */
  emit(name: string, ...args: readonly unknown[]): boolean {
    return this.hasRoom && this.#send({ kind: "event", name, args });
  }

  /** Answers an event that asked for an acknowledgement; returns false as {@link emit} does. */
  acknowledge(id: number, answer: unknown): boolean {
    return this.hasRoom && this.#send({ kind: "ack", id, args: [answer] });
  }

  /** Whether the websocket takes another frame now. */
  get hasRoom(): boolean {
    return this.open && this.bufferedBytes <= LIMITS.brokerSendBufferBytes;
  }

  /**
   * Sends an event, once there is room for it, and waits for its acknowledgement, without a time limit of its own.
   *
   * @throws {OutpostError} BROKER_DISCONNECTED when the session is over or ends first; the signal's reason when it aborts.
   */
  async request(name: string, argument: unknown, signal: AbortSignal): Promise<readonly unknown[]> {
    signal.throwIfAborted();
    const id = this.#nextAck++;
    const { promise, resolve, reject } = Promise.withResolvers<readonly unknown[]>();
    const abort = (): void => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    this.#acks.set(id, { resolve, reject });
    try {
      while (this.open && !this.hasRoom) await Promise.race([this.drained(), promise]);
      if (!this.open || !this.#send({ kind: "event", name, args: [argument], id })) throw disconnected();
      return await promise;
    } finally {
      this.#acks.delete(id);
      signal.removeEventListener("abort", abort);
      promise.catch(() => {});
    }
  }

  #send(frame: SendableFrame): boolean {
    const { socket } = this.#options;
    if (socket.readyState !== WebSocket.OPEN) return false;
    try {
      socket.send(encodeFrame(frame));
      return true;
    } catch {
      return false;
    }
  }

  #end(reason: SessionEndReason, detail?: string): void {
    if (this.#life.signal.aborted) return;
    this.#life.abort();
    for (const { reject } of this.#acks.values()) reject(disconnected());
    this.#acks.clear();
    this.#pong?.done();
    try {
      this.#options.socket.close();
    } catch { /* It was never open. */ }
    this.#ended.resolve({ reason, detail });
  }

  #receive(data: unknown): void {
    const large = typeof data === "string" && data.length > TextBytes.threshold;
    const frame = decodeFrame(large ? new TextBytes(new TextEncoder().encode(data)) : data);
    if (frame.kind === "malformed" || frame.kind === "ignored") return this.#skip(frame.kind, frame.reason);
    if (frame.kind === "open") return this.#opened(frame);
    if (this.#openedAt === undefined) return this.#skip("ignored", "A frame before the open packet");
    this.#handle(frame);
  }

  #handle(frame: Exclude<SendableFrame, { readonly kind: "open" }>): void {
    switch (frame.kind) {
      case "ping":
        return this.#answerPing(frame.data);
      case "primus-pong":
        if (this.#pong?.value === frame.value) this.#pong.done();
        return;
      case "close":
        return this.#end("closed-by-server", "engine.io close packet");
      case "server-close":
        return this.#end("server-close");
      case "ack":
        return this.#acks.get(frame.id)?.resolve(frame.args);
      case "event":
        return this.#event(frame.name, frame.args, frame.id);
      case "pong":
      case "noop":
      case "primus-ping":
        return;
    }
  }

  /** A peer that asks without reading the answers gets few of them, and none that is larger than a ping has to be. */
  #answerPing(data: string): void {
    if (data.length > LIMITS.brokerPingChars) return this.#skip("malformed", "A ping larger than brokerPingChars");
    const now = this.#heardAt = this.#options.clock.now();
    if (this.bufferedBytes > 0 && now - this.#pongedAt < LIMITS.brokerPongEveryMs) return;
    this.#pongedAt = now;
    this.#send({ kind: "pong", data });
  }

  #event(name: string, args: readonly unknown[], id: number | undefined): void {
    if (name !== "identify") return this.#options.onMessage(this, { name, args, id });
    const capabilities = isRecord(args[0]) ? args[0]["capabilities"] : undefined;
    if (!Array.isArray(capabilities)) return this.#skip("malformed", "An identify event without capabilities");
    this.#capabilities = new Set(capabilities.slice(0, 100).filter((entry) => typeof entry === "string"));
  }

  #opened(frame: Extract<Frame, { readonly kind: "open" }>): void {
    if (this.#openedAt !== undefined) return this.#skip("ignored", "A second open packet");
    const { clock, identify, onOpen } = this.#options;
    // Deno writes a frame of more than 1 KiB in two pieces, and Linux keeps the second (RFC 896) until the first is
    // acknowledged, which a silent peer does after 40 ms. To a ping it answers at once, acknowledgement included.
    this.#send({ kind: "primus-ping", value: String(clock.now()) });
    if (!this.#send({ kind: "event", name: "identify", args: [identify] })) return;
    this.#openedAt = this.#heardAt = clock.now();
    const silence = frame.pingInterval + frame.pingTimeout;
    this.#silenceMs = Math.min(Math.max(silence, LIMITS.brokerHeartbeatMinMs), LIMITS.brokerHeartbeatMaxMs);
    void this.#watchSilence();
    void this.#keepAlive();
    onOpen(this);
  }

  /** engine.io's heartbeat: the server asks, and a server that stopped asking is gone. */
  async #watchSilence(): Promise<void> {
    const { clock } = this.#options;
    for (;;) {
      const left = this.#heardAt + this.#silenceMs - clock.now();
      if (left <= 0) return this.#end("silence");
      if (!await this.#sleep(left)) return;
    }
  }

  /** Primus' heartbeat: we ask, since the server drops a socket from which no message comes for 35 s. */
  async #keepAlive(): Promise<void> {
    const { clock, onEvent, times } = this.#options;
    while (await this.#sleep(times.pingIntervalMs)) {
      const sentAt = clock.now();
      const { promise, resolve } = Promise.withResolvers<boolean>();
      this.#pong = { value: String(sentAt), done: () => resolve(true) };
      this.#send({ kind: "primus-ping", value: String(sentAt) });
      const answered = new AbortController();
      const late = this.#sleep(times.pongTimeoutMs, answered.signal).then(() => false);
      const ok = await Promise.race([promise, late]);
      answered.abort();
      this.#pong = undefined;
      if (this.#life.signal.aborted) return;
      if (!ok) return this.#end("pong-timeout");
      onEvent({ kind: "pong", role: this.role, latencyMs: clock.now() - sentAt });
    }
  }

  /** Sleeps for as long as the session lives; false when it ended, or the other signal aborted, first. */
  async #sleep(ms: number, other?: AbortSignal): Promise<boolean> {
    const life = this.#life.signal;
    try {
      await this.#options.clock.sleep(ms, other === undefined ? life : AbortSignal.any([life, other]));
      return !life.aborted;
    } catch {
      return false;
    }
  }

  async #afterwards(ms: number, run: () => void): Promise<void> {
    if (await this.#sleep(ms)) run();
  }

  #skip(outcome: "malformed" | "ignored", reason: string): void {
    this.#options.onEvent({ kind: "frame", role: this.role, outcome });
    this.#options.logger.debug("Skipped a frame of the broker server", { role: this.role, outcome, reason });
  }
}

function disconnected(): OutpostError {
  return new OutpostError("BROKER_DISCONNECTED", "Cannot reach the broker server: the connection was lost", {
    hint: "It reconnects by itself; check that the broker server's host can be reached from here.",
  });
}
