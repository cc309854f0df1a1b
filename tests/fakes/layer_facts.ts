/**
 * Layer facts in a short notation, for tests of the merged view.
 *
 * @module
 */
import type { LayerEntry, LayerFacts } from "../../src/core/types.ts";
import { assembleLayers } from "../../src/layers/assemble.ts";
import { pathHash } from "../../src/lib/path_hash.ts";

export { assembleLayers };

export const text = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : new TextDecoder().decode(bytes);

/** Facts of a layer of these entries; `replaced` are paths that are kept as hashes only. */
export function facts(
  entries: readonly LayerEntry[],
  replaced: readonly string[] = [],
  directories: readonly string[] = [],
): LayerFacts {
  return {
    extractor: "test",
    digest: `sha256:${"0".repeat(64)}`,
    diffId: `sha256:${"0".repeat(64)}`,
    storedBytes: 0,
    tarBytes: 0,
    compression: "none",
    entryCount: entries.length + replaced.length,
    entries,
    replacedPaths: Float64Array.from(replaced, pathHash).sort(),
    directories: Float64Array.from(directories, pathHash).sort(),
    problems: [],
  };
}

/**
 * Entries in a short notation: `path=content`, `link -> target`, `link => hard link target`, `-path` (whiteout),
 * `path/**` (opaque), `!path` (replaced, known by hash only), `path/` (directory), `path>limit` (over its limit).
 */
export function layer(...lines: readonly string[]): LayerFacts {
  const entries: LayerEntry[] = [];
  const replaced: string[] = [];
  const directories: string[] = [];
  for (const line of lines) {
    const [path = "", content = ""] = line.split(/ -> | => |=|>/);
    if (line.endsWith("/")) directories.push(line.slice(0, -1));
    else if (line.startsWith("!")) replaced.push(line.slice(1));
    else if (line.startsWith("-")) entries.push({ kind: "whiteout", path: line.slice(1) });
    else if (line.endsWith("/**")) entries.push({ kind: "opaque", path: line.slice(0, -3) });
    else if (line.includes(" -> ")) entries.push({ kind: "symlink", path, target: content });
    else if (line.includes(" => ")) entries.push({ kind: "hardlink", path, target: content });
    else if (line.includes(">")) entries.push({ kind: "oversize", path, size: 10, limit: Number(content) });
    else {
      const bytes = new TextEncoder().encode(content);
      entries.push({ kind: "file", path, size: bytes.length, mode: 0o644, content: bytes });
    }
  }
  return facts(entries, replaced, directories);
}

/** `path=content@layer` of all files. */
export function listed(layers: readonly LayerFacts[]): string[] {
  return [...assembleLayers(layers).files()].map((f) => `${f.path}=${text(f.content)}@${f.layer}`);
}
