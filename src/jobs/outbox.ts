/**
 * Delivers callbacks at least once while the process lives: a callback that cannot be delivered now is tried again.
 *
 * @module
 */
import { OutpostError, toOutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { CallbackRequest, CallbackTransport, Clock, Logger } from "../core/ports.ts";
import { backoff } from "../lib/backoff.ts";

/** What {@link Outbox} works with. */
export interface OutboxOptions {
  readonly transport: CallbackTransport;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Told about every attempt's end: delivered, refused (permanent), retried, abandoned. */
  readonly onOutcome?: ((outcome: "delivered" | "refused" | "retried" | "abandoned") => void) | undefined;
}

/** Sends callbacks, one call each; the caller's order is kept by awaiting. */
export class Outbox {
  readonly #options: OutboxOptions;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /**
   * Delivers a callback. Waits and tries again while the transport is down or the upstream answers 408, 429 or 5xx.
   *
   * @throws {OutpostError} when the upstream refuses it for good (any other status), when LIMITS.callbackGiveUpMs have
   * passed, or CANCELLED.
   */
  async deliver(request: CallbackRequest, signal: AbortSignal): Promise<void> {
    const { clock, logger, onOutcome } = this.#options;
    const giveUpAt = clock.now() + LIMITS.callbackGiveUpMs;
    for (let attempt = 1;; attempt++) {
      const failure = await this.#attempt(request, signal);
      if (failure === undefined) return onOutcome?.("delivered");
      signal.throwIfAborted();
      if (!failure.retryable || clock.now() >= giveUpAt) {
        onOutcome?.(failure.retryable ? "abandoned" : "refused");
        throw failure;
      }
      const wait = backoff(attempt, { min: LIMITS.retryMinMs, max: LIMITS.retryMaxMs, random: clock.random() });
      logger.warn("Callback not delivered, trying again", {
        path: request.path,
        attempt,
        waitMs: wait,
        error: failure,
      });
      onOutcome?.("retried");
      await clock.sleep(wait, signal);
    }
  }

  async #attempt(request: CallbackRequest, signal: AbortSignal): Promise<OutpostError | undefined> {
    try {
      const { status } = await this.#options.transport.send(request, signal);
      if (status >= 200 && status < 300) return undefined;
      const retryable = status === 408 || status === 429 || status >= 500;
      return new OutpostError("BROKER_REFUSED", `Cannot deliver ${request.path}: the server answered ${status}`, {
        retryable,
        status,
      });
    } catch (error) {
      return toOutpostError(error);
    }
  }
}
