/**
 * What is made of an image: analyzers' applications, the scan's input, its results and its report, and what may be watched of it.
 *
 * @module
 */
import type { Digest } from "./digest.ts";
import type { ImageHandle, ImageView } from "./ports.ts";
import type {
  AnalysisOptions,
  AttestationStatement,
  DockerfileAnalysis,
  ImageDigests,
  LayerAttribution,
  OsAnalysis,
  Problem,
} from "./types.ts";

/** What the scan pipeline gives to a result format. */
export interface ScanInput {
  /** `name`, `name:tag` or `name@digest` under which the image is reported. */
  readonly imageName: string;
  /** True when nobody named the image, so that `imageName` is only its archive's file name: no name facts follow from it. */
  readonly imageNameIsFile?: boolean;
  /** `host[:port]` of the registry that delivered the image; absent for an archive. */
  readonly registryHost?: string | undefined;
  readonly image: ImageHandle;
  readonly os: OsAnalysis;
  /** Files that somebody asked for. */
  readonly manifestFiles?: readonly ManifestFile[] | undefined;
  /** Absent when applications were not looked for. */
  readonly apps?: AppAnalysis | undefined;
  /** Absent when it was not asked for. */
  readonly attribution?: LayerAttribution | undefined;
  /** Absent when no Dockerfile was given. */
  readonly dockerfile?: DockerfileAnalysis | undefined;
  readonly options?: AnalysisOptions | undefined;
  readonly attestations: readonly AttestationStatement[];
}

/** A file of the imageManifestFiles fact. */
export interface ManifestFile {
  readonly name: string;
  /** Absolute path of its directory. */
  readonly path: string;
  /** In base64. */
  readonly contents: string;
}

/** What application analyzers get (analyzers/app_analyzer.ts). */
export interface AppInput {
  readonly view: ImageView;
  readonly os: OsAnalysis;
  /** As {@link ScanInput.imageName}. */
  readonly imageName: string;
  readonly options: AnalysisOptions;
  /** Takes what could not be read while the rest went on. */
  readonly report: (problem: Problem) => void;
  readonly signal: AbortSignal;
}

/** One application that an analyzer found: becomes one {@link ScanResult} after that of the operating system. */
export interface AppResult {
  /** Ecosystem, as Snyk names it: `npm`, `maven`, `gomodules`, … */
  readonly type: string;
  /** Path that names the application; absolute, as the plugin writes it. */
  readonly targetFile: string;
  /** Its own facts, in the plugin's order; those that every result has are added to them (results/snyk.ts). */
  readonly facts: readonly ScanFact[];
  /** Files that it was read from: they say which layer brought it, and which apk package owns it. */
  readonly evidence: readonly Evidence[];
  /** Facts that stand behind those that every result has. */
  readonly closingFacts?: readonly ScanFact[];
}

/** A file that a result, or the named package of a result, was read from. */
export interface Evidence {
  /** Relative to the root, without a leading slash. */
  readonly path: string;
  readonly name?: string;
  readonly version?: string;
}

/** What the application analyzers found in an image. */
export interface AppAnalysis {
  /** In the plugin's order. */
  readonly results: readonly AppResult[];
  /** Facts about the image itself: they stand in the operating system's result, behind its graph. */
  readonly imageFacts: readonly ScanFact[];
  readonly problems: readonly Problem[];
}

/** A Snyk ScanResult (scan-semantics §1), JSON-ready. */
export interface ScanResult {
  readonly target: { readonly image: string };
  readonly identity: {
    readonly type: string;
    readonly targetFile?: string;
    readonly args?: Readonly<Record<string, string>>;
  };
  readonly facts: readonly ScanFact[];
  readonly targetReference?: string;
}

/** One fact of a {@link ScanResult}. */
export interface ScanFact {
  readonly type: string;
  readonly data: unknown;
}

/** Result of a scan: always says whether it is whole. */
export interface ScanReport {
  readonly imageName: string;
  readonly status: "success" | "partial";
  readonly os: OsAnalysis;
  readonly scanResults: readonly ScanResult[];
  readonly problems: readonly Problem[];
  readonly digests: ImageDigests;
  readonly configDigest: Digest;
  /** Absent when it was not asked for. */
  readonly attribution?: LayerAttribution | undefined;
}

/** Something of a scan that a person may watch. */
export type ScanEvent =
  | {
    readonly kind: "resolved";
    readonly imageName: string;
    readonly layers: number;
    readonly bytes: number | undefined;
  }
  | { readonly kind: "layer-start"; readonly index: number; readonly name: string; readonly size: number | undefined }
  | { readonly kind: "layer-progress"; readonly index: number; readonly storedBytes: number }
  | {
    readonly kind: "layer-done";
    readonly index: number;
    readonly storedBytes: number;
    readonly entries: number;
    readonly reused: boolean;
  }
  | { readonly kind: "layer-failed"; readonly index: number; readonly message: string }
  | { readonly kind: "analyzed"; readonly packages: number; readonly problems: number };
