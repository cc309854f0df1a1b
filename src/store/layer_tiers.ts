/**
 * Facts of layers in two places: near, for this machine alone, and shared, for all daemons.
 *
 * @module
 */
import type { LayerFactsStore, LayerLock } from "../core/store.ts";
import type { LayerFacts } from "../core/types.ts";

/** Asks the near store first; what only the shared one has is kept near for the next time. */
export class LayerTiers implements LayerFactsStore {
  readonly #near: LayerFactsStore;
  readonly #shared: LayerFactsStore;

  constructor(near: LayerFactsStore, shared: LayerFactsStore) {
    this.#near = near;
    this.#shared = shared;
  }

  async get(key: string): Promise<LayerFacts | undefined> {
    const near = await this.#near.get(key);
    if (near !== undefined) return near;
    const facts = await this.#shared.get(key);
    if (facts !== undefined) await this.#near.put(key, facts);
    return facts;
  }

  async put(key: string, facts: LayerFacts): Promise<void> {
    await Promise.all([this.#near.put(key, facts), this.#shared.put(key, facts)]);
  }

  async lock(key: string, signal: AbortSignal, onWait?: () => void): Promise<LayerLock> {
    return await this.#shared.lock?.(key, signal, onWait) ??
      { isFirst: false, [Symbol.asyncDispose]: () => Promise.resolve() };
  }
}
