import { describe, expect, it } from "vitest";
import { mapBounded } from "./map_bounded.ts";

describe("mapBounded()", () => {
  it("keeps the order, and the bound", async () => {
    let running = 0;
    let most = 0;
    const doubled = await mapBounded([1, 2, 3, 4, 5], 2, async (item) => {
      most = Math.max(most, ++running);
      await Promise.resolve();
      running--;
      return item * 2;
    });
    expect(doubled).toEqual([2, 4, 6, 8, 10]);
    expect(most).toBe(2);
    expect(await mapBounded([], 4, () => Promise.resolve(1))).toEqual([]);
  });

  it("ends with the first failure, once the running ones are done", async () => {
    const begun: number[] = [];
    const work = mapBounded([1, 2, 3, 4], 2, async (item) => {
      begun.push(item);
      await Promise.resolve();
      if (item === 1) throw new Error("first");
      return item;
    });
    await expect(work).rejects.toThrow("first");
    expect(begun).not.toContain(4);
  });
});
