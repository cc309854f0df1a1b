/**
 * Time limits on an injected clock.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import type { Clock } from "../core/ports.ts";

/** Why the timer stops: made once, since a reason of its own for each costs as much as all the rest. */
const OVER = new DOMException("The time limit is no longer needed", "AbortError");

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
  const { signal } = options;
  const expired = new AbortController();
  return await limited(
    options,
    expired,
    () => run(signal === undefined ? expired.signal : AbortSignal.any([expired.signal, signal])),
  );
}

/**
 * As {@link withDeadline}, at a third of its cost, for work that is over with `run`: afterwards the signal that it was
 * given does not follow the caller's any more.
 *
 * @throws {OutpostError} as {@link withDeadline}.
 */
export async function withBriefDeadline<T>(
  options: DeadlineOptions,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { signal } = options;
  const expired = new AbortController();
  const follow = (): void => expired.abort(signal?.reason);
  if (signal?.aborted) follow();
  signal?.addEventListener("abort", follow, { once: true });
  try {
    return await limited(options, expired, () => run(expired.signal));
  } finally {
    signal?.removeEventListener("abort", follow);
  }
}

async function limited<T>(options: DeadlineOptions, expired: AbortController, run: () => Promise<T>): Promise<T> {
  const { clock, ms, what, signal } = options;
  const timer = new AbortController();
  let tooLate: OutpostError | undefined;
  const waiting = clock.sleep(ms, timer.signal).then(() => {
    tooLate = new OutpostError("TIMEOUT", `${what} did not finish within ${ms / 1000} s`);
    expired.abort(tooLate);
  }, () => {});
  try {
    return await run();
  } catch (error) {
    throw tooLate !== undefined && !signal?.aborted ? tooLate : error;
  } finally {
    timer.abort(OVER);
    await waiting;
  }
}
