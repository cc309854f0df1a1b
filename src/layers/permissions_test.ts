import { gzipSync, zstdCompressSync } from "node:zlib";
import { expect } from "vitest";
import { sourceOf, streamOf } from "../../tests/fakes/layer.ts";
import { tar } from "../../tests/fakes/tar_builder.ts";
import type { LayerHandle } from "../core/ports.ts";
import { createLayerEngine } from "./engine.ts";

// Deno's own test call, because only it can take permissions away.
Deno.test({
  name: "the layer engine needs no permission: nothing of a layer can reach a disk",
  permissions: "none",
  async fn(): Promise<void> {
    expect(() => Deno.makeTempFileSync()).toThrow(Deno.errors.NotCapable);
    const engine = createLayerEngine({ patterns: [{ names: ["wanted"], maxBytes: 1e8 }], version: "1" });
    const body = new Uint8Array(30_000_000);
    const bytes = tar({ name: "wanted", body }, { name: "other", body });
    for (const stored of [bytes, gzipSync(bytes), zstdCompressSync(bytes)]) {
      const open = (): ReturnType<LayerHandle["open"]> => Promise.resolve(sourceOf(streamOf(stored, stored.length)));
      const handle = {
        name: "layer",
        digest: undefined,
        size: undefined,
        mediaType: undefined,
        diffId: undefined,
        open,
      };
      const facts = await engine.extract(handle, { signal: new AbortController().signal });
      expect(facts.entries.map((entry) => entry.path)).toEqual(["wanted"]);
    }
  },
});
