/**
 * Counts the scans that have nothing to do but to wait for what another process does for all.
 *
 * @module
 */

/** What a scan does with its layers. */
export interface ScanActivity {
  /** A layer is worked on, until it is disposed of. */
  begin(): Disposable;
  /** That layer waits for another process, until it is disposed of. */
  wait(): Disposable;
}

/** The scans of a process. One is idle while it works on layers and all of them wait. */
export class IdleScans {
  #count = 0;
  #listener: (() => void) | undefined;

  /** Idle scans at present. */
  get count(): number {
    return this.#count;
  }

  /** Calls back whenever one more is idle. */
  onIdle(listener: () => void): void {
    this.#listener = listener;
  }

  /** Follows one scan. */
  scan(): ScanActivity {
    let working = 0;
    let waiting = 0;
    let idle = false;
    const note = (): void => {
      const now = waiting > 0 && waiting === working;
      if (now === idle) return;
      idle = now;
      this.#count += now ? 1 : -1;
      if (now) this.#listener?.();
    };
    return {
      begin: () => {
        working++;
        note();
        return once(() => {
          working--;
          note();
        });
      },
      wait: () => {
        waiting++;
        note();
        return once(() => {
          waiting--;
          note();
        });
      },
    };
  }
}

function once(run: () => void): Disposable {
  let done = false;
  return {
    [Symbol.dispose]: () => {
      if (!done) run();
      done = true;
    },
  };
}
