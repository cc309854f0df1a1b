/**
 * Images too large to build in memory: made and uploaded as a stream.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { createGzip } from "node:zlib";
import { Readable } from "node:stream";
import type { Digest } from "../../src/core/digest.ts";
import type { Descriptor, ImageConfig, ImageManifest } from "../../src/core/types.ts";
import { sha256Digest } from "../../src/lib/oci_builder.ts";
import { dpkgStatus, osRelease, SAMPLE_DEBS } from "../../src/lib/sample_images.ts";
import { type TarMember, writeTar } from "../../src/lib/tar_writer.ts";
import type { DockerRegistry } from "./docker_registry.ts";
import { openRepository } from "./images.ts";

/** What was uploaded. */
export interface LargeImage {
  readonly digest: Digest;
  readonly manifest: ImageManifest;
  readonly layer: Descriptor;
  readonly diffId: Digest;
  /** Size of the layer's tar. */
  readonly tarBytes: number;
}

const MiB = 1 << 20;
const END_BLOCKS = 1024;
/** Random part of every file's bytes: gives the ratio of a usual Debian layer, 0.47. */
const RANDOM_SHARE = 0.46;

/**
 * Uploads an image with one gzip layer of about `tarBytes` (default 64 MiB): files of 1 MiB that compress to about 47 %,
 * between them a Debian os-release (first) and a dpkg status with `SAMPLE_DEBS` (last). The same size gives the same bytes.
 */
export async function uploadLargeImage(
  registry: DockerRegistry,
  repository: string,
  tag: string,
  tarBytes = 64 * MiB,
): Promise<LargeImage> {
  const api = await openRepository(registry, repository);
  try {
    const tar = new Measured();
    const stored = new Measured();
    const gzip = Readable.from(tar.through(largeTar(tarBytes)), { objectMode: false }).pipe(createGzip({ level: 1 }));
    await api.stream(ReadableStream.from(stored.through(gzip)), () => stored.digest());
    const layer: Descriptor = {
      mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
      digest: stored.digest(),
      size: stored.bytes,
    };
    const config: ImageConfig = {
      created: "1970-01-01T00:00:00Z",
      os: "linux",
      architecture: "amd64",
      config: {},
      rootfs: { type: "layers", diff_ids: [tar.digest()] },
    };
    const configBytes = new TextEncoder().encode(JSON.stringify(config));
    const manifest: ImageManifest = {
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: {
        mediaType: "application/vnd.oci.image.config.v1+json",
        digest: sha256Digest(configBytes),
        size: configBytes.length,
      },
      layers: [layer],
    };
    const manifestBytes = new TextEncoder().encode(JSON.stringify(manifest));
    await api.blob(manifest.config.digest, configBytes);
    await api.manifest(tag, manifest.mediaType ?? "", manifestBytes);
    return { digest: sha256Digest(manifestBytes), manifest, layer, diffId: tar.digest(), tarBytes: tar.bytes };
  } finally {
    api.close();
  }
}

/** Counts and hashes what passes. */
class Measured {
  bytes = 0;
  readonly #hash = createHash("sha256");
  #digest: Digest | undefined;

  async *through(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    for await (const chunk of chunks) {
      this.bytes += chunk.length;
      this.#hash.update(chunk);
      yield new Uint8Array(chunk);
    }
  }

  digest(): Digest {
    this.#digest ??= `sha256:${this.#hash.digest("hex")}`;
    return this.#digest;
  }
}

function* largeTar(tarBytes: number): Generator<Uint8Array<ArrayBuffer>> {
  yield member({ path: "etc/os-release", content: osRelease("debian", "12", "Debian GNU/Linux 12 (bookworm)") });
  const content = new Uint8Array(MiB);
  const line = new TextEncoder().encode("a line of text that compresses well, as scripts and documentation do\n");
  for (let at = 0; at < content.length; at++) content[at] = line[at % line.length] ?? 0;
  const random = new Uint32Array(content.buffer, 0, Math.floor(content.length * RANDOM_SHARE / 4));
  let state = 0x9e3779b9;
  for (let file = 0; file * (MiB + 512) < tarBytes; file++) {
    // xorshift32: incompressible, and the same on every machine.
    for (let at = 0; at < random.length; at++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      random[at] = state;
    }
    yield member({ path: `usr/share/large/${String(file).padStart(6, "0")}.bin`, content });
  }
  yield member({ path: "var/lib/dpkg/status", content: dpkgStatus(SAMPLE_DEBS) });
  yield new Uint8Array(END_BLOCKS);
}

function member(entry: TarMember): Uint8Array<ArrayBuffer> {
  return writeTar([entry]).subarray(0, -END_BLOCKS);
}
