import { describe, expect, it } from "vitest";
import { GatedEngine, gatedImage, gatedLayer, settled } from "../../tests/fakes/gated_engine.ts";
import { fakeLayer, sourceOf } from "../../tests/fakes/layer.ts";
import { tar } from "../../tests/fakes/tar_builder.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ByteStream, ImageHandle, LayerEngine, LayerHandle } from "../core/ports.ts";
import type { ScanEvent } from "../core/scan_ports.ts";
import type { LayerFacts } from "../core/types.ts";
import { budgetedEngine } from "../layers/budgeted_engine.ts";
import { createLayerEngine } from "../layers/engine.ts";
import { MemoryBudget } from "../lib/memory_budget.ts";
import { readLayers } from "./read_layers.ts";

const NAMES = ["a", "b", "c", "d", "e"];

interface Reading {
  readonly facts: Promise<readonly LayerFacts[]>;
  readonly events: ScanEvent[];
  readonly controller: AbortController;
}

function read(engine: LayerEngine, image: ImageHandle): Reading {
  const events: ScanEvent[] = [];
  const controller = new AbortController();
  const options = { engine, image, imageName: "team/app:1", history: false, signal: controller.signal };
  const facts = readLayers({ ...options, onEvent: (event) => events.push(event) });
  // Looked at later.
  facts.catch(() => {});
  return { facts, events, controller };
}

const pathsOf = (layers: readonly LayerFacts[]): string[] =>
  layers.flatMap(({ entries }) => entries.map(({ path }) => path));

