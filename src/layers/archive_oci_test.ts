import { Buffer } from "node:buffer";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { directory, encode, failure, image, layerDigests, oci, open, signal } from "../../tests/fakes/archives.ts";
import { LIMITS } from "../core/limits.ts";
import type { LayerHandle } from "../core/ports.ts";
import type { Descriptor, ImageManifest } from "../core/types.ts";
import { readSource } from "../lib/byte_sources.ts";
import { buildAttestation, buildIndex, type BuiltImage, ociLayout, sha256Digest } from "../lib/oci_builder.ts";
import { writeTar } from "../lib/tar_writer.ts";
import { openArchive } from "./archive.ts";

describe("openArchive() of an OCI layout", () => {
  const built = image();
  const expected = built.layers.map(({ descriptor }) => descriptor.digest);

  it.each<readonly [string, (tar: Uint8Array) => Uint8Array]>([
    ["a tar", (tar: Uint8Array) => tar],
    ["a gzip tar", (tar: Uint8Array) => gzipSync(tar)],
    [
      "a gzip tar of several members",
      (tar: Uint8Array) => Buffer.concat([gzipSync(tar.subarray(0, 700)), gzipSync(tar.subarray(700))]),
    ],
    ["a zstd tar", (tar: Uint8Array) => zstdCompressSync(tar)],
    ["a zstd tar of several frames, one to skip", (tar: Uint8Array) =>
      Buffer.concat([
        Buffer.from("502a4d1803000000616263", "hex"),
        zstdCompressSync(tar.subarray(0, 700)),
        zstdCompressSync(tar.subarray(700)),
      ])],
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
    const layer = await (handle.layers[0] as LayerHandle).open(signal);
    expect(folder.opened).toBe(1);
    await layer.close();
    await expect(layer.read()).rejects.toThrow("given up");
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

  it.each<readonly [string, Partial<Descriptor>, boolean, string]>([
    ["encrypted", { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip+encrypted" }, false, "UNSUPPORTED_IMAGE"],
    ["foreign", { urls: ["https://example.com/base"] }, true, "UNSUPPORTED_IMAGE"],
    ["missing", {}, true, "ARCHIVE_INVALID"],
  ])("names a layer that is %s when it is opened", async (_what, more, absent, code) => {
    const digest = absent ? sha256Digest(encode("absent")) : expected[0];
    const bytes = changed((m) => ({
      ...m,
      layers: m.layers.map((l, i) => i === 0 ? { ...l, ...more, digest: digest ?? l.digest } : l),
    }));
    const handle = await open(bytes);
    const error = await failure((handle.layers[0] as LayerHandle).open(signal));
    expect([error.code, error.message.includes(digest ?? "?")]).toEqual([code, true]);
    expect((await readSource(await (handle.layers[1] as LayerHandle).open(signal))).length).toBeGreaterThan(0);
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
