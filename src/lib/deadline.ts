/**
 * Time limits on an injected clock.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import type { Clock } from "../core/ports.ts";

/** Options of {@link withDeadline}. */
export interface DeadlineOptions {
  readonly clock: Clock;
  /** Milliseconds that `run` may take. */
  readonly ms: number;
  /** What takes too long, for the message: "The connection to host". */
  readonly what: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs a function with a signal that aborts when `ms` have passed, or when the caller's signal does.
 *
 * @throws {OutpostError} TIMEOUT when the time is up; otherwise whatever `run` throws.
 */
export async function withDeadline<T>(options: DeadlineOptions, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const timer = new AbortController();
  const expired = new AbortController();
  const tooLate = new OutpostError("TIMEOUT", `${options.what} did not finish within ${options.ms / 1000} s`);
  const signals = [expired.signal, ...(options.signal === undefined ? [] : [options.signal])];
  const waiting = options.clock.sleep(options.ms, timer.signal).then(() => expired.abort(tooLate), () => {});
  try {
    return await run(AbortSignal.any(signals));
  } catch (error) {
    throw expired.signal.aborted && !options.signal?.aborted ? tooLate : error;
  } finally {
    timer.abort();
    await waiting;
  }
}