describe("readLayers()", () => {
  it("reads at most three layers of an image at once, and gives them in its order", async () => {
    const engine = new GatedEngine();
    const { facts, events } = read(engine, gatedImage(NAMES.map((name) => gatedLayer(name))));
    await settled();
    expect(engine.running).toEqual(["a", "b", "c"]);
    for (const name of ["c", "b"]) (await engine.reading(name)).succeed();
    await settled();
    // What has been read before its turn stays one of the three until the turn comes.
    expect(engine.begun).toEqual(["a", "b", "c"]);
    expect(events.map(({ kind }) => kind)).toEqual(["layer-start"]);
    (await engine.reading("a")).succeed();
    for (const name of ["e", "d"]) (await engine.reading(name)).succeed();
    expect(pathsOf(await facts)).toEqual(NAMES);
    expect([engine.begun, engine.peak]).toEqual([NAMES, LIMITS.layersAtOnce]);
    expect(events.map((event) => "index" in event ? `${event.kind} ${event.index}` : event.kind)).toEqual(
      NAMES.flatMap((_name, index) => [`layer-start ${index}`, `layer-done ${index}`]),
    );
  });

  it("reads on in place of the layer whose turn it is while another process reads that", async () => {
    const engine = new GatedEngine();
    const names = [...NAMES, "f", "g", "h"];
    const { facts } = read(engine, gatedImage(names.map((name) => gatedLayer(name))));
    const a = await engine.reading("a");
    const wait = a.options.onWait?.();
    expect(engine.begun).toEqual(["a", "b", "c", "d"]);
    // One that waits itself makes room too.
    (await engine.reading("b")).options.onWait?.();
    expect(engine.begun).toEqual(["a", "b", "c", "d", "e"]);
    for (const name of ["d", "c"]) (await engine.reading(name)).succeed();
    await settled();
    expect(engine.running).toEqual(["a", "b", "e", "f", "g"]);
    wait?.[Symbol.dispose]();
    (await engine.reading("f")).succeed();
    await settled();
    expect(engine.running).toEqual(["a", "b", "e", "g"]);
    for (const name of ["a", "b", "e", "g", "h"]) (await engine.reading(name)).succeed();
    expect(pathsOf(await facts)).toEqual(names);
  });

  it("reads on when the turn of a layer comes that waits already", async () => {
    const engine = new GatedEngine();
    const { facts } = read(engine, gatedImage(NAMES.map((name) => gatedLayer(name))));
    (await engine.reading("b")).options.onWait?.();
    expect(engine.begun).toEqual(["a", "b", "c"]);
    (await engine.reading("a")).succeed();
    await settled();
    expect(engine.begun).toEqual(NAMES);
    for (const name of NAMES.slice(1)) (await engine.reading(name)).succeed();
    expect(pathsOf(await facts)).toEqual(NAMES);
  });

  it("reads the layers of an archive in their order, whatever waits", async () => {
    const engine = new GatedEngine();
    const { facts } = read(engine, gatedImage(["a", "b"].map((name) => gatedLayer(name)), "docker-archive"));
    (await engine.reading("a")).options.onWait?.();
    await settled();
    expect(engine.begun).toEqual(["a"]);
    for (const name of ["a", "b"]) (await engine.reading(name)).succeed();
    await facts;
  });

  it("tells the progress of the layer whose turn it is", async () => {
    const engine = new GatedEngine();
    const { facts, events } = read(engine, gatedImage(["a", "b"].map((name) => gatedLayer(name))));
    const [a, b] = [await engine.reading("a"), await engine.reading("b")];
    b.options.onProgress?.(1);
    a.options.onProgress?.(2);
    a.succeed();
    await settled();
    b.options.onProgress?.(3);
    b.succeed();
    await facts;
    const progress = events.filter((event) => event.kind === "layer-progress");
    expect(progress).toEqual([
      { kind: "layer-progress", index: 0, storedBytes: 2 },
      { kind: "layer-progress", index: 1, storedBytes: 3 },
    ]);
  });

  it("reads large layers, layers of unknown size, and those of archives one after the other", async () => {
    const engine = new GatedEngine();
    const large = [gatedLayer("a"), gatedLayer("b", LIMITS.aheadLayerBytes + 1), {
      ...gatedLayer("c"),
      size: undefined,
    }];
    const images = [gatedImage(large), gatedImage(NAMES.map((name) => gatedLayer(name)), "docker-archive")];
    for (const image of images) {
      const { facts } = read(engine, image);
      for (const { name } of image.layers) {
        await settled();
        expect(engine.running).toEqual([name]);
        (await engine.reading(name)).succeed();
      }
      await facts;
    }
  });

  it("reads a layer that occurs twice once, wherever it stands", async () => {
    const engine = new GatedEngine();
    const { facts } = read(engine, gatedImage(["a", "b", "a", "b"].map((name) => gatedLayer(name))));
    for (const name of ["b", "a"]) (await engine.reading(name)).succeed();
    expect(pathsOf(await facts)).toEqual(["a", "b", "a", "b"]);
    expect(engine.begun).toEqual(["a", "b"]);
  });

  it("fails with the first layer of the image that fails, whichever failed first, and cancels the others", async () => {
    const engine = new GatedEngine();
    const { facts, events } = read(engine, gatedImage(NAMES.map((name) => gatedLayer(name))));
    const [a, b, c] = [await engine.reading("a"), await engine.reading("b"), await engine.reading("c")];
    b.fail(new OutpostError("INTEGRITY", "b is damaged"));
    await settled();
    // Nobody needs what stands on a layer that cannot be read; the one below may fail yet.
    expect([c.options.signal.aborted, engine.running]).toEqual([true, ["a"]]);
    a.fail(new OutpostError("LAYER_CORRUPT", "a is malformed"));
    await expect(facts).rejects.toMatchObject({ message: "a is malformed" });
    expect(events.at(-1)).toEqual({ kind: "layer-failed", index: 0, message: "a is malformed" });
    expect([engine.running, engine.begun]).toEqual([[], ["a", "b", "c"]]);
  });

  it("tells the failure of a layer that was read ahead in its turn", async () => {
    const engine = new GatedEngine();
    const { facts, events } = read(engine, gatedImage(NAMES.map((name) => gatedLayer(name))));
    (await engine.reading("c")).fail(new OutpostError("INTEGRITY", "c is damaged"));
    for (const name of ["a", "b"]) (await engine.reading(name)).succeed();
    await expect(facts).rejects.toMatchObject({ message: "c is damaged" });
    expect(events.at(-1)).toEqual({ kind: "layer-failed", index: 2, message: "c is damaged" });
    expect([engine.running, engine.begun]).toEqual([[], ["a", "b", "c"]]);
  });

  it("ends all readings when it is cancelled", async () => {
    const engine = new GatedEngine();
    const { facts, controller } = read(engine, gatedImage(NAMES.map((name) => gatedLayer(name))));
    await engine.reading("c");
    controller.abort(new OutpostError("CANCELLED", "The process is stopping"));
    await expect(facts).rejects.toMatchObject({ code: "CANCELLED" });
    expect(engine.running).toEqual([]);
  });

  it("reads a layer that keeps much in its turn, with the bound of that time", async () => {
    const engine = new GatedEngine();
    const { facts } = read(engine, gatedImage(["a", "b"].map((name) => gatedLayer(name))));
    (await engine.reading("b")).succeed(LIMITS.aheadKeptBytes + 1);
    await settled();
    expect(engine.running).toEqual(["a"]);
    (await engine.reading("a")).succeed(5000);
    const again = await engine.reading("b");
    expect(again.options.maxKeptBytes).toBe(LIMITS.imageKeptBytes - 5000);
    again.succeed(LIMITS.aheadKeptBytes + 1);
    expect(pathsOf(await facts)).toEqual(["a", "b"]);
    expect(engine.begun).toEqual(["a", "b", "b"]);
  });

  it("gives up what was read ahead when the image holds too much for that", async () => {
    const engine = new GatedEngine();
    const { facts } = read(engine, gatedImage(["a", "b", "c"].map((name) => gatedLayer(name))));
    (await engine.reading("c")).succeed(5000);
    const b = await engine.reading("b");
    b.options.reserve?.(LIMITS.aheadKeptBytes);
    await settled();
    const a = await engine.reading("a");
    a.options.reserve?.(LIMITS.keptBytes - LIMITS.aheadKeptBytes - 5000);
    expect(engine.running).toEqual(["a", "b"]);
    a.options.reserve?.(LIMITS.keptBytes);
    await settled();
    expect(engine.running).toEqual(["a"]);
    expect(() => b.options.reserve?.(1)).toThrow();
    a.succeed();
    for (const name of ["b", "c"]) (await engine.reading(name)).succeed();
    expect(pathsOf(await facts)).toEqual(["a", "b", "c"]);
    expect(engine.begun).toEqual(["a", "b", "c", "b", "c"]);
  });

  it("lets a layer that began ahead keep more once its turn has come", async () => {
    const engine = new GatedEngine();
    const { facts } = read(engine, gatedImage(["a", "b"].map((name) => gatedLayer(name))));
    const b = await engine.reading("b");
    (await engine.reading("a")).succeed();
    await settled();
    b.succeed(LIMITS.aheadKeptBytes + 1);
    await facts;
    expect(engine.begun).toEqual(["a", "b"]);
  });

  it("keeps all scans together within one memory budget", async () => {
    const engine = new GatedEngine();
    const budget = new MemoryBudget(4 * LIMITS.layerReserveBytes);
    const images = ["1", "2"].map((scan) => gatedImage(NAMES.map((name) => gatedLayer(name + scan))));
    const scans = images.map((image) => read(budgetedEngine(engine, budget), image));
    await settled();
    expect([engine.running, budget.used, budget.waiting]).toEqual([
      ["a1", "b1", "c1", "a2"],
      4 * LIMITS.layerReserveBytes,
      2,
    ]);
    scans[1]?.controller.abort(new Error("cancelled"));
    await expect(scans[1]?.facts).rejects.toThrow("cancelled");
    expect([budget.used, budget.waiting]).toEqual([3 * LIMITS.layerReserveBytes, 0]);
    for (const name of NAMES) (await engine.reading(`${name}1`)).succeed();
    await scans[0]?.facts;
    expect([engine.peak, budget.used]).toEqual([4, 0]);
  });

  it("leaves no connection behind when a layer fails", async () => {
    const damaged = tar({ name: "wanted", body: "content" });
    const open = new Set<Promise<void>>();
    await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, ({ url }) => {
      if (url.endsWith("/bad")) return new Response(damaged);
      const gone = Promise.withResolvers<void>();
      open.add(gone.promise);
      return new Response(new ReadableStream({ cancel: () => gone.resolve() }));
    });
    const layer = (name: string): LayerHandle => ({
      ...fakeLayer(new Uint8Array(1)).handle,
      name,
      digest: `sha256:${name.padEnd(64, "0")}`,
      size: damaged.length,
      open: async (signal) =>
        sourceOf((await fetch(`http://127.0.0.1:${server.addr.port}/${name}`, { signal })).body as ByteStream, signal),
    });
    const engine = createLayerEngine({ patterns: [{ names: ["wanted"], maxBytes: 1 << 20 }], version: "1" });
    const { facts } = read(engine, gatedImage(["bad", "1", "2", "3"].map(layer)));
    await expect(facts).rejects.toMatchObject({ code: "INTEGRITY", message: expect.stringContaining("bad") });
    expect(open.size).toBeLessThan(LIMITS.layersAtOnce);
    await Promise.all(open);
  });
});
