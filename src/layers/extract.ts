/**
 * From a layer's stored bytes to its facts, in one streaming pass: verify, decompress, verify, parse, keep what matters.
 * Nothing is written anywhere, and nothing is returned before size and digests have been checked.
 *
 * @module
 */
import { type Digest, digestAlgorithm } from "../core/digest.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ByteSource, EventLoop, ExtractOptions, InflaterFactory, LayerHandle } from "../core/ports.ts";
import type { LayerFacts } from "../core/types.ts";
import { type DecompressionLimits, Decompressor } from "./decompress.ts";
import { layerFail, nameLayer } from "./fail.ts";
import { type CollectorLimits, type CollectorOptions, FactsCollector } from "./facts_collector.ts";
import type { WantMatcher } from "./matcher.ts";
import { Pacer } from "./pacer.ts";
import { TarParser } from "./tar.ts";
import { ContentVerifier } from "./verify.ts";
import type { Want } from "./want.ts";

/** The bounds on a layer, see core/limits.ts. */
export interface LayerLimits extends DecompressionLimits, CollectorLimits {
  readonly tarExtensionBytes: number;
  readonly pathBytes: number;
}

/** What is the same for every layer. */
export interface ExtractorOptions {
  /** Version of extractor and wanted-files table, for {@link LayerFacts.extractor}. */
  readonly version: string;
  readonly wants: WantMatcher;
  /** Which lines are kept of large texts, see {@link CollectorOptions.lines}. */
  readonly lines?: CollectorOptions["lines"];
  /** What extractors unpack with, see {@link CollectorOptions.fileInflater}. */
  readonly fileInflater?: CollectorOptions["fileInflater"];
  /** Decodes DEFLATE. @default node:zlib */
  readonly inflater?: InflaterFactory | undefined;
  /** @default LIMITS */
  readonly limits?: LayerLimits | undefined;
  /** For pauses in which other work gets its turn; without it there are none. */
  readonly eventLoop?: EventLoop | undefined;
  /** The pauses of layers that are read at the same time: they share what is worked between two. @default one for each */
  readonly pacer?: Pacer | undefined;
}

/**
 * Reads a layer. Wanted regular files are kept with their content, links and whiteouts by path, everything else as path
 * hash. A wanted hard link gets the content of its target as of that moment; when the target is in this layer but not
 * wanted itself, the layer is read a second time, with the target added to the wanted files. A link whose target is
 * not in this layer stays an entry of kind "hardlink".
 *
 * @throws {LayerError} INTEGRITY when size or digests differ, LAYER_CORRUPT when compression or tar are malformed,
 * LIMIT_EXCEEDED when a bound is hit, or the code with which the layer's stream failed. All name the layer.
 * @throws The signal's reason, when it aborts.
 */
export async function extractLayer(
  handle: LayerHandle,
  extractor: ExtractorOptions,
  options: ExtractOptions,
): Promise<LayerFacts> {
  const bounded = withKeptBytes(extractor, options.maxKeptBytes);
  const first = await firstPass(handle, bounded, options);
  if ("facts" in first) return first.facts;
  const second = new LayerPass(handle, bounded, { linkTargets: first.linkTargets, reserve: options.reserve });
  // Progress has been reported to the end already.
  await second.run({ signal: options.signal });
  return second.facts();
}

/** The facts, or what has to be kept beside them. A function of its own, so that what it kept is gone before the second. */
async function firstPass(
  handle: LayerHandle,
  extractor: ExtractorOptions,
  options: ExtractOptions,
): Promise<{ readonly facts: LayerFacts } | { readonly linkTargets: ReadonlyMap<string, Want> }> {
  const pass = new LayerPass(handle, extractor, { linkTargets: new Map(), reserve: options.reserve });
  await pass.run(options);
  const linkTargets = pass.collector.missingTargets();
  return linkTargets.size === 0 ? { facts: pass.facts() } : { linkTargets };
}

function withKeptBytes(extractor: ExtractorOptions, bytes: number | undefined): ExtractorOptions {
  const limits = extractor.limits ?? LIMITS;
  if (bytes === undefined || bytes >= limits.keptBytes) return extractor;
  return { ...extractor, limits: { ...limits, keptBytes: bytes } };
}

/** One pass over a layer. */
class LayerPass {
  readonly collector: FactsCollector;
  readonly #handle: LayerHandle;
  readonly #version: string;
  readonly #stored: ContentVerifier;
  readonly #decompressor: Decompressor;
  readonly #tar: TarParser;
  readonly #tarVerifier: ContentVerifier;
  readonly #pacer: Pacer;
  #digest: Digest | undefined;
  #diffId: Digest | undefined;

