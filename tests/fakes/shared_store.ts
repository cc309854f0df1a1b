/**
 * A store of this process that behaves as one that others share.
 *
 * @module
 */
import { MemoryStore } from "../../src/store/memory_store.ts";

/** Tells its listener of what a test did to it on behalf of another process. */
export class SharedMemoryStore extends MemoryStore {
  override readonly shared: boolean = true;
  #listener: (() => void) | undefined;

  /** Takes the listener. */
  onChange(listener: () => void): void {
    this.#listener = listener;
  }

  /** Another process changed something. */
  changed(): void {
    this.#listener?.();
  }
}
