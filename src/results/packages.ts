/**
 * The packages of a scan as one list, for the formats that list packages.
 *
 * @module
 */
import type { ScanReport, ScanResult } from "../core/ports.ts";
import type { DepGraphJson } from "./dep_graph.ts";

/** A package that was found in an image. */
export interface ReportedPackage {
  readonly name: string;
  readonly version: string;
  /** Package manager or ecosystem, as Snyk names it: `deb`, `apk`, `rpm`, `npm`, … */
  readonly type: string;
  readonly purl?: string;
  /** Source package, where the database states one. */
  readonly source?: string;
}

/**
 * Lists the packages of the operating system's database and those in the graphs of the other scan results, sorted by
 * type, name and version. An entry that a database repeats is repeated here.
 */
export function reportedPackages(report: ScanReport): readonly ReportedPackage[] {
  const { type, packages } = report.os.packages;
  const system = packages.map(({ name, version, purl, source }) => ({
    name,
    version,
    type,
    ...(purl ? { purl } : {}),
    ...(source ? { source } : {}),
  }));
  return [...system, ...report.scanResults.slice(1).flatMap(graphPackages)].sort((a, b) =>
    compare(a.type, b.type) || compare(a.name, b.name) || compare(a.version, b.version)
  );
}

/** `os/architecture` of the image, when its configuration states both. */
export function reportedPlatform(report: ScanReport): string | undefined {
  return report.scanResults[0]?.identity.args?.["platform"];
}

function graphPackages({ identity, facts }: ScanResult): readonly ReportedPackage[] {
  const graph = facts.find((fact) => fact.type === "depGraph")?.data as DepGraphJson | undefined;
  // The first package of a graph is its root: the application itself.
  return (graph?.pkgs ?? []).slice(1).map(({ info: { name, version = "", purl } }) => ({
    name,
    version,
    type: identity.type,
    ...(purl ? { purl } : {}),
  }));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