  constructor(
    handle: LayerHandle,
    extractor: ExtractorOptions,
    own: Pick<CollectorOptions, "linkTargets" | "reserve">,
  ) {
    const { wants, lines, fileInflater, inflater, limits = LIMITS, version, eventLoop } = extractor;
    const fail = layerFail(handle.name);
    this.#handle = handle;
    this.#version = version;
    this.#pacer = extractor.pacer ?? new Pacer(eventLoop);
    this.#stored = new ContentVerifier({ what: "stored bytes", digest: handle.digest, size: handle.size, fail });
    this.#tarVerifier = new ContentVerifier({ what: "uncompressed bytes", digest: handle.diffId, fail });
    this.collector = new FactsCollector({ wants, lines, fileInflater, layer: handle.name, limits, fail, ...own });
    this.#tar = new TarParser({ sink: this.collector, fail, limits });
    const emit = (bytes: Uint8Array): void => this.#onTar(bytes);
    this.#decompressor = new Decompressor({ emit, fail, inflater, limits });
  }

  async run(options: ExtractOptions): Promise<void> {
    const source = await this.#open(options.signal);
    try {
      await this.#readAll(source, options);
    } catch (error) {
      this.collector.discard();
      throw error;
    } finally {
      this.collector.close();
      this.#decompressor.close();
      await source.close();
    }
  }

  /** The facts, once `run` has resolved. */
  facts(): LayerFacts {
    if (this.#digest === undefined || this.#diffId === undefined) throw new Error("The layer has not been read");
    return {
      extractor: this.#version,
      digest: this.#digest,
      diffId: this.#diffId,
      storedBytes: this.#stored.bytes,
      tarBytes: this.#decompressor.outputBytes,
      compression: this.#decompressor.compression,
      ...this.collector.finish(),
    };
  }

  async #open(signal: AbortSignal): ReturnType<LayerHandle["open"]> {
    signal.throwIfAborted();
    try {
      return await this.#handle.open(signal);
    } catch (error) {
      throw signal.aborted ? signal.reason : nameLayer(this.#handle.name, error);
    }
  }

  async #readAll(source: ByteSource, { signal, onProgress }: ExtractOptions): Promise<void> {
    let corrupt: unknown;
    for (;;) {
      const bytes = await this.#read(source, signal);
      if (bytes === undefined) break;
      this.#stored.update(bytes);
      if (corrupt === undefined) corrupt = await this.#decode(() => this.#decompressor.push(bytes));
      onProgress?.(this.#stored.bytes);
      await this.#pacer.step();
      signal.throwIfAborted();
    }
    this.#digest = this.#stored.finish();
    if (corrupt !== undefined) throw corrupt;
    await this.#decompressor.finish();
    this.#tar.finish();
    this.#diffId = this.#checkDiffId(this.#digest);
  }

  async #read(source: ByteSource, signal: AbortSignal): Promise<Uint8Array | undefined> {
    try {
      const bytes = await source.read();
      signal.throwIfAborted();
      return bytes;
    } catch (error) {
      throw signal.aborted ? signal.reason : nameLayer(this.#handle.name, error);
    }
  }

  /**
   * Answers a malformed layer instead of throwing: the rest is read for its digest first. If that differs, the bytes
   * were damaged on their way and reading them again may help; if not, the layer was stored so.
   */
  async #decode(step: () => Promise<void>): Promise<unknown> {
    try {
      await step();
      return undefined;
    } catch (error) {
      if (error instanceof OutpostError && error.code === "LAYER_CORRUPT") return error;
      throw error;
    }
  }

  #onTar(bytes: Uint8Array): void {
    if (!this.#tarIsStored()) this.#tarVerifier.update(bytes);
    this.#tar.push(bytes);
  }

  /** Whether stored bytes and tar are the same and under the same kind of digest, so that one hash serves both. */
  #tarIsStored(): boolean {
    const { digest, diffId } = this.#handle;
    if (this.#decompressor.compression !== "none") return false;
    return digestAlgorithm(digest ?? "sha256:") === digestAlgorithm(diffId ?? "sha256:");
  }

  #checkDiffId(stored: Digest): Digest {
    if (!this.#tarIsStored()) return this.#tarVerifier.finish();
    const { diffId, name } = this.#handle;
    if (diffId !== undefined && diffId !== stored) {
      throw layerFail(name)("INTEGRITY", `the uncompressed bytes have the digest ${stored} instead of ${diffId}`);
    }
    return stored;
  }
}
