/**
 * The provenanceMetadata fact: who built an image from what, read from SLSA provenance (scan-semantics §1.5;
 * slsa.dev/spec/v0.2/provenance, slsa.dev/spec/v1.0/provenance; BuildKit's attestation documents).
 *
 * Statements come from a registry or an archive: nothing about their shape is taken for granted.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { AttestationStatement } from "../core/types.ts";

/** One item of the fact. Values that the statement gives are passed on as they are. */
export interface ProvenanceMetadata {
  readonly buildTimestamp: unknown;
  readonly buildConfigDigest: unknown;
  readonly buildConfigDigestSource: "remote" | "local" | null;
  readonly attestedManifestDigest: string;
  readonly attestationManifestDigest: string;
  readonly buildConfigSourceUri: unknown;
  readonly builderId: unknown;
  readonly buildType: unknown;
  readonly dockerfileMetadata: { readonly name: unknown; readonly contents: unknown };
}

type Path = readonly string[];

/** Where a version of the SLSA predicate keeps what we want. */
interface Layout {
  readonly started: Path;
  readonly builder: Path;
  readonly buildType: Path;
  readonly configSource: Path;
  /** Name of the Dockerfile's path within the config source. */
  readonly entryPoint: string;
  /** BuildKit's own part. */
  readonly buildkit: Path;
}

const LAYOUTS: Readonly<Record<string, Layout>> = {
  "https://slsa.dev/provenance/v0.2": {
    started: ["metadata", "buildStartedOn"],
    builder: ["builder", "id"],
    buildType: ["buildType"],
    configSource: ["invocation", "configSource"],
    entryPoint: "entryPoint",
    buildkit: ["metadata", "https://mobyproject.org/buildkit@v1#metadata"],
  },
  "https://slsa.dev/provenance/v1": {
    started: ["runDetails", "metadata", "startedOn"],
    builder: ["runDetails", "builder", "id"],
    buildType: ["buildDefinition", "buildType"],
    configSource: ["buildDefinition", "externalParameters", "configSource"],
    entryPoint: "path",
    buildkit: ["runDetails", "metadata", "buildkit_metadata"],
  },
};

/** Items for the SLSA statements among the attestations, ordered by manifest and layer digest, LIMITS.attestations at most. */
export function provenanceMetadata(attestations: readonly AttestationStatement[]): readonly ProvenanceMetadata[] {
  return attestations
    .toSorted((a, b) => compare(a.manifestDigest, b.manifestDigest) || compare(a.layerDigest, b.layerDigest))
    .flatMap((attestation) => item(attestation) ?? [])
    .slice(0, LIMITS.attestations);
}

function item(attestation: AttestationStatement): ProvenanceMetadata | undefined {
  const { statement } = attestation;
  const predicate = at(statement, ["predicate"]);
  const type = at(statement, ["predicateType"]);
  const layout = typeof type === "string" && Object.hasOwn(LAYOUTS, type) ? LAYOUTS[type] : undefined;
  const attested = attestation.attestedDigest || firstDigest(at(at(statement, ["subject", "0"]), ["digest"]));
  if (!predicate || layout === undefined || attested === undefined) return undefined;
  const source = at(predicate, layout.configSource);
  const buildkit = at(predicate, layout.buildkit);
  const remote = firstDigest(at(source, ["digest"]));
  const local = at(buildkit, ["vcs", "revision"]);
  const name = at(source, [layout.entryPoint]) || "Dockerfile";
  return {
    buildTimestamp: at(predicate, layout.started) || null,
    buildConfigDigest: remote || local || null,
    buildConfigDigestSource: remote ? "remote" : local ? "local" : null,
    attestedManifestDigest: attested,
    attestationManifestDigest: attestation.manifestDigest,
    buildConfigSourceUri: at(source, ["uri"]) || at(buildkit, ["vcs", "source"]) || null,
    builderId: at(predicate, layout.builder) || "",
    buildType: at(predicate, layout.buildType) || "",
    dockerfileMetadata: { name, contents: fileContents(at(buildkit, ["source", "infos"]), name) },
  };
}

/** `algorithm:value` of the first entry of a DigestSet. */
function firstDigest(digests: unknown): string | undefined {
  if (typeof digests !== "object" || digests === null) return undefined;
  const [algorithm, value] = Object.entries(digests)[0] ?? [];
  return algorithm && value ? `${algorithm}:${value}` : undefined;
}

/** The base64 text that BuildKit keeps of a source file. */
function fileContents(infos: unknown, name: unknown): unknown {
  if (!Array.isArray(infos)) return null;
  return at(infos.find((info) => at(info, ["filename"]) === name), ["data"]) ?? null;
}

function at(value: unknown, path: Path): unknown {
  let found = value;
  for (const key of path) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, key)) return undefined;
    found = (found as Record<string, unknown>)[key];
  }
  return found;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
