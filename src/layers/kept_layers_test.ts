import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { layer, listed } from "../../tests/fakes/layer_facts.ts";
import type { LayerFacts } from "../core/types.ts";
import { KeptLayers } from "./kept_layers.ts";

const big = (letter: string): string => letter.repeat(5000);

function keep(layers: readonly LayerFacts[], history = false): KeptLayers {
  const kept = new KeptLayers({ history });
  for (const each of layers) kept.add(each);
  return kept;
}

describe("KeptLayers", () => {
  it("lets contents go that an upper layer replaces or hides", () => {
    const kept = keep([layer(`a=${big("1")}`, `b=${big("1")}`, `c=${big("1")}`), layer(`a=${big("2")}`, "-b")]);
    expect(kept.bytes).toBe(10_000);
    const lengths = kept.layers.map((each) =>
      each.entries.map((entry) => entry.kind === "file" && entry.content.length)
    );
    expect(lengths).toEqual([[0, 0, 5000], [5000, false]]);
  });

  it("keeps them for who compares layers", () => {
    const kept = keep([layer(`a=${big("1")}`), layer(`a=${big("2")}`)], true);
    expect(kept.bytes).toBe(10_000);
    expect(listed(kept.layers.slice(0, 1))).toEqual([`a=${big("1")}@0`]);
  });

  it.each([
    ["a hard link leads out of its layer", ["b => a", `a=${big("2")}`]],
    ["their directory is a link", [`dir/a=${big("2")}`, "dir -> other"]],
  ])("keeps them when %s", (_name, lines) => {
    const kept = keep([layer(`a=${big("1")}`, `dir/a=${big("1")}`), layer(...lines)]);
    expect(kept.bytes).toBe(15_000);
  });

  it("counts a layer that an image has twice once", () => {
    const twice = layer(`a=${big("1")}`);
    expect(keep([twice, twice]).bytes).toBe(5000);
  });

  it("does not change the image", () => {
    const path = fc.constantFrom("a", "d", "d/a", "d/b", "e/a", "e", "d/f/a");
    const line = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.tuple(path, fc.constantFrom("1", "2", "3")).map(([at, text]) => `${at}=${big(text)}`),
      },
      fc.tuple(path, path).map(([at, target]) => `${at} -> /${target}`),
      fc.tuple(path, path).map(([at, target]) => `${at} => ${target}`),
      path.map((at) => `-${at}`),
      path.map((at) => `${at}/**`),
      path.map((at) => `!${at}`),
      path.map((at) => `${at}/`),
    );
    const layers = fc.array(fc.uniqueArray(line, { maxLength: 6, selector: (text) => text.split(/[ =]/)[0] }), {
      minLength: 2,
      maxLength: 6,
    });
    fc.assert(
      fc.property(layers, (lists) => {
        const all = lists.map((lines) => layer(...lines));
        expect(listed(keep(all).layers)).toEqual(listed(all));
      }),
      { numRuns: 2000 },
    );
  });
});
