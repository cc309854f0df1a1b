/**
 * Operating-system analyzers: which system an image holds and what its package manager says is installed.
 * A new package database is one file and one row of {@link ANALYZERS}.
 *
 * @module
 */
import type { FilePattern, ImageView } from "../core/ports.ts";
import type { LayerFacts, OsAnalysis, OsPackages, Problem } from "../core/types.ts";
import type { AnalyzerInput, OsAnalyzer } from "./analyzer.ts";
import { APK } from "./apk.ts";
import { CHISEL, CHISEL_MANIFEST } from "./chisel.ts";
import { DPKG, DPKG_STATUS_D } from "./dpkg.ts";
import { attributeOsPackages, type OsAttribution } from "./layer_attribution.ts";
import { detectOsRelease, OS_RELEASE_PATTERNS } from "./os_release.ts";
import { RPM_BDB_NDB, RPM_SQLITE } from "./rpm.ts";
import { UNSUPPORTED } from "./unsupported.ts";

export type { AnalyzerInput, OsAnalyzer } from "./analyzer.ts";
export type { OsAttribution } from "./layer_attribution.ts";

/** All analyzers in the order of preference: the first that finds a package decides (scan-semantics §4). */
export const ANALYZERS: readonly OsAnalyzer[] = [
  APK,
  DPKG,
  RPM_BDB_NDB,
  RPM_SQLITE,
  DPKG_STATUS_D,
  CHISEL,
  UNSUPPORTED,
];

/** Files that extraction must keep for {@link analyzeOs}. */
export const WANTED: readonly FilePattern[] = [
  ...OS_RELEASE_PATTERNS,
  ...ANALYZERS.flatMap((analyzer) => analyzer.patterns),
];

/**
 * Identifies {@link WANTED}: kept layer facts of another version may lack files. It follows from the table itself, so
 * that it cannot be forgotten. How the files are parsed is no part of it, since facts hold the files' bytes.
 */
export const ANALYZERS_VERSION: string = `os-${fnv1a(JSON.stringify(WANTED))}`;

/** No package manager was recognised. */
const NO_PACKAGES: OsPackages = { type: "linux", database: "", packages: [] };

/**
 * Detects the operating system and reads its packages. Databases behind the first that has packages are not read.
 * Pure: the same view gives the same result. `baseImage` is that of the Dockerfile, when there is one.
 *
 * @throws {OutpostError} ANALYSIS_FAILED when release files exist and none can be parsed, or when dpkg's status file is
 * broken in a way that leaves no package certain.
 */
export function analyzeOs(view: ImageView, baseImage?: string): OsAnalysis {
  const release = detectOsRelease(view, { chiselManifest: CHISEL_MANIFEST, baseImage });
  const problems: Problem[] = [];
  const input: AnalyzerInput = { view, release, report: (problem) => problems.push(problem) };
  for (const analyzer of ANALYZERS) {
    const packages = analyzer.parse(input);
    if (packages !== undefined) return { analyzer: analyzer.name, release, packages, problems };
  }
  return { release, packages: NO_PACKAGES, problems };
}

/** Which layer brought each package of an analysis; see {@link attributeOsPackages}. */
export function attributeOsLayers(
  os: OsAnalysis,
  layers: readonly LayerFacts[],
  assemble: (layers: readonly LayerFacts[]) => ImageView,
): OsAttribution {
  const analyzer = ANALYZERS.find(({ name }) => name === os.analyzer);
  return attributeOsPackages({ layers, assemble, os, analyzer });
}

/** FNV-1a of a text, 32 bits as hexadecimal digits: enough to tell one version of a table from another. */
export function fnv1a(text: string): string {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, "0");
}
