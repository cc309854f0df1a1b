/**
 * The pipeline: an image's layers become facts, the facts one view, the view a report.
 *
 * @module
 */
import { analyzeApplications, wantedFiles } from "../analyzers/applications.ts";
import { analyzeOs } from "../analyzers/mod.ts";
import { OutpostError, toOutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock, FilePattern, ImageHandle, ImageView, LayerEngine } from "../core/ports.ts";
import type { AppAnalysis, ScanEvent, ScanInput, ScanReport } from "../core/scan_ports.ts";
import type {
  AnalysisOptions,
  DockerfileAnalysis,
  LayerAttribution,
  LayerFacts,
  OsAnalysis,
  Problem,
} from "../core/types.ts";
import { withDeadline } from "../lib/deadline.ts";
import { buildScanResults, manifestFiles } from "../results/mod.ts";
import { attributeLayers } from "./attribute_layers.ts";
import { readLayers } from "./read_layers.ts";

/** What {@link scanImage} works with. */
export interface ScanImageOptions {
  readonly engine: LayerEngine;
  readonly clock: Clock;
  readonly image: ImageHandle;
  /** Name under which the image is reported. */
  readonly imageName: string;
  /** True when nobody named the image, so that `imageName` is only its archive's file name. */
  readonly imageNameIsFile?: boolean | undefined;
  /** `host[:port]` of the registry that delivers the image; undefined for an archive. */
  readonly registryHost?: string | undefined;
  /** Stored bytes of all layers together; SNYK_MAX_IMAGE_SIZE_IN_BYTES. */
  readonly maxImageBytes: number;
  /** What is looked at; the engine was made for the same (analyzers/applications.ts, `wantedFiles`). */
  readonly analysis?: AnalysisOptions | undefined;
  readonly signal: AbortSignal;
  readonly onEvent?: ((event: ScanEvent) => void) | undefined;
}

/** {@link scanImage} with its engine and clock in place: what callers get, who need not load either before they scan. */
export type ScanFunction = (options: Omit<ScanImageOptions, "engine" | "clock">) => Promise<ScanReport>;

/**
 * Scans one image. Reads each distinct layer once, a few at a time ({@link readLayers}). A layer that cannot be read whole
 * ends the scan: a result that misses a layer would look clean.
 *
 * @throws {LayerError} naming the layer.
 * @throws {OutpostError} LIMIT_EXCEEDED, UNSUPPORTED_IMAGE, ANALYSIS_FAILED, TIMEOUT or CANCELLED.
 */
export function scanImage(options: ScanImageOptions): Promise<ScanReport> {
  const { clock, signal } = options;
  const deadline = { clock, signal, ms: LIMITS.scanTimeoutMs, what: `The scan of ${options.imageName}` };
  return withDeadline(deadline, (limited) => scan({ ...options, signal: limited }));
}

async function scan(options: ScanImageOptions): Promise<ScanReport> {
  const { image, imageName, imageNameIsFile = false, registryHost, analysis = {}, signal, onEvent } = options;
  const bytes = checkSize(options);
  onEvent?.({ kind: "resolved", imageName, layers: image.layers.length, bytes });
  const { problems, ...found } = await inspect(options);
  const attestations = await image.attestations(signal).catch((error: unknown) => {
    const { code, message } = toOutpostError(error);
    if (code === "CANCELLED") throw error;
    problems.push({ code, subject: "attestations", message });
    return [];
  });
  const named = { imageName, imageNameIsFile, registryHost, image, options: analysis };
  const scanResults = buildScanResults({ ...named, ...found, attestations }, (problem) => problems.push(problem));
  const { os, attribution } = found;
  const all = unique(problems);
  onEvent?.({ kind: "analyzed", packages: os.packages.packages.length, problems: all.length });
  return {
    imageName,
    status: all.length === 0 ? "success" : "partial",
    os,
    scanResults,
    problems: all,
    digests: image.digests,
    configDigest: image.configDigest,
    attribution,
  };
}

type Findings = Pick<ScanInput, "os" | "apps" | "attribution" | "dockerfile" | "manifestFiles">;

/**
 * What is in the image. The contents of its files are gone when this function is done: the graph, which is made next, needs
 * their memory.
 */
