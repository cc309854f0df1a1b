import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hasPath, pathHash, PathHashes } from "./path_hash.ts";

describe("pathHash()", () => {
  it("keeps its values, because stored facts hold them", () => {
    expect(["", "etc/passwd", "usr/share/doc/é", "a/b"].map(pathHash)).toEqual([
      7873683489191695,
      1943371234110418,
      4317090472832473,
      7018826178776299,
    ]);
  });

  it("gives safe integers", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (path) => {
      const hash = pathHash(path);
      expect(Number.isSafeInteger(hash) && hash >= 0).toBe(true);
    }));
  });

  it("spreads a million similar paths without a collision", () => {
    const hashes = new PathHashes();
    for (let i = 0; i < 1_000_000; i++) hashes.add(`usr/lib/node_modules/package-${i >> 8}/lib/file_${i}.js`);
    expect(hashes.sorted().length).toBe(1_000_000);
  });

  it("uses all 53 bits about equally", () => {
    const counts = new Array<number>(53).fill(0);
    for (let i = 0; i < 4000; i++) {
      const bits = pathHash(`d/${i}`).toString(2).padStart(53, "0");
      for (let bit = 0; bit < 53; bit++) if (bits[bit] === "1") counts[bit] = (counts[bit] ?? 0) + 1;
    }
    for (const count of counts) expect(Math.abs(count - 2000)).toBeLessThan(250);
  });
});

describe("PathHashes", () => {
  it("is a set: sorted, without duplicates, holding exactly what was added", () => {
    fc.assert(fc.property(fc.array(fc.string(), { maxLength: 600 }), fc.string(), (paths, other) => {
      const hashes = new PathHashes();
      for (const path of paths) hashes.add(path);
      const sorted = hashes.sorted();
      expect([...sorted]).toEqual([...new Set(paths.map(pathHash))].toSorted((a, b) => a - b));
      for (const path of paths) expect(hasPath(sorted, path)).toBe(true);
      expect(hasPath(sorted, other)).toBe(paths.includes(other));
      expect(hashes.take()).toEqual(sorted);
      expect(hashes.take().length).toBe(0);
      hashes.add(other);
      expect([...hashes.take()]).toEqual([pathHash(other)]);
    }));
  });
});
