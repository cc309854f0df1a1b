/**
 * JSON from outside: nesting is bounded before anything is parsed, since a bracket bomb of a few megabytes costs the
 * parser hundreds.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Parses UTF-8 JSON whose nesting stays within LIMITS.jsonDepth.
 *
 * @throws {SyntaxError} when it is not JSON, is not UTF-8 or is nested deeper. The message never holds a part of the text.
 */
export function parseJsonBytes(bytes: Uint8Array): unknown {
  if (!isShallow(bytes)) throw new SyntaxError(`JSON is nested deeper than ${LIMITS.jsonDepth} levels`);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new SyntaxError("JSON is not UTF-8");
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new SyntaxError("JSON cannot be parsed");
  }
}

/** Whether a value is an object with named members. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isShallow(bytes: Uint8Array): boolean {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (inString) {
      if (byte === BACKSLASH) i++;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > LIMITS.jsonDepth) return false;
    } else if (byte === 0x5d || byte === 0x7d) depth--;
  }
  return true;
}
