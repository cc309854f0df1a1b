import { Buffer } from "node:buffer";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { MemoryDirectory, MemoryFile } from "../../tests/fakes/files.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ByteStream, ImageHandle, LayerHandle } from "../core/ports.ts";
import type { Descriptor, ImageManifest, Platform } from "../core/types.ts";
import {
  buildAttestation,
  buildImage,
  buildIndex,
  type BuiltContent,
  type BuiltImage,
  dockerArchive,
  ociLayout,
  sha256Digest,
} from "../lib/oci_builder.ts";
import { parsePlatform } from "../lib/platform.ts";
import { type TarMember, writeTar } from "../lib/tar_writer.ts";
import { type ArchiveSource, openArchive } from "./archive.ts";

const signal = new AbortController().signal;
const encode = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value));

/** An image of two layers; `label` makes it differ from others. */
function image(label = "x", platform: Platform = { os: "linux", architecture: "amd64" }): BuiltImage {
  return buildImage({
    platform,
    layers: [
      { members: [{ path: "etc/os-release", content: `ID=${label}` }] },
      { members: [{ path: "srv/data", content: `${label}`.repeat(3000) }] },
    ],
  });
}

const oci = (content: BuiltContent, names: readonly string[] = []): readonly TarMember[] =>
  ociLayout([{ content, names }]);

function file(bytes: Uint8Array): ArchiveSource & { readonly file: MemoryFile } {
  return { kind: "file", file: new MemoryFile(bytes) };
}

function open(bytes: Uint8Array, more: { platform?: string; reference?: string } = {}): Promise<ImageHandle> {
  const platform = more.platform === undefined ? undefined : parsePlatform(more.platform);
  return openArchive(file(bytes), { signal, platform, reference: more.reference });
}

function directory(members: readonly TarMember[]): MemoryDirectory {
  return new MemoryDirectory(
    new Map(members.map((m) => [m.path, "content" in m && typeof m.content !== "string" ? m.content : encode({})])),
  );
}

