/**
 * Manifests as they come: verified bytes turned into an image manifest or an image index, whatever media type the
 * registry states (registries.md §1.4; OCI image specification, manifest.md and image-index.md).
 *
 * @module
 */
import process from "node:process";
import { type Digest, digestAlgorithm } from "../core/digest.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Descriptor, ImageIndex, ImageManifest } from "../core/types.ts";
import { isRecord, parseJsonBytes } from "../lib/bounded_json.ts";
import { parseAnnotations, parseDescriptor } from "../lib/descriptor.ts";

/** Media types of manifests, in the order in which they are asked for. Schema 1 is left out on purpose. */
export const MANIFEST_TYPES = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
] as const;

/** Media type of in-toto statements (BuildKit's attestation storage). */
export const IN_TOTO = "application/vnd.in-toto+json";

const INDEX_TYPES: readonly string[] = MANIFEST_TYPES.slice(0, 2);
const IMAGE_TYPES: readonly string[] = MANIFEST_TYPES.slice(2);

/** Configurations of images. A manifest with another one holds something else: a chart, a signature, a module. */
const CONFIG_TYPES = new Set([
  "application/vnd.oci.image.config.v1+json",
  "application/vnd.docker.container.image.v1+json",
]);

/** A manifest after parsing. */
export type ParsedManifest =
  | { readonly kind: "image"; readonly mediaType: string; readonly manifest: ImageManifest }
  | { readonly kind: "index"; readonly mediaType: string; readonly index: ImageIndex };

/** Loaded when the first manifest comes: it costs 3 MB, which a broker client alone would pay for nothing. */
function createHash(algorithm: string): ReturnType<typeof import("node:crypto").createHash> {
  return process.getBuiltinModule("node:crypto").createHash(algorithm);
}

/** The digest of bytes, with the algorithm of `like`. */
export function digestOf(bytes: Uint8Array, like: Digest): Digest {
  const algorithm = digestAlgorithm(like);
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
}

/**
 * Checks bytes against their digest and, when it is known, their size.
 *
 * @param what What the bytes are, for the message: `the manifest sha256:…`.
 * @throws {OutpostError} INTEGRITY.
 */
export function verifyContent(bytes: Uint8Array, expected: { digest: Digest; size?: number }, what: string): void {
  const fail = (problem: string): never => {
    throw new OutpostError("INTEGRITY", `Cannot use ${what}: ${problem}`, {
      hint: "The registry or a proxy before it changes content; push the image again, or look at the proxy.",
    });
  };
  if (expected.size !== undefined && bytes.byteLength !== expected.size) {
    fail(`it has ${bytes.byteLength} bytes instead of ${expected.size}`);
  }
  const found = digestOf(bytes, expected.digest);
  if (found !== expected.digest) fail(`its digest is ${found}`);
}

/**
 * Parses a manifest. The media type is the body's own, else the header's, else told by the members that it has.
 *
 * @param what For messages: `team/app:1.0`.
 * @throws {OutpostError} UNSUPPORTED_IMAGE for schema 1 and for content that is no image, LIMIT_EXCEEDED for too many
 * layers, REGISTRY_PROTOCOL for what is no manifest.
 */
export function parseManifest(bytes: Uint8Array, contentType: string | null, what: string): ParsedManifest {
  let value: unknown;
  try {
    value = parseJsonBytes(bytes);
  } catch {
    throw broken(what, "it is not JSON");
  }
  if (!isRecord(value)) throw broken(what, "it is not a JSON object");
  const mediaType = mediaTypeOf(value, contentType);
  if (mediaType.startsWith("application/vnd.docker.distribution.manifest.v1") || value["schemaVersion"] === 1) {
    throw new OutpostError("UNSUPPORTED_IMAGE", `Cannot read ${what}: its manifest has the retired schema 1`, {
      hint: "Pull and push the image with a current Docker, which converts it.",
    });
  }
  if (INDEX_TYPES.includes(mediaType)) return { kind: "index", mediaType, index: parseIndex(value, what) };
  if (IMAGE_TYPES.includes(mediaType)) return { kind: "image", mediaType, manifest: parseImage(value, what) };
  throw new OutpostError(
    "UNSUPPORTED_IMAGE",
    `Cannot read ${what}: its media type ${show(mediaType)} is not an image's`,
  );
}

