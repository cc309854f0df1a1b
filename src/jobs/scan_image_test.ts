import { describe, expect, it } from "vitest";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { fakeLayer, sourceOf, streamOf } from "../../tests/fakes/layer.ts";
import { EXTRACTOR_CONTEXT } from "../../tests/fakes/file_reading.ts";
import { tar } from "../../tests/fakes/tar_builder.ts";
import { pom, zip } from "../../tests/fakes/zip_builder.ts";
import { wantedFiles } from "../analyzers/applications.ts";
import { LayerError, OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ByteSource, ImageHandle, LayerEngine, LayerHandle } from "../core/ports.ts";
import type { ScanEvent } from "../core/scan_ports.ts";
import type { AnalysisOptions } from "../core/types.ts";
import { createLayerEngine } from "../layers/engine.ts";
import { type BuiltImage, sha256Digest } from "../lib/oci_builder.ts";
import { alpineSample, debianSample, SAMPLE_APKS } from "../lib/sample_images.ts";
import { scanImage, type ScanImageOptions } from "./scan_image.ts";

const ENGINE = engineFor({});

function engineFor(analysis: AnalysisOptions): LayerEngine {
  const { patterns, extractors, version } = wantedFiles(analysis);
  const extraction = { extractors, inflater: EXTRACTOR_CONTEXT.inflater };
  return createLayerEngine({ patterns, version, extraction });
}

interface OpenedLayer {
  readonly handle: LayerHandle;
  readonly opens: () => number;
}

/** The layers of a built image as handles that count how often they are opened. */
function layersOf(built: BuiltImage): OpenedLayer[] {
  return built.layers.map(({ bytes, descriptor, diffId }) =>
    fakeLayer(bytes, { name: descriptor.digest, mediaType: descriptor.mediaType, diffId })
  );
}

function imageOf(built: BuiltImage, more: Partial<ImageHandle> = {}): ImageHandle {
  return {
    source: "registry",
    config: built.config,
    configDigest: built.manifest.config.digest,
    digests: { manifest: built.descriptor.digest },
    layers: layersOf(built).map(({ handle }) => handle),
    attestations: () => Promise.resolve([]),
    problems: [],
    ...more,
  };
}

function options(image: ImageHandle, more: Partial<ScanImageOptions> = {}): ScanImageOptions {
  const signal = new AbortController().signal;
  const clock = new FakeClock();
  return { engine: ENGINE, clock, image, imageName: "team/app:1", maxImageBytes: 1 << 30, signal, ...more };
}

async function failure(attempt: Promise<unknown>): Promise<OutpostError> {
  const error = await attempt.then(() => undefined, (error: unknown) => error);
  if (error instanceof OutpostError) return error;
  throw error ?? new Error("It did not fail");
}

