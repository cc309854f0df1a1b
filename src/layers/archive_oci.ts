/**
 * OCI image layouts (image-layout.md of the OCI image specification), as a tar or a directory; Docker's `save` writes
 * them since version 25.
 *
 * @module
 */
import type { Digest } from "../core/digest.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ImageHandle } from "../core/ports.ts";
import type { Descriptor, Platform, Problem } from "../core/types.ts";
import { choosePlatform, isAttestation, platformOfConfig } from "../lib/platform.ts";
import { readAttestations } from "./archive_attestations.ts";
import { LayoutBlobs, readConfig, readManifest } from "./archive_blobs.ts";
import { diffIds, parseDocument, parseManifestOrIndex } from "./archive_documents.ts";
import { type ArchiveStore, invalidArchive, quoted } from "./archive_store.ts";

/** Options of {@link openOciLayout}. */
export interface OciLayoutOptions {
  readonly source: "oci-archive" | "oci-layout";
  readonly platform: Platform | undefined;
  /** Which of several images: its `org.opencontainers.image.ref.name`. Default all of index.json. */
  readonly reference: string | undefined;
  readonly signal: AbortSignal;
}

/** A manifest of the layout, with the index blob that lists it. */
export interface LayoutEntry extends Descriptor {
  readonly index?: Digest;
}

/**
 * Opens the image of one platform. A layer that is missing, encrypted or foreign fails when it is opened.
 *
 * @throws {OutpostError} ARCHIVE_INVALID, INTEGRITY, TAG_NOT_FOUND, PLATFORM_NOT_FOUND, UNSUPPORTED_IMAGE or
 * LIMIT_EXCEEDED.
 */
export async function openOciLayout(store: ArchiveStore, options: OciLayoutOptions): Promise<ImageHandle> {
  const { signal, platform } = options;
  const blobs = new LayoutBlobs(store);
  const text = await store.read("index.json", LIMITS.manifestBytes, signal);
  const root = parseManifestOrIndex("index.json", parseDocument("index.json", text));
  if (root.kind !== "index") throw invalidArchive("index.json is no index");
  const entries = await flatten(blobs, named(root.manifests, options.reference), signal);
  const entry = await chooseEntry(blobs, entries, platform, signal);
  const manifest = await readManifest(blobs, entry, signal);
  const config = await readConfig(blobs, manifest.config, signal);
  const ids = diffIds(config, manifest.layers.length);
  const problems: Problem[] = [];
  return {
    source: options.source,
    config,
    configDigest: manifest.config.digest,
    digests: { manifest: entry.digest, ...(entry.index === undefined ? {} : { index: entry.index }) },
    layers: await Promise.all(
      manifest.layers.map(async (layer, i) => blobs.layer(layer, await blobs.size(layer.digest), ids?.[i])),
    ),
    attestations: (signal) => readAttestations(blobs, entries, entry.digest, problems, signal),
    problems,
  };
}

const REF_NAME = "org.opencontainers.image.ref.name";
const IMAGE_NAME = "io.containerd.image.name";

/** The entries of index.json with a name: the tag alone, or a whole reference that ends with it. */
function named(entries: readonly Descriptor[], reference: string | undefined): readonly Descriptor[] {
  if (reference === undefined) return entries;
  const names = ({ annotations }: Descriptor): string[] =>
    [annotations?.[REF_NAME], annotations?.[IMAGE_NAME]].filter((name) => name !== undefined);
  const exact = entries.filter((entry) => names(entry).includes(reference));
  const chosen = exact.length > 0
    ? exact
    : entries.filter((e) => names(e).some((name) => name.endsWith(`:${reference}`) || name.endsWith(`/${reference}`)));
  if (chosen.length > 0) return chosen;
  const all = [...new Set(entries.flatMap(names))].slice(0, 20).map(quoted).join(", ");
  throw new OutpostError("TAG_NOT_FOUND", `Cannot find the image ${quoted(reference)} in the layout`, {
    hint: all === "" ? "Its images have no names: leave the name out." : `There are: ${all}.`,
  });
}

/**
 * All manifests, those of nested indexes in place of the index. Docker lists the manifests of all platforms even when
 * it saves the content of one: those that are missing are left out, unless all are.
 */
async function flatten(
  blobs: LayoutBlobs,
  roots: readonly Descriptor[],
  signal: AbortSignal,
): Promise<readonly LayoutEntry[]> {
  const present: LayoutEntry[] = [];
  const missing: LayoutEntry[] = [];
  const visited = new Set<Digest>();
  const visit = async (entry: LayoutEntry, depth: number): Promise<void> => {
    // Once per blob: repeating an entry must not repeat the work.
    if (visited.has(entry.digest)) return;
    visited.add(entry.digest);
    if (await blobs.size(entry.digest) === undefined) return void missing.push(entry);
    if (!isIndex(entry)) return void present.push(entry);
    if (depth >= LIMITS.indexDepth) throw invalidArchive("its indexes are nested too deep");
    const value = await blobs.json("index", entry, LIMITS.manifestBytes, signal);
    const index = parseManifestOrIndex(`the index ${entry.digest}`, value);
    if (index.kind === "manifest") return void present.push(entry);
    for (const child of index.manifests) await visit({ ...child, index: entry.digest }, depth + 1);
    if (present.length + missing.length > LIMITS.archiveMembers) throw invalidArchive("it lists too many manifests");
  };
  for (const root of roots) await visit(root, 0);
  const [first] = missing;
  if (!present.some((entry) => !isAttestation(entry)) && first !== undefined) {
    throw invalidArchive(`the manifest ${first.digest} is missing`);
  }
  return present;
}

function isIndex({ mediaType }: Descriptor): boolean {
  return mediaType === "application/vnd.oci.image.index.v1+json" ||
    mediaType === "application/vnd.docker.distribution.manifest.list.v2+json";
}

/** Entries that state no platform get their configuration's, where the choice depends on it. */
async function chooseEntry(
  blobs: LayoutBlobs,
  entries: readonly LayoutEntry[],
  wanted: Platform | undefined,
  signal: AbortSignal,
): Promise<LayoutEntry> {
  const images = entries.filter((entry) => !isAttestation(entry));
  if (images.length > 1 || wanted !== undefined) {
    const stated: LayoutEntry[] = [];
    for (const entry of images) stated.push(await withPlatform(blobs, entry, signal));
    return choosePlatform(stated, wanted, "the image archive");
  }
  return choosePlatform(images, wanted, "the image archive");
}

async function withPlatform(blobs: LayoutBlobs, entry: LayoutEntry, signal: AbortSignal): Promise<LayoutEntry> {
  if (entry.platform !== undefined) return entry;
  try {
    const { config } = await readManifest(blobs, entry, signal);
    const platform = platformOfConfig(await readConfig(blobs, config, signal));
    return platform === undefined ? entry : { ...entry, platform };
  } catch (error) {
    // An artifact beside the images is no reason to refuse them.
    if (error instanceof OutpostError && error.code === "UNSUPPORTED_IMAGE") {
      return { ...entry, platform: { os: "unknown", architecture: "unknown" } };
    }
    throw error;
  }
}
