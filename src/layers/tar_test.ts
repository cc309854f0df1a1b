import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { oddArchives } from "../../tests/fakes/odd_archives.ts";
import {
  concat,
  gnuLong,
  oldSparseMap,
  padded,
  pax,
  tar,
  tarHeader,
  tarMember,
} from "../../tests/fakes/tar_builder.ts";
import golden from "../../tests/fixtures/tar/golden.json" with { type: "json" };
import { layerFail } from "./fail.ts";
import { TarParser } from "./tar.ts";
import type { TarHeader } from "./tar_member.ts";

interface Member {
  readonly name: string;
  readonly linkName: string;
  readonly type: string;
  readonly size: number;
  readonly content: string;
}

interface Reading {
  readonly members: Member[];
  readonly headers: TarHeader[];
  readonly error: unknown;
}

const fail = layerFail("test");
const UNBOUNDED = { tarExtensionBytes: 1024 * 1024, pathBytes: 1024 * 1024 };

/** Reads an archive in pieces cut at the given positions, wanting everything (or nothing). */
function read(
  bytes: Uint8Array,
  options: { cuts?: readonly number[]; want?: boolean; limits?: typeof UNBOUNDED } = {},
): Reading {
  const { cuts = [], want = true, limits = UNBOUNDED } = options;
  const members: Member[] = [];
  const headers: TarHeader[] = [];
  let hash = createHash("sha256");
  let size = 0;
  const parser = new TarParser({
    fail,
    limits,
    sink: {
      header(header): boolean {
        headers.push(header);
        hash = createHash("sha256");
        size = 0;
        return want;
      },
      data(part): void {
        hash.update(part);
        size += part.length;
      },
      end(): void {
        const { name, linkName, typeFlag } = headers[headers.length - 1] as TarHeader;
        members.push({ name, linkName, type: typeFlag, size, content: hash.digest("hex") });
      },
    },
  });
  let error: unknown;
  try {
    const positions = [...cuts.filter((cut) => cut < bytes.length).toSorted((a, b) => a - b), bytes.length];
    let at = 0;
    for (const position of positions) {
      parser.push(bytes.slice(at, position));
      at = position;
    }
    parser.finish();
  } catch (thrown) {
    error = thrown;
  }
  return { members, headers, error };
}

const archives = Object.entries(oddArchives());
const judged = golden.archives as Record<string, { sha256: string; members: Member[]; failed: boolean }>;

describe("TarParser against Go's archive/tar", () => {
  it("has a judgement for every odd archive, and no other", () => {
    expect(Object.keys(judged).toSorted()).toEqual(archives.map(([name]) => name).toSorted());
    for (const [name, bytes] of archives) {
      expect(createHash("sha256").update(bytes).digest("hex"), name).toBe(judged[name]?.sha256);
    }
  });

  it.each(archives)("reads %s as Go does", (name, bytes) => {
    const { members, error } = read(bytes);
    // Go shows global headers as members; nobody here needs them.
    expect(members).toEqual(judged[name]?.members.filter((member) => member.type !== "g"));
    expect(error !== undefined).toBe(judged[name]?.failed);
    const code = name === "pax-large" ? "LIMIT_EXCEEDED" : "LAYER_CORRUPT";
    if (error !== undefined) expect(error).toMatchObject({ code, layer: "test" });
  });
});

