/**
 * What a scan request asks to be looked at: an object `options` with the names of snyk-docker-plugin's own options
 * (scan-semantics §8). *Inferred*: the request's shape is not published, so anything of another form is passed over.
 *
 * @module
 */
import type { AnalysisOptions } from "../core/types.ts";

/** Patterns of one request, and characters of one pattern or of the target reference. */
const MAX_PATTERNS = 200;
const MAX_CHARS = 1024;

/** Reads `options`; those of an image come before those of the whole request. Undefined when there are none. */
export function analysisOptions(image: unknown, request: unknown): AnalysisOptions | undefined {
  const given = { ...asRecord(request), ...asRecord(image) };
  if (Object.keys(given).length === 0) return undefined;
  return {
    excludeAppVulns: isTrue(given["exclude-app-vulns"]),
    excludeNodeModules: isTrue(given["exclude-node-modules"]),
    nestedJarsDepth: levels(given["nested-jars-depth"] ?? given["shaded-jars-depth"]),
    includeSystemJars: isTrue(given["include-system-jars"]),
    collectApplicationFiles: isTrue(given["collect-application-files"]),
    layerAttribution: isTrue(given["layer-attribution"]),
    excludeBaseImageVulns: isTrue(given["exclude-base-image-vulns"]),
    globsToFind: globs(given["globsToFind"]),
    targetReference: text(given["target-reference"]),
  };
}

/** The plugin takes its options as texts too. */
function isTrue(value: unknown): boolean {
  return value === true || value === "true";
}

function levels(value: unknown): number | undefined {
  const number = typeof value === "string" && value !== "" ? Number(value) : value;
  return typeof number === "number" && Number.isInteger(number) && number >= 0 ? number : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" && value.length <= MAX_CHARS ? value : undefined;
}

function globs(value: unknown): AnalysisOptions["globsToFind"] {
  const { include, exclude } = asRecord(value);
  const patterns = (list: unknown): string[] =>
    Array.isArray(list) ? list.flatMap((item) => text(item) ?? []).slice(0, MAX_PATTERNS) : [];
  return patterns(include).length === 0 ? undefined : { include: patterns(include), exclude: patterns(exclude) };
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value as Record<string, unknown> : {};
}
