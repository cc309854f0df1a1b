/**
 * What this client reports to the server of itself: bounded values only, since the server logs them
 * (broker-protocol.md §11).
 *
 * @module
 */
import type { Clock } from "../core/ports.ts";
import type { BrokerSession } from "./session.ts";

/** A failure that is reported, by the reference's names. */
export type ClientErrorCode = "SEND_BACK_FAILED" | "JWT_REFRESH_FAILED" | "AUTH_RENEWAL_FAILED";

/** Sends `client-event` and `terminate`, each on one socket; without an open one they are lost. */
export class ClientEvents {
  readonly #clock: Clock;
  readonly #sessions: () => readonly BrokerSession[];
  #startedAt = 0;
  #announced = false;

  readonly #integration: { readonly integrationType?: string };

  /**
   * @param sessions identified sessions.
   * @param connection the connection's name, which the reference calls an integration's type; left out when the server would
   * not take it for a word.
   */
  constructor(clock: Clock, sessions: () => readonly BrokerSession[], connection?: string) {
    this.#integration = connection !== undefined && WORD.test(connection) ? { integrationType: connection } : {};
    this.#clock = clock;
    this.#sessions = sessions;
  }

  /** From here on uptime counts. */
  start(): void {
    this.#startedAt = this.#clock.now();
  }

  /** Reports a failure. */
  error(errorCode: ClientErrorCode, requestId?: string): void {
    const request = requestId === undefined ? {} : { requestId, ...this.#integration };
    this.#report({ type: "client-error", errorCode, ...request });
  }

  /** Tells the server, once, that this process is about to end. */
  announceStop(): void {
    if (this.#shutdown("clean", {})) this.#sessions()[0]?.emit("terminate", { signal: "SIGTERM" });
  }

  /** Tells the server, once, that this process ends because of a defect. */
  announceCrash(error: unknown): void {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    const errorCode = ERRNOS.find((one) => one === code);
    this.#shutdown("uncaught_exception", errorCode === undefined ? {} : { errorCode });
  }

  #shutdown(reason: "clean" | "uncaught_exception", fields: Readonly<Record<string, string>>): boolean {
    if (this.#sessions().length === 0 || this.#announced) return false;
    this.#announced = true;
    const uptimeSeconds = Math.round((this.#clock.now() - this.#startedAt) / 1_000);
    this.#report({ type: "client-shutdown", reason, uptimeSeconds, ...fields });
    return true;
  }

  #report(event: Readonly<Record<string, unknown>>): void {
    this.#sessions()[0]?.emit("client-event", { ts: this.#clock.now(), event });
  }
}

/** What the server takes for a label. */
const WORD = /^[\w-]{1,64}$/;

/** Codes that the server takes; others may hold names from outside. */
const ERRNOS = [
  "ECONNRESET",
  "ECONNREFUSED",
  "ETIMEDOUT",
  "ENOTFOUND",
  "EPIPE",
  "EADDRINUSE",
  "EACCES",
  "ENOENT",
  "EBUSY",
  "EMFILE",
  "ENOMEM",
  "EPROTO",
] as const;
