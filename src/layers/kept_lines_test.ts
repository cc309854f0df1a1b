import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { signal } from "../../tests/fakes/archives.ts";
import { fakeLayer } from "../../tests/fakes/layer.ts";
import { tar } from "../../tests/fakes/tar_builder.ts";
import { LIMITS } from "../core/limits.ts";
import { createLayerEngine } from "./engine.ts";
import { LineFilter } from "./kept_lines.ts";

const PATH = "var/lib/dpkg/status";
const TEXT = "First: 1\nPackage: a\nDescription: b\n Package: c\n\nPackage:d\nVersion: 1\nPackage: last";
const SHORT = "First: 1\nPackage: a\nVersion: 1\nPackage: last";

/** What the engine keeps at the path, with a bound above which texts are shortened. */
async function kept(
  wholeTextBytes: number,
  path = PATH,
): Promise<string | undefined> {
  const engine = createLayerEngine({
    patterns: [{ paths: [PATH], maxBytes: 4096, lines: ["Package: ", "Version: "] }, {
      paths: ["other"],
      maxBytes: 4096,
    }],
    version: "1",
    limits: { ...LIMITS, wholeTextBytes },
  });
  const { handle } = fakeLayer(tar({ name: path, body: TEXT }, { name: "other", body: TEXT }));
  const facts = await engine.extract(handle, { signal });
  const entry = facts.entries.find((entry) => entry.path === path);
  return entry?.kind === "file" ? new TextDecoder().decode(entry.content) : undefined;
}

describe("kept lines", () => {
  it("are those that are read, and the first, of a text above the bound", async () => {
    expect(await kept(TEXT.length - 1)).toBe(SHORT);
  });

  it("are all of a text up to the bound, and of paths of which all is read", async () => {
    expect(await kept(TEXT.length)).toBe(TEXT);
    expect(await kept(0, "other")).toBe(TEXT);
  });

  it("alone take memory: a text may be larger than all that is kept of a layer", async () => {
    const line = `Description: ${"x".repeat(80)}\n`;
    const text = `Package: a\n${line.repeat(50_000)}Version: 1\n`;
    const limits = { ...LIMITS, keptBytes: 1 << 20 };
    for (const lines of [["Package: ", "Version: "], undefined]) {
      const engine = createLayerEngine({
        patterns: [{ paths: [PATH], maxBytes: 1 << 30, ...(lines && { lines }) }],
        version: "1",
        limits,
      });
      const { handle } = fakeLayer(tar({ name: PATH, body: text }));
      const reading = engine.extract(handle, { signal });
      if (lines === undefined) await expect(reading).rejects.toThrow("wanted files are larger");
      else expect((await reading).entries).toMatchObject([{ size: text.length, content: { length: 22 } }]);
    }
  });

  it("have a bound of their own", async () => {
    const text = "Package: a\n".repeat(1000);
    const read = (textLinesBytes: number): Promise<unknown> => {
      const engine = createLayerEngine({
        patterns: [{ paths: [PATH], maxBytes: 1 << 20, lines: ["Package: "] }],
        version: "1",
        limits: { ...LIMITS, wholeTextBytes: 100, textLinesBytes },
      });
      return engine.extract(fakeLayer(tar({ name: PATH, body: text })).handle, { signal });
    };
    await expect(read(1000)).rejects.toThrow(`the lines that are read of ${PATH} have more than 1000 bytes`);
    await read(LIMITS.textLinesBytes);
  });
});

describe("LineFilter", () => {
  const encoder = new TextEncoder();
  const BEGINNINGS = ["Package: ", "P:", "Ver"];

  function filtered(text: Uint8Array, cuts: readonly number[], charge: (bytes: number) => void = () => {}): string {
    const filter = new LineFilter(BEGINNINGS.map((beginning) => encoder.encode(beginning)), charge);
    let at = 0;
    for (const cut of [...cuts.map((cut) => cut % (text.length + 1)).toSorted((a, b) => a - b), text.length]) {
      // A copy, since the bytes are valid during the call only.
      const piece = text.slice(at, cut);
      filter.push(piece);
      piece.fill(0);
      at = cut;
    }
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(filter.finish());
  }

  /** The same, of a text that is held whole. */
  const reference = (text: string): string =>
    text.split(/(?<=\n)/)
      .filter((line, at) => at === 0 || BEGINNINGS.some((beginning) => line.startsWith(beginning))).join("");

  it("keeps the same lines wherever the text is cut", () => {
    const piece = fc.constantFrom("Package: ", "Package", "P", "P:", "Ver", "V", "\n", "x", ": ", "\r\n", "\ufeff");
    fc.assert(fc.property(fc.array(piece), fc.array(fc.nat()), (pieces, cuts) => {
      const text = pieces.join("");
      expect(filtered(encoder.encode(text), cuts)).toBe(reference(text));
    }));
    for (let cut = 0; cut <= TEXT.length; cut++) expect(filtered(encoder.encode(TEXT), [cut])).toBe(reference(TEXT));
  });

  it("charges what it keeps before it takes the memory, and in the end no more than that", () => {
    const text = `P:${"a".repeat(300_000)}\n${"x\n".repeat(100_000)}Ver\n`;
    let charged = 0;
    let most = 0;
    const kept = filtered(encoder.encode(text), [1, 100_000, 350_000], (bytes) => {
      charged += bytes;
      most = Math.max(most, charged);
    });
    expect(kept).toBe(reference(text));
    expect(charged).toBe(kept.length);
    expect(most).toBeLessThan(kept.length + 256 * 1024);
  });
});
