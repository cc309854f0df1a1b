/**
 * Path patterns and value globs of accept rules, matched without regular expressions.
 *
 * Paths follow path-to-regexp 1.x as far as accept rules use it (`:name`, `*`; case-insensitive, optional trailing
 * slash, whole path), values follow minimatch with `dot: true`. Both are compared by walking the set of reachable
 * positions, so that the time is the product of pattern and text, whatever a hostile peer sends.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";

/** Says whether a text matches; texts longer than LIMITS.brokerMatchedChars never do. */
export type Matcher = (text: string) => boolean;

type Token =
  | { readonly kind: "literal"; readonly text: string }
  /** One or more characters of a segment: `:name`. */
  | { readonly kind: "segment" }
  /** Any characters but `/`, also none: a glob's `*`. */
  | { readonly kind: "within" }
  /** Anything, also nothing: a path's `*`, a glob's trailing `**`. */
  | { readonly kind: "any" }
  /** Any number of whole segments: a glob's `**` and the slash behind it. */
  | { readonly kind: "segments" }
  /** One character that passes. */
  | { readonly kind: "one"; readonly accepts: (char: string) => boolean }
  /** Nothing, where a segment stands that is not empty. */
  | { readonly kind: "real-segment" };

/**
 * Compiles the path of an accept rule.
 *
 * @returns the matcher, or why the pattern cannot be used.
 */
export function compilePath(pattern: string): Matcher | string {
  if (pattern.length > LIMITS.brokerPatternChars) return "the path is too long";
  const rooted = lower(pattern.startsWith("/") ? pattern : `/${pattern}`);
  const unsupported = /[()?+\\]|:(?!\w)|:\w+\*/.exec(rooted);
  if (unsupported !== null) return `the path uses "${unsupported[0]}", which is not supported`;
  const trimmed = rooted.endsWith("/") ? rooted.slice(0, -1) : rooted;
  const tokens = trimmed.split(/(\*|:\w+)/).filter((part) => part !== "").map(pathToken);
  return (text) => {
    if (text.length > LIMITS.brokerMatchedChars) return false;
    const path = lower(text);
    const reached = walk(tokens, path);
    return reached[path.length] === 1 || (path.endsWith("/") && reached[path.length - 1] === 1);
  };
}

function pathToken(part: string): Token {
  if (part === "*") return { kind: "any" };
  return part.startsWith(":") ? { kind: "segment" } : { kind: "literal", text: part };
}

/** Lower case for ASCII only: lengths, and therefore positions, stay the same. */
function lower(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/**
 * Compiles a glob of a `valid` group: `*`, `**`, `?`, `[…]`, `{a,b}`, a leading `!`, `\` to take a character as it is.
 * Unlike minimatch, a slash at the value's end counts.
 *
 * @returns the matcher, or why the pattern cannot be used.
 */
export function compileGlob(pattern: string): Matcher | string {
  if (pattern.length > LIMITS.brokerPatternChars) return "the value pattern is too long";
  if (pattern.startsWith("#")) return () => false;
  const negated = pattern.startsWith("!");
  const variants = expandBraces(negated ? pattern.slice(1) : pattern);
  if (variants === undefined) return "the value pattern has too many alternatives";
  const compiled = variants.map(globTokens);
  return (text) => {
    if (text.length > LIMITS.brokerMatchedChars) return false;
    const found = hasDotSegment(text)
      ? variants.includes(text)
      : compiled.some((tokens) => walk(tokens, text)[text.length] === 1);
    return found !== negated;
  };
}

/** A `.` or `..` between slashes, which no wildcard stands for. */
function hasDotSegment(text: string): boolean {
  return text.split("/").some((segment) => segment === "." || segment === "..");
}

const MAX_VARIANTS = 256;

/** Expands `{a,b}`, innermost last; undefined when that gives too many patterns. */
function expandBraces(pattern: string): readonly string[] | undefined {
  const done: string[] = [];
  const open = [pattern];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const group = /\{([^{}]*,[^{}]*)\}/.exec(next);
    if (group === null) done.push(next);
    else {
      const [before, after] = [next.slice(0, group.index), next.slice(group.index + group[0].length)];
      for (const choice of (group[1] ?? "").split(",")) open.push(before + choice + after);
    }
    if (open.length + done.length > MAX_VARIANTS) return undefined;
  }
  return done;
}

