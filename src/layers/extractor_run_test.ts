import { describe, expect, it } from "vitest";
import { EXTRACTOR_CONTEXT } from "../../tests/fakes/file_reading.ts";
import { fakeLayer, sourceOf, streamOf } from "../../tests/fakes/layer.ts";
import { tar, type TarMember } from "../../tests/fakes/tar_builder.ts";
import { LIMITS } from "../core/limits.ts";
import type { ExtractorContext, FileExtractor, ImageView } from "../core/ports.ts";
import type { LayerFacts } from "../core/types.ts";
import { createLayerEngine } from "./engine.ts";

const signal = new AbortController().signal;

/** How often files were begun and released. */
interface Count {
  opened: number;
  closed: number;
}

/** Extracts the text of files, after as many bytes as asked for; nothing of those that begin with "-". */
function textExtractor(name: string, more: Partial<FileExtractor> & { readonly enough?: number } = {}, count?: Count) {
  const { enough = Infinity, ...rest } = more;
  return {
    name,
    version: "1",
    pattern: { suffixes: [".x"], maxBytes: 1e9 },
    open(_file: { readonly size: number }, _context: ExtractorContext) {
      let text = "";
      if (count !== undefined) count.opened++;
      return {
        data(bytes: Uint8Array): boolean {
          text += new TextDecoder().decode(bytes);
          return text.length < enough;
        },
        end: () => text.startsWith("-") ? undefined : { text },
        close: () => void (count !== undefined && count.closed++),
      };
    },
    ...rest,
  } satisfies FileExtractor;
}

const PATTERNS = [{ names: ["kept.x", "kept"], maxBytes: 20 }];

async function extract(extractors: readonly FileExtractor[], ...members: readonly TarMember[]): Promise<LayerFacts> {
  const extraction = { extractors, inflater: EXTRACTOR_CONTEXT.inflater };
  const engine = createLayerEngine({ patterns: PATTERNS, version: "1", extraction });
  return await engine.extract(fakeLayer(tar(...members)).handle, { signal });
}

function view(...layers: readonly LayerFacts[]): ImageView {
  return createLayerEngine({ patterns: [], version: "1" }).assemble(layers);
}

const shown = (image: ImageView, name = "t"): string[] =>
  image.extracted(name).map(({ path, layer, data }) => `${path}@${layer}=${JSON.stringify(data)}`);

describe("extractors", () => {
  it("get files without content only when they ask for them", async () => {
    const count = { opened: 0, closed: 0 };
    const both = [textExtractor("t", { emptyFiles: true }, count), textExtractor("u")];
    const facts = await extract(both, { name: "a.x", body: "" }, { name: "b", type: "1", linkName: "a.x" });
    expect(shown(view(facts))).toEqual(['a.x@0={"text":""}']);
    expect(shown(view(facts), "u")).toEqual([]);
    expect(count).toEqual({ opened: 1, closed: 1 });
  });

  it("keep of a file what they make of it, and nothing of one that gives nothing", async () => {
    const facts = await extract(
      [textExtractor("t"), textExtractor("u", { pattern: { suffixes: ["b.x"], maxBytes: 1e9 } })],
      { name: "a.x", body: "one" },
      { name: "b.x", body: "two" },
      { name: "c.x", body: "-three" },
      { name: "empty.x" },
      { name: "d", body: "four" },
    );
    expect(facts.entries).toEqual([
      { kind: "extracted", path: "a.x", size: 3, mode: 0o644, facts: { t: { text: "one" } } },
      { kind: "extracted", path: "b.x", size: 3, mode: 0o644, facts: { t: { text: "two" }, u: { text: "two" } } },
    ]);
    expect(facts.replacedPaths).toHaveLength(3);
    expect(view(facts).problems).toEqual([]);
  });

  it("work beside patterns: a file is kept whole, and read as it streams by", async () => {
    const facts = await extract([textExtractor("t")], { name: "kept.x", body: "both" }, {
      name: "a/kept.x",
      body: "x".repeat(21),
    });
    expect(facts.entries.map(({ kind }) => kind)).toEqual(["file", "extracted"]);
    expect(facts.problems).toHaveLength(1);
    const image = view(facts);
    expect([...image.files()].map(({ path }) => path)).toEqual(["kept.x"]);
    expect(shown(image)).toEqual(['kept.x@0={"text":"both"}', `a/kept.x@0={"text":"${"x".repeat(21)}"}`]);
  });

  it("begin only files that begin as they say, whatever the chunks", async () => {
    const count = { opened: 0, closed: 0 };
    const magic = new TextEncoder().encode("\x7fELF");
    const members = ["\x7fELF", "\x7fELF and more than sixteen bytes", "\x7fEL", "ELF\x7f", "-"].map((body, at) => ({
      name: `${at}.x`,
      body,
    }));
    const extraction = { extractors: [textExtractor("t", { magic }, count)], inflater: EXTRACTOR_CONTEXT.inflater };
    const engine = createLayerEngine({ patterns: [], version: "1", extraction });
    const bytes = tar(...members);
    for (const chunk of [1, 3, 511, bytes.length]) {
      const handle = fakeLayer(bytes, { open: () => Promise.resolve(sourceOf(streamOf(bytes, chunk))) }).handle;
      const facts = await engine.extract(handle, { signal });
      expect(facts.entries.map(({ path }) => path)).toEqual(["0.x", "1.x"]);
    }
    expect(count).toEqual({ opened: 8, closed: 8 });
  });

  it("get no more bytes once they have seen enough", async () => {
    const facts = await extract([textExtractor("t", { enough: 3 })], { name: "a.x", body: "x".repeat(5000) });
    const [{ data } = { data: undefined }] = view(facts).extracted("t");
    expect(JSON.stringify(data).length).toBeLessThan(1100);
  });

  it("are released when the layer cannot be read to its end", async () => {
    const count = { opened: 0, closed: 0 };
    const bytes = tar({ name: "a.x", body: "x".repeat(5000) }).slice(0, 3000);
    const extraction = { extractors: [textExtractor("t", {}, count)], inflater: EXTRACTOR_CONTEXT.inflater };
    const engine = createLayerEngine({ patterns: [], version: "1", extraction });
    await expect(engine.extract(fakeLayer(bytes).handle, { signal })).rejects.toMatchObject({ code: "LAYER_CORRUPT" });
    expect(count).toEqual({ opened: 1, closed: 1 });
  });

  it("share one budget of unpacked bytes in a layer", async () => {
    const answers: boolean[] = [];
    const spender = textExtractor("t", {
      open: (_file, context) => ({
        data: () => answers.push(context.spend(6)) > 0,
        end: () => undefined,
        close: () => {},
      }),
    });
    const extraction = { extractors: [spender], inflater: EXTRACTOR_CONTEXT.inflater };
    const limits = { ...LIMITS, layerUnpackedBytes: 10 };
    const engine = createLayerEngine({ patterns: [], version: "1", extraction, limits });
    await engine.extract(fakeLayer(tar({ name: "a.x", body: "a" }, { name: "b.x", body: "b" })).handle, { signal });
    expect(answers).toEqual([true, false]);
  });
});

