/**
 * The data directory (OUTPOST_DATA_DIR): `state.db` for one daemon, `layers/` for every process, `credentials.key`.
 *
 * Loaded only where there is one: a daemon without holds no SQLite in memory.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { OutpostError } from "./core/errors.ts";
import type { Logger } from "./core/ports.ts";
import type { LayerFactsStore, Store } from "./core/store.ts";
import { makePrivateDirectory, openFileStore, writeWhole } from "./file_store.ts";
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

/**
 * The key that credentials of requests are sealed with; made when there is none. On disk when the promise resolves: jobs
 * that depend on it are acknowledged.
 *
 * @throws {OutpostError} STORE_UNAVAILABLE when it cannot be read or written now.
 */
export async function sealKey(directory: string): Promise<Uint8Array<ArrayBuffer>> {
  const path = `${directory}/credentials.key`;
  try {
    const known = await Deno.readFile(path).catch((error: unknown) => {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    });
    // Nothing was ever sealed with a file of another size: its writing was cut short.
    if (known?.length === KEY_BYTES) return known;
    const key = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
    await writeWhole(path, key, { sync: true });
    return key;
  } catch (cause) {
    throw new OutpostError("STORE_UNAVAILABLE", `Cannot seal credentials: the key ${path} cannot be read and written`, {
      hint: "Make room on the disk of OUTPOST_DATA_DIR, and let this user write there; no restart is needed.",
      retryable: true,
      cause,
    });
  }
}
