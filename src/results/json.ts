/**
 * Outpost's own JSON report; docs/FORMATS.md is its specification.
 *
 * @module
 */
import type { ScanReport } from "../core/scan_ports.ts";
import type { Problem } from "../core/types.ts";
import type { ResultFormat } from "./format.ts";
import { type ReportedPackage, reportedPackages, reportedPlatform } from "./packages.ts";

/** Version of {@link JsonReport}: raised when a field changes its meaning or goes away, not when one is added. */
export const JSON_REPORT_VERSION = 1;

/** A layer of the image. */
export interface ReportedLayer {
  /** Digest of the uncompressed tar; packages name their layer by it. */
  readonly diffId: string;
  /** Digest of the stored bytes. */
  readonly digest: string;
  /** The history's instruction, when the history tells which is whose. */
  readonly instruction: string | null;
}

/** The report. Every field is always there; what is unknown is null. */
export interface JsonReport {
  readonly schemaVersion: typeof JSON_REPORT_VERSION;
  readonly image: string;
  /** `partial` when `problems` names something that could not be read: the package list may then be too short. */
  readonly status: "success" | "partial";
  readonly digests: { readonly manifest: string | null; readonly index: string | null; readonly config: string };
  /** `os/architecture`. */
  readonly platform: string | null;
  readonly os: {
    readonly name: string;
    readonly version: string;
    readonly prettyName: string;
    /** `deb`, `apk` or `rpm`; null when no known package manager was found, so that nothing is known of its packages. */
    readonly packageManager: string | null;
  };
  /** Bottom first; null unless layer attribution was asked for. */
  readonly layers: readonly ReportedLayer[] | null;
  /** Sorted by type, name and version. */
  readonly packages: readonly ReportedPackage[];
  readonly problems: readonly Problem[];
}

/** Makes the report of a scan. */
export function jsonReport(report: ScanReport): JsonReport {
  const { name, version, prettyName } = report.os.release;
  return {
    schemaVersion: JSON_REPORT_VERSION,
    image: report.imageName,
    status: report.status,
    digests: {
      manifest: report.digests.manifest ?? null,
      index: report.digests.index ?? null,
      config: report.configDigest,
    },
    platform: reportedPlatform(report) ?? null,
    os: { name, version, prettyName, packageManager: packageManagerOf(report) },
    layers: report.attribution?.layers.map(({ diffId, digest, instruction = null }) => ({
      diffId,
      digest,
      instruction,
    })) ?? null,
    packages: reportedPackages(report),
    problems: report.problems.map(({ code, subject, message }) => ({ code, subject, message })),
  };
}

function packageManagerOf({ os: { packages } }: ScanReport): string | null {
  return packages.type === "linux" ? null : packages.type;
}

/** The report as indented JSON. */
export const json = {
  name: "json",
  mediaType: "application/json",
  render(report: ScanReport): string {
    return `${JSON.stringify(jsonReport(report), null, 2)}\n`;
  },
} as const satisfies ResultFormat;
