import { describe, expect, it } from "vitest";
import { fakeLayer } from "../../tests/fakes/layer.ts";
import { tar } from "../../tests/fakes/tar_builder.ts";
import type { LayerEngine, LayerHandle } from "../core/ports.ts";
import type { LayerFactsStore, LayerLock } from "../core/store.ts";
import type { LayerFacts } from "../core/types.ts";
import { IdleScans } from "../lib/idle_scans.ts";
import { cachedEngine, type LayerOrigin, type LayersUnderWay } from "./cached_engine.ts";
import { createLayerEngine } from "./engine.ts";

const engine = createLayerEngine({ patterns: [{ names: ["wanted"], maxBytes: 1 << 20 }], version: "1" });
const BYTES = tar({ name: "wanted", body: "content" });

function setUp(store: LayerFactsStore | undefined = new MapStore(), inner: LayerEngine = engine) {
  const origins: LayerOrigin[] = [];
  const underWay: LayersUnderWay = new Map();
  const make = (): LayerEngine =>
    cachedEngine({ engine: inner, store, underWay, onLayer: (origin) => origins.push(origin) });
  return { one: make(), other: make(), origins, underWay };
}

class MapStore implements LayerFactsStore {
  readonly facts = new Map<string, LayerFacts>();
  get(key: string): Promise<LayerFacts | undefined> {
    return Promise.resolve(this.facts.get(key));
  }
  put(key: string, facts: LayerFacts): Promise<void> {
    this.facts.set(key, facts);
    return Promise.resolve();
  }
}

