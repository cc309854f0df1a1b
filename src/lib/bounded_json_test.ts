import { describe, expect, it } from "vitest";
import { LIMITS } from "../core/limits.ts";
import { isRecord, parseJsonBytes } from "./bounded_json.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const nested = (depth: number): Uint8Array => bytes("[".repeat(depth) + "]".repeat(depth));

describe("parseJsonBytes()", () => {
  it("reads JSON", () => {
    expect(parseJsonBytes(bytes('{"a":["[[[[\\"",1,null]}'))).toEqual({ a: ['[[[["', 1, null] });
  });
  it("accepts the deepest nesting and refuses one more", () => {
    expect(() => parseJsonBytes(nested(LIMITS.jsonDepth))).not.toThrow();
    expect(() => parseJsonBytes(nested(LIMITS.jsonDepth + 1))).toThrow(/deeper/);
  });
  it("does not count brackets inside strings", () => {
    expect(parseJsonBytes(bytes(JSON.stringify("[{".repeat(500) + '\\"')))).toBe("[{".repeat(500) + '\\"');
  });
  it("names no part of a broken text", () => {
    expect(() => parseJsonBytes(bytes("secret-canary"))).toThrow(/^JSON cannot be parsed$/);
    expect(() => parseJsonBytes(Uint8Array.of(0x22, 0xff, 0x22))).toThrow(/^JSON is not UTF-8$/);
  });
});

describe("isRecord()", () => {
  it.each<readonly [unknown, boolean]>([[{}, true], [[], false], [null, false], ["a", false]])(
    "of %j is %j",
    (value, expected) => {
      expect(isRecord(value)).toBe(expected);
    },
  );
});
