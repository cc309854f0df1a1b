/**
 * A directory of files on a disk that fails once.
 *
 * @module
 */
import type { FileStore } from "../../src/core/store.ts";

/** What a disk may do when it fails: nothing, or what it was asked for, without saying so. */
export type DiskFailure = "before" | "after";

/** Passes everything on; the n-th operation fails. */
export class FailingFiles implements FileStore {
  /** Operations so far. */
  count = 0;
  readonly #files: FileStore;
  readonly #nth: number;
  readonly #failure: DiskFailure;

  /** @param nth Number of the operation that fails, from 1; more than there are makes a good disk. */
  constructor(files: FileStore, nth: number, failure: DiskFailure) {
    this.#files = files;
    this.#nth = nth;
    this.#failure = failure;
  }

  read = (name: string): ReturnType<FileStore["read"]> => this.#pass(() => this.#files.read(name));
  write = (name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> =>
    this.#pass(() => this.#files.write(name, bytes));
  list = (): ReturnType<FileStore["list"]> => this.#pass(() => this.#files.list());
  touch = (name: string): Promise<void> => this.#pass(() => this.#files.touch(name));
  remove = (name: string): Promise<void> => this.#pass(() => this.#files.remove(name));

  async #pass<T>(operation: () => Promise<T>): Promise<T> {
    if (++this.count !== this.#nth) return await operation();
    if (this.#failure === "after") await operation();
    throw new Error("No space left on device (os error 28)");
  }
}
