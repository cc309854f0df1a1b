import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { components } from "./strong_components.ts";

const graphs = fc.integer({ min: 1, max: 9 }).chain((n) =>
  fc.array(fc.array(fc.nat(n - 1), { maxLength: 3 }), { minLength: n, maxLength: n })
);

function reach(edges: readonly (readonly number[])[], from: number): Set<number> {
  const seen = new Set([from]);
  for (const node of seen) for (const to of edges[node] ?? []) seen.add(to);
  return seen;
}

describe("components()", () => {
  it("puts two nodes together exactly when each reaches the other", () => {
    fc.assert(
      fc.property(graphs, (edges) => {
        const { component, count } = components(edges);
        const reached = edges.map((_, node) => reach(edges, node));
        for (let a = 0; a < edges.length; a++) {
          expect(component[a]).toBeLessThan(count);
          for (let b = 0; b < edges.length; b++) {
            expect(component[a] === component[b]).toBe(reached[a]?.has(b) === true && reached[b]?.has(a) === true);
          }
        }
      }),
      { seed: 4 },
    );
  });

  it("does not run out of stack on a long chain", () => {
    const edges = Array.from({ length: 200_000 }, (_, i) => i < 199_999 ? [i + 1] : []);
    expect(components(edges).count).toBe(200_000);
  });
});
