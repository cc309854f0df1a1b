/**
 * Reads the layers of an image: what each of them costs on its way from the registry passes while others are read.
 *
 * @module
 */
import { OutpostError, toOutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { FilePattern, ImageHandle, LayerEngine, LayerHandle } from "../core/ports.ts";
import type { ScanEvent } from "../core/scan_ports.ts";
import type { LayerFacts } from "../core/types.ts";
import { KeptLayers } from "../layers/kept_layers.ts";
import { layerKey, LayersAhead } from "./layers_ahead.ts";

/** Options of {@link readLayers}. */
export interface ReadLayersOptions {
  readonly engine: LayerEngine;
  readonly image: ImageHandle;
  /** Name under which the image is reported. */
  readonly imageName: string;
  /** Keep contents that an upper layer replaces as well, see {@link KeptLayers}. */
  readonly history: boolean;
  /** What the layers are read for once more. */
  readonly also?: FilePattern | undefined;
  readonly signal: AbortSignal;
  /** Told of one layer after the other, in their order, whatever is read ahead. */
  readonly onEvent?: ((event: ScanEvent) => void) | undefined;
}

/**
 * Reads each distinct layer once. Up to LIMITS.layersAtOnce of an image in a registry are read at the same time, beside
 * those that another process reads; they come out, and fail, in the image's order. A layer that cannot be read whole ends
 * it: a result that misses a layer would look clean.
 *
 * @throws {LayerError} naming the first layer of the image, from the bottom, that cannot be read.
 * @throws {OutpostError} LIMIT_EXCEEDED when the kept contents of all layers together are too large.
 */
export async function readLayers(options: ReadLayersOptions): Promise<readonly LayerFacts[]> {
  const { image, imageName, signal, onEvent } = options;
  const done = new Map<string, LayerFacts>();
  const kept = new KeptLayers({ history: options.history });
  const again = repeatedKeys(image.layers);
  await using ahead = new LayersAhead({ ...options, layers: image.layers, width: widthOf(image) });
  for (const [index, layer] of image.layers.entries()) {
    signal.throwIfAborted();
    const key = layerKey(layer);
    const known = done.get(key);
    onEvent?.({ kind: "layer-start", index, name: layer.name, size: layer.size });
    const onProgress = (storedBytes: number): void => onEvent?.({ kind: "layer-progress", index, storedBytes });
    try {
      const maxKeptBytes = LIMITS.imageKeptBytes - kept.bytes;
      if (maxKeptBytes <= 0) throw tooMuch(imageName);
      const facts = known ?? await ahead.take(index, { maxKeptBytes, onProgress });
      if (again.has(key)) done.set(key, facts);
      kept.add(facts);
      const { storedBytes, entryCount: entries } = facts;
      onEvent?.({ kind: "layer-done", index, storedBytes, entries, reused: known !== undefined });
    } catch (error) {
      onEvent?.({ kind: "layer-failed", index, message: toOutpostError(error).message });
      throw error;
    }
  }
  return kept.layers;
}

/** An archive has no way to hide, and a compressed one is best read from its begin to its end. */
function widthOf({ source }: ImageHandle): number {
  return source === "registry" ? LIMITS.layersAtOnce : 1;
}

function tooMuch(imageName: string): OutpostError {
  return new OutpostError(
    "LIMIT_EXCEEDED",
    `Cannot scan ${imageName}: the package databases and manifests of its layers have more than ` +
      `${LIMITS.imageKeptBytes} bytes together (imageKeptBytes)`,
  );
}

/** Layers that an image has more than once: only their facts are held for the next mention. */
function repeatedKeys(layers: readonly LayerHandle[]): ReadonlySet<string> {
  const keys = layers.map(layerKey);
  return new Set(keys.filter((key, index) => keys.indexOf(key) !== index));
}
