/**
 * The JSON documents of image archives, read tolerantly: what is used is checked, what is not is left alone.
 *
 * @module
 */
import { type Digest, isDigest } from "../core/digest.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Descriptor, ImageConfig } from "../core/types.ts";
import { isRecord, parseJsonBytes } from "../lib/bounded_json.ts";
import { parseDescriptor } from "../lib/descriptor.ts";
import { invalidArchive, quoted } from "./archive_store.ts";

/** The parts of an image manifest that reading an image needs. */
export interface ManifestDocument {
  readonly kind: "manifest";
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** An image index, a Docker manifest list, or an `index.json`. */
export interface IndexDocument {
  readonly kind: "index";
  readonly manifests: readonly Descriptor[];
}

/** An entry of `docker save`'s manifest.json. Names are as written. */
export interface DockerEntry {
  readonly config: string;
  readonly layers: readonly string[];
  readonly tags: readonly string[];
}

/** Parses JSON. @throws {OutpostError} ARCHIVE_INVALID, naming the document. */
export function parseDocument(what: string, bytes: Uint8Array): unknown {
  try {
    return parseJsonBytes(bytes);
  } catch (error) {
    throw invalidArchive(`${what} cannot be used: ${error instanceof Error ? error.message : "it is no JSON"}`, error);
  }
}

/**
 * Tells a manifest from an index by its members (media types are optional, and often wrong), and checks it.
 *
 * @throws {OutpostError} ARCHIVE_INVALID, naming the document.
 */
export function parseManifestOrIndex(what: string, value: unknown): ManifestDocument | IndexDocument {
  if (isRecord(value) && Array.isArray(value.manifests)) {
    if (value.manifests.length > LIMITS.archiveMembers) throw invalidArchive(`${what} lists too many manifests`);
    return { kind: "index", manifests: value.manifests.map((entry) => descriptorOf(what, entry)) };
  }
  if (!isRecord(value) || !isRecord(value.config) || !Array.isArray(value.layers)) {
    throw invalidArchive(`${what} is neither an image manifest nor an index`);
  }
  checkLayerCount(value.layers.length);
  return {
    kind: "manifest",
    config: descriptorOf(what, value.config),
    layers: value.layers.map((layer) => descriptorOf(what, layer)),
  };
}

/**
 * Checks an image configuration. Every member is optional; one whose type is wrong is left out, as if it were absent.
 *
 * @throws {OutpostError} ARCHIVE_INVALID when it is no object.
 */
export function parseConfig(what: string, value: unknown): ImageConfig {
  if (!isRecord(value)) throw invalidArchive(`${what} is no image configuration`);
  const members = Object.entries(value).filter(([name, member]) => {
    if (TEXT_MEMBERS.has(name)) return typeof member === "string";
    if (name === "config" || name === "rootfs") return member === null || isRecord(member);
    return name !== "history" || member === null || (Array.isArray(member) && member.every(isRecord));
  });
  return Object.fromEntries(members);
}

const TEXT_MEMBERS: ReadonlySet<string> = new Set(["created", "architecture", "os", "variant"]);

/**
 * The digests of the uncompressed layers; undefined unless there is one for each layer.
 */
export function diffIds(config: ImageConfig, layers: number): readonly (Digest | undefined)[] | undefined {
  const ids: unknown = config.rootfs?.diff_ids;
  if (!Array.isArray(ids) || ids.length !== layers) return undefined;
  return ids.map((id: unknown) => isDigest(id) ? id : undefined);
}

/** Checks `manifest.json` of a docker archive. @throws {OutpostError} ARCHIVE_INVALID when it is malformed. */
export function parseDockerManifest(value: unknown): readonly DockerEntry[] {
  if (!Array.isArray(value)) throw invalidArchive("manifest.json is no list of images");
  return value.map((entry: unknown): DockerEntry => {
    if (!isRecord(entry) || typeof entry.Config !== "string" || !isTextList(entry.Layers)) {
      throw invalidArchive("manifest.json has an image without Config or Layers");
    }
    checkLayerCount(entry.Layers.length);
    return { config: entry.Config, layers: entry.Layers, tags: isTextList(entry.RepoTags) ? entry.RepoTags : [] };
  });
}

function checkLayerCount(count: number): void {
  if (count <= LIMITS.layersPerImage) return;
  const problem = `the image has ${count} layers, more than ${LIMITS.layersPerImage}`;
  throw new OutpostError("LIMIT_EXCEEDED", `Cannot read the image archive: ${problem}`);
}

function descriptorOf(what: string, value: unknown): Descriptor {
  return parseDescriptor(value, (problem, about) => {
    if (problem === "not an object") return invalidArchive(`${what} has a malformed descriptor`);
    if (problem === "digest") return invalidArchive(`${what} names ${quoted(String(about))}, which is no digest`);
    return invalidArchive(`${what} states no size for ${String(about)}`);
  });
}

function isTextList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}
