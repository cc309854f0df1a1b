/**
 * Blobs of an OCI image layout. Manifests, indexes and configurations are used only when size and digest match; layers
 * are checked by whoever reads them, for which their handles carry both.
 *
 * @module
 */
import { type Digest, digestAlgorithm, digestHex } from "../core/digest.ts";
import { LayerError, OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { LayerHandle } from "../core/ports.ts";
import type { Descriptor, ImageConfig } from "../core/types.ts";
import { type ManifestDocument, parseConfig, parseDocument, parseManifestOrIndex } from "./archive_documents.ts";
import { type ArchiveStore, invalidArchive, quoted } from "./archive_store.ts";
import { ContentVerifier } from "./verify.ts";

/** The blobs of a layout, verified. */
export class LayoutBlobs {
  readonly #store: ArchiveStore;

  constructor(store: ArchiveStore) {
    this.#store = store;
  }

  /** Size of the stored blob; undefined when it is missing. */
  size(digest: Digest): Promise<number | undefined> {
    return this.#store.size(blobName(digest));
  }

  /**
   * A JSON blob.
   *
   * @throws {OutpostError} INTEGRITY when size or digest differ, LIMIT_EXCEEDED, ARCHIVE_INVALID.
   */
  async json(what: string, descriptor: Descriptor, maxBytes: number, signal: AbortSignal): Promise<unknown> {
    const { digest, size } = descriptor;
    const label = `the ${what} ${digest}`;
    if (await this.size(digest) === undefined) throw invalidArchive(`${label} is missing`);
    const bytes = await this.#store.read(blobName(digest), maxBytes, signal);
    const verifier = new ContentVerifier({
      what: "stored bytes",
      digest,
      size,
      fail: (code, problem) =>
        new OutpostError(code, `Cannot read the image archive: of ${label}, ${problem}`, { retryable: false }),
    });
    verifier.update(bytes);
    verifier.finish();
    return parseDocument(label, bytes);
  }

  /** A layer, which its reader verifies. */
  layer(descriptor: Descriptor, stored: number | undefined, diffId: Digest | undefined): LayerHandle {
    const { digest, size, mediaType } = descriptor;
    const problem = stored === undefined ? missingLayer(descriptor) : unreadableLayer(descriptor);
    return {
      name: digest,
      digest,
      size,
      mediaType,
      diffId,
      open: (signal) => problem === undefined ? this.#store.source(blobName(digest), signal) : Promise.reject(problem),
    };
  }
}

/** A digest is checked before it comes here, so that no name leaves the layout. */
function blobName(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`;
}

function unreadableLayer({ digest, mediaType }: Descriptor): LayerError | undefined {
  if (!mediaType.endsWith("+encrypted")) return undefined;
  return new LayerError("UNSUPPORTED_IMAGE", digest, "it is encrypted", { hint: "Decrypt the image before the scan." });
}

function missingLayer({ digest, mediaType, urls }: Descriptor): LayerError {
  const foreign = (urls?.length ?? 0) > 0 || /nondistributable|foreign/.test(mediaType);
  return foreign
    ? new LayerError("UNSUPPORTED_IMAGE", digest, "it is a foreign layer, which is not in the archive")
    : new LayerError("ARCHIVE_INVALID", digest, "it is missing in the archive");
}

/** Reads an image manifest. */
export async function readManifest(
  blobs: LayoutBlobs,
  descriptor: Descriptor,
  signal: AbortSignal,
): Promise<ManifestDocument> {
  const value = await blobs.json("manifest", descriptor, LIMITS.manifestBytes, signal);
  const manifest = parseManifestOrIndex(`the manifest ${descriptor.digest}`, value);
  if (manifest.kind !== "manifest") throw invalidArchive(`${descriptor.digest} is an index where a manifest should be`);
  return manifest;
}

/**
 * Reads an image configuration.
 *
 * @throws {OutpostError} UNSUPPORTED_IMAGE when the manifest is that of another kind of artifact.
 */
export async function readConfig(
  blobs: LayoutBlobs,
  descriptor: Descriptor,
  signal: AbortSignal,
): Promise<ImageConfig> {
  const { mediaType, digest } = descriptor;
  // Helm charts, signatures and other artifacts are manifests too; images have one of two configuration types.
  if (
    mediaType !== "" && !/^application\/vnd\.(?:oci\.image\.config|docker\.container\.image)\.v1\+json$/.test(mediaType)
  ) {
    throw new OutpostError("UNSUPPORTED_IMAGE", `Cannot scan an artifact of the type ${quoted(mediaType)}`, {
      hint: "Only container images can be scanned.",
    });
  }
  const value = await blobs.json("image configuration", descriptor, LIMITS.configBytes, signal);
  return parseConfig(`the image configuration ${digest}`, value);
}
