/**
 * The nouns: plain data that folders hand to each other. Names are those of the OCI specifications.
 *
 * @module
 */
import type { Digest } from "./digest.ts";

/** What an image is built for (OCI image index, `platform`). */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

/** A typed pointer to content (OCI image specification, descriptor.md). */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Size of the stored bytes. */
  readonly size: number;
  readonly platform?: Platform;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Other places of the content; a layer that has these and no registry copy is a foreign layer. */
  readonly urls?: readonly string[];
}

/** An image manifest, of the OCI or the Docker media type. */
export interface ImageManifest {
  readonly schemaVersion?: number;
  readonly mediaType?: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/** An OCI image index or a Docker manifest list. */
export interface ImageIndex {
  readonly schemaVersion?: number;
  readonly mediaType?: string;
  readonly manifests: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/** One `history` entry of an image configuration, as stored. */
export interface HistoryEntry {
  readonly created?: string;
  readonly author?: string;
  readonly created_by?: string;
  readonly comment?: string;
  readonly empty_layer?: boolean;
}

/** `config` inside an image configuration, as stored; builders write `null` as well as leaving a key out. */
export interface ContainerConfig {
  readonly User?: string | null;
  readonly ExposedPorts?: Readonly<Record<string, unknown>> | null;
  readonly Env?: readonly string[] | null;
  readonly Entrypoint?: readonly string[] | null;
  readonly Cmd?: readonly string[] | null;
  readonly Volumes?: Readonly<Record<string, unknown>> | null;
  readonly WorkingDir?: string | null;
  readonly Labels?: Readonly<Record<string, string>> | null;
  readonly StopSignal?: string | null;
  readonly ArgsEscaped?: boolean | null;
}

/** An image configuration (OCI image specification, config.md). */
export interface ImageConfig {
  readonly created?: string;
  readonly architecture?: string;
  readonly os?: string;
  readonly variant?: string;
  readonly config?: ContainerConfig | null;
  readonly rootfs?: { readonly type?: string; readonly diff_ids?: readonly string[] | null } | null;
  readonly history?: readonly HistoryEntry[] | null;
}

/** An in-toto statement that a registry or archive keeps beside an image. */
export interface AttestationStatement {
  /** Manifest that the statement is about. */
  readonly attestedDigest: string;
  /** Attestation manifest that holds it. */
  readonly manifestDigest: string;
  /** Blob that is the statement. */
  readonly layerDigest: string;
  readonly predicateType: string;
  /** The parsed JSON of the blob. */
  readonly statement: unknown;
}

/** Something that went wrong in one part while the rest went on: it makes a result partial, never silently shorter. */
export interface Problem {
  /** One of core/errors.ts' codes. */
  readonly code: string;
  /** What was affected: a layer digest, a path in the image, an analyzer's name. */
  readonly subject: string;
  readonly message: string;
}

/** What JSON can write. */
export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue };

/** What extractors made of a file, by the extractor's name. */
export type FileFacts = Readonly<Record<string, JsonValue>>;

/** What the extractor keeps of one tar entry. Paths are relative to the root, without a leading slash, `/`-separated. */
export type LayerEntry =
  /** A regular file that somebody wants. `content` is complete. */
  | {
    readonly kind: "file";
    readonly path: string;
    readonly size: number;
    readonly mode: number;
    readonly content: Uint8Array;
    readonly facts?: FileFacts;
  }
  /** A regular file that was read as it streamed by: only what extractors made of it is kept. */
  | {
    readonly kind: "extracted";
    readonly path: string;
    readonly size: number;
    readonly mode: number;
    readonly facts: FileFacts;
  }
  /** A regular file that is wanted, but over its limit: known to exist, not read. */
  | { readonly kind: "oversize"; readonly path: string; readonly size: number; readonly limit: number }
  /** A symbolic link; `target` as stored. */
  | { readonly kind: "symlink"; readonly path: string; readonly target: string }
  /**
   * A hard link that is wanted and whose target was not found in its own layer. `optional` says that whoever wants the
   * link looks at its target too, and that only facts are wanted: where nothing is known of the target, nothing is missing.
   */
  | { readonly kind: "hardlink"; readonly path: string; readonly target: string; readonly optional?: boolean }
  /** `.wh.<name>`: hides `path` and everything below it in lower layers. */
  | { readonly kind: "whiteout"; readonly path: string }
  /** `.wh..wh..opq`: hides everything below directory `path` in lower layers. */
  | { readonly kind: "opaque"; readonly path: string };

/**
 * All that Outpost remembers of a layer: a pure function of (stored bytes, {@link LayerFacts.extractor}).
 * Order of `entries` is tar order; a path that occurs twice appears once, as its last occurrence.
 */
export interface LayerFacts {
  /** Version of the extractor and of the wanted-files table together: facts of another version are not reused. */
  readonly extractor: string;
  /** Digest of the stored (usually compressed) bytes. */
  readonly digest: Digest;
  /** Digest of the uncompressed tar. */
  readonly diffId: Digest;
  readonly storedBytes: number;
  readonly tarBytes: number;
  readonly compression: "gzip" | "zstd" | "none";
  readonly entryCount: number;
  readonly entries: readonly LayerEntry[];
  /**
   * Hashes of the paths of all other non-directories (lib/path_hash.ts), sorted ascending. Such an entry matters only
   * because it replaces whatever a lower layer has at, or below, its path.
   */
  readonly replacedPaths: Float64Array;
  /**
   * Hashes of the paths of all directories, sorted ascending. A directory replaces what is not a directory at exactly
   * its path in a lower layer (a symbolic link, say), and keeps what is below it.
   */
  readonly directories: Float64Array;
  readonly problems: readonly Problem[];
}

/** A file of the merged image. */
export interface ImageFile {
  /** Relative to the root, without a leading slash. */
  readonly path: string;
  readonly content: Uint8Array;
  readonly mode: number;
  /** Index of the layer that brought it, 0 = bottom. */
  readonly layer: number;
  /** Place among the entries of its layer, in tar order: decides which of two databases of one layer comes first. */
  readonly position?: number;
}

/** What one extractor made of one file of the merged image. */
export interface ExtractedFile {
  /** Relative to the root, without a leading slash. */
  readonly path: string;
  readonly size: number;
  /** Index of the layer that brought it, 0 = bottom. */
  readonly layer: number;
  /** Place among the layer's entries, as {@link ImageFile.position}; absent when unknown. */
  readonly position?: number;
  readonly data: JsonValue;
}

/** What of an image is looked at, by the names of Snyk's plugin (scan-semantics §8). */
export interface AnalysisOptions {
  /** No application results. */
  readonly excludeAppVulns?: boolean | undefined;
  /** No npm results of node_modules directories without a lock file. */
  readonly excludeNodeModules?: boolean | undefined;
  /** Levels of archives inside an archive in which jars are looked for. @default 1 */
  readonly nestedJarsDepth?: number | undefined;
  /** Also jars below /usr/lib. */
  readonly includeSystemJars?: boolean | undefined;
  /** Also the paths of applications' source files. */
  readonly collectApplicationFiles?: boolean | undefined;
  /** Also which layer brought each package. */
  readonly layerAttribution?: boolean | undefined;
  /** Also the contents of files whose absolute path matches a glob pattern. */
  readonly globsToFind?: { readonly include: readonly string[]; readonly exclude?: readonly string[] } | undefined;
  /** Only packages that an instruction of the Dockerfile or of the user's own part of the history installed. */
  readonly excludeBaseImageVulns?: boolean | undefined;
  /** Text of the Dockerfile that the image was built from. */
  readonly dockerfile?: string | undefined;
  /** Copied into every result: distinguishes versions of one project at Snyk. */
  readonly targetReference?: string | undefined;
  /** What is wrong with the options themselves, for people; the pluginWarnings fact has it. */
  readonly parameterWarnings?: readonly string[] | undefined;
}

/** The instruction that installed a package. */
export interface PackageInstruction {
  /** The whole instruction, without BuildKit's mark. */
  readonly instruction: string;
  /** The install command in it. */
  readonly installCommand: string;
}

/** Data of the dockerfileAnalysis fact. */
export interface DockerfileAnalysis {
  /** Image of the last stage, its aliases and variables resolved. */
  readonly baseImage?: string;
  /** By the name in the install command; source names of what came along are added when packages are attributed. */
  readonly dockerfilePackages: Record<string, PackageInstruction>;
  /** By layer ID: base64 of the instruction. */
  readonly dockerfileLayers: Readonly<Record<string, { readonly instruction: string }>>;
  readonly error?: { readonly code: "BASE_IMAGE_NAME_NOT_FOUND" | "BASE_IMAGE_NON_RESOLVABLE" };
}

/** Operating system of an image, as Snyk names it: `debian`/`12`, `alpine`/`3.20.1`, `unknown`/`0.0`. */
export interface OsRelease {
  readonly name: string;
  readonly version: string;
  /** PRETTY_NAME; empty when there is none. */
  readonly prettyName: string;
}

/** An installed operating-system package. */
export interface OsPackage {
  readonly name: string;
  readonly version: string;
  /** Name of the source package, when the database states one. */
  readonly source?: string;
  readonly sourceVersion?: string;
  /** Names that this package also answers to. */
  readonly provides: readonly string[];
  /** Names that it depends on, as written, alternatives included. */
  readonly depends: readonly string[];
  /** True when the package manager installed it only as a dependency. */
  readonly autoInstalled?: boolean;
  readonly purl?: string;
}

/** What one package database says. */
export interface OsPackages {
  /** `linux` means that no package manager was recognised. */
  readonly type: "apk" | "deb" | "rpm" | "linux";
  /** Path of the database, for messages; empty for `linux`. */
  readonly database: string;
  readonly packages: readonly OsPackage[];
}

/** What the operating-system analyzers found in an image. */
export interface OsAnalysis {
  /** Name of the analyzer that found the packages; absent when there are none. */
  readonly analyzer?: string;
  readonly release: OsRelease;
  readonly packages: OsPackages;
  readonly problems: readonly Problem[];
}

/** A layer as results name it. */
export interface AttributedLayer {
  /** Digest of the uncompressed tar (rootfs.diff_ids). */
  readonly diffId: Digest;
  /** Digest of the stored bytes. */
  readonly digest: Digest;
  /** `created_by` of its history entry; absent when the history does not tell which entry is whose. */
  readonly instruction?: string;
}

/** Which layer brought each package. Layers are named by their index, 0 = bottom; undefined where it could not be told. */
export interface LayerAttribution {
  readonly layers: readonly AttributedLayer[];
  /** Of each package of {@link OsPackages}, in its order. */
  readonly os: readonly (number | undefined)[];
  /** Of each application, in their order. */
  readonly apps: readonly AppLayers[];
  /** What could not be told, as snyk-docker-plugin says it. */
  readonly warnings: readonly string[];
}

/** Which layer brought the packages of one application. */
export interface AppLayers {
  /** Packages that have a file of their own, by `name@version`. */
  readonly packages: ReadonlyMap<string, number>;
  /** Files that the application was read from, by their path. */
  readonly files: ReadonlyMap<string, number>;
  /** All others: the newest of the files that the application was read from. */
  readonly other: number | undefined;
}

/** Digests under which an image was addressed. */
export interface ImageDigests {
  readonly manifest?: Digest;
  readonly index?: Digest;
}

/** A tag with what the registry tells about it; unknown is null, never invented. */
export interface TagInfo {
  readonly tag: string;
  readonly digest: Digest | null;
  /** RFC 3339 time. */
  readonly lastPushed: string | null;
}
