/**
 * What every DEFLATE decoder has to do, checked against node:zlib: the same bytes, the same end, the same refusals.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { constants, deflateRawSync, inflateRawSync, type ZlibOptions } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { InflaterFactory } from "../core/ports.ts";
import { concatBytes } from "../lib/bytes.ts";
import { MALFORMED_BLOCKS, ODD_BLOCKS, TINY_BLOCK_KINDS } from "../../tests/fakes/deflate_blocks.ts";
import { Chance, contents } from "../../tests/fakes/deflate_contents.ts";

/** Mutated streams per engine and run. */
const MUTATIONS = 12_000;
/** Resident memory that a bomb may cost on top: a decoder that collects its output would take all of it. */
const BOMB_RSS_BYTES = 128 << 20;

/** What a decoder makes of some input. */
type Verdict =
  | { readonly kind: "whole"; readonly bytes: Uint8Array; readonly used: number }
  | { readonly kind: "refused" };

/** Adds the suite to the running test file. */
export function inflaterSuite(name: string, load: () => Promise<InflaterFactory>): void {
  describe(`inflater ${name}`, () => {
    equality(load);
    splits(load);
    refusals(load);
    behaviour(name, load);
  });
}

const LEVELS = [0, 1, 6, 9] as const;
const OPTIONS: readonly (readonly [string, ZlibOptions])[] = [
  ...LEVELS.map((level) => [`level ${level}`, { level }] as const),
  ["Huffman only", { strategy: constants.Z_HUFFMAN_ONLY }],
  ["run lengths", { strategy: constants.Z_RLE }],
  ["fixed codes", { strategy: constants.Z_FIXED }],
  ["filtered", { strategy: constants.Z_FILTERED }],
  ["many small blocks", { memLevel: 1 }],
  ["a window of 512 bytes", { windowBits: 9 }],
];

function equality(load: () => Promise<InflaterFactory>): void {
  it.each(OPTIONS)("decodes what zlib makes with %s", async (_name, options) => {
    const factory = await load();
    for (const [what, content] of contents()) {
      const deflated = deflateRawSync(content, options);
      for (const sizes of [[deflated.length], [65_536], [1021]]) {
        expectWhole(await decode(factory, deflated, sizes), content, deflated.length, what);
      }
    }
  });

  it.each(ODD_BLOCKS)("decodes %s", async (_name, deflated) => {
    const factory = await load();
    const expected = zlibVerdict(deflated);
    expect(expected.kind).toBe("whole");
    for (const sizes of [[deflated.length], [1]]) {
      expectSame(await decode(factory, deflated, sizes), expected, deflated);
    }
  });
}

function splits(load: () => Promise<InflaterFactory>): void {
  it("gives the same wherever small inputs are split", async () => {
    const factory = await load();
    for (const [what, content] of contents().filter(([, bytes]) => bytes.length <= 2000)) {
      for (const [, options] of OPTIONS) {
        const deflated = deflateRawSync(content, options);
        if (deflated.length > 300) continue;
        for (let at = 0; at < deflated.length; at++) {
          expectWhole(
            await decode(factory, deflated, [at, deflated.length]),
            content,
            deflated.length,
            `${what} ${at}`,
          );
        }
        expectWhole(await decode(factory, deflated, [1]), content, deflated.length, what);
      }
    }
  });

  it("gives the same however large inputs are cut", async () => {
    const factory = await load();
    const chance = new Chance(7);
    for (const [what, content] of contents().filter(([, bytes]) => bytes.length > 2000)) {
      for (const [, options] of OPTIONS) {
        const deflated = deflateRawSync(content, options);
        const most = 1 << (1 + chance.below(14));
        const sizes = Array.from({ length: 500 }, () => chance.below(most) + (most === 2 ? 1 : 0));
        expectWhole(await decode(factory, deflated, [...sizes, 9000]), content, deflated.length, what);
      }
    }
  });
}

