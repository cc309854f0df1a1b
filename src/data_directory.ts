/**
 * The data directory (OUTPOST_DATA_DIR): `state.db` for one daemon, `layers/` for every process, `credentials.key`.
 *
 * Loaded only where there is one: a daemon without holds no SQLite in memory.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { Logger } from "./core/ports.ts";
import type { LayerFactsStore, Store } from "./core/store.ts";
import { makePrivateDirectory, openFileStore } from "./file_store.ts";
import { LayerFiles } from "./store/layer_files.ts";
import { SqliteStore } from "./store/sqlite_store.ts";
import type { Metrics } from "./telemetry/metrics.ts";
import { eventLoop } from "./world.ts";

const KEY_BYTES = 32;

/**
 * Opens the jobs of a data directory, for this process alone.
 *
 * @throws {OutpostError} STORE_UNUSABLE with advice.
 */
export async function openState(directory: string, metrics: Metrics): Promise<Store> {
  await makePrivateDirectory(directory);
  return new SqliteStore({
    path: `${directory}/state.db`,
    defer: (run) => void setImmediate(run),
    now: () => performance.now(),
    onWrite: (milliseconds) => metrics.storeWriteSeconds.observe(milliseconds / 1000),
    onFull: (full) => metrics.storeDiskFull.set({}, full ? 1 : 0),
  });
}

/** Opens the facts of layers of a data directory, beside whoever else uses them. */
export function openLayerFacts(
  directory: string,
  { maxBytes, metrics, logger }: { readonly maxBytes: number; readonly metrics: Metrics; readonly logger: Logger },
): LayerFactsStore {
  return new LayerFiles({
    files: openFileStore(`${directory}/layers`),
    maxBytes,
    pause: eventLoop.turn,
    logger,
    onBytes: (bytes) => metrics.layerCacheBytes.set({}, bytes),
  });
}

/** The key that credentials of requests are sealed with; made when there is none. */
export async function sealKey(directory: string): Promise<Uint8Array<ArrayBuffer>> {
  const path = `${directory}/credentials.key`;
  try {
    return await Deno.readFile(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    const key = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
    await Deno.writeFile(path, key, { createNew: true, mode: 0o600 });
    return key;
  }
}
