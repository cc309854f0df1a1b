import { Buffer } from "node:buffer";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { concat } from "../../tests/fakes/tar_builder.ts";
import { LIMITS } from "../core/limits.ts";
import type { InflaterFactory } from "../core/ports.ts";
import { type DecompressionLimits, Decompressor } from "./decompress.ts";
import { layerFail } from "./fail.ts";
import { INFLATERS } from "./inflaters.ts";

interface Decoded {
  readonly bytes: Uint8Array;
  readonly compression: string;
  readonly error: unknown;
}

interface DecodeOptions {
  /** Length of the pieces in which the input is given. */
  readonly slice?: number;
  readonly limits?: DecompressionLimits;
}

type Decode = (input: Uint8Array, options?: DecodeOptions) => Promise<Decoded>;

const ENGINES = Object.entries(INFLATERS);

function decoder(load: () => Promise<InflaterFactory>): Decode {
  return async (input, options = {}) => await decodeWith(await load(), input, options);
}

async function decodeWith(inflater: InflaterFactory, input: Uint8Array, options: DecodeOptions): Promise<Decoded> {
  const { slice = 65536, limits } = options;
  const parts: Uint8Array[] = [];
  const emit = (bytes: Uint8Array): void => void parts.push(bytes.slice());
  const decompressor = new Decompressor({ emit, fail: layerFail("test"), limits, inflater });
  let error: unknown;
  try {
    for (let at = 0; at < input.length; at += slice) await decompressor.push(input.slice(at, at + slice));
    await decompressor.finish();
  } catch (thrown) {
    error = thrown;
  } finally {
    decompressor.close();
  }
  return { bytes: concat(...parts), compression: decompressor.compression, error };
}

const text = "The quick brown fox. ".repeat(40);
const gz = (content: string | Uint8Array): Uint8Array => new Uint8Array(gzipSync(content));
const zst = (content: string | Uint8Array): Uint8Array => new Uint8Array(zstdCompressSync(content));
const SKIPPABLE = Uint8Array.of(0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3);
const EMPTY_SKIPPABLE = Uint8Array.of(0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0);
const corrupt = expect.objectContaining({ code: "LAYER_CORRUPT", layer: "test" });

/** A gzip member with every optional header field, its header checksum right or wrong. */
function richGzip(content: string, wrongBy = 0): Uint8Array {
  const plain = gz(content);
  const header = concat(
    plain.slice(0, 3),
    Uint8Array.of(0x1f),
    plain.slice(4, 10),
    "\x04\0abcd",
    "name\0",
    "comment\0",
  );
  const sum = (crc16(header) + wrongBy) & 0xffff;
  return concat(header, Uint8Array.of(sum & 0xff, sum >> 8), plain.slice(10));
}

function crc16(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ ((crc & 1) === 1 ? 0xedb88320 : 0);
  }
  return ~crc & 0xffff;
}

function changed(bytes: Uint8Array, at: number, value?: number): Uint8Array {
  const copy = bytes.slice();
  const index = at < 0 ? copy.length + at : at;
  copy[index] = value ?? (copy[index] ?? 0) ^ 0x01;
  return copy;
}

const GOOD: readonly (readonly [string, Uint8Array, string, string])[] = [
  ["nothing", new Uint8Array(0), "", "none"],
  ["one byte", Uint8Array.of(0x1f), "\x1f", "none"],
  ["plain bytes", concat(text), text, "none"],
  ["gzip", gz(text), text, "gzip"],
  ["gzip of nothing", gz(""), "", "gzip"],
  ["gzip with every header field", richGzip(text), text, "gzip"],
  ["gzip of two members", concat(gz(text), gz("second")), `${text}second`, "gzip"],
  ["gzip with empty members", concat(gz(""), gz(text), gz(""), gz("second"), gz("")), `${text}second`, "gzip"],
  ["gzip with rich members", concat(richGzip(text), richGzip("second")), `${text}second`, "gzip"],
  ["gzip and zeros", concat(gz(text), new Uint8Array(1000)), text, "gzip"],
  ["gzip and garbage", concat(gz(text), "garbage that is no member"), text, "gzip"],
  ["gzip and half a magic number", concat(gz(text), Uint8Array.of(0x1f)), text, "gzip"],
  ["gzip and a false magic number", concat(gz(text), Uint8Array.of(0x1f, 0x1f, 0x8b, 0x08)), text, "gzip"],
  ["gzip, zeros and a member", concat(gz(text), new Uint8Array(10), gz("ignored")), text, "gzip"],
  ["zstd", zst(text), text, "zstd"],
  ["zstd of nothing", zst(""), "", "zstd"],
  ["zstd of three frames", concat(zst(text), zst(""), zst("third")), `${text}third`, "zstd"],
  ["zstd with a skippable frame first", concat(SKIPPABLE, zst(text)), text, "zstd"],
  [
    "zstd with skippable frames everywhere",
    concat(SKIPPABLE, EMPTY_SKIPPABLE, zst(text), SKIPPABLE, zst("second"), SKIPPABLE),
    `${text}second`,
    "zstd",
  ],
];