describe("TarParser", () => {
  it("gives the same for any split of the input, and the same headers when nothing is wanted", () => {
    const small = archives.filter(([, bytes]) => bytes.length < 100_000);
    const property = fc.property(
      fc.nat({ max: small.length - 1 }),
      fc.array(fc.nat({ max: 6000 }), { maxLength: 30 }),
      (index, cuts) => {
        const [, bytes] = small[index] as [string, Uint8Array];
        const whole = read(bytes);
        const split = read(bytes, { cuts });
        expect(split).toEqual(whole);
        const unwanted = read(bytes, { cuts, want: false });
        expect(unwanted.headers).toEqual(whole.headers);
        expect(unwanted.error).toEqual(whole.error);
      },
    );
    fc.assert(property, { numRuns: 500 });
  });

  it("reads every archive byte by byte as it reads it in one piece", () => {
    for (const [name, bytes] of archives) {
      if (bytes.length > 20_000) continue;
      expect(read(bytes, { cuts: Array.from(bytes, (_, i) => i) }), name).toEqual(read(bytes));
    }
  });

  it("survives mutated archives: a reading or a classified error, never anything else", () => {
    const small = archives.filter(([, bytes]) => bytes.length > 0 && bytes.length < 10_000);
    const mutation = fc.record({
      index: fc.nat({ max: small.length - 1 }),
      changes: fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 8 }),
    });
    const property = fc.property(mutation, ({ index, changes }) => {
      const bytes = (small[index] as [string, Uint8Array])[1].slice();
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      // Checksums are made right again, so that the mutation gets past the first test.
      for (let at = 0; at + 512 <= bytes.length; at += 512) fixChecksum(bytes.subarray(at, at + 512));
      const { error } = read(bytes, { want: false });
      if (error !== undefined) expect(["LAYER_CORRUPT", "LIMIT_EXCEEDED"]).toContain((error as { code: string }).code);
    });
    fc.assert(property, { numRuns: 10_000 });
  });

  it("tells where a body is stored", () => {
    const bytes = tar(pax({ path: "p" }), { name: "a", body: "first" }, { name: "b", body: "second" });
    const text = (offset: number, size: number): string => new TextDecoder().decode(bytes.slice(offset, offset + size));
    const { headers } = read(bytes, { cuts: [100, 1000, 1700] });
    expect(headers.map(({ name, offset, size }) => [name, text(offset, size)])).toEqual([
      ["p", "first"],
      ["b", "second"],
    ]);
  });

  it("marks sparse members, whose stored bytes are not their content", () => {
    const fields = { 386: oldSparseMap([[3, 2]], false), 483: "00000000006\0" };
    const bytes = tar(tarHeader({ name: "s", type: "S", format: "gnu", size: 2, fields }), padded("ab"));
    expect(read(bytes).headers[0]).toMatchObject({ sparse: true, size: 6 });
    expect(read(bytes).members[0]?.content).toBe(createHash("sha256").update("\0\0\0ab\0").digest("hex"));
  });

  it.each([[511, true], [512, true], [513, false]] as const)(
    "takes an extension header of %d bytes by a limit of 512: %j",
    (size, ok) => {
      const limits = { ...UNBOUNDED, tarExtensionBytes: 512 };
      const { error, members } = read(tar(gnuLong("L", "n".repeat(size - 1)), { name: "a" }), { limits });
      if (ok) expect(members[0]?.name.length).toBe(size - 1);
      else {expect(error).toMatchObject({
          code: "LIMIT_EXCEEDED",
          layer: "test",
          message: expect.stringContaining("512"),
        });}
    },
  );

  it.each([[99, true], [100, true], [101, false]] as const)(
    "takes a path of %d bytes by a limit of 100: %j",
    (size, ok) => {
      const limits = { ...UNBOUNDED, pathBytes: 100 };
      for (const path of ["n".repeat(size), `${"é".repeat(49)}${"n".repeat(size - 98)}`]) {
        const readings = [
          read(tar(gnuLong("L", path), { name: "a" }), { limits }),
          read(tar(pax({ path }), { name: "a" }), { limits }),
          read(tar(pax({ linkpath: path }), { name: "a", type: "2" }), { limits }),
        ];
        for (const { error } of readings) {
          if (ok) expect(error).toBeUndefined();
          else {expect(error).toMatchObject({
              code: "LIMIT_EXCEEDED",
              layer: "test",
              message: expect.stringContaining("100"),
            });}
        }
      }
    },
  );

  it("bounds sparse maps like extension headers", () => {
    const limits = { ...UNBOUNDED, tarExtensionBytes: 1024 };
    const block = concat(oldSparseMap([[0, 0], [0, 0], [0, 0], [0, 0], [0, 0]], true), new Uint8Array(7));
    const fields = { 386: oldSparseMap([[0, 0]], true), 483: "00000000000\0" };
    const header = tarHeader({ name: "s", type: "S", format: "gnu", fields });
    expect(read(concat(header, block, block), { limits }).error).toMatchObject({ code: "LAYER_CORRUPT" });
    expect(read(concat(header, block, block, block), { limits }).error).toMatchObject({ code: "LIMIT_EXCEEDED" });
  });

  it("hands wanted bodies on without copying them", () => {
    const bytes = tarMember({ name: "a", body: "content" });
    const seen: Uint8Array[] = [];
    const sink = {
      header: (): boolean => true,
      data: (part: Uint8Array): void => void seen.push(part),
      end(): void {},
    };
    new TarParser({ fail, sink }).push(bytes);
    expect(seen.map((part) => part.buffer === bytes.buffer)).toEqual([true]);
  });
});

function fixChecksum(block: Uint8Array): void {
  if (block.every((byte) => byte === 0)) return;
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.set(new TextEncoder().encode(`${sum.toString(8).padStart(6, "0")}\0 `), 148);
}
