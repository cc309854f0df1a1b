/**
 * Those who wait for something to happen once.
 *
 * @module
 */

/** Wakes all who wait. */
export class Waiters {
  readonly #waiting = new Set<() => void>();

  /** Resolves at the next {@link wake}; rejects with the signal's reason when it aborts first. */
  async wait(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const abort = (): void => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    this.#waiting.add(resolve);
    try {
      await promise;
    } finally {
      this.#waiting.delete(resolve);
      signal.removeEventListener("abort", abort);
    }
  }

  wake(): void {
    for (const resolve of this.#waiting) resolve();
  }
}
