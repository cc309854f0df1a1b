import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { facts, layer, listed, text } from "../../tests/fakes/layer_facts.ts";
import { sourceOf, streamOf } from "../../tests/fakes/layer.ts";
import { peerPath, peersAvailable } from "../../tests/peers/mod.ts";
import type { ByteSource } from "../core/ports.ts";
import type { LayerEntry, LayerFacts } from "../core/types.ts";
import { buildImage, buildLayer, ociLayout } from "../lib/oci_builder.ts";
import type { TarMember } from "../lib/tar_writer.ts";
import { assembleLayers } from "./assemble.ts";
import { createLayerEngine } from "./engine.ts";

const signal = new AbortController().signal;

/** A change of a layer without links: what the naive model can tell. */
type Change = readonly ["file" | "whiteout" | "opaque" | "replaced", string];

const pathArbitrary = fc.array(fc.constantFrom("a", "b", "c", "a-b"), { minLength: 1, maxLength: 4 })
  .map((parts) => parts.join("/"));
const changesArbitrary = fc.array(
  fc.tuple(fc.constantFrom("file", "file", "file", "whiteout", "opaque", "replaced"), pathArbitrary),
  { maxLength: 8 },
) as fc.Arbitrary<Change[]>;

/** Applies layers to a flat map of path → layer, by trying every pair: slow and obvious. */
function naive(layers: readonly (readonly Change[])[]): string[] {
  let files = new Map<string, number>();
  layers.forEach((changes, index) => {
    const within = (path: string, top: string): boolean => path === top || path.startsWith(`${top}/`);
    for (const [kind, at] of changes) {
      const hides = (path: string): boolean =>
        kind === "opaque" ? path.startsWith(`${at}/`) || path === at : kind !== "file" && within(path, at);
      files = new Map([...files].filter(([path]) => !hides(path)));
    }
    for (const [kind, at] of changes) {
      if (kind !== "file") continue;
      files = new Map([...files].filter(([path]) => !within(path, at) && !within(at, path)));
      files.set(at, index);
    }
  });
  return [...files].map(([path, index]) => `${path}=@${index}`).sort();
}

describe("assembleLayers() against a naive model", () => {
  it("agrees on any sequence of files, whiteouts, opaque directories and replacements", () => {
    fc.assert(
      fc.property(fc.array(changesArbitrary, { maxLength: 5 }), (layers) => {
        const notation = { file: (p: string) => `${p}=`, whiteout: (p: string) => `-${p}` };
        const more = { opaque: (p: string) => `${p}/**`, replaced: (p: string) => `!${p}` };
        const render = { ...notation, ...more };
        const built = layers.map((changes) => layer(...changes.map(([kind, path]) => render[kind](path))));
        expect(listed(built).sort()).toEqual(naive(layers));
      }),
      { numRuns: 2000, seed: 7 },
    );
  });

  it("never throws, hangs or leaves the root, whatever the links", () => {
    const part = fc.constantFrom("a", "b", "c", "..", ".", "");
    const anyPath = fc.array(part, { maxLength: 6 }).map((parts) => parts.join("/"));
    const anyEntry = fc.oneof(
      fc.tuple(anyPath, anyPath).map(([path, target]): LayerEntry => ({ kind: "symlink", path, target })),
      fc.tuple(anyPath, anyPath).map(([path, target]): LayerEntry => ({ kind: "hardlink", path, target })),
      anyPath.map((path): LayerEntry => ({ kind: "file", path, size: 0, mode: 0, content: new Uint8Array() })),
      anyPath.map((path): LayerEntry => ({ kind: "opaque", path })),
      anyPath.map((path): LayerEntry => ({ kind: "whiteout", path })),
    );
    fc.assert(
      fc.property(fc.array(fc.array(anyEntry, { maxLength: 8 }), { maxLength: 4 }), anyPath, (layers, asked) => {
        const view = assembleLayers(layers.map((entries) => facts(entries)));
        for (const { path } of view.files()) {
          expect(path.split("/")).not.toContain("..");
          expect(view.file(path)?.path).toBe(path);
        }
        view.file(asked);
        view.filesIn(asked);
      }),
      { numRuns: 2000, seed: 7 },
    );
  });
});

/** The facts that the extractor makes of layers when every file is wanted. */
async function extracted(layers: readonly (readonly TarMember[])[]): Promise<LayerFacts[]> {
  const names = [...new Set(layers.flat().map(({ path }) => path.slice(path.lastIndexOf("/") + 1)))];
  const engine = createLayerEngine({ version: "test", patterns: [{ names, maxBytes: 1000 }] });
  return await Promise.all(layers.map((members) => {
    const { descriptor, diffId, bytes } = buildLayer({ members });
    const { digest, size, mediaType } = descriptor;
    const open = (): Promise<ByteSource> => Promise.resolve(sourceOf(streamOf(bytes)));
    return engine.extract({ name: digest, digest, size, mediaType, diffId, open }, { signal });
  }));
}

/** Regular files below a directory: `path=content`. */
async function readTree(root: string, below = ""): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(`${root}/${below}`)) {
    const path = below === "" ? entry.name : `${below}/${entry.name}`;
    if (entry.isDirectory) found.push(...await readTree(root, path));
    else if (entry.isFile) found.push(`${path}=${await Deno.readTextFile(`${root}/${path}`)}`);
  }
  return found.sort();
}

async function umoci(args: readonly string[]): Promise<{ readonly ok: boolean; readonly message: string }> {
  const { success, stderr } = await new Deno.Command(peerPath("umoci"), {
    args: [...args],
    stdout: "null",
    stderr: "piped",
  })
    .output();
  return { ok: success, message: new TextDecoder().decode(stderr) };
}

