import { describe, expect, it } from "vitest";
import { encode, failure, file, image, layerDigests, oci, open, signal } from "../../tests/fakes/archives.ts";
import type { LayerHandle } from "../core/ports.ts";
import { dockerArchive, sha256Digest } from "../lib/oci_builder.ts";
import { type TarMember, writeTar } from "../lib/tar_writer.ts";
import { openArchive } from "./archive.ts";

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
    const full = dockerArchive([{ content: built, names: [] }, { content: other, names: ["docker.io/x/b:latest"] }]);
    for (const reference of ["docker.io/x/b:latest", "x/b:latest", "x/b", "b"]) {
      expect((await open(full, { reference })).configDigest).toBe(other.manifest.config.digest);
    }
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
