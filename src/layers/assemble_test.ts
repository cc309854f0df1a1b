import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LIMITS } from "../core/limits.ts";
import type { LayerEntry, LayerFacts } from "../core/types.ts";
import { buildImage, ociLayout } from "../lib/oci_builder.ts";
import { pathHash } from "../lib/path_hash.ts";
import type { TarMember } from "../lib/tar_writer.ts";
import { assembleLayers } from "./assemble.ts";

const text = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : new TextDecoder().decode(bytes);

/** Facts of a layer of these entries; `replaced` are paths that are kept as hashes only. */
function facts(
  entries: readonly LayerEntry[],
  replaced: readonly string[] = [],
  directories: readonly string[] = [],
): LayerFacts {
  return {
    extractor: "test",
    digest: `sha256:${"0".repeat(64)}`,
    diffId: `sha256:${"0".repeat(64)}`,
    storedBytes: 0,
    tarBytes: 0,
    compression: "none",
    entryCount: entries.length + replaced.length,
    entries,
    replacedPaths: Float64Array.from(replaced, pathHash).sort(),
    directories: Float64Array.from(directories, pathHash).sort(),
    problems: [],
  };
}

/**
 * Entries in a short notation: `path=content`, `link -> target`, `link => hard link target`, `-path` (whiteout),
 * `path/**` (opaque), `!path` (replaced, known by hash only), `path/` (directory), `path>limit` (over its limit).
 */
function layer(...lines: readonly string[]): LayerFacts {
  const entries: LayerEntry[] = [];
  const replaced: string[] = [];
  const directories: string[] = [];
  for (const line of lines) {
    const [path = "", content = ""] = line.split(/ -> | => |=|>/);
    if (line.endsWith("/")) directories.push(line.slice(0, -1));
    else if (line.startsWith("!")) replaced.push(line.slice(1));
    else if (line.startsWith("-")) entries.push({ kind: "whiteout", path: line.slice(1) });
    else if (line.endsWith("/**")) entries.push({ kind: "opaque", path: line.slice(0, -3) });
    else if (line.includes(" -> ")) entries.push({ kind: "symlink", path, target: content });
    else if (line.includes(" => ")) entries.push({ kind: "hardlink", path, target: content });
    else if (line.includes(">")) entries.push({ kind: "oversize", path, size: 10, limit: Number(content) });
    else {
      const bytes = new TextEncoder().encode(content);
      entries.push({ kind: "file", path, size: bytes.length, mode: 0o644, content: bytes });
    }
  }
  return facts(entries, replaced, directories);
}

/** `path=content@layer` of all files. */
function listed(layers: readonly LayerFacts[]): string[] {
  return [...assembleLayers(layers).files()].map((f) => `${f.path}=${text(f.content)}@${f.layer}`);
}

type Rule = readonly [rule: string, layers: readonly (readonly string[])[], expected: readonly string[]];