async function inspect(options: ScanImageOptions): Promise<Findings & { readonly problems: Problem[] }> {
  const { image, imageName, analysis = {}, signal } = options;
  const dockerfile = await readDockerfile(analysis);
  const read = await readImage(options, dockerfile?.baseImage);
  const { layers, view, os } = read;
  const apps = await analyzeApplications({ view, os, imageName, options: analysis, signal });
  const attribution = analysis.layerAttribution === true ? attribute(options, read, apps) : undefined;
  const problems = [image, ...layers, os, apps, view].flatMap((part) => part.problems);
  return { os, apps, attribution, dockerfile, manifestFiles: manifestFiles(view, analysis), problems };
}

/** The parser is loaded only for somebody who gives a Dockerfile. */
async function readDockerfile({ dockerfile }: AnalysisOptions): Promise<DockerfileAnalysis | undefined> {
  if (dockerfile === undefined) return undefined;
  const { analyzeDockerfile } = await import("../results/dockerfile.ts");
  return analyzeDockerfile(dockerfile);
}

function attribute(options: ScanImageOptions, read: ReadImage, apps: AppAnalysis): LayerAttribution {
  const { engine, image, analysis } = options;
  const { layers, view, os, also } = read;
  return attributeLayers({
    layers,
    history: image.config.history,
    assemble: (some) => engine.assemble(some, also),
    view,
    extractors: wantedFiles(analysis).extractors.map((extractor) => extractor.name),
    os,
    apps,
  });
}

interface ReadImage {
  readonly layers: readonly LayerFacts[];
  readonly view: ImageView;
  readonly os: OsAnalysis;
  /** What the layers were read for once more. */
  readonly also?: FilePattern;
}

/**
 * Reads the layers; a second time when a package database turns out to be a link to a file that nobody knew to keep.
 * That is rare, and it costs time instead of memory for every file that a link might lead to.
 */
async function readImage(options: ScanImageOptions, baseImage: string | undefined): Promise<ReadImage> {
  const first = await readOnce(options, baseImage);
  return "view" in first ? first : { ...await readAgain(options, baseImage, first.also), also: first.also };
}

/** A function of its own, so that what it kept is gone when the layers are read again. */
async function readOnce(
  options: ScanImageOptions,
  baseImage: string | undefined,
): Promise<ReadImage | { readonly also: FilePattern }> {
  const layers = await extractAll(options);
  const view = options.engine.assemble(layers);
  const os = analyzeOs(view, baseImage);
  const also = view.linkedPaths();
  return also === undefined ? { layers, view, os } : { also };
}

async function readAgain(
  options: ScanImageOptions,
  baseImage: string | undefined,
  also: FilePattern,
): Promise<ReadImage> {
  const layers = await extractAll({ ...options, onEvent: undefined }, also);
  const view = options.engine.assemble(layers, also);
  return { layers, view, os: analyzeOs(view, baseImage) };
}

function checkSize({ image, maxImageBytes, imageName }: ScanImageOptions): number | undefined {
  if (image.layers.length > LIMITS.layersPerImage) {
    throw new OutpostError("LIMIT_EXCEEDED", `Cannot scan ${imageName}: it has ${image.layers.length} layers`, {
      hint: `At most ${LIMITS.layersPerImage} layers are read.`,
    });
  }
  let total = 0;
  for (const layer of image.layers) {
    if (layer.size === undefined) return undefined;
    total += layer.size;
  }
  if (total > maxImageBytes) {
    throw new OutpostError("LIMIT_EXCEEDED", `Cannot scan ${imageName}: its layers have ${total} bytes`, {
      hint: `The bound is ${maxImageBytes} bytes: raise SNYK_MAX_IMAGE_SIZE_IN_BYTES to scan it.`,
    });
  }
  return total;
}

function extractAll(options: ScanImageOptions, also?: FilePattern): Promise<readonly LayerFacts[]> {
  return readLayers({ ...options, history: options.analysis?.layerAttribution === true, also });
}

function unique(problems: readonly Problem[]): Problem[] {
  const seen = new Map(problems.map((problem) => [`${problem.code} ${problem.subject} ${problem.message}`, problem]));
  return [...seen.values()];
}
