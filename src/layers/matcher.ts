/**
 * Compiles the table of wanted files into functions: they are asked once per entry of a layer, two million times at worst.
 *
 * @module
 */
import type { FileExtractor, FilePattern } from "../core/ports.ts";
import { compileGlob } from "../lib/glob.ts";

/** Largest size at which the file at the path is read; 0 when nobody wants it. The path is clean. */
export type PathMatcher = (path: string) => number;

/** Extractors that want the file at the path. The path is clean. */
export type ExtractorMatcher = (path: string) => readonly FileExtractor[];

const NO_EXTRACTORS: readonly FileExtractor[] = [];

/**
 * Compiles patterns. A path that several patterns name gets the largest of their limits.
 *
 * Costs two map look-ups per path, one per directory of the path where its first directory leads to a wanted one, and a
 * few comparisons for each pattern with extensions, suffixes or exceptions.
 */
export function compilePatterns(patterns: readonly FilePattern[]): PathMatcher {
  const paths = new Map<string, number>();
  const names = new Map<string, number>();
  const directories = new Map<string, number>();
  const roots = new Set<string>();
  const others: { readonly test: (path: string) => boolean; readonly maxBytes: number }[] = [];
  for (const pattern of patterns) {
    const { paths: exact = [], names: base = [], directories: below = [], maxBytes } = pattern;
    if (!isPlain(pattern)) {
      others.push({ test: compilePattern(pattern), maxBytes });
      continue;
    }
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
    for (const { test, maxBytes } of others) if (maxBytes > limit && test(path)) limit = maxBytes;
    const first = slash < 0 ? -1 : path.indexOf("/");
    if (first < 0 || !roots.has(path.slice(0, first))) return limit;
    for (let at = first; at >= 0; at = path.indexOf("/", at + 1)) {
      limit = Math.max(limit, directories.get(path.slice(0, at + 1)) ?? 0);
    }
    return limit;
  };
}

/** Compiles the patterns of extractors. */
export function compileExtractors(extractors: readonly FileExtractor[]): ExtractorMatcher {
  const compiled = extractors.map((extractor) => ({ extractor, test: compilePattern(extractor.pattern) }));
  return function match(path: string): readonly FileExtractor[] {
    let found: FileExtractor[] | undefined;
    for (const { extractor, test } of compiled) if (test(path)) (found ??= []).push(extractor);
    return found ?? NO_EXTRACTORS;
  };
}

/** Whether maps can answer for the pattern. */
function isPlain({ extensions, suffixes, globs, notFrom, notWithin }: FilePattern): boolean {
  return [extensions, suffixes, globs, notFrom, notWithin].every((list) => list === undefined || list.length === 0);
}

/** Plain loops throughout: closures in the array methods made the optimiser compile this again and again. */
function compilePattern(pattern: FilePattern): (path: string) => boolean {
  const { directories = [], suffixes = [], notFrom = [], notWithin = [] } = pattern;
  const paths = new Set(pattern.paths);
  const names = new Set(pattern.names);
  const extensions = new Set(pattern.extensions);
  const globs = (pattern.globs ?? []).map(compileGlob);
  const notGlobs = (pattern.notGlobs ?? []).map(compileGlob);
  const byName = names.size + extensions.size > 0;
  const limited = notFrom.length + notWithin.length > 0;
  const isNamed = (name: string): boolean =>
    names.has(name) || (extensions.size > 0 && extensions.has(extensionOf(name)));
  return function test(path: string): boolean {
    const named = endsWithAny(path, suffixes) || (byName && isNamed(path.slice(path.lastIndexOf("/") + 1))) ||
      paths.has(path) || startsWithAny(path, directories) || (globs.length > 0 && matchesAny(globs, `/${path}`));
    if (!named) return false;
    if (notGlobs.length > 0 && matchesAny(notGlobs, `/${path}`)) return false;
    if (!limited) return true;
    const directory = `/${path.slice(0, Math.max(path.lastIndexOf("/"), 0))}`;
    return !startsWithAny(directory, notFrom) && !includesAny(directory, notWithin);
  };
}

function matchesAny(globs: readonly ((path: string) => boolean)[], path: string): boolean {
  for (const matches of globs) if (matches(path)) return true;
  return false;
}

function endsWithAny(text: string, ends: readonly string[]): boolean {
  for (const end of ends) if (text.endsWith(end)) return true;
  return false;
}

function startsWithAny(text: string, starts: readonly string[]): boolean {
  for (const start of starts) if (text.startsWith(start)) return true;
  return false;
}

function includesAny(text: string, parts: readonly string[]): boolean {
  for (const part of parts) if (text.includes(part)) return true;
  return false;
}

/** With its dot. As path.extname: a dot in front of a name begins none. */
function extensionOf(name: string): string {
  const dot = name.lastIndexOf(".");
  return dot <= 0 ? "" : name.slice(dot);
}

function raise(limits: Map<string, number>, key: string, limit: number): void {
  limits.set(key, Math.max(limit, limits.get(key) ?? 0));
}
