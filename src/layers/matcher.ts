/**
 * Compiles the table of wanted files into functions: they are asked once per entry of a layer, two million times at worst.
 *
 * @module
 */
import type { FileExtractor, FilePattern } from "../core/ports.ts";
import { compileGlob, startOfGlob } from "../lib/glob.ts";
import { NOTHING, type Want } from "./want.ts";

/** What is wanted of the file at a path, {@link NOTHING} when nobody wants it. The path is clean. */
export type WantMatcher = (path: string) => Want;

/** Largest size at which the file at the path is read; 0 when nobody wants it. The path is clean. */
export type PathMatcher = (path: string) => number;

/**
 * Compiles patterns of files that are read, and those of extractors. A path that several patterns name gets the largest
 * of their limits.
 */
export function compileWants(patterns: readonly FilePattern[], extractors: readonly FileExtractor[] = []): WantMatcher {
  const index = new PatternIndex([...patterns, ...extractors.map(({ pattern }) => pattern)]);
  return function match(path: string): Want {
    const found = index.find(path);
    if (found.length === 0) return NOTHING;
    let limit = 0;
    for (const position of found) limit = Math.max(limit, patterns[position]?.maxBytes ?? 0);
    return { limit, extractors: extractors.filter((_, position) => found.includes(patterns.length + position)) };
  };
}

const NONE: readonly number[] = [];

/** What speaks against a path that a pattern names. */
interface Exceptions {
  readonly notFrom: readonly string[];
  readonly notWithin: readonly string[];
  readonly notGlobs: readonly ((path: string) => boolean)[];
}

/**
 * Patterns by what they look at: a path costs three look-ups in maps, one for each of its directories where its first
 * one leads to a wanted one, and a comparison for each suffix and glob; nothing is allocated for a path that nobody wants.
 */
class PatternIndex {
  readonly #paths = new TextIndex();
  readonly #names = new TextIndex();
  readonly #extensions = new TextIndex();
  readonly #directories = new Map<string, number[]>();
  readonly #roots = new Set<string>();
  readonly #suffixes: { readonly suffix: string; readonly position: number }[] = [];
  readonly #globs: {
    readonly start: string;
    readonly matches: (path: string) => boolean;
    readonly position: number;
  }[] = [];
  readonly #exceptions: (Exceptions | undefined)[];

  constructor(patterns: readonly FilePattern[]) {
    this.#exceptions = patterns.map(exceptionsOf);
    for (const [position, pattern] of patterns.entries()) this.#add(pattern, position);
  }

  /** Positions of the patterns that want the path; one may be there more than once. */
  find(path: string): readonly number[] {
    const slash = path.lastIndexOf("/");
    let found = NONE;
    found = this.#join(found, this.#paths.get(path, 0), path);
    found = this.#join(found, this.#names.get(path, slash + 1), path);
    found = this.#join(found, this.#extensions.get(path, extensionAt(path, slash + 1)), path);
    for (const { suffix, position } of this.#suffixes) {
      if (path.endsWith(suffix)) found = this.#take(found, position, path);
    }
    for (const { start, matches, position } of this.#globs) {
      if (path.startsWith(start) && matches(`/${path}`)) found = this.#take(found, position, path);
    }
    const first = slash < 0 ? -1 : path.indexOf("/");
    if (first < 0 || !this.#roots.has(path.slice(0, first))) return found;
    for (let at = first; at >= 0; at = path.indexOf("/", at + 1)) {
      found = this.#join(found, this.#directories.get(path.slice(0, at + 1)), path);
    }
    return found;
  }

  #add(pattern: FilePattern, position: number): void {
    const { paths = [], names = [], extensions = [], directories = [], suffixes = [], globs = [] } = pattern;
    for (const path of paths) this.#paths.add(path, position);
    for (const name of names) this.#names.add(name, position);
    for (const extension of extensions) this.#extensions.add(extension, position);
    for (const directory of directories) {
      push(this.#directories, directory, position);
      this.#roots.add(directory.slice(0, directory.indexOf("/")));
    }
    for (const suffix of suffixes) this.#suffixes.push({ suffix, position });
    for (const glob of globs) {
      this.#globs.push({ start: startOfGlob(glob).replace(/^\//, ""), matches: compileGlob(glob), position });
    }
  }

  #join(found: readonly number[], positions: readonly number[] | undefined, path: string): readonly number[] {
    if (positions === undefined) return found;
    let all = found;
    for (const position of positions) all = this.#take(all, position, path);
    return all;
  }

  #take(found: readonly number[], position: number, path: string): readonly number[] {
    const exceptions = this.#exceptions[position];
    if (exceptions !== undefined && isExcepted(path, exceptions)) return found;
    return found.length === 0 ? [position] : [...found, position];
  }
}

function exceptionsOf({ notFrom = [], notWithin = [], notGlobs = [] }: FilePattern): Exceptions | undefined {
  if (notFrom.length + notWithin.length + notGlobs.length === 0) return undefined;
  return { notFrom, notWithin, notGlobs: notGlobs.map(compileGlob) };
}

/** Plain loops: closures in the array methods made the optimiser compile this again and again. */
function isExcepted(path: string, { notFrom, notWithin, notGlobs }: Exceptions): boolean {
  const directory = `/${path.slice(0, Math.max(path.lastIndexOf("/"), 0))}`;
  for (const start of notFrom) if (directory.startsWith(start)) return true;
  for (const part of notWithin) if (directory.includes(part)) return true;
  for (const matches of notGlobs) if (matches(`/${path}`)) return true;
  return false;
}

/** Where the extension begins, with its dot; the end when there is none. As path.extname: a dot in front of a name begins none. */
function extensionAt(path: string, name: number): number {
  const dot = path.lastIndexOf(".");
  return dot <= name ? path.length : dot;
}

/** Patterns by a text. Most texts are told apart by their length, before they are cut out and hashed. */
class TextIndex {
  readonly #positions = new Map<string, number[]>();
  readonly #lengths: boolean[] = [];

  add(text: string, position: number): void {
    push(this.#positions, text, position);
    while (this.#lengths.length < text.length) this.#lengths.push(false);
    this.#lengths[text.length] = true;
  }

  /** Those of the end of the path from `start` on. */
  get(path: string, start: number): readonly number[] | undefined {
    return this.#lengths[path.length - start] === true ? this.#positions.get(path.slice(start)) : undefined;
  }
}

function push(index: Map<string, number[]>, key: string, position: number): void {
  const positions = index.get(key);
  if (positions === undefined) index.set(key, [position]);
  else positions.push(position);
}
