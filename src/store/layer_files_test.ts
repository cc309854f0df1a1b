import { describe, expect, it } from "vitest";
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
});