describe("hard links to what extractors read", () => {
  const link = (name: string, linkName: string): TarMember => ({ name, type: "1", linkName });

  it("have its facts, in its layer and in an upper one", async () => {
    const bottom = await extract([textExtractor("t")], { name: "a.x", body: "one" }, link("b.x", "a.x"));
    const top = await extract([textExtractor("t")], link("c.x", "a.x"));
    expect(shown(view(bottom, top))).toEqual([
      'c.x@1={"text":"one"}',
      'a.x@0={"text":"one"}',
      'b.x@0={"text":"one"}',
    ]);
  });

  it("are nothing where the target gave nothing, and nobody reports them", async () => {
    const bottom = await extract(
      [textExtractor("t")],
      { name: "a.x", body: "-one" },
      link("b.x", "a.x"),
      link("c.x", "b.x"),
      { name: "old.x", body: "old" },
    );
    const top = await extract([textExtractor("t")], link("old.x", "a.x"));
    const image = view(bottom, top);
    expect(bottom.entries.map(({ path }) => path)).toEqual(["old.x"]);
    expect(shown(image)).toEqual([]);
    expect(image.problems).toEqual([]);
  });

  it("do not take the facts of a lower file whose place the target has taken", async () => {
    const bottom = await extract([textExtractor("t")], { name: "a.x", body: "old" });
    const top = await extract([textExtractor("t")], { name: "a.x", body: "-new" }, link("b.x", "a.x"));
    expect(shown(view(bottom, top))).toEqual([]);
  });

  it("have the layer read once more when nobody else wants the target", async () => {
    const bytes = tar({ name: "target", body: "one" }, link("a.x", "target"), link("kept.x", "target"));
    const extraction = { extractors: [textExtractor("t")], inflater: EXTRACTOR_CONTEXT.inflater };
    const engine = createLayerEngine({ patterns: PATTERNS, version: "1", extraction });
    const { handle, opens } = fakeLayer(bytes);
    const facts = await engine.extract(handle, { signal });
    expect(opens()).toBe(2);
    expect(facts.entries).toMatchObject([
      { kind: "extracted", path: "a.x", facts: { t: { text: "one" } } },
      { kind: "file", path: "kept.x", facts: { t: { text: "one" } } },
    ]);
  });

  it("read a layer with many links to one that gave nothing once only", async () => {
    const links = Array.from({ length: 300 }, (_, at) => link(`bin/${at}.x`, "bin/busybox.x"));
    const extraction = { extractors: [textExtractor("t")], inflater: EXTRACTOR_CONTEXT.inflater };
    const engine = createLayerEngine({ patterns: [], version: "1", extraction });
    const { handle, opens } = fakeLayer(tar({ name: "bin/busybox.x", body: "-" }, ...links));
    expect((await engine.extract(handle, { signal })).entries).toEqual([]);
    expect(opens()).toBe(1);
  });
});

it("ImageView.extracted() hides what upper layers hide, newest layer first", async () => {
  const bottom = await extract([textExtractor("t")], { name: "d/a.x", body: "0" }, { name: "d/b.x", body: "0" }, {
    name: "z.x",
    body: "0",
  });
  const top = await extract([textExtractor("t")], { name: "d/.wh.a.x" }, { name: "d/b.x", body: "1" }, {
    name: "a.x",
    body: "1",
  });
  expect(shown(view(bottom, top))).toEqual(['d/b.x@1={"text":"1"}', 'a.x@1={"text":"1"}', 'z.x@0={"text":"0"}']);
  expect(view(bottom, top).extracted("other")).toEqual([]);
});
