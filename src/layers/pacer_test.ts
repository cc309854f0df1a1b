import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { fakeLayer, sourceOf, streamOf } from "../../tests/fakes/layer.ts";
import { tar } from "../../tests/fakes/tar_builder.ts";
import { LIMITS } from "../core/limits.ts";
import type { EventLoop } from "../core/ports.ts";
import { createLayerEngine } from "./engine.ts";
import { Pacer } from "./pacer.ts";

/** An event loop on which each look at the time takes `ms`. */
function tickingLoop(
  ms: number,
  onTurn: (turns: number) => void = () => {},
): EventLoop & { readonly turns: () => number } {
  let now = 0;
  let turns = 0;
  return {
    now: () => now += ms,
    turn: () => {
      onTurn(++turns);
      return Promise.resolve();
    },
    turns: () => turns,
  };
}

describe("Pacer", () => {
  it("pauses once the time is over, and then anew", async () => {
    const eventLoop = tickingLoop(LIMITS.layerWorkMs / 4);
    const pacer = new Pacer(eventLoop);
    const counts: number[] = [];
    for (let step = 0; step < 9; step++) {
      await pacer.step();
      counts.push(eventLoop.turns());
    }
    expect(counts).toEqual([0, 0, 0, 1, 1, 1, 1, 2, 2]);
  });
});

describe("createLayerEngine() with an event loop", () => {
  const body = crypto.getRandomValues(new Uint8Array(50_000));
  const stored = new Uint8Array(gzipSync(tar({ name: "noise", body })));
  const layer = fakeLayer(stored, { open: () => Promise.resolve(sourceOf(streamOf(stored, 5000))) }).handle;

  it("lets other work have its turn between the chunks of a layer", async () => {
    const eventLoop = tickingLoop(LIMITS.layerWorkMs);
    const engine = createLayerEngine({ patterns: [], version: "1", eventLoop });
    await engine.extract(layer, { signal: new AbortController().signal });
    expect(eventLoop.turns()).toBe(Math.ceil(stored.length / 5000));
  });

  it("stops when it is told to in a pause", async () => {
    const stop = new AbortController();
    const reason = new Error("stopped");
    const eventLoop = tickingLoop(LIMITS.layerWorkMs, (turns) => turns === 2 && stop.abort(reason));
    const engine = createLayerEngine({ patterns: [], version: "1", eventLoop });
    await expect(engine.extract(layer, { signal: stop.signal })).rejects.toBe(reason);
    expect(eventLoop.turns()).toBe(2);
  });
});
