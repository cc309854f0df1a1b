/**
 * Reads parts of a file while it streams by: a generator asks for windows of bytes, in ascending order, and gets each
 * once it has come. What stands between them is never held.
 *
 * @module
 */

/** Bytes of a file that are asked for. */
export interface ByteWindow {
  readonly at: number;
  readonly length: number;
}

/** Asks for windows and gets their bytes, which are its own; in the end it has made something of them. */
export type ByteWindows<T = void> = Generator<ByteWindow, T, Uint8Array<ArrayBuffer>>;

/** Gives a generator its windows. */
export class WindowReader {
  readonly #windows: ByteWindows;
  readonly #size: number;
  #buffer: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #at = 0;
  #filled = 0;
  #done = false;

  /** @param size Of the file: a window that reaches beyond it ends the reading. */
  constructor(windows: ByteWindows, size: number) {
    this.#windows = windows;
    this.#size = size;
    this.#take(windows.next());
  }

  /** Whether it needs no more bytes: it has what it wanted, or cannot get it. */
  get done(): boolean {
    return this.#done;
  }

  /** Takes the bytes at `base`; those that it has had already do no harm. */
  feed(bytes: Uint8Array, base: number): void {
    while (!this.#done) {
      const from = this.#at + this.#filled - base;
      if (from < 0) this.#stop();
      if (from < 0 || from >= bytes.length) return;
      const part = bytes.subarray(from, from + this.#buffer.length - this.#filled);
      this.#buffer.set(part, this.#filled);
      this.#filled += part.length;
      if (this.#filled < this.#buffer.length) return;
      this.#take(this.#windows.next(this.#buffer));
    }
  }

  #take(next: IteratorResult<ByteWindow, void>): void {
    if (next.done === true) {
      this.#done = true;
      return;
    }
    const { at, length } = next.value;
    // Windows without a length would never be filled.
    if (!Number.isSafeInteger(at) || length <= 0 || at < 0 || at + length > this.#size) return this.#stop();
    this.#at = at;
    this.#buffer = new Uint8Array(length);
    this.#filled = 0;
  }

  #stop(): void {
    this.#done = true;
    this.#windows.return();
  }
}
