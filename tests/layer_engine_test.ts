/**
 * The layer engine in the place of node:zlib: the whole road from stored bytes to tar members.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { InflaterFactory } from "../src/core/ports.ts";
import { Decompressor } from "../src/layers/decompress.ts";
import { layerFail } from "../src/layers/fail.ts";
import { nodeInflater } from "../src/layers/node_inflater.ts";
import { TarParser } from "../src/layers/tar.ts";
import { wasmInflaters } from "../src/wasm/mod.ts";
import { mixedData, randomOf } from "./fakes/deflate_streams.ts";
import { oddArchives } from "./fakes/odd_archives.ts";
import { concat, tar } from "./fakes/tar_builder.ts";

const wasm = wasmInflaters();

/** Members with the digest of their content, and the message of the error that ended the reading. */
async function read(stored: Uint8Array, inflater: InflaterFactory, cuts: readonly number[]): Promise<unknown[]> {
  const fail = layerFail("test");
  const seen: unknown[] = [];
  let hash = createHash("sha256");
  const parser = new TarParser({
    fail,
    sink: {
      header: (header): boolean => {
        seen.push(header);
        hash = createHash("sha256");
        return true;
      },
      data: (bytes): void => void hash.update(bytes),
      end: (): void => void seen.push(hash.digest("hex")),
    },
  });
  const decompressor = new Decompressor({ emit: (bytes) => parser.push(bytes), fail, inflater });
  try {
    let at = 0;
    for (const cut of [...cuts, stored.length]) {
      await decompressor.push(stored.subarray(at, cut));
      at = cut;
    }
    await decompressor.finish();
    parser.finish();
  } catch (error) {
    seen.push(String(error));
  } finally {
    decompressor.close();
  }
  return seen;
}

describe("wasmInflaters() under the gzip decoder and the tar parser", () => {
  const random = randomOf(17);
  const cutsOf = (length: number): number[] =>
    Array.from({ length: 3 }, () => Math.floor(random() * length)).toSorted((a, b) => a - b);

  it("sees the members of every odd archive that node:zlib sees, at random splits", async () => {
    for (const [name, archive] of Object.entries(oddArchives())) {
      const stored = gzipSync(archive);
      const expected = await read(stored, nodeInflater, []);
      for (let round = 0; round < 4; round++) {
        expect({ name, seen: await read(stored, wasm, cutsOf(stored.length)) }).toEqual({ name, seen: expected });
      }
    }
  });

  it("reads gzip of several members, with garbage, cut or damaged, as node:zlib does", async () => {
    const archive = tar({ name: "a", body: mixedData(200_000, random) }, { name: "b", body: mixedData(3, random) });
    const half = archive.length >> 1;
    const members = [
      gzipSync(archive.subarray(0, half)),
      gzipSync(new Uint8Array(0)),
      gzipSync(archive.subarray(half)),
    ];
    const whole = concat(...members as Uint8Array<ArrayBuffer>[]);
    const damaged = whole.slice();
    damaged[whole.length >> 1] = (damaged[whole.length >> 1] ?? 0) ^ 0x10;
    const wrongChecksum = whole.slice();
    wrongChecksum[whole.length - 6] = (wrongChecksum[whole.length - 6] ?? 0) ^ 1;
    const rows = {
      whole,
      zeros: concat(whole, new Uint8Array(5000)),
      garbage: concat(whole, "garbage"),
      "cut in the middle": whole.slice(0, whole.length >> 1),
      "cut in the trailer": whole.slice(0, -3),
      "wrong checksum": wrongChecksum,
      damaged,
    };
    for (const [name, stored] of Object.entries(rows)) {
      const expected = await read(stored, nodeInflater, []);
      for (let round = 0; round < 8; round++) {
        const seen = await read(stored, wasm, cutsOf(stored.length));
        // How far a damaged stream is read before it fails is the decoder's own.
        if (name === "damaged") expect(seen.at(-1)).toBe(expected.at(-1));
        else expect({ name, seen }).toEqual({ name, seen: expected });
      }
    }
  });
});
