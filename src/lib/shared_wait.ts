/**
 * Tells several that what they share waits.
 *
 * @module
 */

/** One who is told: the wait is over when what it gives is disposed of. */
export type WaitListener = () => Disposable;

/** A wait of one thing that several need. */
export class SharedWait {
  /** What each was given for the present wait. */
  readonly #told = new Map<WaitListener, Disposable | undefined>();
  #waits = false;

  /** The wait begins, until it is disposed of: all who follow are told. */
  begin(): Disposable {
    this.#waits = true;
    for (const tell of this.#told.keys()) this.#told.set(tell, tell());
    return {
      [Symbol.dispose]: () => {
        this.#waits = false;
        for (const [tell, given] of this.#told) {
          this.#told.set(tell, undefined);
          given?.[Symbol.dispose]();
        }
      },
    };
  }

  /** Tells the listener of each wait, the present one included, until it is disposed of. */
  follow(tell: WaitListener): Disposable {
    this.#told.set(tell, this.#waits ? tell() : undefined);
    return {
      [Symbol.dispose]: () => {
        const given = this.#told.get(tell);
        this.#told.delete(tell);
        given?.[Symbol.dispose]();
      },
    };
  }
}