/** A store that two processes share. */
class LockedStore extends MapStore {
  readonly held = new Map<string, Promise<void>>();
  readonly known = new Set<string>();
  locks = 0;
  gets = 0;
  override get(key: string): Promise<LayerFacts | undefined> {
    this.gets++;
    return super.get(key);
  }
  async lock(key: string, _signal?: AbortSignal, onWait?: () => void): Promise<LayerLock> {
    this.locks++;
    for (let other = this.held.get(key); other !== undefined; other = this.held.get(key)) {
      onWait?.();
      await other;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.held.set(key, promise);
    const isFirst = !this.known.has(key);
    this.known.add(key);
    return {
      isFirst,
      [Symbol.asyncDispose]: () => {
        this.held.delete(key);
        resolve();
        return promise;
      },
    };
  }
}

const idle = (): { signal: AbortSignal } => ({ signal: new AbortController().signal });

describe("cachedEngine()", () => {
  it("reads a layer once in its life", async () => {
    const { handle, opens } = fakeLayer(BYTES);
    const { one, other, origins } = setUp();
    const facts = await one.extract(handle, idle());
    expect(await other.extract(handle, idle())).toEqual(facts);
    expect([opens(), origins]).toEqual([1, ["read", "stored"]]);
  });

  it("reads it again for another version, for other files, and without a digest", async () => {
    const { handle, opens } = fakeLayer(BYTES);
    const store = new MapStore();
    const { one } = setUp(store);
    await one.extract(handle, idle());
    await one.extract(handle, { ...idle(), also: { paths: ["x"], maxBytes: 1 } });
    const newer = createLayerEngine({ patterns: [], version: "2" });
    await setUp(store, newer).one.extract(handle, idle());
    await one.extract({ ...handle, digest: undefined }, idle());
    expect(opens()).toBe(4);
  });

  it("P2 uses stored facts only where size and diff ID are the image's", async () => {
    const { handle, opens } = fakeLayer(BYTES);
    const { one } = setUp();
    await one.extract(handle, idle());
    for (const wrong of [{ size: 1 }, { diffId: `sha256:${"1".repeat(64)}` as const }]) {
      await expect(one.extract({ ...handle, ...wrong }, idle())).rejects.toMatchObject({ code: "INTEGRITY" });
    }
    await expect(one.extract(handle, { ...idle(), maxKeptBytes: 3 })).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
    expect(opens()).toBe(4);
  });

  it("shares one reading between scans that need the layer at the same time", async () => {
    const { handle, opens } = fakeLayer(BYTES);
    const { one, other, origins, underWay } = setUp(undefined);
    const [a, b, c] = await Promise.all([one, other, other].map((each) => each.extract(handle, idle())));
    expect(a).toBe(b);
    expect(b).toBe(c);
    expect([opens(), origins.toSorted()]).toEqual([1, ["read", "shared", "shared"]]);
    expect(underWay.size).toBe(0);
  });

  it("goes on by itself when the one that reads is cancelled or fails", async () => {
    const { handle } = fakeLayer(BYTES);
    const gate = Promise.withResolvers<void>();
    const entered = Promise.withResolvers<void>();
    let opens = 0;
    const slow: LayerHandle = {
      ...handle,
      open: async (signal) => {
        if (++opens === 1) {
          entered.resolve();
          await gate.promise;
          signal.throwIfAborted();
        }
        return await handle.open(signal);
      },
    };
    const { one, other, origins, underWay } = setUp(undefined);
    const first = new AbortController();
    const reading = one.extract(slow, { signal: first.signal });
    const followers = [1, 2].map(() => other.extract(slow, idle()));
    await entered.promise;
    first.abort(new Error("cancelled"));
    gate.resolve();
    await expect(reading).rejects.toThrow("cancelled");
    expect((await Promise.all(followers)).map(({ entries }) => entries.length)).toEqual([1, 1]);
    expect([opens, origins.toSorted(), underWay.size]).toEqual([2, ["read", "shared"], 0]);
  });

  it("stops waiting for another's reading when it is cancelled itself", async () => {
    const { handle } = fakeLayer(BYTES);
    const gate = Promise.withResolvers<void>();
    const slow: LayerHandle = { ...handle, open: (signal) => gate.promise.then(() => handle.open(signal)) };
    const { one, other } = setUp(undefined);
    const reading = one.extract(slow, idle());
    const second = new AbortController();
    const waiting = other.extract(slow, { signal: second.signal });
    second.abort(new Error("cancelled"));
    await expect(waiting).rejects.toThrow("cancelled");
    gate.resolve();
    expect((await reading).entries).toHaveLength(1);
  });

  it("reads no layer that another process reads: it waits, and has its facts", async () => {
    const { handle, opens } = fakeLayer(BYTES);
    const store = new LockedStore();
    const { one, origins } = setUp(store);
    const other = setUp(store);
    const [a, b] = await Promise.all([one, other.one].map((each) => each.extract(handle, idle())));
    expect(a).toEqual(b);
    expect([opens(), origins, other.origins, store.locks]).toEqual([1, ["read"], ["stored"], 2]);
    await one.extract(handle, idle());
    expect(store.locks).toBe(2);
    // Both at first, the one that waited, and the last time: the first to have the lock knows that there is nothing.
    expect(store.gets).toBe(4);
  });

  it("tells while it waits for another process, and only then", async () => {
    const { handle } = fakeLayer(BYTES);
    const store = new LockedStore();
    const idleScans = new IdleScans();
    const counts: number[] = [];
    const reading: LayerEngine = {
      ...engine,
      extract: (layer, options) => {
        counts.push(idleScans.count);
        return engine.extract(layer, options);
      },
    };
    const activity = idleScans.scan();
    const one = cachedEngine({ engine: reading, store, underWay: new Map(), activity });
    await one.extract(handle, idle());
    store.facts.clear();
    const key = `${handle.digest} ${engine.version} null`;
    const other = await store.lock(key);
    const told = Promise.withResolvers<void>();
    idleScans.onIdle(told.resolve);
    const waiting = one.extract(handle, idle());
    await told.promise;
    counts.push(idleScans.count);
    await other[Symbol.asyncDispose]();
    await waiting;
    expect([...counts, idleScans.count]).toEqual([0, 1, 0, 0]);
  });

  it("tells all scans that share a reading while it waits for another process", async () => {
    const { handle, opens } = fakeLayer(BYTES);
    const store = new LockedStore();
    const idleScans = new IdleScans();
    const underWay: LayersUnderWay = new Map();
    const scans = [0, 1].map(() => cachedEngine({ engine, store, underWay, activity: idleScans.scan() }));
    const key = `${handle.digest} ${engine.version} null`;
    const other = await store.lock(key);
    const told: string[] = [];
    const allWait = Promise.withResolvers<void>();
    const readings = scans.map((scan, at) =>
      scan.extract(handle, {
        ...idle(),
        onWait: () => {
          if (told.push(`${at} waits`) === scans.length) allWait.resolve();
          return { [Symbol.dispose]: () => told.push(`${at} goes on`) };
        },
      })
    );
    await allWait.promise;
    expect([idleScans.count, told]).toEqual([2, ["0 waits", "1 waits"]]);
    await other[Symbol.asyncDispose]();
    await Promise.all(readings);
    expect([idleScans.count, told.slice(2), opens()]).toEqual([0, ["0 goes on", "1 goes on"], 1]);
  });

  it("leaves no lock behind when the reading fails", async () => {
    const { handle } = fakeLayer(BYTES);
    const store = new LockedStore();
    const { one } = setUp(store);
    await expect(one.extract({ ...handle, size: 1 }, idle())).rejects.toMatchObject({ code: "INTEGRITY" });
    expect((await one.extract(handle, idle())).entries).toHaveLength(1);
    const cancelled = AbortSignal.abort(new Error("cancelled"));
    await expect(setUp(store).one.extract({ ...handle, size: 2 }, { signal: cancelled })).rejects.toThrow("cancelled");
    expect(store.held.size).toBe(0);
  });
});