function mediaTypeOf(value: Readonly<Record<string, unknown>>, contentType: string | null): string {
  const own = value["mediaType"];
  if (typeof own === "string" && own !== "") return own;
  const header = (contentType ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
  if (header.startsWith("application/vnd.")) return header;
  if ("manifests" in value) return MANIFEST_TYPES[0];
  return "config" in value || "layers" in value ? MANIFEST_TYPES[2] : header;
}

function parseIndex(value: Readonly<Record<string, unknown>>, what: string): ImageIndex {
  const manifests = descriptors(value["manifests"], what, "manifests");
  return { ...common(value), manifests };
}

function parseImage(value: Readonly<Record<string, unknown>>, what: string): ImageManifest {
  const config = descriptorOf(value["config"], what, "config");
  const layers = descriptors(value["layers"], what, "layers");
  return { ...common(value), config, layers };
}

/**
 * Says whether a manifest is that of a container image; registries keep charts and signatures under the same types.
 *
 * @throws {OutpostError} UNSUPPORTED_IMAGE.
 */
export function assertImage(manifest: ImageManifest, what: string): void {
  const { mediaType } = manifest.config;
  // Old builders state no type, or a generic one; what the configuration holds decides later.
  if (CONFIG_TYPES.has(mediaType) || mediaType === "" || mediaType === "application/octet-stream") return;
  throw new OutpostError(
    "UNSUPPORTED_IMAGE",
    `Cannot read ${what}: it is not a container image but ${show(mediaType)}`,
  );
}

function common(
  value: Readonly<Record<string, unknown>>,
): Pick<ImageIndex, "schemaVersion" | "mediaType" | "annotations"> {
  const { schemaVersion, mediaType } = value;
  const annotations = parseAnnotations(value["annotations"]);
  return {
    ...(typeof schemaVersion === "number" ? { schemaVersion } : {}),
    ...(typeof mediaType === "string" ? { mediaType } : {}),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

function descriptors(value: unknown, what: string, member: string): readonly Descriptor[] {
  if (value === null) return [];
  if (!Array.isArray(value)) throw broken(what, `its ${member} are missing`);
  if (value.length > LIMITS.layersPerImage) {
    throw new OutpostError(
      "LIMIT_EXCEEDED",
      `Cannot read ${what}: it has ${value.length} ${member}, more than ${LIMITS.layersPerImage}`,
    );
  }
  return value.map((entry: unknown) => descriptorOf(entry, what, member));
}

function descriptorOf(value: unknown, what: string, member: string): Descriptor {
  return parseDescriptor(value, (problem) => {
    if (problem === "not an object") return broken(what, `its ${member} hold no descriptor`);
    if (problem === "digest") return broken(what, `a digest of its ${member} cannot be verified`);
    return broken(what, `a size of its ${member} is not a number of bytes`);
  });
}

/** Whether a descriptor leads to an index. */
export function isIndexType(mediaType: string): boolean {
  return INDEX_TYPES.includes(mediaType);
}

/** A media type from outside, short and printable. */
function show(mediaType: string): string {
  return mediaType === "" ? "of no stated type" : mediaType.replace(/[^\x21-\x7e]/g, "").slice(0, 120);
}

function broken(what: string, problem: string): OutpostError {
  return new OutpostError("REGISTRY_PROTOCOL", `Cannot read the manifest of ${what}: ${problem}`, {
    hint: "Check that the registry serves what was pushed; push the image again if it does.",
  });
}
