/**
 * Builds container images in memory, from a short description to the bytes that a registry or an archive holds.
 * Equal descriptions give equal digests. Follows the OCI image specification 1.1 (manifest.md, config.md, layer.md,
 * image-layout.md), Docker's image manifest version 2 schema 2, and the layout of `docker save`.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { gzipSync, zstdCompressSync } from "node:zlib";
import type { Digest } from "../core/digest.ts";
import { digestHex } from "../core/digest.ts";
import type {
  ContainerConfig,
  Descriptor,
  HistoryEntry,
  ImageConfig,
  ImageIndex,
  ImageManifest,
  Platform,
} from "../core/types.ts";
import { type TarMember, writeTar } from "./tar_writer.ts";

/** How a layer is stored. */
export type LayerCompression = "gzip" | "zstd" | "none";

/** Which family of media types an image uses. Docker's has none for zstd. */
export type MediaTypes = "oci" | "docker";

/** A layer to build: members for a tar, or a ready-made tar. */
export interface LayerSpec {
  readonly members?: readonly TarMember[];
  readonly tar?: Uint8Array<ArrayBuffer>;
  /** Default gzip. */
  readonly compression?: LayerCompression;
  /** `created_by` of the layer's history entry. */
  readonly createdBy?: string;
}

/** An image of one platform to build. */
export interface ImageSpec {
  readonly layers: readonly LayerSpec[];
  /** Default linux/amd64. */
  readonly platform?: Platform;
  readonly config?: ContainerConfig;
  /** RFC 3339; default is the epoch, so that the result does not depend on the clock. */
  readonly created?: string;
  /** Replaces the history that is made of the layers' `createdBy`. */
  readonly history?: readonly HistoryEntry[];
  /** Default oci. */
  readonly mediaTypes?: MediaTypes;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A layer with its stored bytes. */
export interface BuiltLayer {
  readonly descriptor: Descriptor;
  readonly diffId: Digest;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly tar: Uint8Array<ArrayBuffer>;
}

/** Something with a manifest, and every blob below it (its own manifest too), by digest. */
export interface BuiltContent {
  readonly descriptor: Descriptor;
  readonly blobs: ReadonlyMap<Digest, Uint8Array<ArrayBuffer>>;
  /** Descriptors of the manifests below it, deepest first, its own last: the order in which a registry wants them. */
  readonly manifests: readonly Descriptor[];
}

/** An image of one platform. */
export interface BuiltImage extends BuiltContent {
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
  readonly layers: readonly BuiltLayer[];
}

/** An image index. */
export interface BuiltIndex extends BuiltContent {
  readonly index: ImageIndex;
}

const MEDIA = {
  oci: {
    index: "application/vnd.oci.image.index.v1+json",
    manifest: "application/vnd.oci.image.manifest.v1+json",
    config: "application/vnd.oci.image.config.v1+json",
    layer: {
      gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
      zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
      none: "application/vnd.oci.image.layer.v1.tar",
    },
  },
  docker: {
    index: "application/vnd.docker.distribution.manifest.list.v2+json",
    manifest: "application/vnd.docker.distribution.manifest.v2+json",
    config: "application/vnd.docker.container.image.v1+json",
    layer: {
      gzip: "application/vnd.docker.image.rootfs.diff.tar.gzip",
      zstd: "application/vnd.docker.image.rootfs.diff.tar.zstd",
      none: "application/vnd.docker.image.rootfs.diff.tar",
    },
  },
} as const;

const EPOCH = "1970-01-01T00:00:00Z";

/** The sha256 digest of the bytes. */
export function sha256Digest(bytes: Uint8Array): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** Builds one layer. */
export function buildLayer(spec: LayerSpec, mediaTypes: MediaTypes = "oci"): BuiltLayer {
  const tar = spec.tar ?? writeTar(spec.members ?? []);
  const compression = spec.compression ?? "gzip";
  const bytes = compress(tar, compression);
  return {
    descriptor: describe(MEDIA[mediaTypes].layer[compression], bytes),
    diffId: sha256Digest(tar),
    bytes,
    tar,
  };
}

/** Builds an image of one platform. */
export function buildImage(spec: ImageSpec): BuiltImage {
  const family = spec.mediaTypes ?? "oci";
  const platform = spec.platform ?? { os: "linux", architecture: "amd64" };
  const created = spec.created ?? EPOCH;
  const layers = spec.layers.map((layer) => buildLayer(layer, family));
  const config: ImageConfig = {
    created,
    ...platform,
    config: spec.config ?? {},
    rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.diffId) },
    history: spec.history ??
      spec.layers.map((layer) => ({ created, created_by: layer.createdBy ?? "outpost: built on the spot" })),
  };
  const configBytes = json(config);
  const manifest: ImageManifest = {
    schemaVersion: 2,
    mediaType: MEDIA[family].manifest,
    config: describe(MEDIA[family].config, configBytes),
    layers: layers.map((layer) => layer.descriptor),
    ...(spec.annotations === undefined ? {} : { annotations: spec.annotations }),
  };
  const manifestBytes = json(manifest);
  const descriptor: Descriptor = { ...describe(MEDIA[family].manifest, manifestBytes), platform };
  const blobs = new Map(layers.map((layer) => [layer.descriptor.digest, layer.bytes]));
  blobs.set(manifest.config.digest, configBytes);
  blobs.set(descriptor.digest, manifestBytes);
  return { descriptor, blobs, manifests: [descriptor], manifest, config, layers };
}

