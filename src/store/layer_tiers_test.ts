import { describe, expect, it } from "vitest";
import { MemoryFiles } from "../../tests/fakes/files.ts";
import type { LayerFactsStore, LayerLock } from "../core/store.ts";
import { FACTS, setUp } from "./layer_files_suite.ts";
import { LayerTiers } from "./layer_tiers.ts";

const idle = (): AbortSignal => new AbortController().signal;

describe("LayerTiers", () => {
  it("keeps facts in both places, and near what another daemon has shared", async () => {
    const shared = setUp(new MemoryFiles()).store;
    const stores = [1, 2].map(() => setUp(new MemoryFiles()).store);
    const [one, other] = stores.map((near) => new LayerTiers(near, shared));
    await one?.put("key", FACTS);
    expect(await stores[0]?.get("key")).toEqual(FACTS);
    expect(await stores[1]?.get("key")).toBeUndefined();
    expect(await other?.get("key")).toEqual(FACTS);
    expect(await stores[1]?.get("key")).toEqual(FACTS);
    expect(await other?.get("missing")).toBeUndefined();
  });

  it("locks where others do", async () => {
    const locked: string[] = [];
    const lock = (key: string): Promise<LayerLock> => {
      locked.push(key);
      return Promise.resolve({ isFirst: true, [Symbol.asyncDispose]: () => Promise.resolve(void locked.pop()) });
    };
    const { store } = setUp(new MemoryFiles());
    const shared: LayerFactsStore = { get: (key) => store.get(key), put: (key, facts) => store.put(key, facts), lock };
    {
      await using _held = await new LayerTiers(store, shared).lock("key", idle());
      expect(locked).toEqual(["key"]);
    }
    expect(locked).toEqual([]);
    await using _none = await new LayerTiers(store, store).lock("key", idle());
  });
});
