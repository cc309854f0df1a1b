/**
 * The packages of a scan as one list, for the formats that list packages.
 *
 * @module
 */
import type { ScanReport, ScanResult } from "../core/scan_ports.ts";
import type { AppLayers, LayerAttribution } from "../core/types.ts";
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
  /** diffID of the layer that brought it, where it was asked for and is known. */
  readonly layer?: string;
  /** Where in the image an application's package was found: the application's target file, or the jar itself. */
  readonly location?: string;
}

/** As much of the jarFingerprints fact as is listed. */
interface Jars {
  readonly fingerprints: readonly (Partial<Coordinates> & {
    readonly location: string;
    readonly dependencies: readonly Coordinates[];
  })[];
}

interface Coordinates {
  readonly groupId: string;
  readonly artifactId: string;
  readonly version: string;
}

/**
 * Lists the packages of the operating system's database, those in the graphs of the other scan results and jars, sorted by
 * type, name, version and location. An entry that a database repeats is repeated here. A jar that does not say what it is
 * has its file name for a name, and no version.
 */
export function reportedPackages(report: ScanReport): readonly ReportedPackage[] {
  const { type, packages } = report.os.packages;
  const { attribution } = report;
  const system = packages.map(({ name, version, purl, source }, position): ReportedPackage => ({
    name,
    version,
    type,
    ...(purl ? { purl } : {}),
    ...(source ? { source } : {}),
    ...layerField(attribution, attribution?.os[position]),
  }));
  const applications = report.scanResults.slice(1).flatMap((result, position) =>
    [...graphPackages(result), ...jars(result)].map((entry) => ({
      ...entry,
      ...layerField(attribution, layerOf(entry, attribution?.apps[position])),
    }))
  );
  return [...system, ...applications].sort((a, b) =>
    compare(a.type, b.type) || compare(a.name, b.name) || compare(a.version, b.version) ||
    compare(a.location ?? "", b.location ?? "")
  );
}

function layerField(attribution: LayerAttribution | undefined, index: number | undefined): { readonly layer?: string } {
  const layer = attribution?.layers[index ?? -1]?.diffId;
  return layer === undefined ? {} : { layer };
}

/** A package with a file of its own, then one inside a file (a jar in a jar), then the application as a whole. */
function layerOf({ name, version, location = "" }: ReportedPackage, app: AppLayers | undefined): number | undefined {
  const named = app?.packages.get(`${name}@${version}`);
  if (app === undefined || named !== undefined) return named;
  for (let path = location.slice(1); path !== ""; path = path.slice(0, Math.max(path.lastIndexOf("/"), 0))) {
    const layer = app.files.get(path);
    if (layer !== undefined) return layer;
  }
  return app.other;
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
    ...(identity.targetFile ? { location: identity.targetFile } : {}),
  }));
}

function jars({ identity: { type }, facts }: ScanResult): readonly ReportedPackage[] {
  const data = facts.find((fact) => fact.type === "jarFingerprints")?.data as Jars | undefined;
  return (data?.fingerprints ?? []).flatMap(({ location, groupId, artifactId, version, dependencies }) => {
    const own = groupId && artifactId && version
      ? { name: `${groupId}:${artifactId}`, version }
      : { name: location.slice(location.lastIndexOf("/") + 1), version: "" };
    const inside = dependencies.map((one) => ({ name: `${one.groupId}:${one.artifactId}`, version: one.version }));
    return [own, ...inside].map((one) => ({ ...one, type, location }));
  });
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
