/**
 * A layer engine whose readings wait for the test: each begins, and ends when the test says how.
 *
 * @module
 */
import type { ExtractOptions, ImageHandle, LayerEngine, LayerHandle } from "../../src/core/ports.ts";
import type { LayerFacts } from "../../src/core/types.ts";
import { digestOf } from "./layer.ts";
import { assembleLayers, layer as factsOf } from "./layer_facts.ts";

/** A reading that has begun. */
export interface GatedReading {
  readonly name: string;
  readonly options: ExtractOptions;
  /** Ends it with a file of so many bytes, named like the layer. Told to `reserve` first, as the real engine does. */
  succeed(bytes?: number): void;
  fail(error: unknown): void;
}

/** The engine, and what goes on in it. */
export class GatedEngine implements LayerEngine {
  readonly version = "gated";
  /** Names of the layers in the order in which their readings began. */
  readonly begun: string[] = [];
  /** Most readings that went on at once. */
  peak = 0;
  readonly #running = new Map<string, GatedReading>();
  #changed = Promise.withResolvers<void>();

  /** Readings that go on. */
  get running(): readonly string[] {
    return [...this.#running.keys()];
  }

  assemble = assembleLayers;

  /** The reading of a layer, once it has begun. */
  async reading(name: string): Promise<GatedReading> {
    for (;;) {
      const reading = this.#running.get(name);
      if (reading !== undefined) return reading;
      await this.#changed.promise;
    }
  }

  async extract(layer: LayerHandle, options: ExtractOptions): Promise<LayerFacts> {
    const { promise, resolve, reject } = Promise.withResolvers<LayerFacts>();
    const { name } = layer;
    const abort = (): void => reject(options.signal.reason);
    options.signal.addEventListener("abort", abort, { once: true });
    if (options.signal.aborted) abort();
    const succeed = (bytes = 1): void => {
      try {
        options.reserve?.(bytes);
        const facts = {
          ...factsOf(`${name}=${"x".repeat(bytes)}`),
          digest: layer.digest ?? digestOf(new Uint8Array()),
        };
        resolve(facts);
      } catch (error) {
        reject(error);
      }
    };
    this.begun.push(name);
    this.#running.set(name, { name, options, succeed, fail: reject });
    this.peak = Math.max(this.peak, this.#running.size);
    this.#change();
    try {
      return await promise;
    } finally {
      options.signal.removeEventListener("abort", abort);
      this.#running.delete(name);
    }
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

/** A layer that only a {@link GatedEngine} can read. */
export function gatedLayer(name: string, size = 1000): LayerHandle {
  return {
    name,
    digest: digestOf(new TextEncoder().encode(name)),
    size,
    mediaType: undefined,
    diffId: undefined,
    open: () => Promise.reject(new Error("Nobody opens it")),
  };
}

/** An image of such layers. */
export function gatedImage(layers: readonly LayerHandle[], source: ImageHandle["source"] = "registry"): ImageHandle {
  return {
    source,
    config: {},
    configDigest: digestOf(new Uint8Array()),
    digests: {},
    layers,
    problems: [],
    attestations: () => Promise.resolve([]),
  };
}

/** Lets everything go on that waits for nothing but its turn. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
}
