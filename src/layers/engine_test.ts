import { gzipSync, inflateRawSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { tar } from "../../tests/fakes/tar_builder.ts";
import type { FilePattern, InflaterFactory, LayerHandle } from "../core/ports.ts";
import { createLayerEngine } from "./engine.ts";

const patterns: readonly FilePattern[] = [{ names: ["wanted"], maxBytes: 1 << 20 }];
const signal = new AbortController().signal;

function layer(stored: Uint8Array<ArrayBuffer>): LayerHandle {
  const open = (): ReturnType<LayerHandle["open"]> => Promise.resolve(ReadableStream.from([stored]));
  return { name: "layer", digest: undefined, size: undefined, mediaType: undefined, diffId: undefined, open };
}

describe("createLayerEngine()", () => {
  it("extracts layers and assembles them to a view", async () => {
    const engine = createLayerEngine({ patterns, version: "table-1" });
    const bottom = await engine.extract(
      layer(tar({ name: "a/wanted", body: "old" }, { name: "b/wanted", body: "kept" })),
      { signal },
    );
    const top = await engine.extract(
      layer(tar({ name: "a/wanted", body: "new" }, { name: "c/wanted", body: "gone" })),
      { signal },
    );
    const last = await engine.extract(layer(tar({ name: "c/.wh.wanted" })), { signal });
    const view = engine.assemble([bottom, top, last]);
    const found = [...view.files()].map(({ path, content }) => [path, new TextDecoder().decode(content)]);
    expect(found).toEqual([["a/wanted", "new"], ["b/wanted", "kept"]]);
  });

  it("has a version that names extractor and table, and marks facts with it", async () => {
    const [one, two] = ["table-1", "table-2"].map((version) => createLayerEngine({ patterns, version }));
    expect(one?.version).not.toBe(two?.version);
    expect((await one?.extract(layer(tar()), { signal }))?.extractor).toBe(one?.version);
  });

  it("decodes gzip with the inflater it is given, several members too", async () => {
    let made = 0;
    const collected: number[] = [];
    const inflater: InflaterFactory = (emit) => {
      made++;
      return {
        push(input): number {
          collected.push(...input);
          // A decoder that decodes when it has seen everything: enough to tell that the port is all that gzip needs.
          const whole = tryInflate(Uint8Array.from(collected));
          if (whole === undefined) return input.length;
          emit(whole.bytes);
          return input.length - (collected.length - whole.used);
        },
        reset: () => void (collected.length = 0),
        close: () => {},
      };
    };
    const archive = tar({ name: "wanted", body: "content" });
    const stored = Uint8Array.from([...gzipSync(archive.slice(0, 700)), ...gzipSync(archive.slice(700))]);
    const facts = await createLayerEngine({ patterns, version: "1", inflater }).extract(layer(stored), { signal });
    expect(made).toBe(1);
    expect(facts.entries).toEqual([expect.objectContaining({ path: "wanted", size: 7 })]);
  });

  it("runs layers at the same time", async () => {
    const engine = createLayerEngine({ patterns, version: "1" });
    const stored = Uint8Array.from(gzipSync(tar({ name: "wanted", body: "x".repeat(100_000) })));
    const all = await Promise.all(Array.from({ length: 8 }, () => engine.extract(layer(stored), { signal })));
    for (const facts of all) expect(facts).toEqual(all[0]);
  });
});

function tryInflate(input: Uint8Array): { readonly bytes: Uint8Array; readonly used: number } | undefined {
  try {
    // With `info` node:zlib tells how much input the stream took.
    const { buffer, engine } = inflateRawSync(input, { info: true }) as unknown as {
      buffer: Uint8Array;
      engine: { bytesWritten: number };
    };
    return { bytes: buffer, used: engine.bytesWritten };
  } catch {
    return undefined;
  }
}
