import { expect, it } from "vitest";
import { openFileStore } from "./file_store.ts";
import { layerFilesSuite } from "./store/layer_files_suite.ts";

layerFilesSuite("a directory", (directory) => openFileStore(`${directory}/layers`));

it("openFileStore() shows files when they are whole, and takes away what a process that ended left", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const files = openFileStore(`${directory}/layers`);
    expect(await files.list()).toEqual([]);
    await Promise.all([1, 2, 3].map((n) => files.write("name", new Uint8Array(1000).fill(n))));
    expect(await files.list()).toMatchObject([{ name: "name", bytes: 1000 }]);
    expect(Deno.statSync(`${directory}/layers`).mode).toBe(0o40700);
    expect(Deno.statSync(`${directory}/layers/name`).mode).toBe(0o100600);
    const left = `${directory}/layers/name.1.partial`;
    await Deno.writeFile(left, new Uint8Array(1));
    await files.list();
    expect(Deno.statSync(left).size).toBe(1);
    await Deno.utime(left, 1, 1);
    expect(await files.list()).toHaveLength(1);
    expect(() => Deno.statSync(left)).toThrow(Deno.errors.NotFound);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
