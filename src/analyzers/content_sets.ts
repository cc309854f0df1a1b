/**
 * Red Hat's content manifests: which repositories an image was built from, for the `repositories` qualifier of purls.
 *
 * @module
 */
import type { ImageFile } from "../core/types.ts";
import { type AnalyzerInput, newestFirst } from "./analyzer.ts";

/** Where Red Hat's build system leaves one JSON file per image build. */
export const CONTENT_MANIFESTS = "root/buildinfo/content_manifests/";

/** Content sets of all manifests, each once, in order of first mention. A manifest that is no JSON is reported. */
export function readContentSets({ view, report }: AnalyzerInput): string[] {
  const sets = new Set<string>();
  for (const file of newestFirst(view.filesIn(CONTENT_MANIFESTS))) {
    const named = contentSetsOf(file);
    if (named === undefined) {
      const message = `Cannot read the content sets of ${file.path}: it is not JSON with an array of names`;
      report({ code: "ANALYSIS_FAILED", subject: file.path, message });
      continue;
    }
    for (const set of named) sets.add(set);
  }
  return [...sets];
}

/** Undefined when the file cannot be understood. No content_sets at all is in order. */
function contentSetsOf(file: ImageFile): readonly string[] | undefined {
  try {
    const manifest: unknown = JSON.parse(new TextDecoder().decode(file.content));
    const sets = manifest !== null && typeof manifest === "object" && "content_sets" in manifest
      ? manifest.content_sets
      : undefined;
    if (!sets) return [];
    return Array.isArray(sets) && sets.every((set) => typeof set === "string") ? sets : undefined;
  } catch {
    return undefined;
  }
}
