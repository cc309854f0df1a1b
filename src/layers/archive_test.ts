import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  directory,
  encode,
  failure,
  file,
  image,
  layerDigests,
  oci,
  open,
  signal,
} from "../../tests/fakes/archives.ts";
import { MemoryFile } from "../../tests/fakes/files.ts";
import { peerPath, peersAvailable } from "../../tests/peers/mod.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { LayerHandle } from "../core/ports.ts";
import { readSource } from "../lib/byte_sources.ts";
import { buildImage, buildIndex, type BuiltImage, dockerArchive, sha256Digest } from "../lib/oci_builder.ts";
import { writeTar } from "../lib/tar_writer.ts";
import { openArchive } from "./archive.ts";

describe("openArchive() of what is no image archive", () => {
  const built = image();
  const docker = dockerArchive([{ content: built, names: [] }]);

  it.each<readonly [string, Uint8Array, string]>([
    ["an empty file", new Uint8Array(), "it is empty"],
    ["text", new TextEncoder().encode("hello ".repeat(300)), "no tar archive"],
    ["an empty tar", writeTar([]), "neither a manifest.json nor an index.json"],
    ["a tar of other files", writeTar([{ path: "x", content: "y" }]), "neither a manifest.json nor an index.json"],
    ["a damaged gzip", gzipSync(docker).fill(0xff, 300, 340), "gzip"],
    ["a manifest that is no JSON", writeTar([{ path: "manifest.json", content: "{" }]), "manifest.json cannot be used"],
    ["a manifest that is no list", writeTar([{ path: "manifest.json", content: "{}" }]), "no list of images"],
    ["a manifest without images", writeTar([{ path: "manifest.json", content: "[]" }]), "names no image"],
    [
      "an image without configuration",
      writeTar([{ path: "manifest.json", content: encode([{ Config: "c", Layers: [] }]) }]),
      '"c" is missing',
    ],
    [
      "an index.json that is a manifest",
      writeTar([{ path: "index.json", content: encode(built.manifest) }]),
      "no index",
    ],
  ])("refuses %s", async (_what, bytes, message) => {
    const error = await failure(open(bytes));
    expect(error.code).toBe("ARCHIVE_INVALID");
    expect(error.message).toContain(message);
    expect(error.hint).toBeTruthy();
  });

  it("refuses a directory that is no layout", async () => {
    const error = await failure(openArchive({ kind: "directory", directory: directory([]) }, { signal }));
    expect(error.message).toContain("no index.json");
  });

  it("refuses a configuration that is not what its name says", async () => {
    const name = `${"0".repeat(64)}.json`;
    const manifest = encode([{ Config: name, Layers: [] }]);
    const bytes = writeTar([{ path: name, content: "{}" }, { path: "manifest.json", content: manifest }]);
    expect((await failure(open(bytes))).code).toBe("INTEGRITY");
  });

  it("never takes a cut-off archive for a whole one", async () => {
    const whole = writeTar(oci(built)).length;
    for (const compress of [(b: Uint8Array) => b, (b: Uint8Array) => new Uint8Array(gzipSync(b))]) {
      const stored = compress(writeTar(oci(built)));
      const end = stored.length === whole ? whole - 1024 : stored.length - 8;
      for (let length = 0; length < end; length += 97) {
        const attempt = open(stored.subarray(0, length)).then(layerDigests);
        expect(["ARCHIVE_INVALID", length]).toEqual([(await failure(attempt)).code, length]);
      }
    }
  });

  it("refuses too many members, and documents that are too large", async () => {
    const one = writeTar([{ path: "x", kind: "directory" }]).subarray(0, 512);
    const many = new Uint8Array(512 * (LIMITS.archiveMembers + 3));
    const named = writeTar([{ path: "x", content: "" }]).subarray(0, 512);
    for (let i = 0; i <= LIMITS.archiveMembers; i++) many.set(i === 0 ? named : one, i * 512);
    const error = await failure(open(many));
    expect([error.code, error.message]).toEqual([
      "LIMIT_EXCEEDED",
      `Cannot read the image archive: it has more than ${LIMITS.archiveMembers} members`,
    ]);
    const large = writeTar([{ path: "manifest.json", content: new Uint8Array(LIMITS.manifestBytes + 1) }]);
    expect((await failure(open(large))).code).toBe("LIMIT_EXCEEDED");
  });
});

