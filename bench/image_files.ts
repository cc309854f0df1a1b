/**
 * Layers and images made of folders: gzip layers by the machine's own tar and gzip, OCI archives, uploads. Layers are
 * kept between runs.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Digest } from "../src/core/digest.ts";
import type { ImageConfig, ImageManifest } from "../src/core/types.ts";
import { sha256Digest } from "../src/lib/oci_builder.ts";
import type { RepositoryUpload } from "../tests/peers/images.ts";
import { isFile } from "../tests/peers/mod.ts";
import { checked } from "./debian.ts";
import { say } from "./measure.ts";

/** A layer in a file. */
export interface LayerFile {
  readonly name: string;
  readonly file: string;
  readonly digest: Digest;
  readonly size: number;
  readonly diffId: Digest;
  readonly tarBytes: number;
}

/** An image: its layers, bottom first, and the bytes of its config and manifest. */
export interface ImageFiles {
  readonly layers: readonly LayerFile[];
  readonly config: Uint8Array<ArrayBuffer>;
  readonly manifest: Uint8Array<ArrayBuffer>;
}

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const CONFIG = "application/vnd.oci.image.config.v1+json";
const LAYER = "application/vnd.oci.image.layer.v1.tar+gzip";

/** Makes layers of folders, once each. */
export class LayerFiles {
  readonly #folder: string;

  /** @param folder Where the layers are kept. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * The layer of this name; when it is not there yet, `fill` puts its files into an empty folder. A changed recipe needs
   * a changed name.
   */
  async layer(name: string, fill: (folder: string) => Promise<void>): Promise<LayerFile> {
    const known = `${this.#folder}/${name}.json`;
    // The checkout may have been moved since.
    if (isFile(known)) {
      return { ...JSON.parse(await Deno.readTextFile(known)) as LayerFile, file: `${this.#folder}/${name}.tar.gz` };
    }
    say(`Making the layer ${name}`);
    const root = `${this.#folder}/${name}.root`;
    const tar = `${this.#folder}/${name}.tar`;
    await Deno.mkdir(this.#folder, { recursive: true });
    await Deno.remove(root, { recursive: true }).catch(() => {});
    await Deno.mkdir(root);
    await fill(root);
    const members = [...Deno.readDirSync(root)].map((entry) => entry.name).toSorted();
    const same = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "--format=pax"];
    const noTimes = "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime,delete=mtime";
    await checked("tar", [...same, noTimes, "-cf", tar, "-C", root, ...members]);
    const diffId = await digestOf(tar);
    const tarBytes = (await Deno.stat(tar)).size;
    await checked("gzip", ["-n", "-6", "-f", tar]);
    const file = `${tar}.gz`;
    const layer = { name, file, digest: await digestOf(file), size: (await Deno.stat(file)).size, diffId, tarBytes };
    await Deno.remove(root, { recursive: true });
    await Deno.writeTextFile(known, JSON.stringify(layer));
    return layer;
  }
}

async function digestOf(file: string): Promise<Digest> {
  const hash = createHash("sha256");
  using source = await Deno.open(file);
  for await (const chunk of source.readable) hash.update(chunk);
  return `sha256:${hash.digest("hex")}`;
}

/** An image of the layers. */
export function imageOf(layers: readonly LayerFile[]): ImageFiles {
  const config: ImageConfig = {
    created: "2026-01-01T00:00:00Z",
    os: "linux",
    architecture: "amd64",
    config: { Cmd: ["/bin/sh"] },
    rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.diffId) },
    history: layers.map((layer) => ({ created: "2026-01-01T00:00:00Z", created_by: `COPY ${layer.name} /` })),
  };
  const configBytes = encode(config);
  const manifest: ImageManifest = {
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: { mediaType: CONFIG, digest: sha256Digest(configBytes), size: configBytes.length },
    layers: layers.map(({ digest, size }) => ({ mediaType: LAYER, digest, size })),
  };
  return { layers, config: configBytes, manifest: encode(manifest) };
}

/** Writes the image as an oci-archive. */
export async function writeArchive(image: ImageFiles, file: string): Promise<void> {
  const folder = await Deno.makeTempDir({ dir: file.slice(0, file.lastIndexOf("/")) });
  try {
    const blobs = `${folder}/blobs/sha256`;
    await Deno.mkdir(blobs, { recursive: true });
    const put = async (bytes: Uint8Array<ArrayBuffer>): Promise<Digest> => {
      const digest = sha256Digest(bytes);
      await Deno.writeFile(`${blobs}/${digest.slice(7)}`, bytes);
      return digest;
    };
    await put(image.config);
    const digest = await put(image.manifest);
    for (const layer of image.layers) await Deno.link(layer.file, `${blobs}/${layer.digest.slice(7)}`).catch(() => {});
    const descriptor = { mediaType: MANIFEST, digest, size: image.manifest.length };
    await Deno.writeFile(`${folder}/index.json`, encode({ schemaVersion: 2, manifests: [descriptor] }));
    await Deno.writeFile(`${folder}/oci-layout`, encode({ imageLayoutVersion: "1.0.0" }));
    await checked("tar", ["-cf", file, "-C", folder, "oci-layout", "index.json", "blobs"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Uploads the image; layers whose digest is in `known` are there already, and new ones are added to it. */
export async function uploadImage(
  api: RepositoryUpload,
  tag: string,
  image: ImageFiles,
  known: Set<Digest>,
): Promise<void> {
  for (const { file, digest } of image.layers) {
    if (known.has(digest)) continue;
    const source = await Deno.open(file);
    await api.stream(source.readable, () => digest);
    known.add(digest);
  }
  await api.blob(sha256Digest(image.config), image.config);
  await api.manifest(tag, MANIFEST, image.manifest);
}

function encode(value: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(value));
}
