/**
 * Opens an image archive: docker archive, OCI archive or layout, kaniko tarball. The format is told by the content; a
 * tar may be compressed with gzip or zstd. Nothing is written to disk, and no layer is held in memory.
 *
 * @module
 */
import type { FileDirectory, ImageHandle, RandomAccess } from "../core/ports.ts";
import type { Platform } from "../core/types.ts";
import { DirectoryStore } from "./archive_directory.ts";
import { dockerEntries, openDockerArchive } from "./archive_docker.ts";
import type { DockerEntry } from "./archive_documents.ts";
import { openOciLayout } from "./archive_oci.ts";
import { invalidArchive } from "./archive_store.ts";
import { openTarStore } from "./archive_tar.ts";

/** Where an image is kept. The file stays the caller's, who closes it after the last layer has been read. */
export type ArchiveSource =
  /** `format` is what the operator calls the archive; without it, and with `auto`, either is taken. */
  | {
    readonly kind: "file";
    readonly file: RandomAccess;
    readonly format?: "auto" | "docker-archive" | "oci-archive";
  }
  | { readonly kind: "directory"; readonly directory: FileDirectory };

/** Options of {@link openArchive}. */
export interface OpenArchiveOptions {
  /** Wanted platform; by default the only one there is, else linux/amd64. */
  readonly platform?: Platform | undefined;
  /** Which of several images: a tag of a docker archive (`name:tag`), a reference name of an OCI layout. */
  readonly reference?: string | undefined;
  readonly signal: AbortSignal;
}

/**
 * Opens one image of an archive.
 *
 * A named format is a hint: since Docker 25 a "docker archive" is an OCI layout with a manifest.json beside it, and is
 * read as one, so that its layers are named by their digests.
 *
 * @throws {OutpostError} ARCHIVE_INVALID, INTEGRITY, TAG_NOT_FOUND, PLATFORM_NOT_FOUND, UNSUPPORTED_IMAGE or
 * LIMIT_EXCEEDED, each with a hint where the operator can do something.
 */
export async function openArchive(source: ArchiveSource, options: OpenArchiveOptions): Promise<ImageHandle> {
  const { signal, platform, reference } = options;
  signal.throwIfAborted();
  const oci = { platform, reference, signal };
  if (source.kind === "directory") {
    const store = new DirectoryStore(source.directory);
    if (await store.size("index.json") === undefined) {
      throw invalidArchive("the directory has no index.json", undefined, "Name the directory of an OCI image layout.");
    }
    return await openOciLayout(store, { ...oci, source: "oci-layout" });
  }
  const store = await openTarStore(source.file, signal);
  const isOci = await store.size("index.json") !== undefined;
  const entries = isOci && source.format === "oci-archive" ? undefined : await dockerEntries(store, signal);
  if (entries !== undefined && !(isOci && isLayoutOfDocker(entries))) {
    return await openDockerArchive(store, entries, { platform, reference, signal });
  }
  if (!isOci) throw invalidArchive("it has neither a manifest.json nor an index.json", undefined, NOT_AN_IMAGE);
  return await openOciLayout(store, { ...oci, source: "oci-archive" });
}

const NOT_AN_IMAGE = "Give an archive that docker save, skopeo copy, podman save or kaniko has written.";

/** Docker 25 and later: the layers of manifest.json are blobs of the layout. */
function isLayoutOfDocker(entries: readonly DockerEntry[]): boolean {
  return entries.every(({ layers }) => layers.every((layer) => layer.startsWith("blobs/")));
}
