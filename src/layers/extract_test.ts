import { gzipSync, zstdCompressSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { digestOf, fakeLayer } from "../../tests/fakes/layer.ts";
import { pax, tar, type TarMember } from "../../tests/fakes/tar_builder.ts";
import type { LayerHandle } from "../core/ports.ts";
import type { LayerFacts } from "../core/types.ts";
import { pathHash } from "../lib/path_hash.ts";
import { extractLayer } from "./extract.ts";
import { compileWants } from "./matcher.ts";

const encoder = new TextEncoder();
const wants = compileWants([
  { paths: ["etc/os-release", "lib/apk/db/installed"], maxBytes: 100 },
  { names: ["wanted"], maxBytes: 1000 },
]);

function extract(handle: LayerHandle): Promise<LayerFacts> {
  return extractLayer(handle, { version: "7", wants }, { signal: new AbortController().signal });
}

async function factsOf(...members: readonly (TarMember | Uint8Array)[]): Promise<LayerFacts> {
  return await extract(fakeLayer(tar(...members)).handle);
}

/** Entries with content as text, for reading. */
function readable(facts: LayerFacts): unknown[] {
  return facts.entries.map((entry) =>
    entry.kind === "file" ? { kind: "file", path: entry.path, text: new TextDecoder().decode(entry.content) } : entry
  );
}

function hashes(...paths: string[]): number[] {
  return paths.map(pathHash).toSorted((a, b) => a - b);
}

const file = (path: string, text: string): unknown => ({ kind: "file", path, text });
describe("extractLayer()", () => {
  it.each(
    [
      ["none", (bytes: Uint8Array): Uint8Array => bytes],
      ["gzip", (bytes: Uint8Array): Uint8Array => new Uint8Array(gzipSync(bytes))],
      ["zstd", (bytes: Uint8Array): Uint8Array => new Uint8Array(zstdCompressSync(bytes))],
    ] as const,
  )("reads a layer stored as %s", async (compression, compress) => {
    const bytes = tar({ name: "etc/os-release", body: "ID=test", mode: 0o600 }, {
      name: "bin/sh",
      body: "x".repeat(5000),
    });
    const stored = compress(bytes);
    const { handle, opens } = fakeLayer(stored, { diffId: digestOf(bytes) });
    const progress: number[] = [];
    const facts = await extractLayer(handle, { version: "7", wants }, {
      signal: new AbortController().signal,
      onProgress: (read) => progress.push(read),
    });
    expect(facts).toEqual({
      extractor: "7",
      digest: digestOf(stored),
      diffId: digestOf(bytes),
      storedBytes: stored.length,
      tarBytes: bytes.length,
      compression,
      entryCount: 2,
      entries: [{ kind: "file", path: "etc/os-release", size: 7, mode: 0o600, content: encoder.encode("ID=test") }],
      replacedPaths: Float64Array.from(hashes("bin/sh")),
      directories: new Float64Array(0),
      problems: [],
    });
    expect(opens()).toBe(1);
    expect(progress.at(-1)).toBe(stored.length);
  });

  it("computes the digests that the source does not state", async () => {
    const bytes = tar({ name: "a" });
    const stored = new Uint8Array(gzipSync(bytes));
    const facts = await extract(fakeLayer(stored, { digest: undefined, size: undefined }).handle);
    expect(facts).toMatchObject({ digest: digestOf(stored), diffId: digestOf(bytes) });
  });

  it("checks sha512 digests, and a sha512 diff ID beside a sha256 digest", async () => {
    const bytes = tar({ name: "a" });
    const [digest, diffId] = [digestOf(bytes, "sha512"), digestOf(bytes, "sha512")];
    expect(await extract(fakeLayer(bytes, { digest }).handle)).toMatchObject({ digest, diffId: digestOf(bytes) });
    expect(await extract(fakeLayer(bytes, { diffId }).handle)).toMatchObject({ digest: digestOf(bytes), diffId });
    await expect(extract(fakeLayer(bytes, { diffId: digestOf(new Uint8Array(1), "sha512") }).handle))
      .rejects.toMatchObject({ code: "INTEGRITY", layer: "sha256:layer" });
  });

  it("reads an empty layer", async () => {
    for (const stored of [new Uint8Array(0), tar(), new Uint8Array(gzipSync(tar()))]) {
      expect(await extract(fakeLayer(stored).handle)).toMatchObject({ entryCount: 0, entries: [] });
    }
  });

  it("keeps empty files, links, whiteouts and opaque directories", async () => {
    const facts = await factsOf(
      { name: "./", type: "5" },
      { name: "etc/", type: "5" },
      { name: "etc/os-release" },
      { name: "lib", type: "2", linkName: "usr/lib" },
      { name: "etc/.wh.passwd" },
      { name: "opt/.wh..wh..opq" },
      { name: ".wh..wh..opq" },
      { name: "dev/null", type: "3" },
      { name: "run/fifo", type: "6" },
    );
    expect(readable(facts)).toEqual([
      file("etc/os-release", ""),
      { kind: "symlink", path: "lib", target: "usr/lib" },
      { kind: "whiteout", path: "etc/passwd" },
      { kind: "opaque", path: "opt" },
      { kind: "opaque", path: "" },
    ]);
    expect([...facts.replacedPaths]).toEqual(hashes("dev/null", "run/fifo"));
    expect([...facts.directories]).toEqual(hashes("etc"));
    expect(facts.problems).toEqual([]);
    expect(facts.entryCount).toBe(9);
  });

  it("ignores AUFS' own files, and tells of whiteouts that name nothing", async () => {
    const facts = await factsOf(
      { name: ".wh..wh.plnk/", type: "5" },
      { name: ".wh..wh.plnk/1.2", body: "x" },
      { name: ".wh..wh.aufs" },
      { name: "d/.wh..wh.orph" },
      { name: "d/.wh." },
      { name: "d/.wh..." },
    );
    expect(facts.entries).toEqual([]);
    expect(facts.replacedPaths.length + facts.directories.length).toBe(0);
    expect(facts.problems.map(({ code, subject }) => [code, subject])).toEqual([
      ["LAYER_CORRUPT", "d/.wh."],
      ["LAYER_CORRUPT", "d/.wh..."],
    ]);
  });

  it("takes .wh. for a whiteout only where a name begins with it", async () => {
    const facts = await factsOf({ name: "usr/awhb/wanted", body: "1" }, { name: "x.wh.y/wanted", body: "2" });
    expect(readable(facts)).toEqual([file("usr/awhb/wanted", "1"), file("x.wh.y/wanted", "2")]);
  });

  it("keeps a whiteout and the file that the same layer puts there", async () => {
    const facts = await factsOf({ name: "etc/.wh.os-release" }, { name: "etc/os-release", body: "new" });
    expect(readable(facts)).toEqual([{ kind: "whiteout", path: "etc/os-release" }, file("etc/os-release", "new")]);
  });

  it("lets the last occurrence of a path win, in its place", async () => {
    const facts = await factsOf(
      { name: "etc/os-release", body: "first" },
      { name: "wanted", body: "between" },
      { name: "/etc/./os-release", body: "last" },
    );
    expect(readable(facts)).toEqual([file("wanted", "between"), file("etc/os-release", "last")]);
  });

  it("forgets what another kind of member replaces, and remembers that it was there", async () => {
    const types = [["5", ""], ["3", ""], ["6", ""]] as const;
    for (const [type] of types) {
      const facts = await factsOf({ name: "wanted", body: "1" }, { name: "wanted", type });
      expect(facts.entries).toEqual([]);
      expect([...facts.replacedPaths]).toEqual(hashes("wanted"));
    }
    const facts = await factsOf({ name: "wanted", body: "1" }, { name: "wanted", type: "2", linkName: "x" });
    expect(readable(facts)).toEqual([{ kind: "symlink", path: "wanted", target: "x" }]);
  });

  it("forgets what stood below a directory that a later member replaces", async () => {
    const facts = await factsOf({ name: "a/b/wanted", body: "1" }, { name: "a/c/wanted", body: "2" }, {
      name: "a/b",
      body: "",
    });
    expect(readable(facts)).toEqual([file("a/c/wanted", "2")]);
    expect([...facts.replacedPaths]).toEqual(hashes("a/b/wanted", "a/b"));
  });

  it("makes every path relative to the root", async () => {
    const facts = await factsOf({ name: "../../etc/os-release", body: "1" }, { name: "/a/../wanted", body: "2" });
    expect(readable(facts)).toEqual([file("etc/os-release", "1"), file("wanted", "2")]);
  });

  it("fills the holes of sparse files", async () => {
    const records = {
      "GNU.sparse.major": "1",
      "GNU.sparse.minor": "0",
      "GNU.sparse.name": "wanted",
      "GNU.sparse.realsize": "9",
    };
    const map = "1\n3\n2\n".padEnd(512, "\0");
    expect(readable(await factsOf(pax(records), { name: "x", body: `${map}ab` }))).toEqual([
      file("wanted", "\0\0\0ab\0\0\0\0"),
    ]);
  });

  it("records a wanted file over its limit as oversize, with a problem", async () => {
    const facts = await factsOf({ name: "etc/os-release", body: "x".repeat(101) }, { name: "a/wanted", body: "y" });
    expect(readable(facts)).toEqual([
      { kind: "oversize", path: "etc/os-release", size: 101, limit: 100 },
      file("a/wanted", "y"),
    ]);
    expect(facts.problems).toEqual([
      {
        code: "LIMIT_EXCEEDED",
        subject: "etc/os-release",
        message: expect.stringContaining("101 bytes, more than the 100"),
      },
    ]);
    const sized = async (size: number): Promise<unknown> =>
      (await factsOf({ name: "etc/os-release", body: "x".repeat(size) })).entries[0]?.kind;
    expect([await sized(99), await sized(100), await sized(101)]).toEqual(["file", "file", "oversize"]);
  });
});

describe("extractLayer() and hard links", () => {
  const link = (name: string, linkName: string): TarMember => ({ name, type: "1", linkName });

  it("gives a wanted link its target's content", async () => {
    const facts = await factsOf({ name: "a/wanted", body: "content" }, link("etc/os-release", "./a/wanted"));
    expect(readable(facts)).toEqual([file("a/wanted", "content"), file("etc/os-release", "content")]);
  });

  it("reads the layer again for a target that nobody else wants", async () => {
    const members = [
      { name: "store/1", body: "content" },
      { name: "store/2", body: "2" },
      link("etc/os-release", "store/1"),
    ];
    const { handle, opens } = fakeLayer(tar(...members));
    const facts = await extract(handle);
    expect(opens()).toBe(2);
    expect(readable(facts)).toEqual([file("etc/os-release", "content")]);
    expect([...facts.replacedPaths]).toEqual(hashes("store/1", "store/2"));
    expect(facts.entryCount).toBe(3);
  });

  it("follows a chain of links in one more pass", async () => {
    const { handle, opens } = fakeLayer(
      tar({ name: "x", body: "end" }, link("y", "x"), link("z", "y"), link("wanted", "z")),
    );
    expect(readable(await extract(handle))).toEqual([file("wanted", "end")]);
    expect(opens()).toBe(2);
  });

  it("takes the content that the target had at that moment", async () => {
    const old = [{ name: "a/wanted", body: "old" }, link("wanted", "a/wanted"), { name: "a/wanted", body: "new" }];
    expect(readable(await factsOf(...old))).toEqual([file("wanted", "old"), file("a/wanted", "new")]);
    const unwanted = [{ name: "t", body: "old" }, link("wanted", "t"), { name: "t", body: "new" }];
    expect(readable(await factsOf(...unwanted))).toEqual([file("wanted", "old")]);
  });

  it("keeps a link whose target is not in its layer", async () => {
    const { handle, opens } = fakeLayer(tar(link("wanted", "/usr/lib/../lib/os-release")));
    expect((await extract(handle)).entries).toEqual([{
      kind: "hardlink",
      path: "wanted",
      target: "usr/lib/os-release",
    }]);
    expect(opens()).toBe(1);
  });

  it("links to links, to itself and in circles end", async () => {
    const symlink = [{ name: "s", type: "2", linkName: "t" }, link("wanted", "s")];
    expect((await factsOf(...symlink)).entries).toEqual([
      { kind: "symlink", path: "s", target: "t" },
      { kind: "symlink", path: "wanted", target: "t" },
    ]);
    expect((await factsOf(link("wanted", "wanted"))).entries).toEqual([]);
    const circle = await factsOf(link("a/wanted", "b/wanted"), link("b/wanted", "a/wanted"));
    expect(circle.entries.map((entry) => entry.kind)).toEqual(["hardlink", "hardlink"]);
  });

  it("applies the link's own limit", async () => {
    const body = "x".repeat(500);
    const over = await factsOf({ name: "a/wanted", body }, link("etc/os-release", "a/wanted"));
    expect(over.entries[1]).toEqual({ kind: "oversize", path: "etc/os-release", size: 500, limit: 100 });
    const under = await factsOf({ name: "etc/os-release", body }, link("a/wanted", "etc/os-release"));
    expect(readable(under)).toEqual([
      { kind: "oversize", path: "etc/os-release", size: 500, limit: 100 },
      file("a/wanted", body),
    ]);
  });
});
