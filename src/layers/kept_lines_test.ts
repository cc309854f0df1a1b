import { describe, expect, it } from "vitest";
import { signal } from "../../tests/fakes/archives.ts";
import { fakeLayer } from "../../tests/fakes/layer.ts";
import { tar } from "../../tests/fakes/tar_builder.ts";
import { LIMITS } from "../core/limits.ts";
import { createLayerEngine } from "./engine.ts";

const PATH = "var/lib/dpkg/status";
const TEXT = "First: 1\nPackage: a\nDescription: b\n Package: c\n\nPackage:d\nVersion: 1\nPackage: last";
const SHORT = "First: 1\nPackage: a\nVersion: 1\nPackage: last";

/** What the engine keeps at the path, with a bound above which texts are shortened. */
async function kept(
  wholeTextBytes: number,
  path = PATH,
  keptBytes: number = LIMITS.keptBytes,
): Promise<string | undefined> {
  const engine = createLayerEngine({
    patterns: [{ paths: [PATH], maxBytes: 4096, lines: ["Package: ", "Version: "] }, {
      paths: ["other"],
      maxBytes: 4096,
    }],
    version: "1",
    limits: { ...LIMITS, wholeTextBytes, keptBytes },
  });
  const { handle } = fakeLayer(tar({ name: path, body: TEXT }, { name: "other", body: TEXT }));
  const facts = await engine.extract(handle, { signal });
  const entry = facts.entries.find((entry) => entry.path === path);
  return entry?.kind === "file" ? new TextDecoder().decode(entry.content) : undefined;
}

describe("shortened()", () => {
  it("keeps the lines that are read, and the first, of a text above the bound", async () => {
    expect(await kept(TEXT.length - 1)).toBe(SHORT);
  });

  it("keeps every line of a text up to the bound, and of paths of which all is read", async () => {
    expect(await kept(TEXT.length)).toBe(TEXT);
    expect(await kept(0, "other")).toBe(TEXT);
  });

  it("gives back the memory of the lines that are not kept", async () => {
    const both = 2 * TEXT.length + PATH.length + "other".length + 2 * 160 + 3 * 256;
    expect(await kept(0, PATH, both - (TEXT.length - SHORT.length))).toBe(SHORT);
    await expect(kept(TEXT.length, PATH, both - (TEXT.length - SHORT.length))).rejects.toThrow(
      "wanted files are larger",
    );
  });
});
