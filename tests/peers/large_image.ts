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
import { dpkgStatus, osRelease, SAMPLE_DEBS, type SampleDeb } from "../../src/lib/sample_images.ts";
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

const KiB = 1 << 10;
const MiB = 1 << 20;
const BLOCK = 512;
const END_BLOCKS = 2 * BLOCK;
/** How the layer is packed: that of 626 MB to 295 MB. */
export const LARGE_GZIP = { level: 1 } as const;
/** Bytes handed to gzip at once. */
const CHUNK_BYTES = 256 * KiB;
/** Random part of the files' bytes. With words as the rest it gives the ratio of a usual Debian layer, 0.47. */
const RANDOM_SHARE = 0.283;
/** How files of a layer are spread: share of all files, and sizes. */
const SIZES = [
  { share: 0.6, from: 200, to: 8 * KiB },
  { share: 0.3, from: 8 * KiB, to: 64 * KiB },
  { share: 0.09, from: 64 * KiB, to: MiB },
  { share: 0.01, from: MiB, to: 16 * MiB },
] as const;
const FOLDERS = [
  "usr/lib/x86_64-linux-gnu",
  "usr/share/doc/sample",
  "usr/lib/python3/dist-packages",
  "opt/app/bin",
] as const;
/** Packages of the layer's dpkg status: those of the samples, and as many more as a usual image has. */
export const LARGE_IMAGE_DEBS: readonly SampleDeb[] = [
  ...SAMPLE_DEBS,
  ...Array.from({ length: 400 }, (_, at): SampleDeb => ({
    name: `sample-package-${at}`,
    version: `1.${at}-1`,
    ...(at === 0 ? {} : { depends: `sample-package-${at - 1} (>= 1.0)` }),
  })),
];

/**
 * Uploads an image with one gzip layer of about `tarBytes` (default 64 MiB) that compresses to about 47 %: files from 200
 * bytes to 16 MiB as in a usual layer, in their middle a dpkg status with {@link LARGE_IMAGE_DEBS}, last a Debian os-release.
 * The same size gives the same bytes.
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
    const gzip = Readable.from(tar.through(largeTar(tarBytes)), { objectMode: false }).pipe(createGzip(LARGE_GZIP));
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

/** The tar of {@link uploadLargeImage}'s layer in chunks; each is valid until the next is asked for. */
export function* largeTar(tarBytes: number): Generator<Uint8Array<ArrayBuffer>> {
  const random = new Random();
  const noise = random.bytes(4 * MiB);
  const words = random.words(4 * MiB);
  const chunk = new Chunk();
  let total = 0;
  let status = false;
  for (let file = 0; total < tarBytes; file++) {
    if (!status && total >= tarBytes / 2) {
      yield* chunk.add(member({ path: "var/lib/dpkg/status", content: dpkgStatus(LARGE_IMAGE_DEBS) }));
      status = true;
    }
    const size = Math.min(fileSize(random), Math.max(BLOCK, tarBytes - total));
    yield* chunk.add(header(`${FOLDERS[file % FOLDERS.length]}/part-${file >> 8}/file-${file}`, size));
    const noisy = Math.round(size * RANDOM_SHARE);
    for (const piece of pieces(noise, noisy, random)) yield* chunk.add(piece);
    for (const piece of pieces(words, size - noisy, random)) yield* chunk.add(piece);
    yield* chunk.add(new Uint8Array(padding(size)));
    total += BLOCK + size + padding(size);
  }
  yield* chunk.add(
    member({ path: "etc/os-release", content: osRelease("debian", "12", "Debian GNU/Linux 12 (bookworm)") }),
  );
  yield* chunk.add(new Uint8Array(END_BLOCKS));
  yield chunk.rest();
}

/** Collects small writes. */
class Chunk {
  readonly #buffer = new Uint8Array(CHUNK_BYTES);
  #length = 0;

  /** Takes the bytes; gives the buffer whenever it is full. */
  *add(bytes: Uint8Array): Generator<Uint8Array<ArrayBuffer>> {
    for (let at = 0; at < bytes.length;) {
      const part = bytes.subarray(at, at + CHUNK_BYTES - this.#length);
      this.#buffer.set(part, this.#length);
      this.#length += part.length;
      at += part.length;
      if (this.#length < CHUNK_BYTES) return;
      yield this.#buffer;
      this.#length = 0;
    }
  }

  rest(): Uint8Array<ArrayBuffer> {
    return this.#buffer.subarray(0, this.#length);
  }
}

/** xorshift32: incompressible, and the same on every machine. */
class Random {
  #state = 0x9e3779b9;

  next(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return this.#state >>> 0;
  }

  below(bound: number): number {
    return this.next() % bound;
  }

  bytes(length: number): Uint8Array {
    const all = Uint32Array.from({ length: length / 4 }, () => this.next());
    return new Uint8Array(all.buffer);
  }

  /** Text of made-up words and phrases, a few of them frequent, which compresses as text does. */
  words(length: number): Uint8Array {
    const word = (): string => this.next().toString(36).slice(0, 3 + this.below(6));
    const vocabulary = Array.from(
      { length: 400 },
      (_, at) => at % 4 === 0 ? Array.from({ length: 6 }, word).join(" ") : word(),
    );
    let text = "";
    while (text.length < length) {
      const rank = Math.min(this.below(400), this.below(400), this.below(400));
      text += `${vocabulary[rank]}${this.below(9) === 0 ? "\n" : " "}`;
    }
    return new TextEncoder().encode(text).subarray(0, length);
  }
}

function fileSize(random: Random): number {
  let at = random.below(1000) / 1000;
  for (const { share, from, to } of SIZES) {
    if (at < share) return from + random.below(to - from);
    at -= share;
  }
  return BLOCK;
}

/** A piece of a pool, longer than DEFLATE looks back, so that its second use compresses no better than its first. */
function* pieces(pool: Uint8Array, length: number, random: Random): Generator<Uint8Array> {
  for (let left = length; left > 0;) {
    const start = random.below(pool.length - 1);
    const piece = pool.subarray(start, start + left);
    yield piece;
    left -= piece.length;
  }
}

function padding(size: number): number {
  return (BLOCK - size % BLOCK) % BLOCK;
}

/** A member's header without its content. */
function header(path: string, size: number): Uint8Array {
  const block = member({ path, content: "" }).subarray(0, BLOCK);
  block.set(new TextEncoder().encode(size.toString(8).padStart(11, "0")), 124);
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.set(new TextEncoder().encode(`${sum.toString(8).padStart(6, "0")}\0 `), 148);
  return block;
}

function member(entry: TarMember): Uint8Array<ArrayBuffer> {
  return writeTar([entry]).subarray(0, -END_BLOCKS);
}
