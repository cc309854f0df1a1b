/**
 * A clock that moves only when a test says so.
 *
 * @module
 */
import type { Clock } from "../../src/core/ports.ts";

export { systemClock } from "../../src/world.ts";

interface Sleeper {
  readonly at: number;
  readonly wake: () => void;
}

/** Time stands still until {@link FakeClock.advance}; chance is a fixed number. */
export class FakeClock implements Clock {
  /** What `random()` returns. */
  chance = 0.5;
  /** Every wait asked for, in order: what back-off tests look at. */
  readonly sleeps: number[] = [];
  #now: number;
  #sleepers: Sleeper[] = [];

  constructor(now = 1_700_000_000_000) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  random(): number {
    return this.chance;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    this.sleeps.push(ms);
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const abort = (): void => {
        this.#sleepers = this.#sleepers.filter((s) => s !== sleeper);
        reject(signal?.reason);
      };
      const sleeper: Sleeper = {
        at: this.#now + ms,
        wake: () => {
          signal?.removeEventListener("abort", abort);
          resolve();
        },
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#sleepers.push(sleeper);
    });
  }

  /** How many waits are pending. */
  get pending(): number {
    return this.#sleepers.length;
  }

  /** Moves time forward, waking sleepers in order, and lets their continuations run. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const next = this.#sleepers.filter((s) => s.at <= end).toSorted((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#sleepers = this.#sleepers.filter((s) => s !== next);
      this.#now = Math.max(this.#now, next.at);
      next.wake();
      await settle();
    }
    this.#now = end;
  }

  /** Advances to the earliest pending wait, if there is one. */
  async next(): Promise<void> {
    await settle();
    const at = Math.min(...this.#sleepers.map((s) => s.at));
    if (Number.isFinite(at)) await this.advance(Math.max(0, at - this.#now));
  }
}

/** A clock on which every wait is over at once: for tests that do not look at time. */
export class InstantClock extends FakeClock {
  override sleep(ms: number, signal?: AbortSignal): Promise<void> {
    this.sleeps.push(ms);
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve) => queueMicrotask(resolve));
  }
}

/** Lets promise continuations run: macrotasks, so that streams get their turn too. */
async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise<void>((resolve) => setTimeout(resolve, 0));
}

/**
 * A clock on which waits between attempts are over at once and move the time, while time limits never run out: for tests
 * of retries on answers that come at once.
 */
export class BackoffClock extends FakeClock {
  /** The waits that were over at once. */
  readonly waits: number[] = [];
  readonly #limits: ReadonlySet<number>;
  #skipped = 0;

  /** @param limits Durations, in milliseconds, of the time limits that must not run out. */
  constructor(limits: readonly number[]) {
    super();
    this.#limits = new Set(limits);
  }

  override now(): number {
    return super.now() + this.#skipped;
  }

  override sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (this.#limits.has(ms)) return super.sleep(ms, signal);
    if (signal?.aborted) return Promise.reject(signal.reason);
    this.waits.push(ms);
    this.#skipped += ms;
    return new Promise((resolve) => setTimeout(resolve, 0));
  }
}
