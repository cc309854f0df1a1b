import { gzipSync } from "node:zlib";
import { describe, expect, it, vi } from "vitest";
import { fakeLayer } from "../../tests/fakes/layer.ts";
import { concat, pax, tar, tarHeader } from "../../tests/fakes/tar_builder.ts";
import { LIMITS } from "../core/limits.ts";
import type { LayerHandle } from "../core/ports.ts";
import type { LayerFacts } from "../core/types.ts";
import { pathHash } from "../lib/path_hash.ts";
import { extractLayer, type LayerLimits } from "./extract.ts";
import { compileWants } from "./matcher.ts";

const wants = compileWants([
  { paths: ["etc/os-release", "lib/apk/db/installed"], maxBytes: 100 },
  { names: ["wanted"], maxBytes: 1000 },
]);

function extract(handle: LayerHandle, limits: LayerLimits = LIMITS): Promise<LayerFacts> {
  return extractLayer(handle, { version: "7", wants, limits }, { signal: new AbortController().signal });
}

function hashes(...paths: string[]): number[] {
  return paths.map(pathHash).toSorted((a, b) => a - b);
}

const layerError = (code: string, text: string): unknown =>
  expect.objectContaining({ name: "LayerError", code, layer: "sha256:layer", message: expect.stringContaining(text) });

describe("extractLayer()'s limits", () => {
  const run = (bytes: Uint8Array, limits: Partial<LayerLimits>): Promise<LayerFacts> =>
    extract(fakeLayer(bytes).handle, { ...LIMITS, ...limits });

  it.each([[4, true], [5, true], [6, false]] as const)("takes %d entries by a limit of 5: %j", async (count, ok) => {
    const facts = run(tar(...Array.from({ length: count }, (_, i) => ({ name: `f${i}` }))), { layerEntries: 5 });
    if (ok) expect((await facts).entryCount).toBe(count);
    else await expect(facts).rejects.toEqual(layerError("LIMIT_EXCEEDED", "more than 5 entries"));
  });

  it.each([[-1, true], [0, true], [1, false]] as const)(
    "takes a tar of the limit and %d bytes: %j",
    async (over, ok) => {
      const bytes = tar({ name: "a" });
      const facts = run(bytes, { layerTarBytes: bytes.length - over });
      if (ok) expect((await facts).tarBytes).toBe(bytes.length);
      else await expect(facts).rejects.toEqual(layerError("LIMIT_EXCEEDED", `${bytes.length - 1} bytes uncompressed`));
    },
  );

  it.each([[-1, true], [0, true], [1, false]] as const)(
    "takes wanted files of the limit and %d bytes: %j",
    async (over, ok) => {
      // Two files of 300 bytes, each with 160 bytes and its path; and 256 bytes for each of the directories.
      const kept = 2 * (300 + "a/wanted".length + 160) + 2 * 256;
      const bytes = tar({ name: "a/wanted", body: "x".repeat(300) }, { name: "b/wanted", body: "y".repeat(300) });
      const facts = run(bytes, { keptBytes: kept - over });
      if (ok) expect((await facts).entries.length).toBe(2);
      else await expect(facts).rejects.toEqual(layerError("LIMIT_EXCEEDED", `${kept - 1} bytes together`));
    },
  );

  it("charges a path that is written again and again every time", async () => {
    const again = Array.from({ length: 10 }, () => ({ name: "wanted", body: "x".repeat(500) }));
    await expect(run(tar(...again), { keptBytes: 6000 })).rejects.toEqual(layerError("LIMIT_EXCEEDED", "6000"));
  });

  it.each([[-1, 2, 0], [0, 2, 0], [1, 1, 1]])(
    "keeps links up to the limit; %d bytes over it: %d kept, %d hashed",
    async (over, kept, hashed) => {
      const links = 2 * ("l1".length + "target".length + 160);
      const bytes = tar({ name: "l1", type: "2", linkName: "target" }, { name: "l2", type: "2", linkName: "target" });
      const facts = await run(bytes, { layerLinkBytes: links - over });
      expect([facts.entries.length, facts.replacedPaths.length, facts.problems.length]).toEqual([kept, hashed, hashed]);
    },
  );

  it("hashes whiteouts beyond the limit, which hide the same, and refuses more opaque directories", async () => {
    const facts = await run(tar({ name: "d/.wh.x" }), { layerLinkBytes: 10 });
    expect(facts.entries).toEqual([]);
    expect([...facts.replacedPaths]).toEqual(hashes("d/x"));
    await expect(run(tar({ name: "d/.wh..wh..opq" }), { layerLinkBytes: 10 })).rejects.toEqual(
      layerError("LIMIT_EXCEEDED", "opaque"),
    );
  });

  it.each([[2, 2], [3, 3], [4, 4]])(
    "tells at most 3 problems of %d, and how many more: %d lines",
    async (count, lines) => {
      const facts = await run(tar(...Array.from({ length: count }, (_, i) => ({ name: `d${i}/.wh.` }))), {
        layerProblems: 3,
      });
      expect(facts.problems.length).toBe(lines);
      if (count > 3) expect(facts.problems.at(-1)?.message).toBe("1 more problems were found");
    },
  );

  it("passes the parsers' limits on", async () => {
    await expect(run(tar(pax({ comment: "x".repeat(600) })), { tarExtensionBytes: 600 })).rejects.toEqual(
      layerError("LIMIT_EXCEEDED", "600"),
    );
    await expect(run(tar({ name: "n".repeat(51) }), { pathBytes: 50 })).rejects.toEqual(
      layerError("LIMIT_EXCEEDED", "50"),
    );
    const zeros = tar({ name: "zeros", body: new Uint8Array(100_000) });
    const ratio = { expansionRatio: 10, expansionWindowBytes: 50_000 };
    await expect(run(new Uint8Array(gzipSync(zeros)), ratio)).rejects.toEqual(layerError("LIMIT_EXCEEDED", "10 times"));
  });

  it("does not believe a header that announces more than follows", async () => {
    const lie = concat(tarHeader({ name: "wanted", size: 900 }), "short");
    await expect(extract(fakeLayer(lie).handle)).rejects.toEqual(layerError("LAYER_CORRUPT", "inside a member"));
  });

  it("frees what was kept at once when memory for more is refused, that of hard links too", async () => {
    const bytes = tar(
      { name: "a/wanted", body: "x".repeat(300) },
      { name: "b/wanted", type: "1", linkName: "a/wanted" },
      { name: "c/wanted", body: "y".repeat(300) },
    );
    const transferred: number[] = [];
    const { transfer } = ArrayBuffer.prototype;
    const spy = vi.spyOn(ArrayBuffer.prototype, "transfer").mockImplementation(function (this: ArrayBuffer, length) {
      if (length === 0) transferred.push(this.byteLength);
      return transfer.call(this, length);
    });
    try {
      const reserve = (kept: number): void => {
        if (kept > 1200) throw new Error("no room");
      };
      const reading = extractLayer(fakeLayer(bytes).handle, { version: "7", wants }, {
        signal: new AbortController().signal,
        reserve,
      });
      await expect(reading).rejects.toThrow("no room");
    } finally {
      spy.mockRestore();
    }
    expect(transferred).toEqual([300]);
  });
});