const RULES: readonly Rule[] = [
  ["files of several layers add up", [["a/x=1"], ["a/y=2"]], ["a/x=1@0", "a/y=2@1"]],
  ["the upper file wins", [["a=1", "b=1"], ["a=2"]], ["a=2@1", "b=1@0"]],
  ["an empty upper file is a file", [["a=1"], ["a="]], ["a=@1"]],
  ["the last of two entries of one layer wins", [["a=1", "a=2"]], ["a=2@0"]],
  ["a whiteout hides a file", [["a=1", "b=1"], ["-a"]], ["b=1@0"]],
  ["a whiteout hides all below a directory", [["d/a=1", "d/e/b=1", "da=1"], ["-d"]], ["da=1@0"]],
  ["a whiteout does not hide its own layer, before it", [["d/a=1"], ["d/b=2", "-d"]], ["d/b=2@1"]],
  ["a whiteout does not hide its own layer, after it", [["d/a=1"], ["-d", "d/b=2"]], ["d/b=2@1"]],
  ["a whiteout of a path and the path itself", [["a=1"], ["a=2", "-a"]], ["a=2@1"]],
  ["a whiteout of nothing is nothing", [["a=1"], ["-b", "-a/c"]], ["a=1@0"]],
  ["a whiteout does not hide a layer above", [["a=1"], ["-a"], ["a=3"]], ["a=3@2"]],
  ["a whiteout hides a link, not its target", [["t/x=1", "l -> t"], ["-l"]], ["t/x=1@0"]],
  ["names that only look like whiteouts are names", [["awhb=1", "a.wh.b=1"]], ["a.wh.b=1@0", "awhb=1@0"]],
  ["an opaque directory hides lower layers below it", [["d/a=1", "d/e/b=1", "o=1"], ["d/**", "d/c=2"]], [
    "d/c=2@1",
    "o=1@0",
  ]],
  ["an opaque directory does not hide its own layer, before it", [["d/a=1"], ["d/c=2", "d/**"]], ["d/c=2@1"]],
  ["an opaque root hides everything", [["a=1", "d/b=1"], ["/**", "c=2"]], ["c=2@1"]],
  ["an opaque directory takes the place of a link", [["t/x=1", "d -> t"], ["d/**", "d/y=2"]], ["d/y=2@1", "t/x=1@0"]],
  ["a file replaces a directory", [["d/a=1", "d/e/b=1"], ["d=2"]], ["d=2@1"]],
  ["a path known by hash replaces a file", [["a=1", "b=1"], ["!a"]], ["b=1@0"]],
  ["a path known by hash replaces a directory", [["d/a=1", "d/e/b=1", "dd=1"], ["!d"]], ["dd=1@0"]],
  ["a path known by hash does not hide its own layer", [["a=1"], ["a=2", "!a"]], ["a=2@1"]],
  ["a link replaces a file", [["a=1"], ["a -> b", "b=2"]], ["b=2@1"]],
  ["a link replaces a directory", [["d/a=1"], ["d -> e", "e/b=2"]], ["e/b=2@1"]],
  ["a file replaces a link, not its target", [["a -> b", "b=1"], ["a=2"]], ["a=2@1", "b=1@0"]],
  ["a directory alone replaces a file", [["d=1", "e=1"], ["d/"]], ["e=1@0"]],
  ["a directory replaces a link, not its target", [["t/x=1", "l -> t"], ["l/", "l/y=2"]], ["l/y=2@1", "t/x=1@0"]],
  ["a directory keeps what is below a directory", [["d/a=1"], ["d/"]], ["d/a=1@0"]],
  ["a file in a new directory replaces a file", [["d=1"], ["d/a=2"]], ["d/a=2@1"]],
  ["a file over its limit replaces too", [["a=1"], ["a>5"]], []],
  ["a hard link within a layer", [["a=1", "b => a"]], ["a=1@0", "b=1@0"]],
  ["a hard link to a lower layer", [["a=1"], ["b => a"]], ["a=1@0", "b=1@1"]],
  ["a hard link keeps what its target had", [["a=1"], ["b => a"], ["a=3"]], ["a=3@2", "b=1@1"]],
  ["a hard link outlives its target", [["a=1"], ["b => a", "-a"]], ["b=1@1"]],
  ["a hard link takes its own layer's target", [["a=1"], ["a=2", "b => a"]], ["a=2@1", "b=2@1"]],
  ["a path through a link goes where the link leads", [["t/x=1", "l -> t"], ["l/y=2"]], ["t/x=1@0", "t/y=2@1"]],
  ["so does it within one layer", [["l -> /t/u", "l/y=2"]], ["t/u/y=2@0"]],
  ["a whiteout through a link goes there too", [["t/x=1", "l -> t"], ["-l/x"]], []],
  ["a link that leads nowhere gives way", [["l -> l", "m -> f", "f=1"], ["l/a=2", "m/b=2"]], [
    "f=1@0",
    "l/a=2@1",
    "m/b=2@1",
  ]],
  ["no path leaves the root", [["l -> ../../../..", "l/a=1", "../../b=1"]], ["a=1@0", "b=1@0"]],
];

