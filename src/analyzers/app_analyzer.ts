/**
 * What an application analyzer is: one ecosystem, its wanted files, and what it makes of them. Adding one is one file and
 * one row in applications.ts; docs/ANALYZERS.md shows how.
 *
 * @module
 */
import type { FileExtractor, FilePattern, ImageView } from "../core/ports.ts";
import type { AppInput, AppResult, ScanFact } from "../core/scan_ports.ts";
import type { AnalysisOptions, ImageFile } from "../core/types.ts";

/** What an analyzer found. */
export interface Findings {
  /** One for each application, in the plugin's order. */
  readonly results?: readonly AppResult[];
  /** Facts about the image itself, for the operating system's result. */
  readonly imageFacts?: readonly ScanFact[];
}

/** A reader of one ecosystem. */
export interface AppAnalyzer {
  /** Stable name, for messages. */
  readonly name: string;
  /** Small files that extraction must keep whole for it. */
  readonly patterns?: readonly FilePattern[];
  /** What must not be kept whole is read while the layer streams by. */
  readonly extractors?: (options: AnalysisOptions) => readonly FileExtractor[];
  /** Whether it runs. @default unless applications are excluded */
  readonly enabled?: (options: AnalysisOptions) => boolean;
  /**
   * Finds the applications of an image. A manifest that cannot be read goes to `report` and the others are read; large
   * parsers are imported when the first file is there that needs them.
   */
  readonly analyze: (input: AppInput) => Findings | Promise<Findings>;
}

/** Kept files of these names, in the order in which snyk-docker-plugin meets them. Empty files are left out, as there. */
export function filesNamed(view: ImageView, names: readonly string[]): ImageFile[] {
  const wanted = new Set(names);
  return filesWhere(view, (path) => wanted.has(path.slice(path.lastIndexOf("/") + 1)));
}

/** As {@link filesNamed}, for any choice of paths. Hard links to one content are files of their own. */
export function filesWhere(view: ImageView, test: (path: string) => boolean): ImageFile[] {
  return Iterator.from(view.files()).filter(({ path, content }) => content.length > 0 && test(path)).toArray()
    .sort((a, b) => b.layer - a.layer || (a.position ?? 0) - (b.position ?? 0));
}

/** A path as results write it, and its directory: `/app/lib/a.jar`, `/app/lib`. */
export function absolute(path: string): { readonly path: string; readonly directory: string } {
  const whole = `/${path}`;
  return { path: whole, directory: whole.slice(0, Math.max(1, whole.lastIndexOf("/"))) };
}
