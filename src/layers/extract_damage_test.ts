import { gzipSync, zstdCompressSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { digestOf, fakeLayer, sourceOf, streamOf } from "../../tests/fakes/layer.ts";
import { tar } from "../../tests/fakes/tar_builder.ts";
import { OutpostError } from "../core/errors.ts";
import type { ByteSource, LayerHandle } from "../core/ports.ts";
import type { LayerFacts } from "../core/types.ts";
import { extractLayer } from "./extract.ts";
import { INFLATERS } from "./inflaters.ts";
import { compileWants } from "./matcher.ts";

const encoder = new TextEncoder();
const wants = compileWants([
  { paths: ["etc/os-release", "lib/apk/db/installed"], maxBytes: 100 },
  { names: ["wanted"], maxBytes: 1000 },
]);

const layerError = (code: string, text: string): unknown =>
  expect.objectContaining({ name: "LayerError", code, layer: "sha256:layer", message: expect.stringContaining(text) });

describe.each(Object.entries(INFLATERS))("extractLayer() with %s and damaged layers", (_name, load) => {
  async function extract(handle: LayerHandle): Promise<LayerFacts> {
    const extractor = { version: "7", wants, inflater: await load() };
    return await extractLayer(handle, extractor, { signal: new AbortController().signal });
  }

  const body = crypto.getRandomValues(new Uint8Array(20_000));
  const bytes = tar({ name: "etc/os-release", body: "ID=test" }, { name: "blob", body });
  const forms = [
    ["none", bytes],
    ["gzip", new Uint8Array(gzipSync(bytes))],
    ["zstd", new Uint8Array(zstdCompressSync(bytes))],
  ] as const;

  it.each(forms)("refuses a flipped bit anywhere in a layer stored as %s", async (_compression, stored) => {
    for (let at = 0; at < stored.length; at += 397) {
      const flipped = stored.slice();
      flipped[at] = (flipped[at] ?? 0) ^ 0x10;
      const damaged = fakeLayer(stored, { open: () => Promise.resolve(sourceOf(streamOf(flipped))) });
      await expect(extract(damaged.handle), `at ${at}`).rejects.toEqual(layerError("INTEGRITY", "digest"));
    }
  });

  it.each(forms)("refuses a truncated body of a layer stored as %s", async (_compression, stored) => {
    for (const length of [0, 1, 100, stored.length >> 1, stored.length - 1]) {
      const short = (): Promise<ByteSource> => Promise.resolve(sourceOf(streamOf(stored.slice(0, length))));
      await expect(extract(fakeLayer(stored, { open: short }).handle))
        .rejects.toEqual(layerError("INTEGRITY", `${length} stored bytes instead of ${stored.length}`));
    }
  });

  it.each(forms)(
    "refuses a truncated layer stored as %s whose size and digest nobody knows",
    async (compression, stored) => {
      const cut = stored.slice(0, compression === "none" ? 1024 + 5000 : stored.length - 20);
      await expect(extract(fakeLayer(cut, { digest: undefined, size: undefined }).handle))
        .rejects.toEqual(layerError("LAYER_CORRUPT", compression === "none" ? "ends inside a member" : "too early"));
    },
  );

  it("refuses a wrong size, and stops reading at the first byte too many", async () => {
    await expect(extract(fakeLayer(bytes, { size: bytes.length + 1 }).handle)).rejects.toEqual(
      layerError("INTEGRITY", "instead of"),
    );
    let pulled = 0;
    const stream = new ReadableStream({ pull: (c) => c.enqueue(new Uint8Array(bytes.slice(0, pulled += 512))) });
    const endless = (): Promise<ByteSource> => Promise.resolve(sourceOf(stream));
    await expect(extract(fakeLayer(bytes, { size: 1500, open: endless }).handle)).rejects.toEqual(
      layerError("INTEGRITY", "1500"),
    );
    expect(pulled).toBeLessThan(3000);
  });

  it("refuses a wrong diff ID", async () => {
    for (const [, stored] of forms) {
      await expect(extract(fakeLayer(stored, { diffId: digestOf(body) }).handle)).rejects.toEqual(
        layerError("INTEGRITY", "uncompressed"),
      );
    }
  });

  it("tells a layer that was stored damaged from one that was damaged on its way", async () => {
    const stored = new Uint8Array(gzipSync(bytes));
    stored[stored.length - 6] = (stored[stored.length - 6] ?? 0) ^ 1;
    await expect(extract(fakeLayer(stored).handle)).rejects.toEqual(layerError("LAYER_CORRUPT", "checksum"));
    await expect(extract(fakeLayer(stored).handle)).rejects.toMatchObject({ retryable: false });
    const { handle } = fakeLayer(stored, { digest: digestOf(gzipSync(bytes)) });
    await expect(extract(handle)).rejects.toMatchObject({ code: "INTEGRITY", retryable: true });
  });

  it("refuses what is no tar", async () => {
    await expect(extract(fakeLayer(encoder.encode("x".repeat(600))).handle)).rejects.toEqual(
      layerError("LAYER_CORRUPT", "byte 0"),
    );
  });

  it("names the layer in errors of its stream, and keeps their code and advice", async () => {
    const reset = new OutpostError("CONNECTION_RESET", "Cannot read blob: the connection was reset", {
      hint: "Try again.",
    });
    const failing = (error: unknown) => (): Promise<ByteSource> =>
      Promise.resolve(sourceOf(streamOf(bytes.slice(0, 3000), 1000, error)));
    await expect(extract(fakeLayer(bytes, { open: failing(reset) }).handle)).rejects.toMatchObject({
      name: "LayerError",
      code: "CONNECTION_RESET",
      layer: "sha256:layer",
      hint: "Try again.",
      retryable: true,
    });
    await expect(extract(fakeLayer(bytes, { open: failing(new TypeError("secret?token=1")) }).handle)).rejects
      .toMatchObject({
        code: "CONNECTION_FAILED",
        message: expect.not.stringContaining("secret"),
      });
    await expect(extract(fakeLayer(bytes, { open: () => Promise.reject(reset) }).handle)).rejects.toMatchObject({
      code: "CONNECTION_RESET",
    });
  });

  it("stops when the signal aborts, before and while it reads, and cancels the stream", async () => {
    const reason = new OutpostError("CANCELLED", "Stopped");
    const run = (handle: LayerHandle, signal: AbortSignal): Promise<unknown> =>
      extractLayer(handle, { version: "7", wants }, { signal });
    await expect(run(fakeLayer(bytes).handle, AbortSignal.abort(reason))).rejects.toBe(reason);
    let cancelled: unknown;
    const hanging = new ReadableStream<Uint8Array<ArrayBuffer>>({
      pull: (c) => c.enqueue(bytes.slice(0, 600)),
      cancel: (why) => void (cancelled = why),
    }, { highWaterMark: 0 });
    const stalled = new ReadableStream<Uint8Array<ArrayBuffer>>({ cancel: (why) => void (cancelled = why) });
    for (const stream of [hanging, stalled]) {
      const stopped = new AbortController();
      const running = run(
        fakeLayer(bytes, { open: (signal) => Promise.resolve(sourceOf(stream, signal)), size: undefined }).handle,
        stopped.signal,
      );
      queueMicrotask(() => stopped.abort(reason));
      await expect(running).rejects.toBe(reason);
      expect(cancelled).toBe(reason);
      cancelled = undefined;
    }
  });
});
