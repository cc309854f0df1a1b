/**
 * Pauses in long work, so that the rest of the process gets its turn.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { EventLoop } from "../core/ports.ts";

/**
 * Watches how long work goes on. Awaiting what is there already (bytes that have arrived, a decoder that has decoded) does
 * not let the event loop turn: without a pause, a registry that is faster than the scan would keep every other request
 * waiting for long.
 */
export class Pacer {
  readonly #eventLoop: EventLoop | undefined;
  #since: number;

  /** Without an event loop there are no pauses. */
  constructor(eventLoop: EventLoop | undefined) {
    this.#eventLoop = eventLoop;
    this.#since = eventLoop?.now() ?? 0;
  }

  /** To be awaited between two steps of the work: pauses once LIMITS.layerWorkMs have passed since the last pause. */
  async step(): Promise<void> {
    const eventLoop = this.#eventLoop;
    if (eventLoop === undefined || eventLoop.now() - this.#since < LIMITS.layerWorkMs) return;
    await eventLoop.turn();
    this.#since = eventLoop.now();
  }
}
