/**
 * Compiles the table of wanted files into a function: it is asked once per entry of a layer, two million times at worst.
 *
 * @module
 */
import type { FilePattern } from "../core/ports.ts";

/** Largest size at which the file at the path is read; 0 when nobody wants it. The path is clean. */
export type PathMatcher = (path: string) => number;

/**
 * Compiles patterns. A path that several patterns name gets the largest of their limits.
 *
 * Costs two map look-ups per path, and one per directory of the path where its first directory leads to a wanted one.
 */
export function compilePatterns(patterns: readonly FilePattern[]): PathMatcher {
  const paths = new Map<string, number>();
  const names = new Map<string, number>();
  const directories = new Map<string, number>();
  const roots = new Set<string>();
  for (const { paths: exact = [], names: base = [], directories: below = [], maxBytes } of patterns) {
    for (const path of exact) raise(paths, path, maxBytes);
    for (const name of base) raise(names, name, maxBytes);
    for (const directory of below) {
      raise(directories, directory, maxBytes);
      roots.add(directory.slice(0, directory.indexOf("/")));
    }
  }
  return function match(path: string): number {
    const slash = path.lastIndexOf("/");
    let limit = Math.max(paths.get(path) ?? 0, names.get(slash < 0 ? path : path.slice(slash + 1)) ?? 0);
    const first = slash < 0 ? -1 : path.indexOf("/");
    if (first < 0 || !roots.has(path.slice(0, first))) return limit;
    for (let at = first; at >= 0; at = path.indexOf("/", at + 1)) {
      limit = Math.max(limit, directories.get(path.slice(0, at + 1)) ?? 0);
    }
    return limit;
  };
}

function raise(limits: Map<string, number>, key: string, limit: number): void {
  limits.set(key, Math.max(limit, limits.get(key) ?? 0));
}
