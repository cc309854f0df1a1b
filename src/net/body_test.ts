import { describe, expect, it } from "vitest";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { concatBytes } from "../lib/bytes.ts";
import type { ByteStream } from "../core/ports.ts";
import { BodyReader } from "./body.ts";

const content = Uint8Array.from({ length: 200_000 }, (_, at) => (at * 31 + (at >> 7)) & 255);
const url = new URL("https://registry.example/");

/** As the body of an answer from the network. */
function byteStream(): ByteStream {
  return new ReadableStream({
    type: "bytes",
    start: (controller) => {
      controller.enqueue(content.slice());
      controller.close();
    },
  });
}

function reader(body: ByteStream): BodyReader {
  return new BodyReader(body, { clock: new FakeClock(), url, signal: new AbortController().signal, reuseBuffer: true });
}

describe("BodyReader with reuseBuffer", () => {
  it("reads a byte stream into one buffer: a piece is gone with the next read", async () => {
    const body = reader(byteStream());
    const pieces: Uint8Array[] = [];
    const copies: Uint8Array[] = [];
    for (let piece = await body.read(); piece !== undefined; piece = await body.read()) {
      pieces.push(piece);
      copies.push(piece.slice());
    }
    expect(concatBytes(copies)).toEqual(content);
    expect(pieces.length).toBeGreaterThan(1);
    expect(pieces.map((piece) => piece.byteLength)).toEqual(pieces.map(() => 0));
  });

  it("reads any other stream in the pieces that it gives", async () => {
    const body = reader(ReadableStream.from([content.slice(0, 150_000), content.slice(150_000)]));
    expect((await body.read())?.byteLength).toBe(150_000);
    expect((await body.read())?.byteLength).toBe(50_000);
    expect(await body.read()).toBeUndefined();
  });

  it("does not take a stream that somebody else reads", () => {
    const body = byteStream();
    body.getReader();
    expect(() => reader(body)).toThrow(TypeError);
  });
});
