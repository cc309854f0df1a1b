/**
 * The imageManifestFiles fact: files that somebody asked for by glob patterns, with their contents (scan-semantics §1.1).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { ImageView } from "../core/ports.ts";
import type { ManifestFile } from "../core/scan_ports.ts";
import type { AnalysisOptions, ImageFile } from "../core/types.ts";
import { compileGlob, soughtGlobs } from "../lib/glob.ts";

/**
 * Files whose absolute path matches, top layer first, tar order within a layer; empty files are left out. The view must
 * have been made with these patterns wanted (analyzers/applications.ts).
 */
export function manifestFiles(view: ImageView, options: AnalysisOptions): readonly ManifestFile[] {
  const globs = soughtGlobs(options);
  if (globs.include.length === 0) return [];
  const include = globs.include.map(compileGlob);
  const exclude = globs.exclude.map(compileGlob);
  const wanted = ({ path, content }: ImageFile): boolean =>
    content.length > 0 && include.some((matches) => matches(`/${path}`)) &&
    !exclude.some((matches) => matches(`/${path}`));
  return [...view.files()].filter(wanted)
    .sort((a, b) => b.layer - a.layer || (a.position ?? 0) - (b.position ?? 0))
    .map(({ path, content }) => {
      const slash = path.lastIndexOf("/");
      const contents = Buffer.from(content.buffer, content.byteOffset, content.byteLength).toString("base64");
      return { name: path.slice(slash + 1), path: `/${path.slice(0, Math.max(slash, 0))}`, contents };
    });
}