function globTokens(pattern: string): readonly Token[] {
  const tokens: Token[] = [];
  for (let at = 0; at < pattern.length;) {
    const char = pattern[at] ?? "";
    const starts = at === 0 || pattern[at - 1] === "/";
    if (starts && pattern.startsWith("**/", at)) {
      tokens.push({ kind: "segments" });
      at += 3;
    } else if (starts && pattern.slice(at) === "**") {
      tokens.push({ kind: "any" });
      at += 2;
    } else {
      if (starts && "*?[".includes(char)) tokens.push({ kind: "real-segment" });
      at = simpleGlobToken(pattern, at, char, tokens);
    }
  }
  return tokens;
}

/** Appends the token at `at`; returns the position behind it. */
function simpleGlobToken(pattern: string, at: number, char: string, tokens: Token[]): number {
  if (char === "*") tokens.push({ kind: "within" });
  else if (char === "?") tokens.push({ kind: "one", accepts: (c) => c !== "/" });
  else if (char === "[") {
    const end = pattern.indexOf("]", at + 2);
    if (end > 0) {
      tokens.push({ kind: "one", accepts: charClass(pattern.slice(at + 1, end)) });
      return end + 1;
    }
    tokens.push({ kind: "literal", text: char });
  } else if (char === "\\" && at + 1 < pattern.length) {
    tokens.push({ kind: "literal", text: pattern[at + 1] ?? "" });
    return at + 2;
  } else tokens.push({ kind: "literal", text: char });
  return at + 1;
}

function charClass(body: string): (char: string) => boolean {
  const negated = body.startsWith("!") || body.startsWith("^");
  const members = negated ? body.slice(1) : body;
  return (char) => {
    let found = false;
    for (let at = 0; at < members.length; at++) {
      const from = members[at] ?? "";
      const ranged = members[at + 1] === "-" && at + 2 < members.length;
      const to = ranged ? members[at + 2] ?? "" : from;
      if (ranged) at += 2;
      if (char >= from && char <= to) found = true;
    }
    return char !== "/" && found !== negated;
  };
}

/** Marks every position of the text that the tokens can reach from its start. */
function walk(tokens: readonly Token[], text: string): Uint8Array {
  let here = new Uint8Array(text.length + 1);
  here[0] = 1;
  for (const token of tokens) here = step(token, text, here);
  return here;
}

function step(token: Token, text: string, from: Uint8Array): Uint8Array<ArrayBuffer> {
  const to = new Uint8Array(text.length + 1);
  let open = false;
  for (let at = 0; at <= text.length; at++) {
    const live = from[at] === 1;
    const slash = text[at - 1] === "/";
    switch (token.kind) {
      case "literal":
        if (live && text.startsWith(token.text, at)) to[at + token.text.length] = 1;
        break;
      case "one":
        if (live && at < text.length && token.accepts(text[at] ?? "")) to[at + 1] = 1;
        break;
      case "real-segment":
        if (live && at < text.length && text[at] !== "/") to[at] = 1;
        break;
      case "segment":
        if (slash) open = false;
        if (open) to[at] = 1;
        open ||= live;
        break;
      case "within":
        if (slash) open = false;
        open ||= live;
        if (open) to[at] = 1;
        break;
      case "any":
        open ||= live;
        if (open) to[at] = 1;
        break;
      case "segments":
        if (live || (open && slash)) to[at] = 1;
        open ||= live;
        break;
    }
  }
  return to;
}