describe("scanImage()", () => {
  it("reports packages, digests and what happened on the way", async () => {
    const events: ScanEvent[] = [];
    const built = alpineSample();
    const report = await scanImage(options(imageOf(built), { onEvent: (event) => events.push(event) }));
    expect(report).toMatchObject({
      imageName: "team/app:1",
      status: "success",
      problems: [],
      digests: { manifest: built.descriptor.digest },
      configDigest: built.manifest.config.digest,
    });
    expect(report.os.packages.packages).toHaveLength(SAMPLE_APKS.length);
    expect(report.scanResults[0]?.target).toEqual({ image: "docker-image|team/app" });
    const kinds = events.map(({ kind }) => kind).filter((kind) => kind !== "layer-progress");
    expect(kinds).toEqual(["resolved", "layer-start", "layer-done", "analyzed"]);
    const bytes = built.layers[0]?.bytes.length;
    expect(events[0]).toEqual({ kind: "resolved", imageName: "team/app:1", layers: 1, bytes });
    expect(events.at(-1)).toEqual({ kind: "analyzed", packages: SAMPLE_APKS.length, problems: 0 });
  });

  it("reads a layer that occurs twice once, and says so", async () => {
    const built = debianSample();
    const opened = layersOf(built);
    const layers = [...opened, ...opened].map(({ handle }) => handle);
    const events: ScanEvent[] = [];
    await scanImage(options(imageOf(built, { layers }), { onEvent: (event) => events.push(event) }));
    expect(opened.map(({ opens }) => opens())).toEqual([1, 1]);
    const reused = events.flatMap((event) => event.kind === "layer-done" ? [event.reused] : []);
    expect(reused).toEqual([false, false, true, true]);
  });

  it("reads no layer of an image with more bytes than allowed", async () => {
    const built = debianSample();
    const opened = layersOf(built);
    const image = imageOf(built, { layers: opened.map(({ handle }) => handle) });
    const total = built.layers.reduce((sum, { bytes }) => sum + bytes.length, 0);
    const error = await failure(scanImage(options(image, { maxImageBytes: total - 1 })));
    expect(error).toMatchObject({ code: "LIMIT_EXCEEDED", hint: expect.stringContaining("SNYK_MAX_IMAGE_SIZE") });
    expect(error.message).toContain(String(total));
    expect(opened.map(({ opens }) => opens())).toEqual([0, 0]);
    expect((await scanImage(options(image, { maxImageBytes: total }))).status).toBe("success");
  });

  it("reads no layer of an image with more layers than allowed", async () => {
    const built = alpineSample();
    const [opened] = layersOf(built) as [OpenedLayer];
    const layers = Array.from({ length: LIMITS.layersPerImage + 1 }, () => opened.handle);
    const error = await failure(scanImage(options(imageOf(built, { layers }))));
    expect(error).toMatchObject({ code: "LIMIT_EXCEEDED" });
    expect(error.message).toContain(String(LIMITS.layersPerImage + 1));
    expect(opened.opens()).toBe(0);
  });

  it.each(
    [
      [
        "has a flipped bit",
        (bytes: Uint8Array) => bytes.with(bytes.length >> 1, (bytes.at(bytes.length >> 1) ?? 0) ^ 1),
      ],
      ["ends early", (bytes: Uint8Array) => bytes.slice(0, -1)],
      ["goes on", (bytes: Uint8Array) => new Uint8Array([...bytes, 0])],
    ] as const,
  )("fails, naming the layer, when its second layer %s", async (_what, damage) => {
    const built = debianSample();
    const [first, second] = layersOf(built).map(({ handle }) => handle) as [LayerHandle, LayerHandle];
    const bytes = damage(built.layers[1]?.bytes ?? new Uint8Array(0));
    const broken = { ...second, open: (): Promise<ByteSource> => Promise.resolve(sourceOf(streamOf(bytes))) };
    const events: ScanEvent[] = [];
    const attempt = scanImage(
      options(imageOf(built, { layers: [first, broken] }), { onEvent: (event) => events.push(event) }),
    );
    const error = await failure(attempt);
    expect(error).toBeInstanceOf(LayerError);
    expect(error.message).toContain(second.name);
    expect(events.at(-1)).toEqual({ kind: "layer-failed", index: 1, message: error.message });
  });

  it("makes the result partial when attestations cannot be read", async () => {
    const refused = new OutpostError("REPO_FORBIDDEN", "Cannot read the attestations: the registry refuses");
    const image = imageOf(alpineSample(), { attestations: () => Promise.reject(refused) });
    const report = await scanImage(options(image));
    expect(report.status).toBe("partial");
    expect(report.problems).toEqual([{ code: refused.code, subject: "attestations", message: refused.message }]);
    expect(report.scanResults).toHaveLength(1);
  });

  it("finds applications, names what is broken in them, and leaves them out when asked to", async () => {
    const inner = zip([pom("g", "inner", "2")]);
    const jars = tar(
      {
        name: "app/a.jar",
        body: zip([pom("g", "a", "1"), { name: "lib/inner.jar", body: inner, sizes: "descriptor" }]),
      },
      { name: "app/b.jar", body: "no zip" },
    );
    const layers = [fakeLayer(jars).handle];
    const report = await scanImage(options(imageOf(alpineSample(), { layers })));
    expect(report.scanResults.map(({ identity }) => identity.targetFile)).toEqual([undefined, "/app"]);
    const [fact] = report.scanResults[1]?.facts ?? [];
    expect(fact).toMatchObject({ type: "jarFingerprints", data: { origin: "team/app:1", path: "/app" } });
    expect(JSON.stringify(fact)).toContain('"/app/a.jar/lib/inner.jar"');
    expect(report).toMatchObject({ status: "partial", problems: [{ subject: "app/b.jar" }] });
    const analysis = { excludeAppVulns: true };
    const image = imageOf(alpineSample(), { layers });
    const without = await scanImage(options(image, { analysis, engine: engineFor(analysis) }));
    expect(without).toMatchObject({ status: "success", scanResults: [{ identity: { type: "linux" } }] });
  });

  it("passes on what the source could not read, each problem once", async () => {
    const problem = { code: "REGISTRY_PROTOCOL", subject: "index", message: "An entry has no digest" } as const;
    const report = await scanImage(options(imageOf(alpineSample(), { problems: [problem, { ...problem }] })));
    expect(report).toMatchObject({ status: "partial", problems: [problem] });
  });

  it("gives up when its time is over", async () => {
    const clock = new FakeClock();
    const started = Promise.withResolvers<void>();
    const scanning = failure(scanImage(options(imageOf(alpineSample(), { layers: [stalled(started)] }), { clock })));
    await started.promise;
    await clock.advance(LIMITS.scanTimeoutMs);
    expect(await scanning).toMatchObject({ code: "TIMEOUT", message: expect.stringContaining("team/app:1") });
    expect(clock.pending).toBe(0);
  });

  it("stops when it is cancelled, with the caller's reason", async () => {
    const clock = new FakeClock();
    const controller = new AbortController();
    const started = Promise.withResolvers<void>();
    const image = imageOf(alpineSample(), { layers: [stalled(started)] });
    const scanning = failure(scanImage(options(image, { clock, signal: controller.signal })));
    await started.promise;
    controller.abort(new OutpostError("CANCELLED", "The process is stopping"));
    expect(await scanning).toMatchObject({ code: "CANCELLED" });
    expect(clock.pending).toBe(0);
  });

  it("shares what may be kept of an image among its layers, and lets replaced databases go", async () => {
    const status = (name: string): string => `Package: ${name}\nVersion: 1\n${"\n".repeat(100_000)}`;
    const handles = ["a", "b", "c"].map((name) =>
      fakeLayer(tar({ name: "var/lib/dpkg/status", body: status(name) }), { name }).handle
    );
    const bounds: (number | undefined)[] = [];
    const engine: LayerEngine = {
      ...ENGINE,
      extract: (layer, extract) => {
        bounds.push(extract.maxKeptBytes);
        return ENGINE.extract(layer, extract);
      },
    };
    const image = imageOf(debianSample(), { layers: handles, source: "docker-archive" });
    const run = async (analysis: AnalysisOptions): Promise<number[]> => {
      bounds.length = 0;
      const report = await scanImage(options(image, { engine, analysis }));
      expect(report.os.packages.packages.map((entry) => entry.name)).toEqual(["c"]);
      return bounds.map((bound) => LIMITS.imageKeptBytes - (bound ?? 0));
    };
    const size = status("a").length;
    expect(await run({})).toEqual([0, size, size]);
    expect(await run({ layerAttribution: true })).toEqual([0, size, 2 * size]);
  });
});

/** A layer whose bytes never come; reading fails with the reader's signal, as the registry client's does. */
function stalled(started: PromiseWithResolvers<void>): LayerHandle {
  return {
    ...fakeLayer(new Uint8Array(1)).handle,
    digest: sha256Digest(new Uint8Array(1)),
    open: (signal) => {
      started.resolve();
      const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
        start: (out) => signal.addEventListener("abort", () => out.error(signal.reason), { once: true }),
      });
      return Promise.resolve(sourceOf(body));
    },
  };
}