/**
 * Builds the manifest that BuildKit stores beside an image for its in-toto statements: an image of platform
 * unknown/unknown whose layers are the statements, tied to the image by annotations.
 */
export function buildAttestation(
  image: BuiltImage,
  statements: readonly { readonly predicateType: string }[],
): BuiltImage {
  const bodies = statements.map((statement) => json(statement));
  const layers = statements.map((statement, at): Descriptor => ({
    ...describe("application/vnd.in-toto+json", bodies[at] ?? new Uint8Array(0)),
    annotations: { "in-toto.io/predicate-type": statement.predicateType },
  }));
  const platform = { os: "unknown", architecture: "unknown" };
  const config: ImageConfig = {
    ...platform,
    config: {},
    rootfs: { type: "layers", diff_ids: layers.map((l) => l.digest) },
  };
  const configBytes = json(config);
  const manifest: ImageManifest = {
    schemaVersion: 2,
    mediaType: MEDIA.oci.manifest,
    config: describe(MEDIA.oci.config, configBytes),
    layers,
  };
  const manifestBytes = json(manifest);
  const descriptor: Descriptor = {
    ...describe(MEDIA.oci.manifest, manifestBytes),
    platform,
    annotations: {
      "vnd.docker.reference.type": "attestation-manifest",
      "vnd.docker.reference.digest": image.descriptor.digest,
    },
  };
  const blobs = new Map([[manifest.config.digest, configBytes], [descriptor.digest, manifestBytes]]);
  layers.forEach((layer, at) => blobs.set(layer.digest, bodies[at] ?? new Uint8Array(0)));
  return { descriptor, blobs, manifests: [descriptor], manifest, config, layers: [] };
}

/** Builds an index (Docker: a manifest list) over images, attestations or further indexes. */
export function buildIndex(contents: readonly BuiltContent[], mediaTypes: MediaTypes = "oci"): BuiltIndex {
  const index: ImageIndex = {
    schemaVersion: 2,
    mediaType: MEDIA[mediaTypes].index,
    manifests: contents.map((content) => content.descriptor),
  };
  const bytes = json(index);
  const descriptor = describe(MEDIA[mediaTypes].index, bytes);
  const blobs = new Map(contents.flatMap((content) => [...content.blobs]));
  blobs.set(descriptor.digest, bytes);
  return { descriptor, blobs, manifests: [...contents.flatMap((content) => content.manifests), descriptor], index };
}

/** An image or index with the name under which a layout or an archive offers it. */
export interface NamedContent<C extends BuiltContent = BuiltContent> {
  readonly content: C;
  /** `org.opencontainers.image.ref.name` in a layout; `repository:tag` in a docker archive. Several names may be one image's. */
  readonly names: readonly string[];
}

/** The files of an OCI image layout, by path: write them to a folder, or through `writeTar` for an oci-archive. */
export function ociLayout(named: readonly NamedContent[]): readonly TarMember[] {
  const blobs = new Map(named.flatMap(({ content }) => [...content.blobs]));
  const manifests = named.flatMap(({ content, names }) =>
    names.length === 0 ? [content.descriptor] : names.map((name): Descriptor => ({
      ...content.descriptor,
      annotations: { ...content.descriptor.annotations, "org.opencontainers.image.ref.name": name },
    }))
  );
  return [
    { path: "oci-layout", content: `{"imageLayoutVersion":"1.0.0"}` },
    { path: "index.json", content: json({ schemaVersion: 2, mediaType: MEDIA.oci.index, manifests }) },
    ...[...blobs].map(([digest, content]): TarMember => ({ path: `blobs/sha256/${digestHex(digest)}`, content })),
  ];
}

/** The archive that `docker save` writes for the images (the layout before Docker 25: `manifest.json`, layer folders). */
export function dockerArchive(named: readonly NamedContent<BuiltImage>[]): Uint8Array<ArrayBuffer> {
  const members = new Map<string, TarMember>();
  const manifest = named.map(({ content, names }) => {
    const configPath = `${digestHex(content.manifest.config.digest)}.json`;
    members.set(configPath, { path: configPath, content: content.blobs.get(content.manifest.config.digest) ?? "" });
    const layers = content.layers.map(({ diffId, tar }) => {
      const path = `${digestHex(diffId)}/layer.tar`;
      members.set(path, { path, content: tar });
      return path;
    });
    return { Config: configPath, RepoTags: names.length === 0 ? null : names, Layers: layers };
  });
  return writeTar([...members.values(), { path: "manifest.json", content: json(manifest) }]);
}

function compress(tar: Uint8Array<ArrayBuffer>, compression: LayerCompression): Uint8Array<ArrayBuffer> {
  if (compression === "none") return tar;
  return new Uint8Array(compression === "gzip" ? gzipSync(tar) : zstdCompressSync(tar));
}

function describe(mediaType: string, bytes: Uint8Array): Descriptor {
  return { mediaType, digest: sha256Digest(bytes), size: bytes.length };
}

function json(value: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(value));
}
