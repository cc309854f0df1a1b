import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import { concatBytes } from "../lib/bytes.ts";
import { CHUNK_OVERHEAD, ChunkDecoder, encodeChunk, LAST_CHUNK } from "./http1_chunks.ts";

const bytes = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

/** Decodes what comes in the given pieces; tells what was left behind the end. */
function decode(pieces: readonly Uint8Array[]): { body: Uint8Array; ended: boolean; rest: number } {
  const decoder = new ChunkDecoder();
  const parts: Uint8Array[] = [];
  let rest = 0;
  for (const piece of pieces) {
    const copy = piece.slice();
    const { end, read } = decoder.decode(copy, 0, copy.length);
    parts.push(copy.subarray(0, end));
    rest += copy.length - read;
  }
  return { body: concatBytes(parts), ended: decoder.ended, rest };
}

function cut(data: Uint8Array, at: readonly number[]): Uint8Array[] {
  const marks = [0, ...at.map((mark) => mark % (data.length + 1)).toSorted((a, b) => a - b), data.length];
  return marks.slice(1).map((mark, index) => data.subarray(marks[index], mark));
}

describe("ChunkDecoder", () => {
  it("is the inverse of encodeChunk() however the bytes are cut", () => {
    const chunk = fc.uint8Array({ minLength: 1, maxLength: 300 });
    fc.assert(fc.property(fc.array(chunk), fc.array(fc.nat()), (chunks, marks) => {
      const coded = chunks.map((piece) => {
        const target = new Uint8Array(piece.length + CHUNK_OVERHEAD);
        return target.subarray(0, encodeChunk(piece, target));
      });
      const { body, ended, rest } = decode(cut(concatBytes([...coded, LAST_CHUNK]), marks));
      expect(body).toEqual(concatBytes(chunks));
      expect({ ended, rest }).toEqual({ ended: true, rest: 0 });
    }));
  });

  it("leaves out extensions and trailers, and what comes behind the end", () => {
    const { body, ended, rest } = decode([bytes("3;a=b\r\nabc\r\n2 \r\nde\r\n0\r\nx: y\r\nz: 1\r\n\r\nHTTP")]);
    expect({ body: String.fromCharCode(...body), ended, rest }).toEqual({ body: "abcde", ended: true, rest: 4 });
  });

  it("knows that it is not over", () => {
    for (const text of ["", "3", "3\r\nab", "3\r\nabc\r\n", "3\r\nabc\r\n0\r\n"]) {
      expect(decode([bytes(text)]).ended).toBe(false);
    }
  });

  it.each([
    "\r\n",
    "g\r\n",
    "-1\r\n",
    "3\nabc",
    "3\r\nabcd",
    "3\r\nabc\n0",
    "00000000000001\r\n",
    "3;\nabc",
    "0\r\nx\n\r\n",
    `1;${"x".repeat(20_000)}`,
  ])("refuses %j", (text) => {
    expect(() => decode([bytes(text)])).toThrow(OutpostError);
  });

  it("gives bytes or an OutpostError for any input", () => {
    const noise = fc.oneof(fc.uint8Array(), fc.constantFrom(...["0\r\n", "\r\n", "5\r\n", "a;b"].map(bytes)));
    fc.assert(
      fc.property(fc.array(noise), (pieces) => {
        try {
          decode(pieces);
        } catch (error) {
          expect(error).toBeInstanceOf(OutpostError);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
