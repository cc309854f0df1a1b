import { describe, expect, it } from "vitest";
import { FailingFiles } from "../../tests/fakes/failing_files.ts";
import { MemoryFiles } from "../../tests/fakes/files.ts";
import { FACTS, layerFilesSuite, setUp } from "./layer_files_suite.ts";

layerFilesSuite("files in memory", () => new MemoryFiles());

describe("LayerFiles", () => {
  it("goes on without storing while the disk is full, says so once, and stores again afterwards", async () => {
    const files = new MemoryFiles();
    const { store, logger } = setUp(files);
    files.failWrites = true;
    await store.put("a", FACTS);
    await store.put("b", FACTS);
    expect(logger.lines.map(({ level }) => level)).toEqual(["warn"]);
    files.failWrites = false;
    await store.put("a", FACTS);
    expect(await store.get("a")).toEqual(FACTS);
  });

  it.each(["before", "after"] as const)(
    "S3 never gives wrong facts and goes on, whichever operation fails %s it is done",
    async (failure) => {
      const keys = ["a", "b", "c"];
      let nth = 1;
      for (let failed = true; failed; nth++) {
        const disk = new MemoryFiles();
        const files = new FailingFiles(disk, nth, failure);
        // Room for two of the three, so that clean-ups are among the operations.
        const { store } = setUp(files, 900);
        for (const key of [...keys, ...keys]) {
          const found = await store.get(key);
          expect([undefined, FACTS]).toContainEqual(found);
          if (found === undefined) await store.put(key, FACTS);
        }
        failed = files.count >= nth;
        if (!failed) break;
        await store.put("last", FACTS);
        expect(await store.get("last")).toEqual(FACTS);
        const bytes = (await disk.list()).reduce((sum, file) => sum + file.bytes, 0);
        expect(bytes).toBeLessThanOrEqual(900);
      }
      expect(nth).toBeGreaterThan(20);
    },
  );
});
