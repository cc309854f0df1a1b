import { describe, expect, it } from "vitest";
import { loadConfig } from "./config/load.ts";
import { queueKey } from "./shared_queue.ts";

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