describe.each(ENGINES)("Decompressor with %s", (_name, load) => {
  const decode = decoder(load);

  for (const slice of [1, 7, 65536]) {
    it.each(GOOD)(`reads %s in slices of ${slice}`, async (_name, input, expected, compression) => {
      const decoded = await decode(input, { slice });
      expect(decoded.error).toBeUndefined();
      expect(new TextDecoder().decode(decoded.bytes)).toBe(expected);
      expect(decoded.compression).toBe(compression);
    });
  }

  it.each(
    [
      ["gzip with a wrong CRC", changed(gz(text), -8)],
      ["gzip with a wrong length", changed(gz(text), -4)],
      ["gzip with a wrong CRC in the second member", concat(gz(text), changed(gz("second"), -8))],
      ["gzip with a wrong header checksum", richGzip(text, 1)],
      ["gzip with an unknown method", changed(gz(text), 2, 7)],
      ["gzip with reserved flags", changed(gz(text), 3, 0x20)],
      ["gzip with a bad block type", changed(gz(text), 10, 0x07)],
      ["gzip with a second member of unknown method", concat(gz(text), Uint8Array.of(0x1f, 0x8b, 0x01, 0))],
      ["zstd with a wrong checksum", zstdWithWrongChecksum()],
      ["zstd and garbage", concat(zst(text), "garbage")],
      ["zstd and zeros", concat(zst(text), new Uint8Array(9))],
      ["zstd with a reserved block type", changed(zst(text), zstdHeaderBytes(zst(text)), 0x07)],
      ["zstd with a dictionary", concat(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x21, 5, 3, 1, 0, 0))],
    ] as const,
  )("refuses %s", async (_name, input) => {
    for (const slice of [1, 65536]) expect((await decode(input, { slice })).error).toEqual(corrupt);
  });

  it.each(
    [
      ["gzip", gz(text), [] as number[]],
      ["rich gzip", richGzip("x"), []],
      ["gzip of two members", concat(gz(text), gz("second")), [gz(text).length, gz(text).length + 1]],
      ["zstd", zst(text), []],
      ["zstd of two frames", concat(zst(text), zst("second")), [zst(text).length]],
      ["zstd after a skippable frame", concat(SKIPPABLE, zst(text)), [SKIPPABLE.length]],
    ] as const,
  )("refuses %s truncated at any byte", async (_name, input, whole) => {
    for (let length = 4; length < input.length; length++) {
      const { error } = await decode(input.slice(0, length), { slice: 65536 });
      if ((whole as readonly number[]).includes(length)) expect(error, `at ${length}`).toBeUndefined();
      else expect(error, `at ${length}`).toEqual(corrupt);
    }
  });

  it("gives what was compressed, however both sides are cut", async () => {
    const content = fc.array(
      fc.oneof(fc.uint8Array({ maxLength: 3000 }), fc.nat({ max: 99_999 }).map((n) => new Uint8Array(n))),
    );
    const property = fc.asyncProperty(
      content,
      fc.integer({ min: 1, max: 5000 }),
      fc.boolean(),
      async (parts, slice, zstd) => {
        const input = concat(...parts.map((part) => zstd ? zst(part) : gz(part)));
        const { bytes, error } = await decode(input, { slice });
        expect(error).toBeUndefined();
        expect(Buffer.compare(bytes, concat(...parts))).toBe(0);
      },
    );
    await fc.assert(property, { numRuns: 60 });
  });

  it("never gives a short or wrong result for damaged input without an error", async () => {
    const property = fc.asyncProperty(
      fc.boolean(),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      async (zstd, where, mask) => {
        const input = zstd ? concat(zst(text), SKIPPABLE, zst("second")) : concat(gz(text), gz("second"));
        const at = where % input.length;
        const { bytes, error } = await decode(changed(input, at, (input[at] ?? 0) ^ mask));
        if (error !== undefined) {
          expect(["LAYER_CORRUPT", "LIMIT_EXCEEDED"]).toContain(
            (error as { code: string }).code,
          );
        } // gzip's checksum covers the content; a damaged header may turn a member into garbage, a damaged zstd frame
        // without checksum into other content: the diff ID is there for both.
        else if (!zstd && bytes.length > text.length) expect(new TextDecoder().decode(bytes)).toBe(`${text}second`);
      },
    );
    await fc.assert(property, { numRuns: 400 });
  });
});

