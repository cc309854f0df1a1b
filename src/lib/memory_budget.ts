/**
 * One bound on the memory of work that goes on at the same time.
 *
 * @module
 */

/** Memory that is set aside for one piece of work. */
export interface Reservation {
  /**
   * Makes it larger. The oldest reservation always gets what it asks for: one piece of work may always go on.
   *
   * @param bytes What it is to have altogether; less than it has already changes nothing.
   * @returns False when there is no room: whoever asked has to release what it holds, and may acquire more instead.
   */
  grow(bytes: number): boolean;
  /** Gives it back; may be called twice. */
  release(): void;
}

interface Held {
  bytes: number;
}

interface Waiter {
  readonly bytes: number;
  readonly grant: (reservation: Reservation) => void;
}

/**
 * Hands out reservations, first come first served. Whoever waits holds nothing. When nothing is reserved, the first one
 * gets what it asks for, even if that is more than the bound: no piece of work is too large to be done alone.
 */
export class MemoryBudget {
  readonly #total: number;
  /** Oldest first. */
  readonly #held = new Set<Held>();
  readonly #waiting = new Set<Waiter>();
  #used = 0;

  /** @param total Bytes that may be reserved at once. */
  constructor(total: number) {
    this.#total = total;
  }

  /** Bytes that are reserved now. */
  get used(): number {
    return this.#used;
  }

  /** How many wait for a reservation. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Waits for room. Rejects with the signal's reason when it aborts first. */
  async acquire(bytes: number, signal: AbortSignal): Promise<Reservation> {
    signal.throwIfAborted();
    if (this.#waiting.size === 0 && this.#fits(bytes)) return this.#reserve(bytes);
    const { promise, resolve, reject } = Promise.withResolvers<Reservation>();
    const waiter = { bytes, grant: resolve };
    const abort = (): void => {
      this.#waiting.delete(waiter);
      reject(signal.reason);
      // Those behind it may be smaller.
      this.#grant();
    };
    this.#waiting.add(waiter);
    signal.addEventListener("abort", abort, { once: true });
    try {
      return await promise;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  #fits(bytes: number): boolean {
    return this.#held.size === 0 || this.#used + bytes <= this.#total;
  }

  #grant(): void {
    for (const waiter of this.#waiting) {
      if (!this.#fits(waiter.bytes)) return;
      this.#waiting.delete(waiter);
      waiter.grant(this.#reserve(waiter.bytes));
    }
  }

  #reserve(bytes: number): Reservation {
    const held: Held = { bytes };
    this.#held.add(held);
    this.#used += bytes;
    return {
      grow: (to) => this.#grow(held, to),
      release: () => {
        if (!this.#held.delete(held)) return;
        this.#used -= held.bytes;
        this.#grant();
      },
    };
  }

  #grow(held: Held, to: number): boolean {
    const more = to - held.bytes;
    if (more <= 0) return true;
    const [oldest] = this.#held;
    if (held !== oldest && this.#used + more > this.#total) return false;
    held.bytes = to;
    this.#used += more;
    return true;
  }
}
