/**
 * Archives with a manifest.json: what `docker save` wrote before version 25, what `skopeo copy docker-archive:` and
 * `podman save` write, and kaniko's tarballs (layers `*.tar.gz`, configuration `sha256:<hex>`).
 *
 * Configuration and layers are those that the manifest's entry names.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Digest } from "../core/digest.ts";
import { LayerError, OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ImageHandle, LayerHandle } from "../core/ports.ts";
import type { Platform } from "../core/types.ts";
import { choosePlatform, platformOfConfig } from "../lib/platform.ts";
import { diffIds, type DockerEntry, parseConfig, parseDockerManifest, parseDocument } from "./archive_documents.ts";
import { type ArchiveStore, invalidArchive, quoted } from "./archive_store.ts";
import { cleanPath } from "./tar_path.ts";

/** Options of {@link openDockerArchive}. */
export interface DockerArchiveOptions {
  readonly platform: Platform | undefined;
  /** Which of several images: one of its `RepoTags`, without registry or `:latest` too. Default the first. */
  readonly reference: string | undefined;
  readonly signal: AbortSignal;
}

/** The entries of manifest.json; undefined when there is none. @throws {OutpostError} ARCHIVE_INVALID. */
export async function dockerEntries(
  store: ArchiveStore,
  signal: AbortSignal,
): Promise<readonly DockerEntry[] | undefined> {
  if (await store.size("manifest.json") === undefined) return undefined;
  const bytes = await store.read("manifest.json", LIMITS.manifestBytes, signal);
  return parseDockerManifest(parseDocument("manifest.json", bytes));
}

/**
 * Opens one image of a docker archive or kaniko tarball. A layer that is missing fails when it is opened, unless all
 * are missing.
 *
 * @throws {OutpostError} ARCHIVE_INVALID, TAG_NOT_FOUND, PLATFORM_NOT_FOUND or LIMIT_EXCEEDED.
 */
export async function openDockerArchive(
  store: ArchiveStore,
  entries: readonly DockerEntry[],
  options: DockerArchiveOptions,
): Promise<ImageHandle> {
  const entry = chooseEntry(entries, options.reference);
  const configName = cleanPath(entry.config);
  if (await store.size(configName) === undefined) {
    throw invalidArchive(`the image configuration ${quoted(configName)} is missing`);
  }
  const bytes = await store.read(configName, LIMITS.configBytes, options.signal);
  const config = parseConfig(quoted(configName), parseDocument(quoted(configName), bytes));
  const platform = platformOfConfig(config);
  if (platform !== undefined) choosePlatform([{ platform }], options.platform, "the image archive");
  const names = entry.layers.map(cleanPath);
  const sizes = await Promise.all(names.map((name) => store.size(name)));
  if (names.length > 0 && sizes.every((size) => size === undefined)) {
    throw invalidArchive(`all layers are missing, ${quoted(names[0] ?? "")} first`);
  }
  const ids = diffIds(config, names.length);
  const kaniko = entry.config.startsWith("sha256:") && names.every((name) => name.endsWith(".tar.gz"));
  return {
    source: kaniko ? "kaniko-archive" : "docker-archive",
    config,
    configDigest: digestOf(configName, bytes),
    digests: {},
    layers: names.map((name, i) => layerHandle(store, name, sizes[i], ids?.[i])),
    attestations: () => Promise.resolve([]),
    problems: [],
  };
}

function chooseEntry(entries: readonly DockerEntry[], reference: string | undefined): DockerEntry {
  const entry = reference === undefined
    ? entries[0]
    : entries.find(({ tags }) => tags.includes(reference)) ?? entries.find(({ tags }) => tags.some(isNamed(reference)));
  if (entry !== undefined) return entry;
  if (reference === undefined) throw invalidArchive("manifest.json names no image");
  const tags = entries.flatMap((each) => each.tags).slice(0, 20).map(quoted).join(", ");
  throw new OutpostError("TAG_NOT_FOUND", `Cannot find the image ${quoted(reference)} in the archive`, {
    hint: tags === "" ? "Its images have no names." : `There are: ${tags}.`,
  });
}

/** Whether a tag is meant by a name without registry (skopeo writes `docker.io/`) or without tag (`latest`). */
function isNamed(reference: string): (tag: string) => boolean {
  const full = reference.lastIndexOf(":") > reference.lastIndexOf("/") ? reference : `${reference}:latest`;
  return (tag) => tag === full || tag.endsWith(`/${full}`);
}

/**
 * The digest of the configuration. Its name usually is that digest; one that is, but of other content, means that the
 * archive was tampered with or damaged.
 */
function digestOf(name: string, bytes: Uint8Array): Digest {
  const hex = createHash("sha256").update(bytes).digest("hex");
  const claimed = /(?:^|[/:])([0-9a-f]{64})(?:\.json)?$/.exec(name)?.[1];
  if (claimed !== undefined && claimed !== hex) {
    const problem = `the image configuration ${quoted(name)} has the digest sha256:${hex}`;
    throw new OutpostError("INTEGRITY", `Cannot read the image archive: ${problem}`, { retryable: false });
  }
  return `sha256:${hex}`;
}

function layerHandle(
  store: ArchiveStore,
  name: string,
  size: number | undefined,
  diffId: Digest | undefined,
): LayerHandle {
  return {
    name,
    digest: undefined,
    size,
    mediaType: undefined,
    diffId,
    open: (signal) =>
      size === undefined
        ? Promise.reject(new LayerError("ARCHIVE_INVALID", quoted(name), "it is missing in the archive"))
        : store.source(name, signal),
  };
}
