/**
 * TOML of pyproject.toml and poetry.lock. The only file that imports smol-toml; imported when there is such a file.
 *
 * @module
 */
import { parse } from "smol-toml";
import { LIMITS } from "../core/limits.ts";
import { LockError, type Mapping } from "./node_lock.ts";

/**
 * Reads TOML 1.0.
 *
 * @throws {LockError} When it is not, and LIMIT_EXCEEDED: a dot takes 500 bytes of memory.
 */
export function parseToml(text: string): Mapping {
  if (tooManyValues(text)) throw new LockError("it has too many keys and tables", "LIMIT_EXCEEDED");
  try {
    return parse(text, { integersAsBigInt: "asNeeded" });
  } catch {
    throw new LockError("it is not TOML");
  }
}

/** Counts at least each key, table and list that the parser makes before it meets an error. */
function tooManyValues(text: string): boolean {
  let values = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === "=" || char === "." || char === "[" || char === "{") {
      if (++values > LIMITS.tomlValues) return true;
    } else if (char === '"' || char === "'") at = stringEnd(text, at, char);
    else if (char === "#") at = endOr(text.indexOf("\n", at), text);
  }
  return false;
}

/** Where the last quote of a string is; the end of the text when there is none, which the parser refuses. */
function stringEnd(text: string, start: number, quote: string): number {
  const long = quote.repeat(3);
  const end = text.startsWith(long, start) ? long : quote;
  for (let at = start + end.length; at < text.length; at++) {
    if (text[at] === "\\" && quote === '"') at++;
    else if (text.startsWith(end, at)) return lastQuote(text, at + end.length - 1, end);
  }
  return text.length;
}

/** One or two quotes may stand in front of the three that end a string. */
function lastQuote(text: string, at: number, end: string): number {
  if (end.length === 1) return at;
  const more = text.slice(at + 1, at + 3);
  const quote = end[0] ?? "";
  return at + (more === quote + quote ? 2 : more.startsWith(quote) ? 1 : 0);
}

function endOr(at: number, text: string): number {
  return at < 0 ? text.length : at;
}