describe("assembleLayers()", () => {
  it.each<Rule>(RULES)("%s", (_rule, layers, expected) => {
    expect(listed(layers.map((lines) => layer(...lines)))).toEqual(expected);
  });

  it("reports what is known but cannot be read, where it is still visible", () => {
    const view = assembleLayers([layer("big>5", "hidden>5"), layer("-hidden", "hard => nowhere")]);
    expect(view.file("big")).toBeUndefined();
    expect(view.file("hard")).toBeUndefined();
    expect(view.problems.map(({ code, subject }) => [code, subject])).toEqual([
      ["LIMIT_EXCEEDED", "big"],
      ["ANALYSIS_FAILED", "hard"],
    ]);
    expect(view.problems[1]?.message).toContain("hard link to nowhere");
  });

  it("refuses an image with more paths than it may keep", () => {
    const deep = Array.from(
      { length: LIMITS.viewPaths / 250 + 1 },
      (_, i) => `${i}/${"x/".repeat(249)}f=`,
    );
    expect(() => assembleLayers([layer(...deep)])).toThrow("Cannot merge the layers of the image");
  });

  it("does work in proportion to its input, not to whiteouts × files", () => {
    const cost = (n: number): number => {
      const numbers = Array.from({ length: n }, (_, i) => i);
      const layers = [
        facts(numbers.flatMap((i) => layer(`d${i % 100}/f${i}=`).entries)),
        facts(
          numbers.map((i) => ({ kind: "whiteout", path: `d${i % 100}/absent${i}` })),
          numbers.map((i) => `no/${i}`),
        ),
        facts(numbers.filter((i) => i % 2 === 0).map((i) => ({ kind: "whiteout", path: `d${i % 100}/f${i}` }))),
      ];
      const spies = [vi.spyOn(Map.prototype, "get"), vi.spyOn(Map.prototype, "delete"), vi.spyOn(Map.prototype, "set")];
      try {
        const view = assembleLayers(layers);
        expect([...view.files()].length).toBe(n / 2);
        return spies.reduce((total, spy) => total + spy.mock.calls.length, 0);
      } finally {
        for (const spy of spies) spy.mockRestore();
      }
    };
    const small = cost(1_000);
    const large = cost(8_000);
    expect(large / small).toBeLessThan(8.5);
    expect(large / 8_000).toBeLessThan(30);
  });
});

describe("ImageView", () => {
  const view = assembleLayers([
    layer(
      "usr/lib/os-release=o",
      "etc/os-release -> ../usr/lib/os-release",
      "lib -> usr/lib",
      "abs -> /lib/os-release",
      "up -> ../../../usr/lib/os-release",
      "one -> two",
      "two -> one",
      "broken -> srv/none",
      "usr/lib/a/x=1",
      "usr/lib/a-b=2",
      "usr/lib/a0=3",
      "through -> nowhere/../usr/./lib//os-release",
      "file-as-dir -> usr/lib/os-release/x",
    ),
  ]);

  it.each([
    ["usr/lib/os-release"],
    ["/usr/lib/os-release"],
    ["etc/os-release"],
    ["lib/os-release"],
    ["lib/../lib/os-release"],
    ["abs"],
    ["up"],
    ["through"],
  ])("file(%j) follows links inside the root", (path) => {
    expect(view.file(path)).toMatchObject({ path: "usr/lib/os-release", layer: 0, mode: 0o644 });
  });

  it.each(["one", "none", "lib", "", "usr/lib/os-release/x", "etc/../.."])("file(%j) gives nothing", (path) => {
    expect(view.file(path)).toBeUndefined();
  });

  it("follows as many links as Linux does, and no more", () => {
    const chain = (n: number): string[] => Array.from({ length: n }, (_, i) => `l${i} -> l${i + 1}`);
    expect(text(assembleLayers([layer(...chain(40), "l40=end")]).file("l0")?.content)).toBe("end");
    expect(assembleLayers([layer(...chain(41), "l41=end")]).file("l0")).toBeUndefined();
  });

  it("reports a link that cannot be read once, and only when it is asked for", () => {
    const fresh = assembleLayers([layer("broken -> srv/none", "loop -> loop", "lib -> usr/lib", "usr/lib/x=")]);
    expect(fresh.problems).toEqual([]);
    fresh.file("lib/absent");
    fresh.file("absent");
    fresh.file("lib");
    expect(fresh.problems).toEqual([]);
    fresh.file("broken");
    fresh.file("/broken");
    fresh.file("loop");
    expect(fresh.problems.map(({ subject }) => subject)).toEqual(["broken", "loop"]);
    expect(fresh.problems[0]?.message).toBe(
      "The file was not read: it is a symbolic link to srv/none, which does not exist, leads in circles, or was not kept",
    );
  });

  it("lists directories, also through links, in the order of their paths", () => {
    expect(view.filesIn("usr/lib/a/").map(({ path }) => path)).toEqual(["usr/lib/a/x"]);
    expect(view.filesIn("lib/").map(({ path }) => path)).toEqual([
      "usr/lib/a-b",
      "usr/lib/a/x",
      "usr/lib/a0",
      "usr/lib/os-release",
    ]);
    expect(view.filesIn("/").length).toBe(4);
    expect(view.filesIn("one/")).toEqual([]);
    expect(view.filesIn("usr/lib/os-release/")).toEqual([]);
    expect(view.filesIn("none/")).toEqual([]);
  });
});

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

