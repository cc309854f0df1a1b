/**
 * A layer engine that reads a layer once in its life: facts are taken from a store, and scans that need the same layer at
 * the same time share one reading, those of other processes on the same store too.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { ExtractOptions, LayerEngine, LayerHandle } from "../core/ports.ts";
import type { LayerFactsStore, LayerLock } from "../core/store.ts";
import type { LayerFacts } from "../core/types.ts";
import type { ScanActivity } from "../lib/idle_scans.ts";
import { SharedWait } from "../lib/shared_wait.ts";

/** Where facts came from. */
export type LayerOrigin = "read" | "stored" | "shared";

/** A reading that several scans may share. */
export interface LayerUnderWay {
  readonly facts: Promise<LayerFacts>;
  /** For another process that reads the layer. */
  readonly wait: SharedWait;
}

/** Readings that are under way, by key: for all engines of a process. */
export type LayersUnderWay = Map<string, LayerUnderWay>;

/** Options of {@link cachedEngine}. */
export interface CachedEngineOptions {
  readonly engine: LayerEngine;
  /** Without one, only readings under way are shared. */
  readonly store: LayerFactsStore | undefined;
  readonly underWay: LayersUnderWay;
  /** Told when the scan waits for another process, by itself or through a reading that it shares. */
  readonly activity?: ScanActivity | undefined;
  readonly onLayer?: ((origin: LayerOrigin) => void) | undefined;
}

/**
 * Wraps an engine. Stored facts are those of bytes whose size and digests were checked when they were read; they are used
 * only for a layer of the same digest, and only if size and diff ID are what the image says now.
 */
export function cachedEngine(options: CachedEngineOptions): LayerEngine {
  const { engine } = options;
  return {
    version: engine.version,
    assemble: (layers, sought) => engine.assemble(layers, sought),
    extract: (layer, extractOptions) => extract(options, layer, extractOptions),
  };
}

async function extract(
  cached: CachedEngineOptions,
  layer: LayerHandle,
  options: ExtractOptions,
): Promise<LayerFacts> {
  const { engine, underWay, onLayer } = cached;
  const { digest } = layer;
  const { also, signal } = options;
  const read = async (): Promise<LayerFacts> => {
    const facts = await engine.extract(layer, options);
    onLayer?.("read");
    return facts;
  };
  // Without a digest nothing says that two layers are the same.
  if (digest === undefined) return await read();
  const key = `${digest} ${engine.version} ${JSON.stringify(also ?? null)}`;
  using _working = cached.activity?.begin();
  const tell = (): Disposable => {
    const stack = new DisposableStack();
    stack.use(cached.activity?.wait());
    stack.use(options.onWait?.());
    return stack;
  };
  for (;;) {
    const other = underWay.get(key);
    if (other === undefined) break;
    using _told = other.wait.follow(tell);
    const shared = await unlessAborted(other.facts, signal).catch(() => undefined);
    signal.throwIfAborted();
    if (shared !== undefined && fits(shared, layer, options)) {
      onLayer?.("shared");
      return shared;
    }
    // It failed or was cancelled for reasons of its own; whoever comes first tries next.
    if (underWay.get(key) === other) underWay.delete(key);
  }
  const wait = new SharedWait();
  using _told = wait.follow(tell);
  const mine = { facts: storedOrRead(cached, key, layer, options, { read, wait }), wait };
  underWay.set(key, mine);
  try {
    return await mine.facts;
  } finally {
    if (underWay.get(key) === mine) underWay.delete(key);
  }
}

async function storedOrRead(
  { store, onLayer }: CachedEngineOptions,
  key: string,
  layer: LayerHandle,
  options: ExtractOptions,
  { read, wait }: { readonly read: () => Promise<LayerFacts>; readonly wait: SharedWait },
): Promise<LayerFacts> {
  const locked = async (): Promise<LayerLock | undefined> => {
    using stack = new DisposableStack();
    let waits = false;
    return await store?.lock?.(key, options.signal, () => {
      if (!waits) stack.use(wait.begin());
      waits = true;
    });
  };
  const stored = async (): Promise<LayerFacts | undefined> => {
    const facts = await store?.get(key);
    options.signal.throwIfAborted();
    if (facts === undefined || !fits(facts, layer, options)) return undefined;
    onLayer?.("stored");
    return facts;
  };
  const known = await stored();
  if (known !== undefined) return known;
  // Waited for before the engine is asked, which takes memory and connections.
  await using lock = await locked();
  const others = lock === undefined || lock.isFirst ? undefined : await stored();
  if (others !== undefined) return others;
  const facts = await read();
  await store?.put(key, facts);
  return facts;
}

/** Whether facts are those of this layer as the image describes it, within the caller's bound. */
function fits(facts: LayerFacts, layer: LayerHandle, { maxKeptBytes = LIMITS.keptBytes }: ExtractOptions): boolean {
  const { digest, diffId, size } = layer;
  if (facts.digest !== digest || facts.diffId !== (diffId ?? facts.diffId)) return false;
  if (facts.storedBytes !== (size ?? facts.storedBytes)) return false;
  const kept = facts.entries.reduce((sum, entry) => sum + (entry.kind === "file" ? entry.content.length : 0), 0);
  return kept <= maxKeptBytes;
}

async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
