import { inflateRawSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { BitWriter, deflateStreams, mixedData, randomOf } from "../../tests/fakes/deflate_streams.ts";
import { concat } from "../../tests/fakes/tar_builder.ts";
import { InflateError } from "../lib/inflate_error.ts";
import { wasmInflaters, wasmRuns } from "./inflater.ts";
import { LayerEngineInstance } from "./layer_engine.ts";

const inflaters = wasmInflaters();

interface Decoded {
  readonly output: Uint8Array;
  readonly used: number;
  readonly ended: boolean;
  readonly error: unknown;
}

/** Decodes a stream in pieces that end at the given positions. */
function decode(stream: Uint8Array, cuts: readonly number[] = []): Decoded {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const inflater = inflaters((bytes) => void parts.push(bytes.slice() as Uint8Array<ArrayBuffer>));
  let used = 0;
  let ended = false;
  let error: unknown;
  try {
    for (const end of [...cuts, stream.length]) {
      const taken = inflater.push(stream.subarray(used, end)) as number;
      used += taken;
      ended = used < end;
      if (ended) break;
    }
    // A stream that ends with its input says so when it is offered more.
    if (!ended) ended = inflater.push(Uint8Array.of(0)) === 0;
  } catch (thrown) {
    error = thrown;
  } finally {
    inflater.close();
  }
  return { output: concat(...parts), used, ended, error };
}

/** What node:zlib makes of a stream; undefined when it refuses it. */
function oracle(stream: Uint8Array): Uint8Array | undefined {
  try {
    return inflateRawSync(stream);
  } catch {
    return undefined;
  }
}

function expectSame(actual: Uint8Array, expected: Uint8Array): void {
  // A matcher on megabytes of numbers takes seconds.
  expect(actual.length).toBe(expected.length);
  const at = actual.findIndex((byte, i) => byte !== expected[i]);
  expect(at).toBe(-1);
}

describe("wasmInflaters()", () => {
  for (const { name, stream, data } of deflateStreams(400)) {
    it(`decodes at every split: ${name}`, () => {
      for (let cut = 0; cut <= stream.length; cut++) {
        const decoded = decode(stream, [cut]);
        expect(decoded).toMatchObject({ error: undefined, ended: true, used: stream.length });
        expectSame(decoded.output, data);
      }
      expectSame(decode(stream, Array.from(stream, (_, i) => i)).output, data);
    });
  }

  for (const { name, stream, data } of deflateStreams(700_000)) {
    it(`decodes over several windows, whole and at random splits: ${name}`, () => {
      expectSame(decode(stream).output, data);
      const random = randomOf(stream.length);
      for (let round = 0; round < 4; round++) {
        const cuts = Array.from({ length: 60 }, () => Math.floor(random() * stream.length)).toSorted((a, b) => a - b);
        const decoded = decode(stream, cuts);
        expect(decoded).toMatchObject({ error: undefined, ended: true });
        expectSame(decoded.output, data);
      }
    });
  }

  it("copies all lengths from short and from typical distances", () => {
    const distances = [...Array(40).keys().map((i) => i + 1), 63, 64, 65, 255, 256, 1000, 4095, 24_577, 32_767, 32_768];
    const data = mixedData(32_768, randomOf(3));
    const writer = new BitWriter().bits(0, 1).bits(0, 2);
    // A stored block fills the history; the fixed block after it holds the matches.
    writer.bits(0, 5).bits(0x7fff, 16).bits(0x8000, 16);
    for (const byte of data.subarray(1)) writer.bits(byte, 8);
    writer.bits(1, 1).bits(1, 2).fixed(data[0] ?? 0);
    for (const distance of distances) for (let length = 3; length <= 258; length++) writer.match(length, distance);
    const stream = writer.fixed(256).bytes();
    const expected = oracle(stream);
    if (expected === undefined) throw new Error("node:zlib refuses the stream");
    expectSame(decode(stream).output, expected);
  });

  it("reads codes of lengths and distances of all sizes after one another", () => {
    // The shortest length after 1 bit, and distance codes of 1, 2, 3 … 15 and 15 bits; the other way round too.
    const sizes = [...Array(15).keys().map((i) => i + 1), 15];
    const ladder = [...Array<number>(256).fill(0), 3, 1, 2, 4, 4];
    const uneven = [...Array<number>(256).fill(0), 1, 15, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2];
    const random = randomOf(9);
    for (const [literals, distances] of [[ladder, sizes], [ladder, sizes.toReversed()], [uneven, sizes.toReversed()]]) {
      if (literals === undefined || distances === undefined) continue;
      const writer = new BitWriter().bits(0, 3).bits(0, 5).bits(300, 16).bits(~300 & 0xffff, 16);
      for (let i = 0; i < 300; i++) writer.bits(random() * 256, 8);
      const { literal, distance } = writer.bits(1, 1).dynamic(literals, distances);
      for (let i = 0; i < 4000; i++) {
        const length = 257 + Math.floor(random() * (literals.length - 257));
        const extra = length < 265 ? 0 : (length - 261) >> 2;
        literal(length);
        writer.bits(random() * 2 ** extra, extra);
        const far = Math.floor(random() * 16);
        distance(far);
        writer.bits(random() * 2 ** (far >> 1), far < 4 ? 0 : (far >> 1) - 1);
      }
      literal(256);
      const stream = writer.bytes();
      const expected = oracle(stream);
      if (expected === undefined) throw new Error("node:zlib refuses the stream");
      expectSame(decode(stream).output, expected);
      expectSame(decode(stream, Array.from(stream, (_, i) => i)).output, expected);
    }
  });

  it("refuses a distance before the start, whichever path meets it", () => {
    for (const before of [0, 1, 100, 5000, 32_767]) {
      for (const distance of [before, before + 1, before + 2]) {
        if (distance === 0 || distance > 32_768) continue;
        const writer = new BitWriter().bits(1, 1).bits(1, 2);
        for (let i = 0; i < before; i++) writer.fixed(i & 127);
        writer.match(4, distance);
        for (let i = 0; i < 40; i++) writer.fixed(65);
        const stream = writer.fixed(256).bytes();
        const { error, output } = decode(stream);
        expect(error === undefined).toBe(oracle(stream) !== undefined);
        expect(error === undefined).toBe(distance <= before);
        // What stands in front of the damage is emitted, as zlib does.
        expect(output.length).toBe(error === undefined ? before + 44 : before);
      }
    }
  });

  it("refuses what zlib refuses, and takes what it takes: headers and codes bit by bit", () => {
    const dynamic = (litlens: number, dists: number): BitWriter =>
      new BitWriter().bits(1, 1).bits(2, 2).bits(litlens - 257, 5).bits(dists - 1, 5);
    /** A code length code of two symbols: 0 for `zero`, 1 for `one`; in the order of the format. */
    const twoLengths = (writer: BitWriter, a: number, b: number): BitWriter => {
      const order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
      writer.bits(15, 4);
      for (const symbol of order) writer.bits(symbol === a || symbol === b ? 1 : 0, 3);
      return writer;
    };
    const lengths = (writer: BitWriter, values: readonly number[]): BitWriter => {
      for (const value of values) writer.bits(value, 1);
      return writer;
    };
    const zeros = (count: number): number[] => Array<number>(count).fill(0);
    const streams: Record<string, Uint8Array> = {
      "type 3": new BitWriter().bits(1, 1).bits(3, 2).bytes(),
      "stored with a wrong complement": new BitWriter().bits(1, 1).bits(0, 7).bits(5, 16).bits(5, 16).bytes(),
      "287 literal codes": dynamic(287, 1).bits(15, 4).bits(0, 57).bytes(),
      "31 distance codes": dynamic(257, 31).bits(15, 4).bits(0, 57).bytes(),
      "no code length codes": dynamic(257, 1).bits(15, 4).bits(0, 57).bits(0, 300).bytes(),
      "end of block alone": lengths(twoLengths(dynamic(257, 1), 0, 1), [...zeros(256), 1, 0]).bits(0, 1).bytes(),
      "end of block alone, other bit": lengths(twoLengths(dynamic(257, 1), 0, 1), [...zeros(256), 1, 0]).bits(1, 1)
        .bits(0, 16).bytes(),
      "no end of block": lengths(twoLengths(dynamic(257, 1), 0, 1), [1, 1, ...zeros(255), 0]).bits(0, 16).bytes(),
      "over-subscribed literals": lengths(twoLengths(dynamic(257, 1), 0, 1), [1, 1, ...zeros(254), 1, 0]).bits(0, 9)
        .bytes(),
      "incomplete literals": lengths(twoLengths(dynamic(257, 1), 0, 2), [1, ...zeros(255), 1, 0]).bits(0, 9).bytes(),
      "one distance": lengths(twoLengths(dynamic(258, 1), 0, 1), [...zeros(256), 1, 1, 1]).bits(0, 1).bytes(),
      "incomplete distances": lengths(twoLengths(dynamic(258, 1), 0, 2), [1, 1, ...zeros(254), 1, 1, 1]).bits(0, 9)
        .bytes(),
      "literal 286": new BitWriter().bits(1, 1).bits(1, 2).fixed(286).bits(0, 64).bytes(),
      "literal 287": new BitWriter().bits(1, 1).bits(1, 2).fixed(287).bits(0, 64).bytes(),
      "distance 30": new BitWriter().bits(1, 1).bits(1, 2).fixed(65).fixed(257).code(30, 5).bits(0, 64).bytes(),
      "distance 31": new BitWriter().bits(1, 1).bits(1, 2).fixed(65).fixed(257).code(31, 5).bits(0, 300).bytes(),
    };
    for (const [name, stream] of Object.entries(streams)) {
      const decoded = decode(stream);
      expect({ name, taken: decoded.error === undefined && decoded.ended }).toEqual({
        name,
        taken: oracle(stream) !== undefined,
      });
    }
  });

  it("takes and refuses 12,000 mutated streams as node:zlib does, in constant memory", () => {
    const random = randomOf(11);
    const streams = deflateStreams(1500).map(({ stream }) => stream).filter((stream) => stream.length > 8);
    const memory = new LayerEngineInstance().memoryBytes;
    let refused = 0;
    for (let round = 0; round < 12_000; round++) {
      const stream = (streams[round % streams.length] ?? new Uint8Array(9)).slice();
      for (let n = 1 + Math.floor(random() * 3); n > 0; n--) {
        // Half of the mutations hit the headers and code lengths.
        const at = Math.floor(random() * (random() < 0.5 ? Math.min(80, stream.length) : stream.length));
        stream[at] = random() < 0.5 ? (stream[at] ?? 0) ^ (1 << Math.floor(random() * 8)) : random() * 256;
      }
      const cuts = round % 3 === 0 ? [Math.floor(random() * stream.length)] : [];
      const decoded = decode(stream, cuts);
      const expected = oracle(stream);
      const taken = decoded.error === undefined && decoded.ended;
      if (taken !== (expected !== undefined)) throw new Error(`Round ${round} differs: ${stream.toBase64()}`);
      if (expected === undefined) refused++;
      else expectSame(decoded.output, expected);
      if (decoded.error !== undefined) expect(decoded.error).toBeInstanceOf(InflateError);
    }
    expect(refused).toBeGreaterThan(6000);
    expect(refused).toBeLessThan(12_000);
    expect(new LayerEngineInstance().memoryBytes).toBe(memory);
    expect(memory).toBeLessThanOrEqual(1024 * 1024);
  });

  it("emits everything in front of the damage", () => {
    const data = mixedData(100_000, randomOf(5));
    const stream = new BitWriter().bits(0, 3).bits(0, 5).bits(data.length & 0xffff, 16).bits(~data.length & 0xffff, 16);
    for (const byte of data.subarray(0, data.length & 0xffff)) stream.bits(byte, 8);
    const decoded = decode(concat(stream.bytes() as Uint8Array<ArrayBuffer>, Uint8Array.of(7)));
    expect(decoded.error).toBeInstanceOf(InflateError);
    expectSame(decoded.output, data.subarray(0, data.length & 0xffff));
  });

  it("stays malformed, and says where a stream ends in front of other bytes", () => {
    const inflater = inflaters(() => {});
    expect(() => inflater.push(Uint8Array.of(7))).toThrow(InflateError);
    expect(() => inflater.push(Uint8Array.of(1, 0, 0, 0xff, 0xff))).toThrow(InflateError);
    inflater.reset();
    expect(inflater.push(Uint8Array.of(1, 0, 0, 0xff, 0xff, 1, 2, 3))).toBe(5);
    expect(inflater.push(Uint8Array.of(1))).toBe(0);
    inflater.close();
    inflater.close();
    expect(() => inflater.push(Uint8Array.of(1))).toThrow("closed");
  });

  it("keeps no history from one stream to the next", () => {
    const writer = new BitWriter().bits(1, 1).bits(1, 2).match(3, 1);
    for (let i = 0; i < 40; i++) writer.fixed(65);
    const stream = writer.fixed(256).bytes();
    decode(deflateStreams(50_000)[2]?.stream ?? new Uint8Array(0));
    expect(decode(stream).error).toBeInstanceOf(InflateError);
  });

  it("runs several at once, and lets the output function close its inflater", () => {
    const [, , , first, second] = deflateStreams(300_000);
    if (first === undefined || second === undefined) throw new Error("There are no streams");
    const outputs: Uint8Array<ArrayBuffer>[][] = [[], []];
    const both = [first, second].map((_, i) => inflaters((bytes) => void outputs[i]?.push(bytes.slice() as never)));
    for (let at = 0; at < Math.max(first.stream.length, second.stream.length); at += 777) {
      [first, second].forEach(({ stream }, i) => both[i]?.push(stream.subarray(at, at + 777)));
    }
    both.forEach((inflater) => inflater.close());
    expectSame(concat(...outputs[0] ?? []), first.data);
    expectSame(concat(...outputs[1] ?? []), second.data);

    let calls = 0;
    const closing = inflaters(() => {
      calls++;
      closing.close();
    });
    expect(closing.push(first.stream)).toBeGreaterThan(0);
    expect(calls).toBe(1);
    expectSame(decode(second.stream).output, second.data);
  });

  it("passes on what the output function throws, and can be reset after it", () => {
    const stream = deflateStreams(1000)[2]?.stream ?? new Uint8Array(0);
    let failing = true;
    let bytes = 0;
    const inflater = inflaters((part) => {
      if (failing) throw new RangeError("full");
      bytes += part.length;
    });
    expect(() => inflater.push(stream)).toThrow("full");
    failing = false;
    inflater.reset();
    inflater.push(stream);
    expect(bytes).toBe(1000);
    inflater.close();
  });
});

describe("LayerEngineInstance", () => {
  it("decodes what was read into its input window, without a copy", () => {
    const engine = new LayerEngineInstance();
    const { stream, data } = deflateStreams(5000)[5] ?? { stream: new Uint8Array(0), data: new Uint8Array(0) };
    engine.input.set(stream, 100);
    expect(engine.load(engine.input.subarray(100, 100 + stream.length))).toBe(100);
    expect(engine.run(100, stream.length)).toBe(2);
    expectSame(engine.output(), data);
    expect(engine.position).toBe(100 + stream.length);
  });
});

describe("wasmRuns()", () => {
  it("finds WebAssembly here", () => {
    expect(wasmRuns()).toBe(true);
  });
});
