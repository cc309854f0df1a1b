/**
 * What an operating-system analyzer is: one package database, its wanted paths and its parser. Adding one is one file
 * and one row in mod.ts.
 *
 * @module
 */
import type { FilePattern, ImageView } from "../core/ports.ts";
import type { ImageFile, OsPackage, OsPackages, OsRelease, Problem } from "../core/types.ts";

/** What an analyzer gets. */
export interface AnalyzerInput {
  readonly view: ImageView;
  readonly release: OsRelease;
  /** Takes what could not be read while the rest went on. */
  readonly report: (problem: Problem) => void;
}

/** A reader of one kind of package database. */
export interface OsAnalyzer {
  /** Stable name, for messages. */
  readonly name: string;
  /** Files that extraction must keep for it. */
  readonly patterns: readonly FilePattern[];
  /**
   * Reads the database. Undefined when the image has none, or nothing in it.
   *
   * @throws {OutpostError} ANALYSIS_FAILED when going on would report an image as clean that is not.
   */
  readonly parse: (input: AnalyzerInput) => OsPackages | undefined;
}

/**
 * Files in the order in which snyk-docker-plugin meets them: top layer first, tar order within a layer (path order when
 * the place in the tar is unknown). Empty files are left out, each file is named once even when links lead to it twice.
 */
export function newestFirst(files: Iterable<ImageFile | undefined>): ImageFile[] {
  const seen = new Set<Uint8Array>();
  const kept: ImageFile[] = [];
  for (const file of files) {
    if (file === undefined || file.content.length === 0 || seen.has(file.content)) continue;
    seen.add(file.content);
    kept.push(file);
  }
  return kept.sort((a, b) => b.layer - a.layer || (a.position ?? 0) - (b.position ?? 0));
}

/** {@link newestFirst} of some paths; on a tie the earlier path comes first. */
export function newestOf(view: ImageView, paths: readonly string[]): ImageFile[] {
  return newestFirst(paths.map((path) => view.file(path)));
}

/** The analyzer's answer, or undefined when there is nothing to tell. */
export function found(
  type: "apk" | "deb" | "rpm",
  database: string,
  packages: readonly OsPackage[],
): OsPackages | undefined {
  return packages.length === 0 ? undefined : { type, database, packages };
}
