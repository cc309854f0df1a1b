/**
 * The socket of one role, for ever: connect, identify, serve, and start again with growing, jittered waits
 * (broker-protocol.md §8; unlike the reference also after `primus::server::close`, and without a last attempt).
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { Clock, Logger, SocketState } from "../core/ports.ts";
import { connectHint } from "./connect_hint.ts";
import type { BrokerEventSink, Role } from "./events.ts";
import {
  type BrokerEndpoints,
  type ClientDescription,
  type ClientIdentity,
  handshakeHeaders,
  identifyMessage,
  type TokenMask,
} from "./handshake.ts";
import {
  BrokerSession,
  type ServerMessage,
  type SessionEnd,
  type SessionTimes,
  type WebSocketLike,
} from "./session.ts";

/** Opens a websocket; Deno's `WebSocket` takes the headers as an option. */
export type WebSocketFactory = (
  url: string,
  options: { readonly headers: Readonly<Record<string, string>> },
) => WebSocketLike;

/** Options of {@link BrokerConnection}. */
export interface ConnectionOptions {
  readonly role: Role;
  readonly identity: ClientIdentity;
  readonly endpoints: BrokerEndpoints;
  readonly mask: TokenMask;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly randomId: () => string;
  readonly webSocket: WebSocketFactory;
  readonly onEvent: BrokerEventSink;
  readonly describe: () => ClientDescription;
  readonly times: SessionTimes;
  readonly onMessage: (session: BrokerSession, message: ServerMessage) => void;
  /** The server to name in the next attempt; by default none. */
  readonly serverId?: (() => string | undefined) | undefined;
  /** The connection was opened or lost. */
  readonly onChange: () => void;
}

/** Keeps one role connected. */
export class BrokerConnection {
  readonly #options: ConnectionOptions;
  #session: BrokerSession | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /** The session that has identified itself, if there is one now. */
  get session(): BrokerSession | undefined {
    return this.#session?.open === true ? this.#session : undefined;
  }

  /** What health checks show. */
  state(): SocketState {
    const { role, endpoints } = this.#options;
    return { role, open: this.session !== undefined, url: endpoints.state(role) };
  }

  /** Stays connected until the signal aborts, then closes the socket. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, role, onEvent, onChange } = this.#options;
    let failures = 0;
    while (!signal.aborted) {
      const { end, stable } = await this.#connect(signal);
      onChange();
      if (signal.aborted) return;
      failures = stable ? 0 : failures + 1;
      const waitMs = reconnectWait(failures, clock.random());
      onEvent({ kind: "disconnected", role, reason: end.reason, waitMs });
      this.#logLoss(end, stable, { failures, waitMs });
      await clock.sleep(waitMs, signal).catch(() => {});
    }
  }

  #logLoss({ reason, detail }: SessionEnd, stable: boolean, fields: Readonly<Record<string, number>>): void {
    const { role, endpoints, mask, logger } = this.#options;
    const hint = detail === undefined ? undefined : connectHint(detail, new URL(endpoints.state(role)).host);
    logger.warn(stable ? "Lost the broker connection" : "Cannot keep a broker connection", {
      role,
      token: mask.masked,
      reason,
      ...(detail === undefined ? {} : { detail: mask.redact(detail) }),
      ...(hint === undefined ? {} : { hint }),
      ...fields,
    });
  }

  async #connect(signal: AbortSignal): Promise<{ readonly end: SessionEnd; readonly stable: boolean }> {
    const { clock } = this.#options;
    let session: BrokerSession;
    try {
      session = this.#open();
    } catch (error) {
      const detail = error instanceof Error ? error.message : undefined;
      return { end: { reason: "connect-failed", detail }, stable: false };
    }
    this.#session = session;
    const close = (): void => session.close();
    signal.addEventListener("abort", close, { once: true });
    const end = await session.ended;
    signal.removeEventListener("abort", close);
    const openMs = session.openedAt === undefined ? undefined : clock.now() - session.openedAt;
    if (openMs !== undefined) this.#options.onEvent({ kind: "closed", role: session.role, openMs });
    if (signal.aborted) await this.#untilReleased(session);
    return { end, stable: openMs !== undefined && openMs >= LIMITS.brokerStableMs };
  }

  async #untilReleased(session: BrokerSession): Promise<void> {
    const waiting = new AbortController();
    const late = this.#options.clock.sleep(LIMITS.brokerCloseMs, waiting.signal).catch(() => {});
    await Promise.race([session.released, late]);
    waiting.abort();
  }

  #open(): BrokerSession {
    const { role, identity, endpoints, clock, logger, randomId, webSocket, onEvent, describe, times } = this.#options;
    const headers = handshakeHeaders(identity, role, randomId());
    const serverId = this.#options.serverId?.();
    return new BrokerSession({
      role,
      serverId,
      socket: webSocket(endpoints.socket(role, serverId), { headers }),
      clock,
      logger,
      onEvent,
      times,
      identify: identifyMessage(identity, role, describe()),
      onMessage: this.#options.onMessage,
      onOpen: () => {
        onEvent({ kind: "connected", role });
        logger.info("Connected to the broker server", { role, url: endpoints.state(role) });
        this.#options.onChange();
      },
    });
  }
}

/** Full jitter: a random part of a wait that doubles with every failure up to LIMITS.brokerReconnectMaxMs. */
export function reconnectWait(failures: number, random: number): number {
  const ceiling = LIMITS.brokerReconnectMinMs * 2 ** Math.min(failures, 30);
  return Math.round(random * Math.min(ceiling, LIMITS.brokerReconnectMaxMs));
}
