import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { tarHeader } from "../../tests/fakes/tar_builder.ts";
import { parseHeader, parseOctal, parseString } from "./tar_header.ts";

const encoder = new TextEncoder();

/** As Go's parseOctal: what stands around it is cut off, then everything from a NUL on. */
function octal(text: string): number {
  const [digits = ""] = text.replace(/^[ \0]+|[ \0]+$/g, "").split("\0");
  return digits === "" ? 0 : /^[0-7]+$/.test(digits) ? parseInt(digits, 8) : NaN;
}

describe("parseOctal()", () => {
  it("takes what Go takes", () => {
    const field = fc.array(fc.constantFrom("\0", " ", "0", "1", "7", "8", "x"), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(field, (characters) => {
        const text = characters.join("");
        expect(parseOctal(encoder.encode(`9${text}9`), 1, text.length)).toBe(octal(text));
      }),
      { numRuns: 5000 },
    );
  });
});

describe("parseHeader()", () => {
  it("reads names as parseString() does, whatever their bytes, wherever the block stands", () => {
    const name = fc.uint8Array({ minLength: 1, maxLength: 100 });
    fc.assert(
      fc.property(name, name, fc.nat({ max: 9 }), (bytes, link, offset) => {
        const fields = { 0: bytes, 157: link };
        const header = tarHeader({ name: "", type: "2", fields });
        const moved = new Uint8Array(offset + header.length);
        moved.set(header, offset);
        const block = moved.subarray(offset);
        expect(parseHeader(block)).toMatchObject({
          name: parseString(block, 0, 100),
          linkName: parseString(block, 157, 100),
        });
      }),
    );
  });

  it("keeps a byte order mark, which is a part of the name", () => {
    const name = "\ufeffetc/p\u00e4sse";
    expect(parseHeader(tarHeader({ name }))?.name).toBe(name);
    expect(parseString(encoder.encode(`${name}\0`), 0, 20)).toBe(name);
  });
});