describe("openArchive() of anything", () => {
  /** Opens and reads everything; whatever goes wrong must be an error of the closed set. */
  async function exercise(bytes: Uint8Array): Promise<void> {
    try {
      const handle = await open(bytes);
      await handle.attestations(signal);
      await layerDigests(handle);
    } catch (error) {
      if (!(error instanceof OutpostError) || error.code === "INTERNAL") throw error;
    }
  }

  it("fails in a known way, or not at all, when bytes are changed", async () => {
    const built = image();
    const archives = [
      dockerArchive([{ content: built, names: ["a:1"] }]),
      writeTar(oci(buildIndex([built, image("y")]))),
    ];
    const subjects = [...archives, ...archives.map((bytes) => new Uint8Array(gzipSync(bytes)))];
    const change = fc.tuple(fc.nat(), fc.nat(255));
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...subjects),
        fc.array(change, { minLength: 1, maxLength: 8 }),
        async (subject, changes) => {
          const bytes = subject.slice();
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          await exercise(bytes);
        },
      ),
      { numRuns: 1500, seed: 5 },
    );
  });

  it("fails in a known way, or not at all, whatever the documents say", async () => {
    const known = fc.constantFrom(
      "Config",
      "Layers",
      "config",
      "layers",
      "manifests",
      "digest",
      "size",
      "mediaType",
      "platform",
      "os",
      "architecture",
      "annotations",
      "rootfs",
      "diff_ids",
      "history",
      "urls",
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.jsonValue({ maxDepth: 1 }),
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(known, tie("value"), { maxKeys: 6 }),
      ),
    }));
    await fc.assert(
      fc.asyncProperty(value, value, async (document, config) => {
        const text = encode(config);
        const name = `${sha256Digest(text).slice(7)}.json`;
        const manifest = encode([{ Config: name, Layers: [] }]);
        await exercise(writeTar([{ path: name, content: text }, { path: "manifest.json", content: manifest }]));
        await exercise(writeTar([{ path: "manifest.json", content: encode(document) }]));
        await exercise(writeTar([{ path: "index.json", content: encode(document) }]));
        const bytes = encode(document);
        const entry = { mediaType: "", digest: sha256Digest(bytes), size: bytes.length };
        await exercise(writeTar([
          { path: "index.json", content: encode({ manifests: [entry] }) },
          { path: `blobs/sha256/${entry.digest.slice(7)}`, content: bytes },
        ]));
      }),
      { numRuns: 500, seed: 5 },
    );
  });
});

