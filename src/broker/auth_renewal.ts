/**
 * Keeps a socket authorized for as long as it lives (broker-protocol.md §10.4): the access token does not travel inside
 * the websocket, so the server has to be told from time to time that it still holds.
 *
 * @module
 */
import { toOutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { DeploymentApi } from "./deployment_api.ts";
import type { BrokerSession } from "./session.ts";

/** Options of {@link renewAuthorization}. */
export interface RenewalOptions {
  readonly api: Pick<DeploymentApi, "renew">;
  /** The connection's identifier. */
  readonly identifier: string;
  /** Its name, for the log. */
  readonly connection: string;
  /** AUTH_EXPIRATION_OVERRIDE in milliseconds. */
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A renewal failed: with this status, 0 without an answer. */
  readonly onFailure: (status: number) => void;
}

/**
 * Renews every `intervalMs` until the session ends; a failure waits for the next time. Unlike the reference, which ends its
 * process after three failures in a row, it goes on: when the server closes the socket, the next one brings a new token.
 * Never rejects.
 */
export async function renewAuthorization(session: BrokerSession, options: RenewalOptions): Promise<void> {
  const { api, identifier, connection, clock, logger, onFailure } = options;
  const { role, serverId, signal } = session;
  for (let failures = 0;;) {
    try {
      await clock.sleep(options.intervalMs, signal);
    } catch {
      return;
    }
    const result = await api.renew({ identifier, role, serverId }, signal).catch(toOutpostError);
    if (signal.aborted) return;
    const status = typeof result === "number" ? result : 0;
    if (status >= 200 && status <= 299) {
      failures = 0;
      logger.debug("Renewed the authorization", { connection, role });
      continue;
    }
    failures++;
    onFailure(status);
    const reason = typeof result === "number" ? `the API answered ${status}` : result.message;
    logger[failures >= LIMITS.brokerRenewalFailures ? "error" : "warn"]("Cannot renew the authorization", {
      connection,
      role,
      reason,
      failures,
    });
  }
}
