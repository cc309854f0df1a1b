import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { OsPackage } from "../core/types.ts";
import { FREQUENT_PATHS, frequentPackages } from "./frequent_packages.ts";
import { indexPackages, type PackageIndex } from "./package_index.ts";

function packages(count: number, depends: (i: number) => readonly number[]): OsPackage[] {
  return Array.from({ length: count }, (_, i) => ({
    name: `p${i}`,
    version: "1",
    provides: [],
    depends: depends(i).map((d) => `p${d}`),
  }));
}

/** Counts all simple paths one by one, as the plugin does; undefined when there are too many to wait for. */
function naive(index: PackageIndex, budget = 200_000): readonly number[] | undefined {
  const counts = new Map<number, number>();
  const path = new Set<number>();
  const walk = (at: number): void => {
    const name = index.standsFor[at] ?? at;
    if (path.has(name) || budget-- <= 0) return;
    counts.set(name, (counts.get(name) ?? 0) + 1);
    path.add(name);
    for (const to of index.dependencies[at] ?? []) walk(to);
    path.delete(name);
  };
  for (const start of index.standsFor) walk(start);
  if (budget <= 0) return undefined;
  return [...counts].filter(([, count]) => count > FREQUENT_PATHS).map(([at]) => at).sort((a, b) => a - b);
}

/** Databases of up to 14 entries, with repeated names, virtual packages and cycles. */
const databases = fc.integer({ min: 1, max: 14 }).chain((n) =>
  fc.array(
    fc.record({
      name: fc.oneof({ weight: 1, arbitrary: fc.nat(n - 1) }, { weight: 15, arbitrary: fc.constant(-1) }),
      provides: fc.array(fc.nat(2), { maxLength: 1 }),
      depends: fc.array(fc.nat(n + 2), { maxLength: 5 }),
    }),
    { minLength: n, maxLength: n },
  ).map((rows) =>
    rows.map((row, i): OsPackage => ({
      name: `p${row.name < 0 ? i : row.name}`,
      version: "1",
      provides: row.provides.map((v) => `p${n + v}`),
      depends: row.depends.map((d) => `p${d}`),
    }))
  )
);

describe("frequentPackages()", () => {
  it("gives what counting every path gives", () => {
    let compared = 0;
    let some = 0;
    fc.assert(
      fc.property(databases, (list) => {
        const index = indexPackages(list);
        const expected = naive(index);
        const { positions, complete } = frequentPackages(index);
        if (expected === undefined) return;
        compared++;
        if (expected.length > 0) some++;
        expect(complete).toBe(true);
        expect([...positions].sort((a, b) => a - b)).toEqual(expected);
      }),
      { numRuns: 600, seed: 20_240_607 },
    );
    expect(compared).toBeGreaterThan(400);
    expect(some).toBeGreaterThan(30);
  });

  it.each<readonly [string, OsPackage[], number]>([
    // Two packages on each rung, each depending on both of the next: 2^(k+1)-1 paths end at rung k, so 34 rungs pass.
    ["a ladder of 40 rungs", packages(80, (i) => (i >> 1) < 39 ? [(i | 1) + 1, (i | 1) + 2] : []), 68],
    // The ladder below a package that its foot depends on again, with a rare package beside: the way to the rare one
    // is always barred, so pruning by plain reachability would still walk every path.
    [
      "a ladder whose foot leads back to its head",
      packages(
        83,
        (i) => i === 0 ? [1, 2, 82] : i === 82 ? [] : i > 79 ? [0] : [((i + 1) >> 1) * 2 + 1, ((i + 1) >> 1) * 2 + 2],
      ),
      83,
    ],
    [
      "every package depending on all later ones",
      packages(120, (i) => Array.from({ length: 119 - i }, (_, k) => i + 1 + k)),
      113,
    ],
  ])("counts %s in few steps", (_name, list, expected) => {
    const { positions, complete } = frequentPackages(indexPackages(list), 2_000_000);
    expect(complete).toBe(true);
    expect(positions.size).toBe(expected);
  });

  it("ends at its bound, and says so", () => {
    const clique = packages(200, () => Array.from({ length: 200 }, (_, k) => k));
    expect(frequentPackages(indexPackages(clique), 100_000).complete).toBe(false);
  });

  it("draws the line above 100 paths", () => {
    const star = (n: number): OsPackage[] => packages(n, (i) => i === 0 ? [] : [0]);
    expect([...frequentPackages(indexPackages(star(100))).positions]).toEqual([]);
    expect([...frequentPackages(indexPackages(star(101))).positions]).toEqual([0]);
  });
});
