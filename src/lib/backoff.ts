/**
 * Waits between attempts.
 *
 * @module
 */

/** Options of {@link backoff}. */
export interface BackoffOptions {
  /** First wait, in milliseconds. */
  readonly min: number;
  /** Longest wait, in milliseconds. */
  readonly max: number;
  /** A number in [0, 1). */
  readonly random: number;
}

/**
 * Milliseconds to wait before attempt `attempt` (1 = the first repeat): exponential with half of it by chance, so that
 * many clients that failed together do not come back together.
 */
export function backoff(attempt: number, options: BackoffOptions): number {
  const ceiling = Math.min(options.max, options.min * 2 ** Math.min(attempt - 1, 30));
  return Math.round(ceiling / 2 + (ceiling / 2) * options.random);
}
