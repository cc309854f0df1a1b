import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sha256Hex } from "./sha256.ts";

const nodes = (text: string): string => createHash("sha256").update(text).digest("hex");

describe("sha256Hex()", () => {
  it("is node:crypto's digest at every length around a block's end", () => {
    for (let length = 0; length <= 200; length++) {
      const text = "é".repeat(length >> 1) + "a".repeat(length % 2);
      expect(sha256Hex(text)).toBe(nodes(text));
    }
  });

  it("is node:crypto's digest of any text", () => {
    fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 500 }), (text) => sha256Hex(text) === nodes(text)));
  });
});
