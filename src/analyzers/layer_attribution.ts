/**
 * Which layer brought each package of the operating system, as snyk-docker-plugin's option `layer-attribution` finds it
 * (scan-semantics §5): the package database after a layer is compared with the one before it. A package that is new, or
 * has another version, came with that layer; one that was removed and installed again came with the later layer.
 *
 * The plugin compares the database files that single layers hold; here the image is put together up to each such layer,
 * so that links, whiteouts and databases of several files (status.d, a write-ahead log) count as they do in the image.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { FilePattern, ImageView } from "../core/ports.ts";
import type { LayerAttribution, LayerEntry, LayerFacts, OsAnalysis, OsPackage } from "../core/types.ts";
import type { OsAnalyzer } from "./analyzer.ts";

/** Options of {@link attributeOsPackages}. */
export interface AttributionOptions {
  /** Bottom first. */
  readonly layers: readonly LayerFacts[];
  /** The view of the first layers of the image. */
  readonly assemble: (layers: readonly LayerFacts[]) => ImageView;
  /** What was found in the whole image. */
  readonly os: OsAnalysis;
  /** The analyzer that found it; undefined when none did. */
  readonly analyzer: OsAnalyzer | undefined;
}

/** Outcome of {@link attributeOsPackages}. */
export type OsAttribution = Pick<LayerAttribution, "os" | "warnings">;

/**
 * Attributes packages to layers. The database is parsed once for each layer that changes it.
 *
 * A layer whose database cannot be read ends the attribution with a warning: packages that it would have changed must
 * not be blamed on another layer.
 */
export function attributeOsPackages({ layers, assemble, os, analyzer }: AttributionOptions): OsAttribution {
  const { packages } = os.packages;
  if (analyzer === undefined || packages.length === 0) return { os: [], warnings: [] };
  const unknown = packages.map(() => undefined);
  const changing = changingLayers(layers, analyzer, os.packages.database);
  if (changing.length > LIMITS.attributedLayers) {
    const why = `${changing.length} layers change the package database, more than ${LIMITS.attributedLayers}`;
    return { os: unknown, warnings: [failure(os, why)] };
  }
  try {
    const introduced = new Map<string, number>();
    let before: ReadonlySet<string> = new Set();
    let contents: readonly Uint8Array[] = [];
    for (const index of changing) {
      const view = assemble(layers.slice(0, index + 1));
      const now = contentsOf(view, analyzer.patterns);
      if (isSame(now, contents)) continue;
      contents = now;
      const found = analyzer.parse({ view, release: os.release, report: () => {} })?.packages ?? [];
      const keys = new Set(found.map(keyOf));
      for (const key of keys) if (!before.has(key)) introduced.set(key, index);
      before = keys;
    }
    return { os: packages.map((entry) => introduced.get(keyOf(entry))), warnings: [] };
  } catch (error) {
    if (!(error instanceof OutpostError)) throw error;
    return { os: unknown, warnings: [failure(os, error.message)] };
  }
}

/** The plugin's own sentence, with its name for the package manager. */
function failure({ packages }: OsAnalysis, why: string): string {
  const manager = packages.type === "deb" ? "Apt" : packages.type === "apk" ? "Apk" : "Rpm";
  return `Layer attribution: failed to attribute ${manager} packages: ${why}.`;
}

function keyOf({ name, version, source }: OsPackage): string {
  return `${source ?? ""}\0${name}\0${version}`;
}

/** Layers with an entry that may change the database: itself, its directories, or links to them. */
function changingLayers(layers: readonly LayerFacts[], { patterns }: OsAnalyzer, database: string): number[] {
  const paths = new Set([database, `${database}-wal`, ...patterns.flatMap(({ paths = [] }) => paths)]);
  const directories = patterns.flatMap((pattern) => pattern.directories ?? []);
  const ancestors = new Set([...paths, ...directories].flatMap(ancestorsOf));
  const matters = ({ path }: LayerEntry): boolean =>
    paths.has(path) || ancestors.has(path) || directories.some((directory) => path.startsWith(directory));
  return layers.flatMap(({ entries }, index) => entries.some(matters) ? [index] : []);
}

/** `a/b/c` → `a`, `a/b`. */
function ancestorsOf(path: string): string[] {
  const found: string[] = [];
  for (let at = path.indexOf("/"); at > 0; at = path.indexOf("/", at + 1)) found.push(path.slice(0, at));
  return found;
}

/** The bytes that the analyzer would read. Facts hold each file's bytes once, so that equal means the same array. */
function contentsOf(view: ImageView, patterns: readonly FilePattern[]): Uint8Array[] {
  return patterns.flatMap(({ paths = [], directories = [] }) => [
    ...paths.flatMap((path) => view.file(path)?.content ?? []),
    ...directories.flatMap((directory) => view.filesIn(directory).map((file) => file.content)),
  ]);
}

function isSame(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  return a.length === b.length && a.every((bytes, at) => bytes === b[at]);
}
