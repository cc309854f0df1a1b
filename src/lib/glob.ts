/**
 * Glob patterns over paths, with the meaning that minimatch 9 gives them: `*` and `?` within a part of the path, `**` over
 * any number of parts, `[…]` classes, `{a,b}` alternatives. No wildcard matches a dot at the start of a part.
 *
 * Matching takes time proportional to pattern times path at worst, whatever the two are: paths come from images that nobody
 * vouches for. Extended patterns (`@(a|b)`), negation and comments are not supported; such a pattern matches literally.
 *
 * @module
 */

import type { AnalysisOptions } from "../core/types.ts";

/** Alternatives that one pattern's braces may expand to; more are cut off. */
const MAX_ALTERNATIVES = 1000;

/** Compiles a pattern. */
export function compileGlob(pattern: string): (path: string) => boolean {
  const alternatives = expandBraces(pattern).map((each) => ({
    start: literalStart(each),
    glob: each.split("/").map(compilePart),
  }));
  return (path) => alternatives.some(({ start, glob }) => path.startsWith(start) && matchParts(glob, path.split("/")));
}

/** What every path that the pattern matches begins with. */
export function startOfGlob(pattern: string): string {
  const [first = "", ...others] = expandBraces(pattern).map(literalStart);
  let length = first.length;
  for (const other of others) while (!other.startsWith(first.slice(0, length))) length--;
  return first.slice(0, length);
}

/**
 * What every match of a pattern without braces begins with: most paths of an image are told apart by it, before anything is
 * split. Without the slash in front of the first wildcard, since `a/**` matches `a` too.
 */
function literalStart(pattern: string): string {
  const wildcard = pattern.search(/[*?[]/);
  return wildcard < 0 ? pattern : pattern.slice(0, wildcard).replace(/\/$/, "");
}

/**
 * The patterns of files to report with their contents, but for those of composer: such files give results of their own, and
 * snyk-docker-plugin leaves them out for that reason.
 */
export function soughtGlobs(
  { globsToFind }: AnalysisOptions,
): { readonly include: readonly string[]; readonly exclude: readonly string[] } {
  const include = (globsToFind?.include ?? []).filter((glob) => !glob.includes("composer"));
  return { include, exclude: globsToFind?.exclude ?? [] };
}

const ANY_PARTS = Symbol("**");
type Part = typeof ANY_PARTS | readonly Token[];
/** A character, `?`, `*`, or a class. */
type Token = string | { readonly star: boolean } | { readonly test: (character: string) => boolean };

/** `a{b,c}d` → `abd`, `acd`, with nesting. An unmatched brace, or one without a comma, stands for itself. */
function expandBraces(pattern: string): string[] {
  const done: string[] = [];
  const waiting = [pattern];
  for (let text = waiting.pop(); text !== undefined && done.length < MAX_ALTERNATIVES; text = waiting.pop()) {
    const group = firstGroup(text);
    if (group === undefined || waiting.length >= MAX_ALTERNATIVES) done.push(text);
    else waiting.push(...group.toReversed());
  }
  return done;
}

function firstGroup(text: string): string[] | undefined {
  for (let open = text.indexOf("{"); open >= 0; open = text.indexOf("{", open + 1)) {
    const commas: number[] = [];
    let depth = 0;
    for (let at = open; at < text.length; at++) {
      const character = text[at];
      if (character === "{") depth++;
      else if (character === "," && depth === 1) commas.push(at);
      else if (character === "}" && --depth === 0) {
        if (commas.length === 0) break;
        const bounds = [open, ...commas, at];
        const head = text.slice(0, open);
        const tail = text.slice(at + 1);
        return bounds.slice(1).map((end, index) => head + text.slice((bounds[index] ?? 0) + 1, end) + tail);
      }
    }
  }
  return undefined;
}

function compilePart(text: string): Part {
  if (text === "**") return ANY_PARTS;
  const tokens: Token[] = [];
  for (let at = 0; at < text.length; at++) {
    const character = text[at] ?? "";
    const end = character === "[" ? text.indexOf("]", at + 2 + Number(/[!^]/.test(text[at + 1] ?? ""))) : -1;
    if (character === "*") {
      if (text[at - 1] !== "*") tokens.push({ star: true });
    } else if (character === "?") tokens.push({ star: false });
    else if (end > 0) {
      tokens.push({ test: compileClass(text.slice(at + 1, end)) });
      at = end;
    } else tokens.push(character);
  }
  return tokens;
}

function compileClass(text: string): (character: string) => boolean {
  const negated = /^[!^]/.test(text);
  const body = negated ? text.slice(1) : text;
  const ranges: [string, string][] = [];
  for (let at = 0; at < body.length; at++) {
    const first = body[at] ?? "";
    if (body[at + 1] === "-" && at + 2 < body.length) {
      ranges.push([first, body[at + 2] ?? ""]);
      at += 2;
    } else ranges.push([first, first]);
  }
  return (character) => ranges.some(([low, high]) => low <= character && character <= high) !== negated;
}

/** Both loops below are the two-pointer match of wildcards: only the last star is ever taken back. */
function matchParts(glob: readonly Part[], path: readonly string[]): boolean {
  let g = 0;
  let p = 0;
  let star = -1;
  let taken = 0;
  while (p < path.length) {
    const part = glob[g];
    if (part === ANY_PARTS) {
      star = g++;
      taken = p;
      if (g === glob.length) return path.slice(p).every(isVisible);
    } else if (part !== undefined && matchPart(part, path[p] ?? "")) {
      g++;
      p++;
    } else {
      if (star < 0 || !isVisible(path[taken] ?? "")) return false;
      p = ++taken;
      g = star + 1;
    }
  }
  while (glob[g] === ANY_PARTS) g++;
  return g === glob.length;
}

/** Whether `**` crosses a part: not when it begins with a dot. */
function isVisible(part: string): boolean {
  return !part.startsWith(".");
}

function matchPart(tokens: readonly Token[], text: string): boolean {
  if (text.startsWith(".") && tokens[0] !== ".") return false;
  if (text === "" || tokens.length === 0) return text === "" && tokens.length === 0;
  let t = 0;
  let at = 0;
  let star = -1;
  let taken = 0;
  while (at < text.length) {
    const token = tokens[t];
    if (typeof token === "object" && "star" in token && token.star) {
      star = t++;
      taken = at;
    } else if (token !== undefined && matchCharacter(token, text[at] ?? "")) {
      t++;
      at++;
    } else {
      if (star < 0) return false;
      at = ++taken;
      t = star + 1;
    }
  }
  return tokens.slice(t).every((token) => typeof token === "object" && "star" in token && token.star);
}

function matchCharacter(token: Token, character: string): boolean {
  if (typeof token === "string") return token === character;
  return "test" in token ? token.test(character) : !token.star;
}