function refusals(load: () => Promise<InflaterFactory>): void {
  it.each(MALFORMED_BLOCKS)("refuses %s", async (_name, deflated) => {
    const factory = await load();
    expect(zlibVerdict(deflated).kind).toBe("refused");
    for (const sizes of [[deflated.length], [1]]) {
      expect((await decode(factory, deflated, sizes)).kind).toBe("refused");
    }
  });

  it("never takes a stream for whole that ends at any byte before", async () => {
    const factory = await load();
    for (const deflated of smallStreams()) {
      for (let length = 0; length < deflated.length; length++) {
        const verdict = await decode(factory, deflated.subarray(0, length), [length]);
        expect(verdict.kind, `${length} of ${Buffer.from(deflated).toString("hex")}`).toBe("refused");
      }
    }
  });

  it(`agrees with zlib about ${MUTATIONS} damaged streams`, async () => {
    const factory = await load();
    const chance = new Chance(11);
    const streams = smallStreams();
    let whole = 0;
    for (let turn = 0; turn < MUTATIONS; turn++) {
      const damaged = mutate(streams[turn % streams.length] ?? new Uint8Array(0), chance);
      const expected = zlibVerdict(damaged);
      if (expected.kind === "whole") whole++;
      const sizes = turn % 3 === 0 ? [1 + chance.below(damaged.length + 1)] : [damaged.length];
      expectSame(await decode(factory, damaged, sizes), expected, damaged);
    }
    // Neither verdict is rare, or this would test nothing.
    expect(whole).toBeGreaterThan(MUTATIONS / 10);
    expect(whole).toBeLessThan(MUTATIONS * 0.9);
  });
}

function behaviour(name: string, load: () => Promise<InflaterFactory>): void {
  it("leaves what follows a stream alone, and decodes the next one after reset()", async () => {
    const factory = await load();
    const texts = ["", "one", "x".repeat(100_000), ""];
    const streams = texts.map((text) => deflateRawSync(text));
    const parts: Uint8Array[] = [];
    const inflater = factory((bytes) => void parts.push(bytes.slice()));
    for (const [at, stream] of streams.entries()) {
      expect(await inflater.push(concatBytes([stream, Uint8Array.of(0xff, 0x1f, 0x8b)]))).toBe(stream.length);
      expect(await inflater.push(Uint8Array.of(1, 2, 3))).toBe(0);
      expect(Buffer.concat(parts.splice(0)).toString()).toBe(texts[at]);
      inflater.reset();
    }
    inflater.close();
  });

  it("starts anew after reset() in the middle of a stream, and after a refusal", async () => {
    const factory = await load();
    const content = contents().at(-1)?.[1] ?? new Uint8Array(0);
    const deflated = deflateRawSync(content);
    const parts: Uint8Array[] = [];
    const inflater = factory((bytes) => void parts.push(bytes.slice()));
    await inflater.push(deflated.subarray(0, deflated.length >> 1));
    inflater.reset();
    await expect(push(inflater, Uint8Array.of(0xff))).rejects.toMatchObject({ code: expect.stringMatching(/^Z_/) });
    inflater.reset();
    parts.length = 0;
    expect(await inflater.push(deflated)).toBe(deflated.length);
    expect(Buffer.compare(concatBytes(parts), content)).toBe(0);
    inflater.close();
    inflater.close();
  });

  it("takes no notice of what becomes of its input after push()", async () => {
    const factory = await load();
    const [, content] = contents().at(-1) ?? ["", new Uint8Array(0)];
    const deflated = deflateRawSync(content);
    const parts: Uint8Array[] = [];
    const inflater = factory((bytes) => void parts.push(bytes.slice()));
    for (let at = 0; at < deflated.length; at += 777) {
      const input = Uint8Array.from(deflated.subarray(at, at + 777));
      const before = input.slice();
      await inflater.push(input);
      expect(input).toEqual(before);
      input.fill(0xaa);
    }
    inflater.close();
    expect(Buffer.compare(concatBytes(parts), content)).toBe(0);
  });

  it("passes on what the output function throws", async () => {
    const factory = await load();
    const failure = new Error("enough");
    const inflater = factory(() => {
      throw failure;
    });
    await expect(push(inflater, deflateRawSync("text"))).rejects.toBe(failure);
    inflater.close();
  });

  it("decodes two streams at the same time", async () => {
    const factory = await load();
    const content = contents().map(([, bytes]) => bytes);
    const verdicts = await Promise.all(content.map((bytes) => decode(factory, deflateRawSync(bytes), [500])));
    for (const [at, verdict] of verdicts.entries()) {
      expect(verdict.kind === "whole" && Buffer.compare(verdict.bytes, content[at] ?? new Uint8Array(0))).toBe(0);
    }
  });

  it("decodes a bomb without holding it", async () => {
    const program = new URL("../../tests/fakes/bomb_memory.ts", import.meta.url);
    const command = new Deno.Command(Deno.execPath(), { args: ["run", "-A", "--no-check", program.pathname, name] });
    const { stdout } = await command.output();
    const { whole, grown } = JSON.parse(new TextDecoder().decode(stdout)) as { whole: boolean; grown: number };
    expect(whole).toBe(true);
    expect(grown).toBeLessThan(BOMB_RSS_BYTES);
  });

  it.each(TINY_BLOCK_KINDS)("gets to the end of 20,000 blocks that are %s", async (_name, blocks) => {
    const factory = await load();
    const deflated = blocks(20_000);
    expectSame(await decode(factory, deflated, [65_536]), zlibVerdict(deflated), deflated.subarray(0, 50));
  });
}