async function bytesOf(stream: ByteStream): Promise<Uint8Array> {
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Digests of the layers as they come out. */
async function layerDigests(handle: ImageHandle): Promise<string[]> {
  const digests: string[] = [];
  for (const layer of handle.layers) digests.push(sha256Digest(await bytesOf(await layer.open(signal))));
  return digests;
}

async function failure(attempt: Promise<unknown>): Promise<OutpostError> {
  try {
    await attempt;
  } catch (error) {
    if (error instanceof OutpostError) return error;
    throw error;
  }
  throw new Error("It did not fail");
}

describe("openArchive() of a docker archive", () => {
  const built = image();
  const hexes = built.layers.map(({ diffId }) => diffId.slice(7));

  it("gives configuration, layer names and bytes", async () => {
    const handle = await open(dockerArchive([{ content: built, names: ["a:1"] }]));
    expect(handle.source).toBe("docker-archive");
    expect(handle.configDigest).toBe(built.manifest.config.digest);
    expect(handle.config).toEqual(built.config);
    expect(handle.digests).toEqual({});
    expect(handle.layers.map(({ name }) => name)).toEqual(hexes.map((hex) => `${hex}/layer.tar`));
    expect(handle.layers.map(({ diffId }) => diffId)).toEqual(built.layers.map(({ diffId }) => diffId));
    expect(handle.layers.map(({ size }) => size)).toEqual(built.layers.map(({ tar }) => tar.length));
    expect(await layerDigests(handle)).toEqual(built.layers.map(({ diffId }) => diffId));
    expect(await handle.attestations(signal)).toEqual([]);
  });

  it("takes the first image, or the one that is named", async () => {
    const other = image("other");
    const archive = dockerArchive([{ content: built, names: ["a:1"] }, { content: other, names: ["b:1", "b:2"] }]);
    expect((await open(archive)).configDigest).toBe(built.manifest.config.digest);
    expect((await open(archive, { reference: "b:2" })).configDigest).toBe(other.manifest.config.digest);
    const error = await failure(open(archive, { reference: "c:1" }));
    expect([error.code, error.hint]).toEqual(["TAG_NOT_FOUND", 'There are: "a:1", "b:1", "b:2".']);
  });

  it("takes configuration and layers from the manifest, not from what lies around", async () => {
    const archive = writeTar([
      { path: "config.json", content: encode(built.config) },
      { path: "./sub/../l0.tar", content: built.layers[0]?.tar ?? "" },
      { path: `${"f".repeat(64)}.json`, content: "{}" },
      { path: "stray.tar", content: "" },
      { path: "manifest.json", content: encode([{ Config: "./config.json", Layers: ["./l0.tar"] }]) },
    ]);
    const handle = await open(archive);
    expect(handle.config).toEqual(built.config);
    expect(handle.layers.map(({ name, diffId }) => [name, diffId])).toEqual([["l0.tar", undefined]]);
  });

  it("follows links between layers, as docker save writes them for a layer that occurs twice", async () => {
    const tar = built.layers[0]?.tar ?? new Uint8Array();
    const members: TarMember[] = [
      { path: "c.json", content: encode({}) },
      { path: "a/layer.tar", content: tar },
      { path: "b/layer.tar", kind: "symlink", target: "../a/layer.tar" },
      { path: "c/layer.tar", kind: "hardlink", target: "a/layer.tar" },
      { path: "d/layer.tar", kind: "symlink", target: "../d/layer.tar" },
      { path: "e/layer.tar", kind: "symlink", target: "../../../../a/layer.tar" },
      {
        path: "manifest.json",
        content: encode([{ Config: "c.json", Layers: ["a", "b", "c", "e"].map((name) => `${name}/layer.tar`) }]),
      },
    ];
    const handle = await open(writeTar(members));
    expect(await layerDigests(handle)).toEqual(Array(4).fill(sha256Digest(tar)));
    const circle = encode([{ Config: "c.json", Layers: ["d/layer.tar"] }]);
    const error = await failure(open(writeTar([...members.slice(0, -1), { path: "manifest.json", content: circle }])));
    expect(error.message).toContain('all layers are missing, "d/layer.tar" first');
  });

  it("reads kaniko tarballs", async () => {
    const config = `sha256:${built.manifest.config.digest.slice(7)}`;
    const names = built.layers.map(({ descriptor }) => `${descriptor.digest.slice(7)}.tar.gz`);
    const handle = await open(writeTar([
      { path: config, content: encode(built.config) },
      ...built.layers.map(({ bytes }, i): TarMember => ({ path: names[i] ?? "", content: bytes })),
      { path: "manifest.json", content: encode([{ Config: config, RepoTags: ["k:1"], Layers: names }]) },
    ]));
    expect(handle.source).toBe("kaniko-archive");
    expect(handle.configDigest).toBe(built.manifest.config.digest);
    expect(handle.layers.map(({ name }) => name)).toEqual(names);
    expect(await layerDigests(handle)).toEqual(built.layers.map(({ descriptor }) => descriptor.digest));
  });

  it("reads a layout with manifest.json, Docker 25 and later, as a layout", async () => {
    const blobs = built.layers.map(({ descriptor }) => `blobs/sha256/${descriptor.digest.slice(7)}`);
    const entry = { Config: `blobs/sha256/${built.manifest.config.digest.slice(7)}`, RepoTags: ["a:1"], Layers: blobs };
    const archive = writeTar([...oci(built, ["1"]), { path: "manifest.json", content: encode([entry]) }]);
    for (const format of ["auto", "docker-archive", "oci-archive"] as const) {
      const handle = await openArchive({ ...file(archive), format }, { signal });
      expect(handle.source).toBe("oci-archive");
      expect(handle.layers.map(({ name }) => name)).toEqual(built.layers.map(({ descriptor }) => descriptor.digest));
    }
  });

  it("fails at the layer that is missing, and names it", async () => {
    const [first, second] = hexes;
    const config = "c.json";
    const layers = [`${first}.tar`, `${second}.tar`];
    const handle = await open(writeTar([
      { path: config, content: encode(built.config) },
      { path: `${second}.tar`, content: built.layers[1]?.tar ?? "" },
      { path: "manifest.json", content: encode([{ Config: config, Layers: layers }]) },
    ]));
    const error = await failure((handle.layers[0] as LayerHandle).open(signal));
    expect([error.code, error.message]).toEqual([
      "ARCHIVE_INVALID",
      `Cannot read layer "${first}.tar": it is missing in the archive`,
    ]);
    expect(handle.layers[1]?.size).toBe(built.layers[1]?.tar.length);
  });

  it("refuses a platform that the image is not for", async () => {
    const archive = dockerArchive([{ content: built, names: [] }]);
    expect((await open(archive, { platform: "linux/amd64" })).configDigest).toBe(built.manifest.config.digest);
    const error = await failure(open(archive, { platform: "linux/arm64" }));
    expect([error.code, error.hint]).toEqual(["PLATFORM_NOT_FOUND", "Ask for one of: linux/amd64."]);
  });
});

describe("openArchive() of an OCI layout", () => {
  const built = image();
  const expected = built.layers.map(({ descriptor }) => descriptor.digest);

  it.each([
    ["a tar", (tar: Uint8Array) => tar],
    ["a gzip tar", (tar: Uint8Array) => gzipSync(tar)],
    [
      "a gzip tar of several members",
      (tar: Uint8Array) => Buffer.concat([gzipSync(tar.subarray(0, 700)), gzipSync(tar.subarray(700))]),
    ],
    ["a zstd tar", (tar: Uint8Array) => zstdCompressSync(tar)],
  ])("reads %s", async (_what, compress) => {
    const handle = await open(compress(writeTar(oci(built))));
    expect(handle.source).toBe("oci-archive");
    expect(handle.configDigest).toBe(built.manifest.config.digest);
    expect(handle.digests).toEqual({ manifest: built.descriptor.digest });
    expect(handle.layers.map(({ name, digest, size, mediaType, diffId }) => [name, digest, size, mediaType, diffId]))
      .toEqual(built.layers.map(({ descriptor: d, diffId }) => [d.digest, d.digest, d.size, d.mediaType, diffId]));
    expect(await layerDigests(handle)).toEqual(expected);
    expect(await layerDigests({ ...handle, layers: handle.layers.toReversed() })).toEqual(expected.toReversed());
  });

  it("reads a directory, and closes every file", async () => {
    const folder = directory(oci(built));
    const handle = await openArchive({ kind: "directory", directory: folder }, { signal });
    expect(handle.source).toBe("oci-layout");
    expect(await layerDigests(handle)).toEqual(expected);
    expect(folder.opened).toBe(0);
    const stream = await (handle.layers[0] as LayerHandle).open(signal);
    expect(folder.opened).toBe(1);
    await stream.cancel();
    expect(folder.opened).toBe(0);
    expect(folder.names.every((name) => /^(?:index\.json|blobs\/sha256\/[0-9a-f]{64})$/.test(name))).toBe(true);
  });

  it("takes the image that is named: by its tag, or by a whole reference", async () => {
    const other = image("other");
    const archive = writeTar(ociLayout([
      { content: built, names: ["1.0"] },
      { content: other, names: ["docker.io/library/b:2.0"] },
    ]));
    for (const reference of ["2.0", "library/b:2.0", "b:2.0", "docker.io/library/b:2.0"]) {
      expect((await open(archive, { reference })).configDigest).toBe(other.manifest.config.digest);
    }
    expect((await open(archive, { reference: "1.0" })).configDigest).toBe(built.manifest.config.digest);
    expect((await open(archive)).configDigest).toBe(built.manifest.config.digest);
    const error = await failure(open(archive, { reference: "3" }));
    expect([error.code, error.hint]).toEqual(["TAG_NOT_FOUND", 'There are: "1.0", "docker.io/library/b:2.0".']);
  });

  const arm = image("arm", { os: "linux", architecture: "arm64" });
  const windows = image("win", { os: "windows", architecture: "amd64" });

  it.each([undefined, "linux/arm64", "windows/amd64"])("chooses %s out of a nested index", async (platform) => {
    const index = buildIndex([windows, built, arm]);
    const wanted = platform === "linux/arm64" ? arm : platform === "windows/amd64" ? windows : built;
    for (const members of [oci(index), ociLayout([windows, built, arm].map((content) => ({ content, names: [] })))]) {
      const handle = await open(writeTar(members), platform === undefined ? {} : { platform });
      expect(handle.configDigest).toBe(wanted.manifest.config.digest);
      expect(handle.digests.manifest).toBe(wanted.descriptor.digest);
    }
    expect((await open(writeTar(oci(index)))).digests.index).toBe(index.descriptor.digest);
  });

  it("chooses by the configurations where the index states no platforms", async () => {
    const bare = (each: BuiltImage): BuiltImage => {
      const { platform: _, ...descriptor } = each.descriptor;
      return { ...each, descriptor };
    };
    const archive = writeTar(ociLayout([arm, built].map((each) => ({ content: bare(each), names: [] }))));
    expect((await open(archive)).configDigest).toBe(built.manifest.config.digest);
    expect((await open(archive, { platform: "linux/arm64" })).configDigest).toBe(arm.manifest.config.digest);
    const error = await failure(open(writeTar(oci(bare(arm))), { platform: "linux/amd64" }));
    expect([error.code, error.hint]).toEqual(["PLATFORM_NOT_FOUND", "Ask for one of: linux/arm64."]);
  });

  it("leaves out the platforms whose content was not saved", async () => {
    const index = buildIndex([built, arm]);
    const kept = new Map(arm.blobs).set(index.descriptor.digest, index.blobs.get(index.descriptor.digest) ?? encode(0));
    const handle = await open(writeTar(oci({ ...index, blobs: kept })));
    expect(handle.configDigest).toBe(arm.manifest.config.digest);
  });

  it("says which platforms there are", async () => {
    const error = await failure(open(writeTar(oci(buildIndex([arm, windows])))));
    expect([error.code, error.hint]).toEqual([
      "PLATFORM_NOT_FOUND",
      "Choose a platform with --platform; there are: linux/arm64, windows/amd64.",
    ]);
  });

  it("reads the statements about the chosen image, and no others", async () => {
    const types = ["https://slsa.dev/provenance/v1", "https://spdx.dev/Document"];
    const statement = (predicateType: string) => ({ _type: "https://in-toto.io/Statement/v0.1", predicateType });
    const attestation = buildAttestation(built, types.map(statement));
    const index = buildIndex([built, arm, attestation, buildAttestation(arm, [statement("other")])]);
    const handle = await open(writeTar(oci(index)));
    const statements = await handle.attestations(signal);
    expect(statements.map(({ predicateType }) => predicateType).sort()).toEqual(types);
    expect(statements.map(({ layerDigest }) => layerDigest)).toEqual(statements.map((s) => s.layerDigest).sort());
    expect(statements[0]).toMatchObject({
      attestedDigest: built.descriptor.digest,
      manifestDigest: attestation.descriptor.digest,
      statement: { _type: "https://in-toto.io/Statement/v0.1" },
    });
    expect(handle.problems).toEqual([]);
  });

  it("keeps at most ten statements, provenance first, and reports one that is damaged", async () => {
    const many = Array.from(
      { length: 15 },
      (_, i) => ({ predicateType: i < 12 ? `t${i}` : `https://slsa.dev/provenance/v${i}` }),
    );
    const attestation = buildAttestation(built, many);
    const handle = await open(writeTar(oci(buildIndex([built, attestation]))));
    const statements = await handle.attestations(signal);
    expect(statements.length).toBe(LIMITS.attestations);
    expect(statements.filter(({ predicateType }) => predicateType.startsWith("https:")).length).toBe(3);

    const single = buildAttestation(built, [{ predicateType: "t" }]);
    const damaged = new Map(single.blobs);
    for (const { digest } of single.manifest.layers) damaged.set(digest, encode({ predicateType: "u" }));
    const broken = await open(writeTar(oci(buildIndex([built, { ...single, blobs: damaged }]))));
    expect(await broken.attestations(signal)).toEqual([]);
    expect(broken.problems.map(({ code }) => code)).toEqual(["INTEGRITY"]);
  });

  /** The layout of an image whose manifest is changed. */
  function changed(change: (manifest: ImageManifest) => unknown): Uint8Array {
    const bytes = encode(change(built.manifest));
    const descriptor: Descriptor = { ...built.descriptor, digest: sha256Digest(bytes), size: bytes.length };
    return writeTar(oci({ ...built, descriptor, blobs: new Map(built.blobs).set(descriptor.digest, bytes) }));
  }

  it.each([
    ["encrypted", { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip+encrypted" }, false, "UNSUPPORTED_IMAGE"],
    ["foreign", { urls: ["https://example.com/base"] }, true, "UNSUPPORTED_IMAGE"],
    ["missing", {}, true, "ARCHIVE_INVALID"],
  ])("names a layer that is %s when it is opened", async (_what, more, absent, code) => {
    const digest = absent ? sha256Digest(encode("absent")) : expected[0];
    const bytes = changed((m) => ({ ...m, layers: m.layers.map((l, i) => i === 0 ? { ...l, ...more, digest } : l) }));
    const handle = await open(bytes);
    const error = await failure((handle.layers[0] as LayerHandle).open(signal));
    expect([error.code, error.message.includes(digest ?? "?")]).toEqual([code, true]);
    expect((await bytesOf(await (handle.layers[1] as LayerHandle).open(signal))).length).toBeGreaterThan(0);
  });

  const badDigest = "sha256:../../../../etc/passwd";

  it.each<readonly [string, (manifest: ImageManifest) => unknown, string, string]>([
    [
      "another artifact",
      (m) => ({ ...m, config: { ...m.config, mediaType: "application/vnd.cncf.helm.config.v1+json" } }),
      "UNSUPPORTED_IMAGE",
      "application/vnd.cncf.helm.config.v1+json",
    ],
    [
      "a digest that is a path",
      (m) => ({ ...m, config: { ...m.config, digest: badDigest } }),
      "ARCHIVE_INVALID",
      badDigest,
    ],
    [
      "a missing configuration",
      (m) => ({ ...m, config: { ...m.config, digest: `sha256:${"0".repeat(64)}` } }),
      "ARCHIVE_INVALID",
      "is missing",
    ],
    ["a wrong size", (m) => ({ ...m, config: { ...m.config, size: 3 } }), "INTEGRITY", "more stored bytes than the 3"],
    ["no layers", (m) => ({ ...m, layers: undefined }), "ARCHIVE_INVALID", "neither an image manifest nor an index"],
    ["a list", () => [], "ARCHIVE_INVALID", "neither an image manifest nor an index"],
    [
      "too many layers",
      (m) => ({ ...m, layers: Array(LIMITS.layersPerImage + 1).fill(m.layers[0]) }),
      "LIMIT_EXCEEDED",
      "1001 layers",
    ],
  ])("refuses a manifest with %s", async (_what, change, code, message) => {
    const error = await failure(open(changed(change)));
    expect(error.code).toBe(code);
    expect(error.message).toContain(message);
  });

  it("refuses documents whose digest is another", async () => {
    for (const digest of [built.descriptor.digest, built.manifest.config.digest]) {
      const blob = new Uint8Array(built.blobs.get(digest) ?? []);
      blob[blob.length - 2] = (blob[blob.length - 2] ?? 0) ^ 1;
      const error = await failure(open(writeTar(oci({ ...built, blobs: new Map(built.blobs).set(digest, blob) }))));
      expect([error.code, error.message.includes(digest)]).toEqual(["INTEGRITY", true]);
    }
  });

  it("refuses indexes that are nested too deep or in circles", async () => {
    const deep = buildIndex([buildIndex([buildIndex([built])])]);
    expect((await failure(open(writeTar(oci(deep))))).message).toContain("nested too deep");
    const ok = buildIndex([buildIndex([built])]);
    expect((await open(writeTar(oci(ok)))).configDigest).toBe(built.manifest.config.digest);
  });
});

describe("openArchive() of what is no image archive", () => {
  const built = image();
  const docker = dockerArchive([{ content: built, names: [] }]);

  it.each<readonly [string, Uint8Array, string]>([
    ["an empty file", new Uint8Array(), "it is empty"],
    ["text", new TextEncoder().encode("hello ".repeat(300)), "malformed"],
    ["an empty tar", writeTar([]), "neither a manifest.json nor an index.json"],
    ["a tar of other files", writeTar([{ path: "x", content: "y" }]), "neither a manifest.json nor an index.json"],
    ["a damaged gzip", gzipSync(docker).fill(0xff, 300, 340), "compressed data is damaged"],
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
      `Cannot read the image archive: it has more than ${LIMITS.archiveMembers} files`,
    ]);
    const large = writeTar([{ path: "manifest.json", content: new Uint8Array(LIMITS.manifestBytes + 1) }]);
    expect((await failure(open(large))).code).toBe("LIMIT_EXCEEDED");
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
    const stream = await (handle.layers[1] as LayerHandle).open(signal);
    const reader = stream.getReader();
    const chunks = [await reader.read(), await reader.read()];
    expect(chunks.map(({ value }) => value?.length)).toEqual([64 * 1024, 64 * 1024]);
    expect(chunks[0]?.value?.buffer === chunks[1]?.value?.buffer).toBe(false);
    expect(source.file.bytesRead - before).toBe(128 * 1024);
    await reader.cancel();
  });

  it("decodes a compressed archive twice for layers in order: once to index it, once to read them", async () => {
    const built = large(400_000);
    const source = file(gzipSync(dockerArchive([{ content: built, names: [] }])));
    const handle = await openArchive(source, { signal });
    expect(await layerDigests(handle)).toEqual(built.layers.map(({ diffId }) => diffId));
    expect(source.file.offsets.filter((offset) => offset === 0).length).toBe(3);
    expect(source.file.bytesRead).toBeLessThan(2.1 * source.file.size);
    await bytesOf(await (handle.layers[0] as LayerHandle).open(signal));
    expect(source.file.offsets.filter((offset) => offset === 0).length).toBe(4);
  });

  it("serves several layers of a compressed archive at once", async () => {
    const built = large(300_000);
    const handle = await openArchive(file(gzipSync(dockerArchive([{ content: built, names: [] }]))), { signal });
    const digests = await Promise.all(
      handle.layers.map(async (layer) => sha256Digest(await bytesOf(await layer.open(signal)))),
    );
    expect(digests).toEqual(built.layers.map(({ diffId }) => diffId));
  });

  it("fails a stream whose file has become shorter", async () => {
    const bytes = dockerArchive([{ content: large(200_000), names: [] }]);
    const shrinking = new MemoryFile(bytes);
    const handle = await openArchive({ kind: "file", file: shrinking }, { signal });
    shrinking.read = (buffer, offset) => new MemoryFile(bytes.subarray(0, 90_000)).read(buffer, offset);
    const error = await failure(bytesOf(await (handle.layers[0] as LayerHandle).open(signal)));
    expect(error.message).toContain("it ends within");
  });

  it("stops when it is cancelled", async () => {
    const cancel = new AbortController();
    const built = large(200_000);
    const handle = await open(dockerArchive([{ content: built, names: [] }]));
    const reader = (await (handle.layers[0] as LayerHandle).open(cancel.signal)).getReader();
    await reader.read();
    cancel.abort(new Error("enough"));
    await expect(reader.read()).rejects.toThrow("enough");
    const late = openArchive(file(dockerArchive([{ content: built, names: [] }])), { signal: cancel.signal });
    await expect(late).rejects.toThrow("enough");
  });
});
