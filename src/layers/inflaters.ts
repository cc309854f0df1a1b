/**
 * The DEFLATE decoders that there are, each loaded when it is chosen.
 *
 * @module
 */
import type { EngineName } from "../config/schema.ts";
import type { InflaterFactory, SyncInflaterFactory } from "../core/ports.ts";

/** Every decoder by its name in OUTPOST_ENGINE. A loader rejects when this process cannot run its decoder. */
export const INFLATERS = {
  fflate: async (): Promise<SyncInflaterFactory> => (await import("./fflate_inflater.ts")).fflateInflater,
  wasm: async (): Promise<SyncInflaterFactory> => {
    const { wasmInflaters, wasmRuns } = await import("../wasm/mod.ts");
    if (!wasmRuns()) throw new Error("This runtime cannot run WebAssembly");
    return wasmInflaters();
  },
  native: async (): Promise<InflaterFactory> => (await import("./node_inflater.ts")).nodeInflater,
} as const satisfies Record<Exclude<EngineName, "auto">, () => Promise<InflaterFactory>>;

type InflaterName = keyof typeof INFLATERS;

/** What `auto` tries, in this order. */
const AUTO: readonly Exclude<InflaterName, "native">[] = ["wasm", "fflate"];

/**
 * Loads a decoder. `auto` takes the first that this process can run.
 *
 * @throws What the loader of the decoder (of the last one, with `auto`) has failed with.
 */
export async function loadInflater(name: EngineName): Promise<InflaterFactory> {
  return await (name === "auto" ? firstOf(AUTO.map((one) => INFLATERS[one])) : INFLATERS[name]());
}

/**
 * Loads a decoder for what is inside of files, where nothing may wait: the chosen one, or what `auto` means when that
 * is node:zlib, which decodes on threads of its own.
 *
 * @throws As {@link loadInflater}.
 */
export async function loadFileInflater(name: EngineName): Promise<SyncInflaterFactory> {
  return await (name === "auto" || name === "native" ? firstOf(AUTO.map((one) => INFLATERS[one])) : INFLATERS[name]());
}

/** The result of the first loader that does not reject. */
export async function firstOf<T>(loaders: readonly (() => Promise<T>)[]): Promise<T> {
  let failure: unknown = new Error("There is no decoder to choose from");
  for (const load of loaders) {
    try {
      return await load();
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}