/** Streams of at most 300 bytes with every kind of block. */
function smallStreams(): readonly Uint8Array[] {
  const streams = contents().flatMap(([, content]) =>
    OPTIONS.map(([, options]) => deflateRawSync(content.subarray(0, 700), options))
  );
  return [...streams, ...ODD_BLOCKS.map(([, bytes]) => bytes)].filter(({ length }) => length <= 300);
}

/** Damages a copy, mostly once: bits, bytes, cuts, insertions and tails, a quarter of them within the first header. */
function mutate(stream: Uint8Array, chance: Chance): Uint8Array {
  // Not slice(), which for a Buffer does not copy.
  let bytes: Uint8Array = Uint8Array.from(stream);
  for (let times = chance.below(4) === 0 ? 3 : 1; times > 0; times--) {
    const at = chance.below(chance.below(4) === 0 ? Math.min(12, bytes.length + 1) : bytes.length + 1);
    const kind = chance.below(10);
    if (kind === 0) bytes = bytes.slice(0, at);
    else if (kind === 1) {
      bytes = concatBytes([bytes.subarray(0, at), chance.bytes(1 + chance.below(4)), bytes.subarray(at)]);
    } else if (kind === 2) bytes = concatBytes([bytes.subarray(0, at), bytes.subarray(at + 1 + chance.below(4))]);
    else if (kind === 3) bytes = concatBytes([bytes, chance.bytes(chance.below(20))]);
    else if (at < bytes.length) bytes[at] = kind < 6 ? chance.below(256) : (bytes[at] ?? 0) ^ (1 << chance.below(8));
  }
  return bytes;
}

/** Decodes input cut into pieces of the given sizes, the last of which is repeated. */
async function decode(factory: InflaterFactory, input: Uint8Array, sizes: readonly number[]): Promise<Verdict> {
  const parts: Uint8Array[] = [];
  const inflater = factory((bytes) => void parts.push(bytes.slice()));
  try {
    for (let at = 0, turn = 0; at < input.length; turn++) {
      const size = sizes[Math.min(turn, sizes.length - 1)] ?? input.length;
      const piece = input.subarray(at, at + size);
      const used = await inflater.push(piece);
      at += used;
      if (used < piece.length) return { kind: "whole", bytes: concatBytes(parts), used: at };
    }
    // A stream that has ended takes nothing more.
    if (await inflater.push(Uint8Array.of(0)) === 0) {
      return { kind: "whole", bytes: concatBytes(parts), used: input.length };
    }
    return { kind: "refused" };
  } catch (error) {
    if (error instanceof Error && "code" in error && String(error.code).startsWith("Z_")) return { kind: "refused" };
    throw error;
  } finally {
    inflater.close();
  }
}

/** node:zlib's own verdict. */
function zlibVerdict(input: Uint8Array): Verdict {
  try {
    // With `info` node:zlib tells how much input the stream took.
    const { buffer, engine } = inflateRawSync(input, { info: true }) as unknown as {
      readonly buffer: Uint8Array;
      readonly engine: { readonly bytesWritten: number };
    };
    return { kind: "whole", bytes: buffer, used: engine.bytesWritten };
  } catch {
    return { kind: "refused" };
  }
}

function expectSame(actual: Verdict, expected: Verdict, input: Uint8Array): void {
  const hex = (): string => Buffer.from(input).toString("hex");
  if (expected.kind === "whole") expectWhole(actual, expected.bytes, expected.used, hex());
  else if (actual.kind !== "refused") expect.unreachable(`zlib refuses ${hex()}`);
}

function expectWhole(actual: Verdict, content: Uint8Array, used: number, what: string): void {
  if (actual.kind !== "whole") return expect.unreachable(`refused: ${what}`);
  expect(actual.used, what).toBe(used);
  // toEqual() takes seconds for large arrays.
  expect(Buffer.compare(actual.bytes, content), what).toBe(0);
}

/** A promise of what push() answers, also where it throws. */
async function push(inflater: ReturnType<InflaterFactory>, input: Uint8Array): Promise<number> {
  return await inflater.push(input);
}
