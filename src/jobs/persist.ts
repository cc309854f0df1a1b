/**
 * Writes that must not be lost although the disk is full just now.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock } from "../core/ports.ts";
import { backoff } from "../lib/backoff.ts";

/**
 * Calls `write` until the store takes it: what it would write stays in memory until then.
 *
 * @throws The signal's reason, or what `write` threw when that was not STORE_UNAVAILABLE.
 */
export async function persist<T>(write: () => Promise<T>, clock: Clock, signal: AbortSignal): Promise<T> {
  for (let attempt = 1;; attempt++) {
    try {
      return await write();
    } catch (error) {
      if (!(error instanceof OutpostError) || error.code !== "STORE_UNAVAILABLE" || signal.aborted) throw error;
      const { storeRetryMinMs: min, storeRetryMaxMs: max } = LIMITS;
      await clock.sleep(backoff(attempt, { min, max, random: clock.random() }), signal);
    }
  }
}
