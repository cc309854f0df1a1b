/**
 * Parsers of two header fields that registries fill in their own ways: `WWW-Authenticate` (RFC 9110 §11.6.1) and `Link`
 * (RFC 8288). Both read tolerantly, in one pass, and never throw.
 *
 * @module
 */

/** One challenge of a `WWW-Authenticate` field. */
export interface Challenge {
  /** Scheme in lower case: `bearer`, `basic`. */
  readonly scheme: string;
  /** Parameters by their names in lower case; of a repeated one the first counts. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** One link of a `Link` field. */
export interface Link {
  /** The target as written; it may be relative. */
  readonly target: string;
  /** Relation types in lower case; empty when none is stated. */
  readonly relations: readonly string[];
}

const SPACE = /[ \t]/;
const SEPARATOR = /[\s,]/;
const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]/;

/** A position in a field value. */
class Scanner {
  at = 0;
  constructor(readonly text: string) {}

  get done(): boolean {
    return this.at >= this.text.length;
  }

  peek(): string {
    return this.text.charAt(this.at);
  }

  skip(pattern: RegExp): void {
    while (!this.done && pattern.test(this.peek())) this.at++;
  }

  /** Takes characters while they match. */
  take(pattern: RegExp): string {
    const from = this.at;
    this.skip(pattern);
    return this.text.slice(from, this.at);
  }

  /** A quoted string (RFC 9110 §5.6.4) with its escapes undone; it ends at the end of the text if nobody closes it. */
  quoted(): string {
    let value = "";
    for (this.at++; !this.done && this.peek() !== '"'; this.at++) {
      if (this.peek() === "\\" && this.at + 1 < this.text.length) this.at++;
      value += this.peek();
    }
    this.at++;
    return value;
  }

  /** A parameter value: quoted, or anything up to one of `ends`, since servers leave the quotes out around URLs too. */
  value(ends: RegExp): string {
    if (this.peek() === '"') return this.quoted();
    const from = this.at;
    while (!this.done && !ends.test(this.peek())) this.at++;
    return this.text.slice(from, this.at);
  }
}

/**
 * Takes the challenges of a `WWW-Authenticate` field apart. `Headers.get()` joins several fields with a comma, so one
 * text may hold any number of challenges. An empty text has none.
 */
export function parseChallenges(field: string | null): readonly Challenge[] {
  const scanner = new Scanner(field ?? "");
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  for (;;) {
    scanner.skip(SEPARATOR);
    if (scanner.done) return challenges;
    const word = scanner.take(TOKEN);
    if (word === "") {
      // Not a token: what stands here cannot be understood, go on behind the next comma.
      scanner.take(/[^,]/);
      continue;
    }
    const from = scanner.at;
    scanner.skip(SPACE);
    const current = challenges[challenges.length - 1];
    if (scanner.peek() === "=" && current !== undefined) {
      const value = parameterValue(scanner);
      const name = word.toLowerCase();
      if (!current.parameters.has(name)) current.parameters.set(name, value);
      continue;
    }
    scanner.at = from;
    challenges.push({ scheme: word.toLowerCase(), parameters: new Map() });
    skipToken68(scanner);
  }
}

function parameterValue(scanner: Scanner): string {
  scanner.at++;
  scanner.skip(SPACE);
  return scanner.value(SEPARATOR);
}

/** Skips `token68` behind a scheme (`Negotiate abc==`): it ends the challenge, which a parameter `name=value` does not. */
function skipToken68(scanner: Scanner): void {
  const from = scanner.at;
  scanner.skip(SPACE);
  const word = scanner.take(/[A-Za-z0-9._~+/-]/);
  const padding = scanner.take(/=/);
  const space = scanner.at;
  scanner.skip(SPACE);
  const ends = scanner.done || scanner.peek() === ",";
  if (word !== "" && ends && space > from) return;
  if (padding !== "" || !ends || word === "") scanner.at = from;
}

/** Takes the links of a `Link` field apart. */
export function parseLinks(field: string | null): readonly Link[] {
  const scanner = new Scanner(field ?? "");
  const links: Link[] = [];
  for (;;) {
    scanner.skip(SEPARATOR);
    if (scanner.done) return links;
    if (scanner.peek() !== "<") {
      scanner.take(/[^,]/);
      continue;
    }
    scanner.at++;
    const target = scanner.take(/[^>]/).trim();
    scanner.at++;
    links.push({ target, relations: linkRelations(scanner) });
  }
}

/** Reads the parameters of a link and gives its relation types. */
function linkRelations(scanner: Scanner): readonly string[] {
  let relations: readonly string[] | undefined;
  for (;;) {
    scanner.skip(/[\s;]/);
    if (scanner.done || scanner.peek() === ",") return relations ?? [];
    const name = scanner.take(/[^\s;,=]/).toLowerCase();
    scanner.skip(SPACE);
    if (scanner.peek() !== "=") {
      if (name === "") scanner.at++;
      continue;
    }
    scanner.at++;
    scanner.skip(SPACE);
    const value = scanner.value(/[;,]/);
    if (name === "rel") relations ??= value.toLowerCase().split(/\s+/).filter((part) => part !== "");
  }
}

/** Query keys by which a registry's link without a relation is known to lead to the next page. */
const PAGE_KEYS = ["last", "next_page", "n"];

/**
 * The target of the link to the next page. A lone link without a relation type counts when its query looks like a page's
 * (seen at registries behind proxies that drop the parameter).
 */
export function nextLink(field: string | null): string | undefined {
  const links = parseLinks(field);
  const next = links.find((link) => link.relations.includes("next"));
  if (next !== undefined) return next.target;
  const [only] = links;
  if (links.length !== 1 || only === undefined || only.relations.length > 0) return undefined;
  const query = new URLSearchParams(only.target.split("?")[1] ?? "");
  return PAGE_KEYS.some((key) => query.has(key)) ? only.target : undefined;
}

/** The scopes of a challenge, which separates them by blanks (RFC 6749 §3.3). */
export function parseScopes(text: string | undefined): readonly string[] {
  return (text ?? "").split(/\s+/).filter((scope) => scope !== "");
}