const f = (path: string, content: string): TarMember => ({ path, content });
const l = (path: string, target: string): TarMember => ({ path, target, kind: "symlink" });
const h = (path: string, target: string): TarMember => ({ path, target, kind: "hardlink" });
const d = (path: string): TarMember => ({ path: `${path}/`, kind: "directory" });
const w = (path: string): TarMember => f(path, "");

type UmociCase = readonly [what: string, layers: readonly (readonly TarMember[])[]];

const UMOCI_CASES: readonly UmociCase[] = [
  ["whiteouts of files and directories", [
    [f("a", "1"), f("d/x", "1"), f("d/e/y", "1"), f("k", "1")],
    [w(".wh.a"), w("d/.wh.e")],
  ]],
  ["a whiteout and the same path again in one layer, both orders", [
    [f("opt/j/a", "1"), f("opt/k/a", "1")],
    [w("opt/.wh.j"), d("opt/j"), f("opt/j/b", "2"), d("opt/k"), f("opt/k/b", "2"), w("opt/.wh.k")],
  ]],
  ["opaque directories, marker first and last", [
    [f("p/a", "1"), f("p/q/b", "1"), f("r/a", "1")],
    [w("p/.wh..wh..opq"), f("p/c", "2"), f("r/c", "2"), w("r/.wh..wh..opq")],
  ]],
  ["files, links and directories that replace each other", [
    [f("f2l", "1"), f("d2f/x", "1"), f("d2l/x", "1"), l("l2f", "f2l"), f("f2d", "1")],
    [
      l("f2l", "t"),
      f("t", "2"),
      f("d2f", "2"),
      l("d2l", "t2"),
      f("t2/y", "2"),
      f("l2f", "2"),
      d("f2d"),
      f("f2d/x", "2"),
    ],
  ]],
  ["hard links across layers", [[f("a", "1"), f("b", "1")], [h("c", "a"), h("dir/d", "b")], [f("a", "3"), w(".wh.b")]]],
  ["directories in the place of links", [[f("t/x", "1"), l("p", "t"), l("q", "/t"), l("r", "t")], [
    d("p"),
    f("p/y", "2"),
    d("q"),
    d("r"),
    w("r/.wh..wh..opq"),
  ]]],
  ["paths through links", [[f("t/x", "1"), l("abs", "/t"), l("rel", "t"), l("n/up", "../../t")], [
    f("abs/a", "2"),
    f("rel/b", "2"),
    f("n/up/c", "2"),
    w("rel/.wh.x"),
  ]]],
];

/** Entries as a differ writes them: the marker of an opaque directory with the directory, directories before the rest. */
const membersArbitrary: fc.Arbitrary<readonly TarMember[]> = fc.oneof(
  fc.tuple(pathArbitrary, fc.constantFrom("1", "2", "3")).map(([path, content]) => [f(path, content)]),
  pathArbitrary.map((path) => [d(path)]),
  fc.tuple(pathArbitrary, fc.constantFrom("/a/b", "/c", "a", "../b", "../../c", "c/a")).map((
    [path, to],
  ) => [l(path, to)]),
  fc.tuple(pathArbitrary, pathArbitrary).map(([path, target]) => [h(path, target)]),
  pathArbitrary.map((path) => [w(path.replace(/[^/]+$/, ".wh.$&"))]),
  pathArbitrary.map((path) => [d(path), w(`${path}/.wh..wh..opq`)]),
);
const layersArbitrary = fc.array(
  fc.array(membersArbitrary, { maxLength: 6 }).map((groups) =>
    groups.flat().toSorted((a, b) => Number(b.kind === "directory") - Number(a.kind === "directory"))
  ),
  { minLength: 2, maxLength: 4 },
);

describe.skipIf(!peersAvailable("umoci"))("assembleLayers() against umoci unpack", () => {
  let scratch = "";
  beforeEach(async () => {
    scratch = await Deno.makeTempDir();
  });
  afterEach(() => Deno.remove(scratch, { recursive: true }));

  async function unpacked(layers: readonly (readonly TarMember[])[], name: string): Promise<string[] | string> {
    const content = buildImage({ layers: layers.map((members) => ({ members, compression: "none" })) });
    const layout = `${scratch}/${name}`;
    await Deno.mkdir(`${layout}/blobs/sha256`, { recursive: true });
    for (const file of ociLayout([{ content, names: ["t"] }])) {
      if (!("content" in file)) continue;
      const { content: data } = file;
      await Deno.writeFile(`${layout}/${file.path}`, typeof data === "string" ? new TextEncoder().encode(data) : data);
    }
    const { ok, message } = await umoci([
      "unpack",
      ...(Deno.uid() === 0 ? [] : ["--rootless"]),
      "--image",
      `${layout}:t`,
      `${layout}-out`,
    ]);
    return ok ? await readTree(`${layout}-out/rootfs`) : message;
  }

  async function merged(layers: readonly (readonly TarMember[])[]): Promise<string[]> {
    return [...assembleLayers(await extracted(layers)).files()].map(({ path, content }) => `${path}=${text(content)}`)
      .sort();
  }

  it.each<UmociCase>(UMOCI_CASES)("%s", async (_what, layers) => {
    expect(await merged(layers)).toEqual(await unpacked(layers, "image"));
  });

  it("agrees on random layers", async () => {
    const samples = fc.sample(layersArbitrary, { numRuns: 100, seed: 11 });
    let compared = 0;
    for (const [i, layers] of samples.entries()) {
      const actual = await unpacked(layers, `image${i}`);
      if (typeof actual === "string") continue;
      compared++;
      expect({ layers, files: await merged(layers) }).toEqual({ layers, files: actual });
    }
    expect(compared).toBeGreaterThan(25);
  });
});
