/**
 * The syntax of yarn.lock, version 1: what @yarnpkg/lockfile 1.1.0 reads, in linear time and whatever the bytes are. That
 * package never ends when the last line is a comment without a line break.
 *
 * @module
 */
import { LockError } from "./node_lock.ts";

type Value = string | number | boolean;

/** Values by key; one with members of its own is a block. */
export type YarnBlock = Map<string, Value | YarnBlock>;

type Token =
  | { readonly type: "newline" | "colon" | "comma" | "end" }
  | { readonly type: "indent"; readonly depth: number }
  | { readonly type: "word"; readonly text: string }
  | { readonly type: "value"; readonly value: number | boolean };

const CONFLICT = { start: "<<<<<<<", ancestor: "|||||||", separator: "=======", end: ">>>>>>>" } as const;
/** Blocks in blocks; real files have two levels. */
const MAX_DEPTH = 16;

/**
 * Reads a yarn.lock of version 1. Of a file with the marks of a merge conflict both sides are taken.
 *
 * @throws {LockError} When it is no such file.
 */
export function readYarnLock(text: string): YarnBlock {
  if (![CONFLICT.start, CONFLICT.separator, CONFLICT.end].every((mark) => text.includes(mark))) return parse(text);
  const [ours, theirs] = sides(text);
  return new Map([...parse(ours), ...parse(theirs)]);
}

function sides(text: string): [string, string] {
  const ours: string[] = [];
  const theirs: string[] = [];
  let state: "both" | "ours" | "ancestor" | "theirs" = "both";
  for (const line of text.split(/\r?\n/)) {
    if (state === "both" && line.startsWith(CONFLICT.start)) state = "ours";
    else if (state === "ours" && line.startsWith(CONFLICT.ancestor)) state = "ancestor";
    else if ((state === "ours" || state === "ancestor") && line === CONFLICT.separator) state = "theirs";
    else if (state === "theirs" && line.startsWith(CONFLICT.end)) state = "both";
    else {
      if (state === "both" || state === "ours") ours.push(line);
      if (state === "both" || state === "theirs") theirs.push(line);
    }
  }
  return [ours.join("\n"), theirs.join("\n")];
}

function parse(text: string): YarnBlock {
  const parser = new Parser(text);
  return parser.block(0);
}

class Parser {
  readonly #text: string;
  #at = 0;
  #line = 1;
  #afterNewline = false;
  #token: Token = { type: "newline" };

  constructor(text: string) {
    this.#text = text;
    this.#next();
  }

  block(depth: number): YarnBlock {
    if (depth > MAX_DEPTH) throw this.#error("blocks are nested too deeply");
    const block: YarnBlock = new Map();
    for (;;) {
      const token = this.#token;
      if (token.type === "newline") {
        this.#next();
        if (depth === 0) continue;
        if (!this.#eatIndent(depth)) return block;
      } else if (token.type === "indent") {
        if (!this.#eatIndent(depth)) return block;
      } else if (token.type === "end") return block;
      else if (token.type === "word") {
        if (this.#member(block, depth)) return block;
      } else throw this.#error("a key was expected");
    }
  }

  /** Reads keys and what they stand for. True when the block ends with it. */
  #member(block: YarnBlock, depth: number): boolean {
    const keys = [this.#word()];
    while (this.#token.type === "comma") {
      this.#next();
      keys.push(this.#word());
    }
    const token = this.#token;
    if (token.type === "colon") {
      this.#next();
      const value = this.block(depth + 1);
      for (const key of keys) block.set(key, value);
      return depth > 0 && !this.#isIndent();
    }
    if (token.type !== "word" && token.type !== "value") throw this.#error("a value was expected");
    for (const key of keys) block.set(key, token.type === "word" ? token.text : token.value);
    this.#next();
    return false;
  }

  #isIndent(): boolean {
    return this.#token.type === "indent";
  }

  #eatIndent(depth: number): boolean {
    if (this.#token.type !== "indent" || this.#token.depth !== depth) return false;
    this.#next();
    return true;
  }

  #word(): string {
    const token = this.#token;
    if (token.type !== "word" || token.text === "") throw this.#error("a key was expected");
    this.#next();
    return token.text;
  }

  #next(): void {
    do {
      const begin = this.#at;
      const token = this.#read();
      this.#afterNewline = token?.type === "newline" && this.#text[begin] !== undefined;
      if (token !== undefined) {
        this.#token = token;
        return;
      }
    } while (this.#at <= this.#text.length);
  }

  /** The next token; undefined after blanks and comments. */
  #read(): Token | undefined {
    const text = this.#text;
    const first = text[this.#at];
    switch (first) {
      case undefined:
        return { type: "end" };
      case "\n":
      case "\r":
        this.#at += text[this.#at + 1] === "\n" ? 2 : 1;
        this.#line++;
        return { type: "newline" };
      case "#":
        this.#skipTo(/\n/g);
        return undefined;
      case " ":
        return this.#blanks();
      case '"':
        return this.#quoted();
      case ":":
        this.#at++;
        return { type: "colon" };
      case ",":
        this.#at++;
        return { type: "comma" };
    }
    return this.#plain();
  }

  #blanks(): Token | undefined {
    if (!this.#afterNewline) {
      this.#at++;
      return undefined;
    }
    const blanks = this.#take(/ +/y);
    if (blanks.length % 2 > 0) throw this.#error("it is indented by an odd number of blanks");
    return { type: "indent", depth: blanks.length / 2 };
  }

  #quoted(): Token {
    const text = this.#text;
    let end = this.#at;
    do end = text.indexOf('"', end + 1); while (end > 0 && text[end - 1] === "\\" && text[end - 2] !== "\\");
    if (end < 0) throw this.#error("a text does not end");
    const literal = text.slice(this.#at, end + 1);
    this.#at = end + 1;
    try {
      return { type: "word", text: JSON.parse(literal) };
    } catch {
      throw this.#error("a text is malformed");
    }
  }

  #plain(): Token {
    const digits = this.#take(/[0-9]+/y);
    if (digits !== "") return { type: "value", value: Number(digits) };
    const word = this.#take(/true|false/y);
    if (word !== "") return { type: "value", value: word === "true" };
    const name = this.#take(/[a-zA-Z/-][^: \n\r,]*/y);
    if (name === "") throw this.#error("there is a character that cannot stand there");
    return { type: "word", text: name };
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text)?.[0] ?? "";
    this.#at += match.length;
    return match;
  }

  #skipTo(pattern: RegExp): void {
    pattern.lastIndex = this.#at;
    this.#at = pattern.exec(this.#text)?.index ?? this.#text.length;
  }

  #error(what: string): LockError {
    return new LockError(`line ${this.#line} is no yarn.lock, ${what}`);
  }
}
