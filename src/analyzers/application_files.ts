/**
 * The applicationFiles fact: where the source files of an application lie, below the directory that all have in common
 * (`collect-application-files`).
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { FileExtractor, FilePattern } from "../core/ports.ts";
import type { AppResult } from "../core/scan_ports.ts";

/** An extractor that answers for every file of a pattern, without reading it. */
export function presence(name: string, pattern: Omit<FilePattern, "maxBytes">): FileExtractor {
  return {
    name,
    version: "1",
    pattern: { ...pattern, maxBytes: LIMITS.layerTarBytes },
    open: () => ({ data: () => false, end: () => true, close: () => {} }),
  };
}

/** The result for files of a language; `paths` are relative to the root. Undefined when there are none. */
export function applicationFiles(paths: readonly string[], language: string, type: string): AppResult | undefined {
  if (paths.length === 0) return undefined;
  const common = commonDirectory(paths);
  const fileHierarchy = paths.map((path) => ({ path: path.slice(common === "" ? 0 : common.length + 1) }));
  return {
    type,
    targetFile: `/${common}`,
    facts: [{ type: "applicationFiles", data: [{ language, fileHierarchy }] }],
    evidence: paths.map((path) => ({ path })),
  };
}

function commonDirectory(paths: readonly string[]): string {
  let common = paths[0]?.split("/").slice(0, -1) ?? [];
  for (const path of paths) {
    const parts = path.split("/").slice(0, -1);
    const differs = common.findIndex((part, index) => parts[index] !== part);
    if (differs >= 0) common = common.slice(0, differs);
  }
  return common.join("/");
}
