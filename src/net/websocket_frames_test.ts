import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeClientFrame, FrameError, FrameReader, type Incoming, OPCODE } from "./websocket_frames.ts";
import { rawFrame } from "../../tests/fakes/raw_websocket.ts";
import { concatBytes } from "../lib/bytes.ts";

fc.configureGlobal({ seed: 6_455 });

/** Gives the bytes in pieces of at most `size`. */
function reader(bytes: Uint8Array, size = Infinity, maxBytes = 1_000): FrameReader {
  let at = 0;
  return new FrameReader((buffer) => {
    if (at === bytes.length) return Promise.resolve(null);
    const piece = bytes.subarray(at, at + Math.min(size, buffer.length));
    buffer.set(piece);
    at += piece.length;
    return Promise.resolve(piece.length);
  }, { maxBytes, first: new Uint8Array(0) });
}

async function all(frames: FrameReader): Promise<readonly Incoming[]> {
  const found: Incoming[] = [];
  for (let one = await frames.next(); one !== undefined; one = await frames.next()) {
    found.push({ ...one, payload: one.payload.slice() });
  }
  return found;
}

const text = (payload: Uint8Array): string => new TextDecoder().decode(payload);

describe("FrameReader", () => {
  it("reads messages of every length, however they are fragmented and cut, with control frames in between", async () => {
    const message = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(fc.array(message, { maxLength: 5 }), fc.integer({ min: 1, max: 50 }), async (messages, size) => {
        const bytes = concatBytes(messages.flatMap((parts) =>
          parts.flatMap((part, n) => [
            rawFrame(n === 0 ? OPCODE.binary : OPCODE.continuation, part, { final: n === parts.length - 1 }),
            rawFrame(OPCODE.ping, "p"),
          ])
        ));
        const found = await all(reader(bytes, size, 2_000));
        expect(found.filter(({ opcode }) => opcode === OPCODE.ping).length).toBe(messages.flat().length);
        expect(found.filter(({ opcode }) => opcode === OPCODE.binary).map(({ payload }) => [...payload])).toEqual(
          messages.map((parts) => parts.flatMap((part) => [...part])),
        );
      }),
      { numRuns: 300 },
    );
  });

  it("takes a message at the bound and refuses one above, whole or in pieces, before it is there", async () => {
    const part = new Uint8Array(500);
    const [whole] = await all(reader(rawFrame(OPCODE.text, new Uint8Array(1_000))));
    expect(whole?.payload.length).toBe(1_000);
    const two = [rawFrame(OPCODE.text, part, { final: false }), rawFrame(OPCODE.continuation, part)];
    expect((await all(reader(concatBytes(two))))[0]?.payload.length).toBe(1_000);
    const lies = [
      [rawFrame(OPCODE.text, "", { length: 1_001 })],
      [rawFrame(OPCODE.text, "", { length: 2 ** 53 })],
      [rawFrame(OPCODE.text, part, { final: false }), rawFrame(OPCODE.continuation, "", { length: 501 })],
    ];
    for (const frames of lies) await expect(all(reader(concatBytes(frames)))).rejects.toMatchObject({ code: 1009 });
  });

  it("holds no more than the message for a flood of small fragments", async () => {
    const one = rawFrame(OPCODE.continuation, "x", { final: false });
    const none = rawFrame(OPCODE.continuation, "", { final: false });
    const flood = [rawFrame(OPCODE.text, "", { final: false }), ...Array(900).fill(one), ...Array(10_000).fill(none)];
    const end = [rawFrame(OPCODE.continuation, "y")];
    const [message] = await all(reader(concatBytes([...flood, ...end]), 1_000));
    expect(text(message?.payload ?? new Uint8Array(0))).toBe(`${"x".repeat(900)}y`);
    await expect(all(reader(concatBytes([...flood, ...Array(101).fill(one)])))).rejects.toMatchObject({ code: 1009 });
  });

  it.each<readonly [string, readonly Uint8Array[]]>([
    ["reserved bits", [rawFrame(OPCODE.text, "x", { reserved: 4 })]],
    ["an unknown opcode", [rawFrame(3, "x")]],
    ["an unknown control opcode", [rawFrame(11, "x")]],
    ["a masked frame", [new Uint8Array([0x81, 0x81, 0, 0, 0, 0, 0x78])]],
    ["a fragmented ping", [rawFrame(OPCODE.ping, "x", { final: false })]],
    ["a long ping", [rawFrame(OPCODE.ping, "x".repeat(126))]],
    ["a continuation of nothing", [rawFrame(OPCODE.continuation, "x")]],
    ["a message in a message", [rawFrame(OPCODE.text, "x", { final: false }), rawFrame(OPCODE.text, "x")]],
  ])("refuses %s", async (_what, frames) => {
    await expect(all(reader(concatBytes([...frames])))).rejects.toMatchObject({ code: 1002 });
  });

  it("never fails but by a FrameError, whatever comes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 64 }), async (bytes) => {
        const error = await all(reader(bytes)).then(() => undefined, (thrown: unknown) => thrown);
        return error === undefined || error instanceof FrameError;
      }),
      { numRuns: 5_000 },
    );
  });
});

describe("encodeClientFrame()", () => {
  it("masks every byte with its part of the key", () => {
    const sizes = [0, 1, 2, 3, 4, 5, 7, 8, 125, 126, 127, 65_535, 65_536, 70_001];
    const key = new Uint8Array([1, 2, 3, 4]);
    for (const size of sizes) {
      const payload = Uint8Array.from({ length: size }, (_, n) => n % 251);
      const frame = encodeClientFrame(OPCODE.text, payload, key);
      const head = size < 126 ? 2 : size < 65_536 ? 4 : 10;
      expect([frame[0], (frame[1] ?? 0) & 0x80]).toEqual([0x81, 0x80]);
      expect(frame.length).toBe(head + 4 + size);
      expect(frame.subarray(head, head + 4)).toEqual(key);
      expect(frame.subarray(head + 4).every((byte, n) => (byte ^ (key[n % 4] ?? 0)) === payload[n])).toBe(true);
    }
  });
});
