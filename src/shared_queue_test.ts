import { describe, expect, it } from "vitest";
import { loadConfig } from "./config/load.ts";
import type { LayerFactsStore } from "./core/store.ts";
import type { LayerFacts } from "./core/types.ts";
import { queueKey, withLocalCopy } from "./shared_queue.ts";

async function keyOf(env: Record<string, string>): Promise<string> {
  const readFile = (): Promise<string> => Promise.reject(new Error("no file"));
  const config = await loadConfig({ env: { OUTPOST_QUEUE: "nats://nats", ...env }, readFile });
  return (await queueKey(config)).toBase64();
}

describe("queueKey()", () => {
  it("is the key that is given, or follows from a passphrase or from the token, alike in every daemon", async () => {
    const bytes = crypto.getRandomValues(new Uint8Array(32)).toBase64();
    expect(await keyOf({ OUTPOST_QUEUE_KEY: bytes, BROKER_TOKEN: "token" })).toBe(bytes);
    const passphrase = await keyOf({ OUTPOST_QUEUE_KEY: "correct horse battery" });
    expect(Uint8Array.fromBase64(passphrase)).toHaveLength(32);
    expect(await keyOf({ OUTPOST_QUEUE_KEY: "correct horse battery", BROKER_TOKEN: "token" })).toBe(passphrase);
    const token = await keyOf({ BROKER_TOKEN: "token" });
    expect(await keyOf({ BROKER_TOKEN: "token" })).toBe(token);
    expect(new Set([bytes, passphrase, token, await keyOf({ BROKER_TOKEN: "other" })]).size).toBe(4);
  });

  it("says what to set where there is nothing in common", async () => {
    await expect(keyOf({})).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      hint: expect.stringContaining("OUTPOST_QUEUE_KEY"),
    });
  });
});

describe("withLocalCopy()", () => {
  const facts = { kind: "facts" } as unknown as LayerFacts;

  function memory(asked: string[], name: string): LayerFactsStore {
    const kept = new Map<string, LayerFacts>();
    return {
      get: (key) => {
        asked.push(`${name} ${key}`);
        return Promise.resolve(kept.get(key));
      },
      put: (key, value) => Promise.resolve(void kept.set(key, value)),
    };
  }

  it("asks the disk first, keeps what others read, and shares what it reads", async () => {
    const asked: string[] = [];
    const [shared, local] = [memory(asked, "shared"), memory(asked, "local")];
    const lock = { [Symbol.asyncDispose]: () => Promise.resolve() };
    const both = withLocalCopy({ ...shared, lock: () => Promise.resolve(lock) }, local);
    expect(await both.get("a")).toBeUndefined();
    await shared.put("a", facts);
    expect(await both.get("a")).toBe(facts);
    expect(await both.get("a")).toBe(facts);
    expect(asked).toEqual(["local a", "shared a", "local a", "shared a", "local a"]);
    await both.put("b", facts);
    expect([await shared.get("b"), await local.get("b")]).toEqual([facts, facts]);
    expect(await both.lock?.("a", new AbortController().signal)).toBe(lock);
    expect(withLocalCopy(shared, local).lock).toBeUndefined();
  });
});
