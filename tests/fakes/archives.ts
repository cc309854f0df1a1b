/**
 * What tests of image archives share: small images, and ways to open them and to look at what comes out.
 *
 * @module
 */
import { OutpostError } from "../../src/core/errors.ts";
import type { ImageHandle } from "../../src/core/ports.ts";
import type { Platform } from "../../src/core/types.ts";
import { type ArchiveSource, openArchive } from "../../src/layers/archive.ts";
import { readSource } from "../../src/lib/byte_sources.ts";
import { buildImage, type BuiltContent, type BuiltImage, ociLayout, sha256Digest } from "../../src/lib/oci_builder.ts";
import { parsePlatform } from "../../src/lib/platform.ts";
import type { TarMember } from "../../src/lib/tar_writer.ts";
import { MemoryDirectory, MemoryFile } from "./files.ts";

export const signal = new AbortController().signal;
export const encode = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value));

/** An image of two layers; `label` makes it differ from others. */
export function image(label = "x", platform: Platform = { os: "linux", architecture: "amd64" }): BuiltImage {
  return buildImage({
    platform,
    layers: [
      { members: [{ path: "etc/os-release", content: `ID=${label}` }] },
      { members: [{ path: "srv/data", content: `${label}`.repeat(3000) }] },
    ],
  });
}

export const oci = (content: BuiltContent, names: readonly string[] = []): readonly TarMember[] =>
  ociLayout([{ content, names }]);

export function file(bytes: Uint8Array): Extract<ArchiveSource, { kind: "file" }> & { readonly file: MemoryFile } {
  return { kind: "file", file: new MemoryFile(bytes) };
}

export function open(bytes: Uint8Array, more: { platform?: string; reference?: string } = {}): Promise<ImageHandle> {
  const platform = more.platform === undefined ? undefined : parsePlatform(more.platform);
  return openArchive(file(bytes), { signal, platform, reference: more.reference });
}

export function directory(members: readonly TarMember[]): MemoryDirectory {
  return new MemoryDirectory(
    new Map(members.map((m) => [m.path, "content" in m && typeof m.content !== "string" ? m.content : encode({})])),
  );
}

/** Digests of the layers as they come out. */
export async function layerDigests(handle: ImageHandle): Promise<string[]> {
  const digests: string[] = [];
  for (const layer of handle.layers) digests.push(sha256Digest(await readSource(await layer.open(signal))));
  return digests;
}

export async function failure(attempt: Promise<unknown>): Promise<OutpostError> {
  try {
    await attempt;
  } catch (error) {
    if (error instanceof OutpostError) return error;
    throw error;
  }
  throw new Error("It did not fail");
}
