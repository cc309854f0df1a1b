/**
 * What outlives the process, as the configuration says: a data directory, a shared queue, both or nothing.
 *
 * @module
 */
import type { Config } from "./config/load.ts";
import type { Clock, Logger } from "./core/ports.ts";
import type { LayerFactsStore, Store } from "./core/store.ts";
import type { SharedQueue } from "./shared_queue.ts";
import type { Metrics } from "./telemetry/metrics.ts";

/** Options of {@link createStorage}. */
export interface StorageOptions {
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** A fresh random identifier. */
  readonly newId: () => string;
}

/** Opens what there is; the modules for it are loaded then. */
export interface Storage {
  /** Accepted scans; undefined when they are in memory. */
  openStore(): Promise<Store | undefined>;
  /** Facts of layers: those of the queue only where {@link openStore} has connected to it. */
  openLayers(): Promise<LayerFactsStore | undefined>;
  /** The key that credentials of requests are sealed with; undefined when the process makes one of its own. */
  readonly sealKey: (() => Promise<Uint8Array<ArrayBuffer>>) | undefined;
}

/** Nothing is opened yet. */
export function createStorage(options: StorageOptions): Storage {
  const { config, logger, metrics } = options;
  const { queue, role } = config;
  const { directory, cacheBytes } = config.data;
  let shared: SharedQueue | undefined;
  const openShared = async (): Promise<Store | undefined> => {
    if (queue === undefined) return undefined;
    const { openQueue } = await import("./shared_queue.ts");
    shared = await openQueue({ ...options, queue, logger: logger.child("queue") });
    return shared.store;
  };
  const openLocal = async (): Promise<LayerFactsStore | undefined> => {
    if (directory === undefined) return undefined;
    const { openLayerFacts } = await import("./data_directory.ts");
    return openLayerFacts(directory, { maxBytes: cacheBytes, metrics, logger: logger.child("layers") });
  };
  return {
    openStore: async () => {
      if (role === "broker") return undefined;
      if (queue !== undefined) return await openShared();
      if (directory === undefined) return undefined;
      const { openState } = await import("./data_directory.ts");
      return await openState(directory, metrics);
    },
    openLayers: async () => {
      const local = await openLocal();
      if (shared === undefined || local === undefined) return shared?.layers ?? local;
      const { LayerTiers } = await import("./store/layer_tiers.ts");
      return new LayerTiers(local, shared.layers);
    },
    sealKey: sealKeyOf(config),
  };
}

function sealKeyOf(config: Config): Storage["sealKey"] {
  const { directory } = config.data;
  if (config.queue !== undefined) return async () => await (await import("./shared_queue.ts")).queueKey(config);
  if (directory === undefined) return undefined;
  return async () => await (await import("./data_directory.ts")).sealKey(directory);
}
