/**
 * A layer engine that reads layers within one memory budget: for all scans of a process.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { ExtractOptions, LayerEngine, LayerHandle } from "../core/ports.ts";
import type { LayerFacts } from "../core/types.ts";
import type { MemoryBudget } from "../lib/memory_budget.ts";

/** Ends a reading for which there is no room beside the others. */
class NoRoom extends Error {
  constructor(readonly bytes: number) {
    super(`There is no room for ${bytes} bytes`);
  }
}

/**
 * Wraps an engine. A reading begins with LIMITS.layerReserveBytes of the budget, waits for them if need be, and reserves
 * more as it keeps more. When there is no more, it lets everything go and waits until there is; what it had read, it reads
 * again then. The oldest reading of all is never in this way.
 */
export function budgetedEngine(engine: LayerEngine, budget: MemoryBudget): LayerEngine {
  return {
    version: engine.version,
    assemble: (layers, sought) => engine.assemble(layers, sought),
    extract: (layer, options) => extract(engine, budget, layer, options),
  };
}

async function extract(
  engine: LayerEngine,
  budget: MemoryBudget,
  layer: LayerHandle,
  options: ExtractOptions,
): Promise<LayerFacts> {
  let bytes: number = LIMITS.layerReserveBytes;
  for (;;) {
    const reservation = await budget.acquire(bytes, options.signal);
    const reserve = (kept: number): void => {
      options.reserve?.(kept);
      const needed = LIMITS.layerBufferBytes + kept;
      if (!reservation.grow(needed)) throw new NoRoom(needed);
    };
    try {
      return await engine.extract(layer, { ...options, reserve });
    } catch (error) {
      if (!(error instanceof NoRoom)) throw error;
      // Twice as much each time: a layer that keeps much is not read again for every bit of it.
      bytes = Math.max(error.bytes, 2 * bytes);
    } finally {
      reservation.release();
    }
  }
}
