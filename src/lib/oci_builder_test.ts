import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { buildImage, buildLayer, dockerArchive, ociLayout, sha256Digest } from "./oci_builder.ts";
import { alpineSample, debianSample, distrolessSample, multiPlatformSample } from "./sample_images.ts";

describe("buildLayer()", () => {
  it.each(
    [
      ["gzip", (bytes: Uint8Array) => gunzipSync(bytes)],
      ["zstd", (bytes: Uint8Array) => zstdDecompressSync(bytes)],
      ["none", (bytes: Uint8Array) => bytes],
    ] as const,
  )("stores a tar as %s, with the digest of either form", (compression, decompress) => {
    const layer = buildLayer({ members: [{ path: "a", content: "b" }], compression });
    const tar = new Uint8Array(decompress(layer.bytes));
    expect(sha256Digest(tar)).toBe(layer.diffId);
    expect(layer.descriptor).toMatchObject({ digest: sha256Digest(layer.bytes), size: layer.bytes.length });
  });
});

describe("buildImage()", () => {
  it("gives equal digests for equal descriptions, and keeps every blob under its digest", () => {
    for (const make of [debianSample, alpineSample, distrolessSample, multiPlatformSample]) {
      const content = make();
      expect(make().descriptor.digest).toBe(content.descriptor.digest);
      for (const [digest, bytes] of content.blobs) expect(sha256Digest(bytes)).toBe(digest);
    }
  });

  it("ties manifest, configuration and layers together, in Docker's media types when asked", () => {
    const image = buildImage({ layers: [{ members: [] }], mediaTypes: "docker", annotations: { a: "b" } });
    const stored: unknown = JSON.parse(new TextDecoder().decode(image.blobs.get(image.descriptor.digest)));
    expect(stored).toEqual(image.manifest);
    expect(image.descriptor.mediaType).toBe("application/vnd.docker.distribution.manifest.v2+json");
    expect(image.manifest.layers[0]?.mediaType).toBe("application/vnd.docker.image.rootfs.diff.tar.gzip");
    expect(image.config.rootfs?.diff_ids).toEqual(image.layers.map((layer) => layer.diffId));
  });
});

describe("ociLayout()", () => {
  it("names one image several times and stores its blobs once", () => {
    const image = alpineSample();
    const members = ociLayout([{ content: image, names: ["1", "2"] }]);
    const index = members.find((member) => member.path === "index.json");
    const text = new TextDecoder().decode(
      index !== undefined && "content" in index ? index.content as Uint8Array : undefined,
    );
    expect((JSON.parse(text) as { manifests: unknown[] }).manifests).toHaveLength(2);
    expect(members).toHaveLength(2 + image.blobs.size);
  });
});

describe("buildIndex()", () => {
  it("marks the attestation as BuildKit does", () => {
    const { index } = multiPlatformSample();
    expect(index.manifests.map((manifest) => manifest.platform?.architecture)).toEqual(["amd64", "arm64", "unknown"]);
    expect(index.manifests[2]?.annotations?.["vnd.docker.reference.digest"]).toBe(index.manifests[0]?.digest);
  });
});

describe("dockerArchive()", () => {
  it("stores a layer that two images share once", () => {
    const one = alpineSample();
    const two = alpineSample({ config: { Env: ["A=1"] } });
    const archive = dockerArchive([{ content: one, names: ["a:1"] }, { content: two, names: ["b:1"] }]);
    const layer = one.layers[0]?.tar.length ?? 0;
    expect(archive.length).toBeGreaterThan(layer);
    expect(archive.length).toBeLessThan(2 * layer);
  });
});
