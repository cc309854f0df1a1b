/**
 * An image in a registry, ready to be read: verified configuration, layers that open as resuming streams, attestations.
 *
 * @module
 */
import { isDigest } from "../core/digest.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ImageHandle, LayerHandle, Logger } from "../core/ports.ts";
import type { AttestationStatement, Descriptor, ImageConfig, Problem } from "../core/types.ts";
import { isRecord, parseJsonBytes } from "../lib/bounded_json.ts";
import type { DistributionApi } from "./distribution_api.ts";
import { IN_TOTO } from "./manifest.ts";
import type { ResolvedImage } from "./oci_client.ts";

/** What {@link openImage} needs. */
export interface OpenImageOptions {
  readonly api: DistributionApi;
  /** The repository's name on the wire. */
  readonly name: string;
  /** The image, for messages: `team/app@sha256:…`. */
  readonly what: string;
  readonly resolved: ResolvedImage;
  readonly logger: Logger;
}

/** Layer types whose bytes are kept elsewhere by licence (Windows base layers). */
const FOREIGN = /\.foreign\.|\.nondistributable\./;
const ENCRYPTED = /\+encrypted$/;

/**
 * Opens an image: fetches and checks its configuration and prepares its layers.
 *
 * @throws {OutpostError} INTEGRITY, LIMIT_EXCEEDED, UNSUPPORTED_IMAGE, and what the registry's refusal means.
 */
export async function openImage(options: OpenImageOptions, signal: AbortSignal): Promise<ImageHandle> {
  const { api, name, what, resolved } = options;
  const { config: descriptor } = resolved.manifest;
  const subject = `the configuration of ${what}`;
  const config = parseConfig(await api.blob(name, descriptor, LIMITS.configBytes, subject, signal), what);
  const { layers, problems } = await prepareLayers(options, config, signal);
  return {
    source: "registry",
    config,
    configDigest: descriptor.digest,
    digests: resolved.digests,
    layers,
    problems,
    attestations: (attestationSignal) => readAttestations(options, attestationSignal),
  };
}

function parseConfig(bytes: Uint8Array, what: string): ImageConfig {
  let value: unknown;
  try {
    value = parseJsonBytes(bytes);
  } catch {
    value = undefined;
  }
  if (isRecord(value)) return value as ImageConfig;
  throw new OutpostError("UNSUPPORTED_IMAGE", `Cannot read the configuration of ${what}: it is not a JSON object`);
}

/** Layer handles, bottom first; layers that cannot be had become problems. */
async function prepareLayers(
  options: OpenImageOptions,
  config: ImageConfig,
  signal: AbortSignal,
): Promise<{ readonly layers: readonly LayerHandle[]; readonly problems: readonly Problem[] }> {
  const { api, name, resolved } = options;
  const descriptors = resolved.manifest.layers;
  const diffIds: unknown = config.rootfs?.diff_ids;
  const matched = Array.isArray(diffIds) && diffIds.length === descriptors.length ? diffIds : [];
  const layers: LayerHandle[] = [];
  const problems: Problem[] = [];
  for (const [index, descriptor] of descriptors.entries()) {
    const message = await unreadable(options, descriptor, signal);
    if (message !== undefined) {
      problems.push({ code: "UNSUPPORTED_IMAGE", subject: descriptor.digest, message });
      continue;
    }
    const diffId: unknown = matched[index];
    layers.push({
      name: descriptor.digest,
      digest: descriptor.digest,
      size: descriptor.size,
      mediaType: descriptor.mediaType,
      diffId: isDigest(diffId) ? diffId : undefined,
      open: (layerSignal) => api.openBlob(name, descriptor, layerSignal),
    });
  }
  return { layers, problems };
}

/** Why a layer cannot be read, or undefined. */
async function unreadable(
  { api, name }: OpenImageOptions,
  descriptor: Descriptor,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (ENCRYPTED.test(descriptor.mediaType)) return "The layer is encrypted";
  const foreign = FOREIGN.test(descriptor.mediaType) || (descriptor.urls?.length ?? 0) > 0;
  if (!foreign || await api.hasBlob(name, descriptor, signal)) return undefined;
  return "The layer is kept outside the registry (foreign layer) and was not read";
}

/** In-toto statements about the image; provenance first, then in the order of their digests. */
async function readAttestations(
  options: OpenImageOptions,
  signal: AbortSignal,
): Promise<readonly AttestationStatement[]> {
  const { api, name, resolved, logger } = options;
  const found = await attestationBlobs(options, signal);
  const kept = found.slice(0, LIMITS.attestations);
  if (kept.length < found.length) logger.warn("Attestations are left out", { found: found.length, kept: kept.length });
  const statements: AttestationStatement[] = [];
  for (const { manifestDigest, blob } of kept) {
    const what = `attestation ${blob.digest} of ${options.what}`;
    const statement = parseStatement(await api.blob(name, blob, LIMITS.attestationBytes, what, signal), what);
    statements.push({
      attestedDigest: resolved.digests.manifest,
      manifestDigest,
      layerDigest: blob.digest,
      predicateType: predicateType(statement, blob),
      statement,
    });
  }
  return statements;
}

interface AttestationBlob {
  readonly manifestDigest: string;
  readonly blob: Descriptor;
}

/** The in-toto blobs of the attestation manifests that the index keeps beside the image. */
async function attestationBlobs(
  { api, name, resolved }: OpenImageOptions,
  signal: AbortSignal,
): Promise<readonly AttestationBlob[]> {
  const about = resolved.siblings.filter(({ annotations }) =>
    annotations?.["vnd.docker.reference.type"] === "attestation-manifest" &&
    annotations["vnd.docker.reference.digest"] === resolved.digests.manifest
  );
  const blobs: AttestationBlob[] = [];
  for (const { digest, size } of about.slice(0, LIMITS.attestations)) {
    const { parsed } = await api.manifest(name, digest, signal, size);
    const layers = parsed.kind === "image" ? parsed.manifest.layers : [];
    const statements = layers.filter((layer) => layer.mediaType === IN_TOTO);
    blobs.push(...statements.map((blob) => ({ manifestDigest: digest, blob })));
  }
  return blobs.toSorted((a, b) =>
    Number(isProvenance(b.blob)) - Number(isProvenance(a.blob)) ||
    compare(a.manifestDigest, b.manifestDigest) || compare(a.blob.digest, b.blob.digest)
  );
}

function isProvenance(blob: Descriptor): boolean {
  return blob.annotations?.["in-toto.io/predicate-type"]?.startsWith("https://slsa.dev/provenance/") === true;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function parseStatement(bytes: Uint8Array, what: string): unknown {
  try {
    return parseJsonBytes(bytes);
  } catch {
    throw new OutpostError("UNSUPPORTED_IMAGE", `Cannot read ${what}: it is not JSON`);
  }
}

function predicateType(statement: unknown, blob: Descriptor): string {
  const own = isRecord(statement) ? statement["predicateType"] : undefined;
  return typeof own === "string" ? own : blob.annotations?.["in-toto.io/predicate-type"] ?? "";
}