describe.each(ENGINES)("Decompressor's limits with %s", (_name, load) => {
  const decode = decoder(load);
  const limits = { ...LIMITS, layerTarBytes: 1000, expansionWindowBytes: 100_000, expansionRatio: 50 };
  const exceeded = (text: string): unknown =>
    expect.objectContaining({ code: "LIMIT_EXCEEDED", layer: "test", message: expect.stringContaining(text) });

  it.each([[999, true], [1000, true], [1001, false]] as const)(
    "takes %d bytes by a limit of 1000: %j",
    async (size, ok) => {
      const content = crypto.getRandomValues(new Uint8Array(size));
      for (const input of [content.fill(0x61, 0, 4), gz(content), zst(content)]) {
        const { error, bytes } = await decode(input, { limits });
        if (ok) expect(bytes).toEqual(content);
        else expect(error).toEqual(exceeded("1000 bytes"));
      }
    },
  );

  it.each([[-1, true], [0, true], [1, false]] as const)(
    "bounds the ratio: %d bytes over it are fine: %j",
    async (over, ok) => {
      const wide = { ...limits, layerTarBytes: 1e9, expansionWindowBytes: 1000 };
      for (const compress of [gz, zst]) {
        // A member whose ratio is exactly the limit plus `over` bytes: the padding is in its header or a skippable frame.
        const content = new Uint8Array(100_000 + over);
        const input = padTo(compress(content), 100_000 / 50, compress === gz);
        expect(input.length).toBe(2000);
        const { error } = await decode(input, { limits: wide });
        if (ok) expect(error).toBeUndefined();
        else expect(error).toEqual(exceeded("50 times"));
      }
    },
  );

  it("does not look at the ratio within a window", async () => {
    const content = new Uint8Array(99_999);
    const short = { ...limits, layerTarBytes: 1e9 };
    expect((await decode(gz(content), { limits: short })).error).toBeUndefined();
    expect((await decode(gz(new Uint8Array(100_000)), { limits: short })).error).toEqual(exceeded("50 times"));
  });

  it("stops a bomb early", async () => {
    const bomb = zst(new Uint8Array(300_000_000));
    const { error, bytes } = await decode(bomb);
    expect(error).toEqual(exceeded("1100 times"));
    expect(bytes.length).toBeLessThan(LIMITS.expansionWindowBytes + 200_000);
  });

  it("lets honest zeros through gzip's best ratio", async () => {
    let size = 0;
    const emit = (bytes: Uint8Array): void => void (size += bytes.length);
    const decompressor = new Decompressor({ emit, fail: layerFail("test"), inflater: await load() });
    await decompressor.push(gz(new Uint8Array(200_000_000)));
    await decompressor.finish();
    decompressor.close();
    expect(size).toBe(200_000_000);
  });

  it.each([[20, true], [21, true], [22, false]] as const)(
    "takes a zstd window of 2^%d by a limit of 2^21: %j",
    async (log, ok) => {
      const frame = concat(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x00, (log - 10) << 3, 1 | (3 << 3), 0, 0), "abc");
      const { error, bytes } = await decode(frame, { limits: { ...limits, zstdWindowLog: 21 } });
      if (ok) expect(new TextDecoder().decode(bytes)).toBe("abc");
      else expect(error).toEqual(exceeded("2^21"));
    },
  );
});

/** Lengthens a stream to `length` bytes that decode to nothing: a gzip extra field, or a skippable frame. */
function padTo(stream: Uint8Array, length: number, gzip: boolean): Uint8Array {
  if (!gzip) {
    const skipped = length - stream.length - 8;
    return concat(
      Uint8Array.of(0x50, 0x2a, 0x4d, 0x18, skipped & 0xff, skipped >> 8, 0, 0),
      new Uint8Array(skipped),
      stream,
    );
  }
  const extra = length - stream.length - 2;
  const header = changed(stream.slice(0, 10), 3, 0x04);
  return concat(header, Uint8Array.of(extra & 0xff, extra >> 8), new Uint8Array(extra), stream.slice(10));
}

/** Bytes before the first block header of a frame (RFC 8878, 3.1.1.1). */
function zstdHeaderBytes(frame: Uint8Array): number {
  const descriptor = frame[4] ?? 0;
  const single = (descriptor & 0x20) !== 0;
  const sizes = [single ? 1 : 0, 2, 4, 8];
  return 5 + (single ? 0 : 1) + (sizes[descriptor >> 6] ?? 0);
}

/** A frame of one raw block with the checksum flag set and zeros for a checksum. */
function zstdWithWrongChecksum(): Uint8Array {
  return concat(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x24, 3, 1 | (3 << 3), 0, 0), "abc", new Uint8Array(4));
}