/** The facts that an extractor that wants every file makes of tar members. */
function factsOf(members: readonly TarMember[]): LayerFacts {
  const entries = new Map<string, LayerEntry>();
  const directories: string[] = [];
  for (const member of members) {
    const path = member.path.replace(/\/$/, "");
    const base = path.slice(path.lastIndexOf("/") + 1);
    const parent = path.slice(0, Math.max(0, path.length - base.length - 1));
    entries.delete(path);
    if (member.kind === "directory") directories.push(path);
    else if (member.kind === "symlink" || member.kind === "hardlink") {
      entries.set(path, { kind: member.kind, path, target: member.target });
    } else if (base === ".wh..wh..opq") entries.set(path, { kind: "opaque", path: parent });
    else if (base.startsWith(".wh.")) {
      entries.set(path, { kind: "whiteout", path: `${parent === "" ? "" : `${parent}/`}${base.slice(4)}` });
    } else {
      const content = new TextEncoder().encode("content" in member ? member.content as string : "");
      entries.set(path, { kind: "file", path, size: content.length, mode: 0o644, content });
    }
  }
  return facts([...entries.values()], [], directories);
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
  const { success, stderr } = await new Deno.Command("umoci", { args: [...args], stdout: "null", stderr: "piped" })
    .output();
  return { ok: success, message: new TextDecoder().decode(stderr) };
}

const HAVE_UMOCI = await umoci(["--version"]).then(({ ok }) => ok && Deno.uid() === 0, () => false);
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

/** Entries as a differ writes them: the marker of an opaque directory follows the directory. */
const membersArbitrary: fc.Arbitrary<readonly TarMember[]> = fc.oneof(
  fc.tuple(pathArbitrary, fc.constantFrom("1", "2", "3")).map(([path, content]) => [f(path, content)]),
  pathArbitrary.map((path) => [d(path)]),
  pathArbitrary.map((path) => [w(path.replace(/[^/]+$/, ".wh.$&"))]),
  pathArbitrary.map((path) => [d(path), w(`${path}/.wh..wh..opq`)]),
);
const layersArbitrary = fc.array(
  fc.array(membersArbitrary, { maxLength: 6 }).map((groups) => groups.flat()),
  { minLength: 2, maxLength: 4 },
);

describe.skipIf(!HAVE_UMOCI)("assembleLayers() against umoci unpack", () => {
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
    const { ok, message } = await umoci(["unpack", "--image", `${layout}:t`, `${layout}-out`]);
    return ok ? await readTree(`${layout}-out/rootfs`) : message;
  }

  function merged(layers: readonly (readonly TarMember[])[]): string[] {
    return [...assembleLayers(layers.map(factsOf)).files()].map(({ path, content }) => `${path}=${text(content)}`)
      .sort();
  }

  it.each<UmociCase>(UMOCI_CASES)("%s", async (_what, layers) => {
    expect(merged(layers)).toEqual(await unpacked(layers, "image"));
  });

  it("agrees on random layers", async () => {
    const samples = fc.sample(layersArbitrary, { numRuns: 40, seed: 11 });
    let compared = 0;
    for (const [i, layers] of samples.entries()) {
      const actual = await unpacked(layers, `image${i}`);
      if (typeof actual === "string") continue;
      compared++;
      expect({ layers, files: merged(layers) }).toEqual({ layers, files: actual });
    }
    expect(compared).toBeGreaterThan(15);
  });
});
