import { Buffer } from "node:buffer";
import { describe, expect, it } from "vitest";
import type { ByteStream } from "../core/ports.ts";
import { openByteSource } from "./byte_source.ts";

const CONTENT = Uint8Array.from({ length: 200_000 }, (_, i) => i % 251);
const never = new AbortController().signal;

function byteStream(): ByteStream {
  let at = 0;
  return new ReadableStream({
    type: "bytes",
    pull(controller): void {
      if (at >= CONTENT.length) {
        controller.close();
        controller.byobRequest?.respond(0);
      } else controller.enqueue(CONTENT.slice(at, at += 10_000));
    },
  }) as ByteStream;
}

function plainStream(): ByteStream {
  return ReadableStream.from([CONTENT.slice(0, 70_000), new Uint8Array(0), CONTENT.slice(70_000)]);
}

describe("openByteSource()", () => {
  it.each([["a byte stream", byteStream], ["any other stream", plainStream]] as const)(
    "reads %s to its end",
    async (_kind, make) => {
      const source = openByteSource(make(), never);
      const parts: Uint8Array[] = [];
      for (let bytes = await source.read(); bytes !== undefined; bytes = await source.read()) parts.push(bytes.slice());
      await source.close();
      expect(Buffer.compare(Buffer.concat(parts), CONTENT)).toBe(0);
    },
  );

  it.each([["a byte stream", "bytes"], ["any other stream", undefined]] as const)(
    "cancels %s that stalls when the signal aborts",
    async (_kind, type) => {
      const stop = new AbortController();
      let cancelled: unknown;
      const underlying = { cancel: (reason: unknown) => void (cancelled = reason) };
      const stream = type === undefined
        ? new ReadableStream<Uint8Array<ArrayBuffer>>(underlying)
        : new ReadableStream({ ...underlying, type }) as ByteStream;
      const source = openByteSource(stream, stop.signal);
      const reading = source.read();
      stop.abort("enough");
      await expect(reading).rejects.toBe("enough");
      expect(cancelled).toBe("enough");
      await source.close();
    },
  );

  it("cancels what was not read when it is closed", async () => {
    let cancelled = false;
    const source = openByteSource(new ReadableStream({ cancel: () => void (cancelled = true) }), never);
    await source.close();
    expect(cancelled).toBe(true);
  });

  it("passes the stream's failure on, and closes all the same", async () => {
    const source = openByteSource(new ReadableStream({ pull: (c) => c.error(new RangeError("broken")) }), never);
    await expect(source.read()).rejects.toThrow("broken");
    await source.close();
  });
});