describe("openArchive() and its file", () => {
  /** An image with incompressible layers of some size. */
  function large(bytes: number): BuiltImage {
    const noise = (seed: number): Uint8Array => {
      let state = seed;
      return Uint8Array.from({ length: bytes }, () => (state = (state * 1103515245 + 12345) >>> 0) >>> 24);
    };
    const layers = [1, 2, 3].map((seed) => ({
      members: [{ path: `f${seed}`, content: noise(seed) }],
      compression: "none" as const,
    }));
    return buildImage({ layers });
  }

  it("reads headers and documents, no layer", async () => {
    const built = large(1_000_000);
    const source = file(dockerArchive([{ content: built, names: [] }]));
    const handle = await openArchive(source, { signal });
    expect(source.file.bytesRead).toBeLessThan(20_000);
    const before = source.file.bytesRead;
    const layer = await (handle.layers[1] as LayerHandle).open(signal);
    const pieces = [await layer.read(), await layer.read()];
    expect(pieces.map((piece) => piece?.length)).toEqual([64 * 1024, 64 * 1024]);
    // One buffer serves them all.
    expect(pieces[0]?.buffer).toBe(pieces[1]?.buffer);
    expect(source.file.bytesRead - before).toBe(128 * 1024);
    await layer.close();
  });

  it("decodes a compressed archive twice for layers in order: once to index it, once to read them", async () => {
    const built = large(400_000);
    const source = file(gzipSync(dockerArchive([{ content: built, names: [] }])));
    const handle = await openArchive(source, { signal });
    expect(await layerDigests(handle)).toEqual(built.layers.map(({ diffId }) => diffId));
    expect(source.file.offsets.filter((offset) => offset === 0).length).toBe(3);
    expect(source.file.bytesRead).toBeLessThan(2.1 * source.file.size);
    await readSource(await (handle.layers[0] as LayerHandle).open(signal));
    expect(source.file.offsets.filter((offset) => offset === 0).length).toBe(4);
  });

  it("serves several layers of a compressed archive at once", async () => {
    const built = large(300_000);
    const handle = await openArchive(file(gzipSync(dockerArchive([{ content: built, names: [] }]))), { signal });
    const digests = await Promise.all(
      handle.layers.map(async (layer) => sha256Digest(await readSource(await layer.open(signal)))),
    );
    expect(digests).toEqual(built.layers.map(({ diffId }) => diffId));
  });

  it("fails a reading whose file has become shorter", async () => {
    const bytes = dockerArchive([{ content: large(200_000), names: [] }]);
    const shrinking = new MemoryFile(bytes);
    const handle = await openArchive({ kind: "file", file: shrinking }, { signal });
    shrinking.read = (buffer, offset) => new MemoryFile(bytes.subarray(0, 90_000)).read(buffer, offset);
    const error = await failure(readSource(await (handle.layers[0] as LayerHandle).open(signal)));
    expect(error.message).toContain("it ends within");
  });

  it("stops when it is cancelled", async () => {
    const cancel = new AbortController();
    const built = large(200_000);
    const handle = await open(dockerArchive([{ content: built, names: [] }]));
    const layer = await (handle.layers[0] as LayerHandle).open(cancel.signal);
    await layer.read();
    cancel.abort(new Error("enough"));
    await expect(layer.read()).rejects.toThrow("enough");
    await layer.close();
    const late = openArchive(file(dockerArchive([{ content: built, names: [] }])), { signal: cancel.signal });
    await expect(late).rejects.toThrow("enough");
  });
});

async function skopeo(args: readonly string[]): Promise<boolean> {
  const command = new Deno.Command(peerPath("skopeo"), { args: [...args], stdout: "null", stderr: "null" });
  return (await command.output()).success;
}

describe.skipIf(!peersAvailable("skopeo"))("openArchive() of what skopeo writes", () => {
  let scratch = "";
  beforeEach(async () => {
    scratch = await Deno.makeTempDir();
  });
  afterEach(() => Deno.remove(scratch, { recursive: true }));

  it.each<readonly [string, string]>([
    ["docker-archive", "docker-archive"],
    ["oci-archive", "oci-archive"],
  ])("reads a %s", async (transport, source) => {
    const built = image();
    await Deno.writeFile(`${scratch}/in.tar`, writeTar(oci(built, ["t"])));
    const copied = await skopeo([
      "--insecure-policy",
      "copy",
      `oci-archive:${scratch}/in.tar:t`,
      `${transport}:${scratch}/out.tar:name/app:t`,
    ]);
    expect(copied).toBe(true);
    const handle = await open(await Deno.readFile(`${scratch}/out.tar`), { reference: "name/app:t" });
    expect(handle.source).toBe(source);
    expect(handle.config.rootfs).toEqual(built.config.rootfs);
    expect(handle.layers.map(({ diffId }) => diffId)).toEqual(built.layers.map(({ diffId }) => diffId));
    const expected = built.layers.map(({ diffId, descriptor }) =>
      source === "oci-archive" ? descriptor.digest : diffId
    );
    expect(await layerDigests(handle)).toEqual(expected);
  });
});
