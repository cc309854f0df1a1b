/**
 * Which layer brought each package of an image: those of the operating system by comparing its database from layer to
 * layer, those of applications by the files that they were read from.
 *
 * @module
 */
import { attributeOsLayers } from "../analyzers/mod.ts";
import type { ImageView } from "../core/ports.ts";
import type { AppAnalysis, AppResult, Evidence } from "../core/scan_ports.ts";
import type {
  AppLayers,
  AttributedLayer,
  HistoryEntry,
  LayerAttribution,
  LayerFacts,
  OsAnalysis,
} from "../core/types.ts";

/** Input of {@link attributeLayers}. */
export interface AttributeLayersOptions {
  /** Bottom first. */
  readonly layers: readonly LayerFacts[];
  readonly history: readonly HistoryEntry[] | null | undefined;
  /** The view of the first layers of the image. */
  readonly assemble: (layers: readonly LayerFacts[]) => ImageView;
  /** The view of all layers. */
  readonly view: ImageView;
  /** Names of the extractors that files were read by. */
  readonly extractors: readonly string[];
  readonly os: OsAnalysis;
  readonly apps: AppAnalysis;
}

/** Attributes packages to layers. Never throws because of the image: what cannot be told is a warning. */
export function attributeLayers(options: AttributeLayersOptions): LayerAttribution {
  const { layers, history, assemble, os, apps } = options;
  const system = attributeOsLayers(os, layers, assemble);
  const misaligned = alignmentWarning(layers, history);
  const layerOf = layerLookup(options);
  return {
    layers: namedLayers(layers, misaligned === undefined ? history : undefined),
    os: system.os,
    apps: apps.results.map((result) => appLayers(result, layerOf)),
    warnings: [...(misaligned === undefined ? [] : [misaligned]), ...system.warnings],
  };
}

/** Layers with their instructions: the history's entries that are not empty, in order. */
function namedLayers(
  layers: readonly LayerFacts[],
  history: readonly HistoryEntry[] | null | undefined,
): AttributedLayer[] {
  const filled = (history ?? []).filter((entry) => !entry.empty_layer);
  return layers.map(({ diffId, digest }, index) => {
    const instruction = filled[index]?.created_by;
    return { diffId, digest, ...(typeof instruction === "string" ? { instruction } : {}) };
  });
}

/** snyk-docker-plugin's own sentence, for an image whose history does not say which instruction made which layer. */
function alignmentWarning(
  layers: readonly LayerFacts[],
  history: readonly HistoryEntry[] | null | undefined,
): string | undefined {
  if (!history) return undefined;
  const filled = history.filter((entry) => !entry.empty_layer).length;
  if (filled === layers.length) return undefined;
  return "Layer attribution: image history does not align 1:1 with rootfs layers " +
    `(history has ${filled} non-empty entries, rootfs has ${layers.length} layers). Per-package layer attribution will ` +
    "still be reported, but the originating Dockerfile instruction may not be shown.";
}

type LayerOf = (path: string) => number | undefined;

/** The layer of a file of the merged image, kept or only read by an extractor. */
function layerLookup({ view, extractors }: AttributeLayersOptions): LayerOf {
  const extracted = new Map<string, number>();
  for (const name of extractors) for (const file of view.extracted(name)) extracted.set(file.path, file.layer);
  return (path) => extracted.get(path) ?? view.file(path)?.layer;
}

function appLayers({ evidence }: AppResult, layerOf: LayerOf): AppLayers {
  const packages = new Map<string, number>();
  const files = new Map<string, number>();
  let other: number | undefined;
  for (const item of evidence) {
    const layer = layerOf(item.path);
    if (layer === undefined) continue;
    files.set(item.path, layer);
    const key = packageKey(item);
    if (key === undefined) other = Math.max(layer, other ?? 0);
    else packages.set(key, Math.max(layer, packages.get(key) ?? 0));
  }
  return { packages, files, other };
}

function packageKey({ name, version }: Evidence): string | undefined {
  return name === undefined ? undefined : `${name}@${version ?? ""}`;
}
