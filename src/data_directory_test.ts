import { expect, it } from "vitest";
import { sealKey } from "./data_directory.ts";

it("sealKey() makes a key once, and anew where its writing was cut short", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const key = await sealKey(directory);
    expect(key).toHaveLength(32);
    expect(await sealKey(directory)).toEqual(key);
    const path = `${directory}/credentials.key`;
    expect(Deno.statSync(path).mode).toBe(0o100600);
    for (const length of [0, 7]) {
      await Deno.writeFile(path, key.slice(0, length));
      const fresh = await sealKey(directory);
      expect(fresh).toHaveLength(32);
      expect(await sealKey(directory)).toEqual(fresh);
    }
    expect([...Deno.readDirSync(directory)].map(({ name }) => name)).toEqual(["credentials.key"]);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

it("S3 sealKey() tells what to do where it cannot be written, and leaves nothing behind", async () => {
  const directory = `${await Deno.makeTempDir()}/gone`;
  await expect(sealKey(directory)).rejects.toMatchObject({
    code: "STORE_UNAVAILABLE",
    hint: expect.stringContaining("OUTPOST_DATA_DIR"),
    retryable: true,
  });
  await Deno.mkdir(directory);
  expect(await sealKey(directory)).toHaveLength(32);
  await Deno.remove(directory.slice(0, -"/gone".length), { recursive: true });
});
