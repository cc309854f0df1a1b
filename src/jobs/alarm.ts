/**
 * Waiting for a time or for a call, whichever comes first.
 *
 * @module
 */
import type { Clock } from "../core/ports.ts";

/** What a loop waits by when it has nothing to do. */
export class Alarm {
  readonly #clock: Clock;
  #rung = false;
  #wake: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Ends the wait that is on, or the next one. */
  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Resolves at the time (never, when it is undefined), or when somebody rings. */
  async wait(until: number | undefined): Promise<void> {
    if (!this.#rung) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const stop = new AbortController();
      this.#wake = resolve;
      const sleeping = until === undefined
        ? undefined
        : this.#clock.sleep(Math.max(0, until - this.#clock.now()), stop.signal).then(resolve, () => {});
      await promise;
      this.#wake = undefined;
      stop.abort();
      await sleeping;
    }
    this.#rung = false;
  }
}
