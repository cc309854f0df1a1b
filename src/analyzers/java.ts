/**
 * Java archives: fingerprints by which Snyk finds out what a jar is (scan-semantics §6, "java").
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { FileExtractor } from "../core/ports.ts";
import type { AppInput, AppResult } from "../core/scan_ports.ts";
import type { AnalysisOptions, ExtractedFile } from "../core/types.ts";
import { absolute, type AppAnalyzer, type Findings } from "./app_analyzer.ts";
import { type JarFacts, JarReader } from "./jar_reader.ts";
import type { Coordinates } from "./pom_properties.ts";

/** Coordinates as the jarFingerprints fact has them. */
export interface JarCoordinates {
  readonly groupId: string;
  readonly artifactId: string;
  readonly version: string;
}

/** One jar of the jarFingerprints fact. The digest is null when its coordinates are known. */
export interface JarFingerprint extends Partial<JarCoordinates> {
  /** Where it is: `/app/outer.jar/lib/inner.jar` for a jar inside another. */
  readonly location: string;
  readonly digest: string | null;
  /** Jars that were unpacked into this one. */
  readonly dependencies: readonly JarCoordinates[];
}

/** Data of the jarFingerprints fact: the jars of one directory. */
export interface JarFingerprints {
  readonly fingerprints: readonly JarFingerprint[];
  readonly origin: string;
  readonly path: string;
}

const NAME = "jar";
/** Changes when the same jar would give other facts. */
const FACTS_VERSION = 2;
/** Levels of jars inside jars that the plugin reads when nobody says anything. */
const DEFAULT_DEPTH = 1;
/** Jars whose pom.properties is wrong: Snyk identifies them by digest. */
const WRONG_POMS: ReadonlySet<string> = new Set(["com.microsoft.sqlserver:mssql-jdbc"]);

/** Jars and wars: one result for each directory that has any. */
export const JAVA: AppAnalyzer = { name: "java", extractors: (options) => [jarExtractor(options)], analyze };

function jarExtractor({ includeSystemJars, nestedJarsDepth = DEFAULT_DEPTH }: AnalysisOptions): FileExtractor {
  const depth = Math.min(nestedJarsDepth, LIMITS.archiveDepth);
  return {
    name: NAME,
    version: `${FACTS_VERSION}.${depth}`,
    pattern: {
      suffixes: [".jar", ".war"],
      notWithin: includeSystemJars === true ? ["gradle/cache"] : ["/usr/lib", "gradle/cache"],
      maxBytes: LIMITS.layerTarBytes,
    },
    emptyFiles: true,
    open: (_file, context) => new JarReader(depth, context),
  };
}

function analyze({ view, imageName, report }: AppInput): Findings {
  const directories = Map.groupBy(view.extracted(NAME), ({ path }) => absolute(path).directory);
  const results = Array.from(directories, ([path, files]): AppResult => {
    const fingerprints = files.flatMap((file) => [...fingerprintsOf(file, report)]);
    const data: JarFingerprints = { fingerprints, origin: imageName, path };
    return {
      type: "maven",
      targetFile: path,
      facts: [{ type: "jarFingerprints", data }],
      evidence: files.map((file) => ({ path: file.path })),
    };
  });
  return { results };
}

function fingerprintsOf(file: ExtractedFile, report: AppInput["report"]): Generator<JarFingerprint> {
  return walk(file.data as unknown as JarFacts, absolute(file.path).path, report);
}

/** A jar, then what is inside it. A war is a container only. */
function* walk(facts: JarFacts, location: string, report: AppInput["report"]): Generator<JarFingerprint> {
  for (const { code, message } of facts.problems ?? []) report({ code, subject: location.slice(1), message });
  if (location.endsWith(".jar")) yield fingerprint(facts, location);
  for (const { name, ...jar } of facts.jars ?? []) yield* walk(jar, `${location}/${name}`, report);
}

/** Coordinates belong to the jar itself when its path has the artifact's name in it; the last such ones count. */
function fingerprint({ sha1, poms = [] }: JarFacts, location: string): JarFingerprint {
  const known = poms.filter(([groupId, artifactId]) => !WRONG_POMS.has(`${groupId}:${artifactId}`));
  const own = known.findLast(([, artifactId]) => location.includes(artifactId));
  const dependencies = known.filter(([, artifactId]) => !location.includes(artifactId)).map(named);
  return { location, digest: own === undefined ? sha1 : null, dependencies, ...(own === undefined ? {} : named(own)) };
}

function named([groupId, artifactId, version]: Coordinates): JarCoordinates {
  return { groupId, artifactId, version };
}
