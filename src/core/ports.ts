/**
 * The interfaces between folders. Siblings never import each other: they meet here, and main.ts joins them.
 *
 * @module
 */
import type { Digest } from "./digest.ts";
import type {
  AttestationStatement,
  ExtractedFile,
  ImageConfig,
  ImageDigests,
  ImageFile,
  ImageManifest,
  JsonValue,
  LayerFacts,
  Platform,
  Problem,
  TagInfo,
} from "./types.ts";

/** Bytes on their way. Chunks may be of any size, empty ones included. */
export type ByteStream = ReadableStream<Uint8Array<ArrayBuffer>>;

/**
 * Bytes that are read from first to last, by one reader. Less than a {@link ByteStream}, whose machinery took two hundredths
 * of a scan's time.
 */
export interface ByteSource {
  /** The next bytes, valid until the next call; undefined at the end. Rejects when there is no end to be had. */
  read(): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Gives up what was not read. May be called at any time, and twice. */
  close(): Promise<void>;
}

/** Time and chance, so that tests can own both. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** A number in [0, 1). */
  random(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The event loop, as long work sees it. */
export interface EventLoop {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Resolves once everything that waits for its turn, sockets included, has had one. */
  turn(): Promise<void>;
}

/** Structured logging. Implementations redact; callers still never pass a secret on purpose. */
export interface Logger {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
  /** A logger whose lines carry `component` (dotted under its parent's). */
  child(component: string): Logger;
}

/** `fetch`, injected. */
export type Fetch = (request: Request) => Promise<Response>;

/** Random access to a file, injected so that nothing below main opens one. */
export interface RandomAccess {
  readonly size: number;
  /** Reads into `buffer` from `offset`; returns the bytes read, 0 at the end. */
  read(buffer: Uint8Array, offset: number): Promise<number>;
}

/** Files of a directory by name, injected as {@link RandomAccess} is. */
export interface FileDirectory {
  /**
   * Opens a file; undefined when there is none. `name` is relative, `/`-separated and never has `..` in it. Whoever
   * opens a file closes it.
   */
  open(name: string): Promise<(RandomAccess & { close(): void }) | undefined>;
}

/** A layer that can be read, wherever it is kept. */
export interface LayerHandle {
  /** As `imageLayers` names it: a digest (OCI, registry) or a member name (docker archive). */
  readonly name: string;
  /** Digest and size of the stored bytes, when the source states them. */
  readonly digest: Digest | undefined;
  readonly size: number | undefined;
  readonly mediaType: string | undefined;
  /** Digest of the uncompressed tar, from the image configuration. */
  readonly diffId: Digest | undefined;
  /**
   * The stored bytes, from the start. Reading fails (never just ends) when not all of them can be had, and when the signal
   * aborts; size and digest are checked by the reader (layers/extract.ts), who closes the source.
   */
  open(signal: AbortSignal): Promise<ByteSource>;
}

/** One image of one platform, from a registry or an archive. */
export interface ImageHandle {
  readonly source: "registry" | "docker-archive" | "oci-archive" | "oci-layout" | "kaniko-archive";
  readonly config: ImageConfig;
  /** Digest of the configuration: the image ID. */
  readonly configDigest: Digest;
  /** Digests of the manifest and of the index that led to it; an archive without manifests has none. */
  readonly digests: ImageDigests;
  /** Bottom first. */
  readonly layers: readonly LayerHandle[];
  /** In-toto statements kept beside the image; at most LIMITS.attestations. */
  attestations(signal: AbortSignal): Promise<readonly AttestationStatement[]>;
  /** Things that could not be read on the way here. */
  readonly problems: readonly Problem[];
}

/** A manifest and its image configuration, as `/image-metadata` shows them. */
export interface ResolvedManifest {
  readonly repository: string;
  readonly digests: ImageDigests & { readonly manifest: Digest };
  readonly manifest: ImageManifest;
  /** Media type under which the registry served the manifest. */
  readonly mediaType: string;
  readonly platform: Platform | undefined;
}

/** Outcome of one step of a registry check. */
export interface CheckStep {
  readonly step: "dns" | "tcp" | "tls" | "api" | "login" | "limits" | "list";
  readonly ok: boolean;
  readonly message: string;
  readonly hint?: string;
}

/** Outcome of a registry check: the first failed step explains the rest. */
export interface ValidationReport {
  readonly ok: boolean;
  readonly steps: readonly CheckStep[];
  /** HTTP status for the caller, the registry's own where it answered. */
  readonly status: number;
  readonly code?: string;
  readonly message?: string;
  readonly hint?: string;
}

/** A registry with one set of credentials. Every method rejects with a classified OutpostError that carries advice. */
export interface Registry {
  /** `host[:port]` for messages. */
  readonly host: string;
  /** Runs the steps and reports; rejects only when cancelled. */
  validate(signal: AbortSignal): Promise<ValidationReport>;
  /** Repository names, page by page. */
  repositories(signal: AbortSignal): AsyncIterable<readonly string[]>;
  /** Tag names, page by page. */
  tags(repository: string, signal: AbortSignal): AsyncIterable<readonly string[]>;
  /** Tags with digest and time of the last push where the registry tells them. */
  tagsWithMetadata(repository: string, signal: AbortSignal): AsyncIterable<readonly TagInfo[]>;
  /** Resolves a tag or digest to the manifest of one platform, without fetching the configuration. */
  resolve(repository: string, reference: string, options: ResolveOptions): Promise<ResolvedManifest>;
  /** The same with configuration and layers, ready to be read. */
  image(repository: string, reference: string, options: ResolveOptions): Promise<ImageHandle>;
  /** Releases connections. */
  close(): void;
}

/** Options of {@link Registry.resolve} and {@link Registry.image}. */
export interface ResolveOptions {
  /** Wanted platform; by default the only one there is, else linux/amd64. */
  readonly platform?: Platform | undefined;
  readonly signal: AbortSignal;
}

/** Where a registry is and how to log in. Secrets live here only on their way to a {@link Registry}. */
export interface RegistryCredentials {
  /** A type of registries/mod.ts; documented aliases are already resolved. */
  readonly type: string;
  /** CR_BASE as the operator wrote it: host, host:port or URL, with or without a path. */
  readonly base: string;
  readonly username?: string;
  readonly password?: string;
  /** A token of the vendor's own API, where lists need another one than pulls (CR_TOKEN). */
  readonly token?: string;
  readonly roleArn?: string;
  readonly region?: string;
  readonly externalId?: string;
}

/** Gives a {@link Registry} for credentials, reusing clients. */
export interface RegistryProvider {
  open(credentials: RegistryCredentials): Registry;
}

/** Which files of a layer are wanted: declarative, so that every engine can compile it. */
export interface FilePattern {
  /** Exact paths, relative to the root, without a leading slash. */
  readonly paths?: readonly string[];
  /** Directories whose direct and indirect files are all wanted; with a trailing slash. */
  readonly directories?: readonly string[];
  /** File names wanted in any directory. */
  readonly names?: readonly string[];
  /** Ends of file names, with their dot: `.jar`. Empty means names without one (a dot in front is none: `.bashrc`). */
  readonly extensions?: readonly string[];
  /** Ends of paths, whatever stands before them: `node` is in `bin/node` and in `addon.node`. */
  readonly suffixes?: readonly string[];
  /** Glob patterns of absolute paths (lib/glob.ts). */
  readonly globs?: readonly string[];
  /** None of all these where one of these glob patterns matches. */
  readonly notGlobs?: readonly string[];
  /** None of all these where the directory, written `/a/b`, begins with one of these texts: `/etc` leaves out `/etcd` too. */
  readonly notFrom?: readonly string[];
  /** None where the directory, written `/a/b`, contains one of these texts. */
  readonly notWithin?: readonly string[];
  /** Largest file that is read. */
  readonly maxBytes: number;
  /**
   * Beginnings of the only lines that are read of a text with one of `paths`: of a large one (LIMITS.wholeTextBytes) only
   * those are kept, and its first line.
   */
  readonly lines?: readonly string[];
}

/**
 * Reads files while their layer streams by, so that nothing of them is kept but what it answers. Its facts are stored
 * with the layer's, and hard links share them: they follow from the bytes of the file alone, never from its path.
 */
export interface FileExtractor {
  /** Under which name its facts are kept: {@link ImageView.extracted}. */
  readonly name: string;
  /** Changes whenever the same bytes would give other facts; options that matter to it are part of it. */
  readonly version: string;
  /** Files that it reads. */
  readonly pattern: FilePattern;
  /** Whether files without content are read too: `end` then follows on `open`. @default false */
  readonly emptyFiles?: boolean;
  /** Bytes (at most 16) with which a file has to begin; others are passed over. */
  readonly magic?: Uint8Array | undefined;
  /** Begins a file. */
  open(file: { readonly size: number }, context: ExtractorContext): FileReader;
}

/** One file on its way through an extractor. Nothing in it may wait: it stands in the middle of a layer's stream. */
export interface FileReader {
  /**
   * Takes the next bytes, from the first on. They are valid during the call only.
   *
   * @returns False when no more are needed; `end` follows at the end of the file all the same.
   */
  data(bytes: Uint8Array): boolean;
  /** The facts, once the file is complete; undefined when there is nothing to keep. Never throws because of the bytes. */
  end(): JsonValue | undefined;
  /** Releases what `open` took. Called once, after `end`, or without it when the layer cannot be read to its end. */
  close(): void;
}

/** What an extractor works with. */
export interface ExtractorContext {
  readonly inflater: SyncInflaterFactory;
  /**
   * To be asked before bytes that were unpacked inside a file are looked at. False when the layer has used up what it may
   * unpack (LIMITS.layerUnpackedBytes): the reader then stops and says so in its facts.
   */
  spend(bytes: number): boolean;
}

/** What extraction is to keep of layers: makes an engine, see layers/engine.ts. */
export interface WantedFiles {
  readonly patterns: readonly FilePattern[];
  readonly extractors: readonly FileExtractor[];
  /** Changes with any of the two: facts of another version are not reused. */
  readonly version: string;
}

/** The merged view of an image's layers (layers/assemble.ts), bottom to top by the OCI rules. */
export interface ImageView {
  /** The file at the path, following symbolic links inside the image; undefined when there is none or it was not kept. */
  file(path: string): ImageFile | undefined;
  /**
   * Where a path leads: links in it, and the one that it may be itself, are followed inside the image as far as they are
   * known. Relative to the root. Nothing has to be there, and nothing is read again because of it.
   */
  realPath(path: string): string;
  /** Kept files below a directory (trailing slash), sorted by path. */
  filesIn(directory: string): readonly ImageFile[];
  /** All kept files, sorted by path. */
  files(): Iterable<ImageFile>;
  /**
   * What the extractor of that name made of files, in the order in which snyk-docker-plugin meets them: top layer first,
   * tar order within a layer.
   */
  extracted(extractor: string): readonly ExtractedFile[];
  /**
   * Where links led to that were asked for so far, when the extractor did not keep what is there: the layers have to be
   * read once more with these files wanted too. Undefined when there is nothing of the kind.
   */
  linkedPaths(): FilePattern | undefined;
  readonly problems: readonly Problem[];
}

/** Turns layers into facts, and facts into a view. */
export interface LayerEngine {
  /** Identifies extractor and wanted-files table together: the key under which facts may be reused. */
  readonly version: string;
  /**
   * Reads a layer once. Checks size, digest and diff ID when they are known.
   *
   * @throws {LayerError} INTEGRITY, LAYER_CORRUPT or LIMIT_EXCEEDED, naming the layer.
   */
  extract(layer: LayerHandle, options: ExtractOptions): Promise<LayerFacts>;
  /** Applies layers, bottom first. `sought` as in {@link ExtractOptions.also}. */
  assemble(layers: readonly LayerFacts[], sought?: FilePattern): ImageView;
}

/** Options of {@link LayerEngine.extract}. */
export interface ExtractOptions {
  readonly signal: AbortSignal;
  /** Called now and then with the stored bytes read so far. */
  readonly onProgress?: ((storedBytes: number) => void) | undefined;
  /** Files that are wanted beside those of the table: {@link ImageView.linkedPaths} of a first reading. */
  readonly also?: FilePattern | undefined;
  /** Most bytes of wanted files, where that is fewer than LIMITS.keptBytes. */
  readonly maxKeptBytes?: number | undefined;
  /**
   * Told how much memory the facts take so far, about, before more is taken. What it throws ends the reading, and is what
   * {@link LayerEngine.extract} rejects with.
   */
  readonly reserve?: ((bytes: number) => void) | undefined;
  /** Told when the reading waits for another process that reads the same layer, until what it gives is disposed of. */
  readonly onWait?: (() => Disposable) | undefined;
}

/**
 * Decodes raw DEFLATE streams (RFC 1951), one at a time: framing and checksums are the caller's (layers/gzip.ts).
 * Output goes to the function that the {@link InflaterFactory} was given.
 */
export interface Inflater {
  /**
   * Decodes `input` and emits all that it gives. Once the promise is settled the input is no longer used.
   *
   * @returns Bytes of `input` that belong to the stream: fewer than `input.length` (0 included) once it has ended.
   * A stream that ends exactly with the input answers so on the next call.
   * @throws An error whose `code` begins with `Z_` when the stream is malformed, or what the output function throws.
   */
  push(input: Uint8Array): number | Promise<number>;
  /** Gets ready for another stream. */
  reset(): void;
  /** Releases everything; may be called at any time, and twice. */
  close(): void;
}

/** Makes an {@link Inflater}. `emit` gets the output in order; the bytes are valid during the call only. */
export type InflaterFactory = (emit: (bytes: Uint8Array) => void) => Inflater;

/** An {@link Inflater} that decodes at once. Several may be open at the same time. */
export interface SyncInflater extends Inflater {
  push(input: Uint8Array): number;
}

/** Makes a {@link SyncInflater}, as {@link InflaterFactory} does. */
export type SyncInflaterFactory = (emit: (bytes: Uint8Array) => void) => SyncInflater;

/** A callback on its way to Snyk. */
export interface CallbackRequest {
  /** Path at the broker server, `/api/v2/import/result` for instance. */
  readonly path: string;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly headers: Readonly<Record<string, string>>;
  /** Origin that the request asked for; it was checked against the allowed ones. Only a direct POST looks at it. */
  readonly origin?: string | undefined;
  /** The connection that the request came by, where this process has several: the callback leaves by the same. */
  readonly connection?: string | undefined;
}

/** Delivers callbacks: through the broker's websocket, or by POST when this process is the agent alone. */
export interface CallbackTransport {
  /** Resolves with the upstream's answer, whatever its status; rejects when it could not be delivered. */
  send(request: CallbackRequest, signal: AbortSignal): Promise<{ readonly status: number }>;
  /**
   * Whether a callback could leave now. Where several processes share a store, only those that say so take callbacks; one
   * that cannot tell has no such method.
   */
  canSend?(): boolean;
}

/** State of one broker socket, as /healthcheck shows it. */
export interface SocketState {
  readonly role: "primary" | "secondary";
  readonly open: boolean;
  /** Server URL with connection_role, without the token. */
  readonly url: string;
  /** The connection that it belongs to, where this process has several, and its identifier in masked form. */
  readonly connection?: { readonly name: string; readonly identifier: string } | undefined;
}
