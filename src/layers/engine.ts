/**
 * The layer engine as the rest of the program sees it.
 *
 * @module
 */
import type {
  EventLoop,
  FileExtractor,
  FilePattern,
  InflaterFactory,
  LayerEngine,
  SyncInflaterFactory,
} from "../core/ports.ts";
import { assembleLayers } from "./assemble.ts";
import { extractLayer, type ExtractorOptions, type LayerLimits } from "./extract.ts";
import { keptLinesOf } from "./kept_lines.ts";
import { compileWants } from "./matcher.ts";
import { Pacer } from "./pacer.ts";

/** Changes whenever the same layer and patterns would give other facts. */
const EXTRACTOR_VERSION = 4;

/** Options of {@link createLayerEngine}. */
export interface LayerEngineOptions {
  /** Files that are read. */
  readonly patterns: readonly FilePattern[];
  /** What reads files while they stream by, and decodes DEFLATE inside of them. @default nothing does */
  readonly extraction?: {
    readonly extractors: readonly FileExtractor[];
    readonly inflater: SyncInflaterFactory;
  } | undefined;
  /** Version of `patterns` and extractors: facts that were made with another one are not reused. */
  readonly version: string;
  /** Decodes DEFLATE. @default node:zlib */
  readonly inflater?: InflaterFactory | undefined;
  /** @default LIMITS */
  readonly limits?: LayerLimits | undefined;
  /** For pauses in which the rest of the process gets its turn; without it there are none. */
  readonly eventLoop?: EventLoop | undefined;
}

/** Makes the engine for one table of wanted files. Calls may run at the same time, and share their pauses. */
export function createLayerEngine(options: LayerEngineOptions): LayerEngine {
  const version = `${EXTRACTOR_VERSION}+${options.version}`;
  const { patterns, extraction } = options;
  const extractor = {
    version,
    wants: compileWants(patterns, extraction?.extractors),
    lines: keptLinesOf(patterns),
    fileInflater: extraction?.inflater,
    inflater: options.inflater,
    limits: options.limits,
    pacer: new Pacer(options.eventLoop),
  };
  return {
    version,
    extract: (layer, extractOptions) =>
      extractLayer(layer, widened(extractor, options, extractOptions.also), extractOptions),
    assemble: (layers, sought) => assembleLayers(layers, sought, (path) => extractor.wants(path).limit),
  };
}

/** The extractor with further files wanted; its facts are others, so its version is another too. */
function widened(
  extractor: ExtractorOptions,
  { patterns, extraction }: LayerEngineOptions,
  also: FilePattern | undefined,
): ExtractorOptions {
  if (also === undefined) return extractor;
  const version = `${extractor.version}+${JSON.stringify([also.paths, also.directories, also.names, also.maxBytes])}`;
  return { ...extractor, version, wants: compileWants([...patterns, also], extraction?.extractors) };
}
