/**
 * Package URLs of operating-system packages, byte for byte as snyk-docker-plugin writes them (scan-semantics §4).
 * The encoding is that of packageurl-js 1.2.0, which is why that version is pinned.
 *
 * @module
 */
import { PackageURL } from "packageurl-js";
import type { OsRelease } from "../core/types.ts";

/** snyk-docker-plugin's table of Debian code names; it applies it to every distribution. */
const CODENAMES: Readonly<Record<string, string>> = {
  "8": "jessie",
  "9": "stretch",
  "10": "buster",
  "11": "bullseye",
  "12": "bookworm",
  "13": "trixie",
  "unstable": "sid",
};

/** Parts of a Debian package's purl. */
export interface DebPurlParts {
  readonly name: string;
  readonly version: string;
  readonly source: string;
  readonly sourceVersion: string;
}

/** `pkg:deb/…`; undefined when name or version is missing. */
export function debPurl(parts: DebPurlParts, release: OsRelease): string | undefined {
  if (parts.name === "" || parts.version === "") return undefined;
  const codename = Object.hasOwn(CODENAMES, release.version) ? CODENAMES[release.version] : release.version;
  const qualifiers: Record<string, string> = { distro: `${release.name}-${codename}` };
  if (parts.source !== "") {
    qualifiers["upstream"] = parts.sourceVersion === "" ? parts.source : `${parts.source}@${parts.sourceVersion}`;
  }
  return new PackageURL("deb", release.name, parts.name, parts.version, qualifiers, undefined).toString();
}

/** Parts of an rpm package's purl. */
export interface RpmPurlParts {
  readonly name: string;
  /** With epoch and release. */
  readonly version: string;
  readonly epoch: number | undefined;
  /** Modularity label, `name:stream:version:context`. */
  readonly module: string;
  /** File name of the source package. */
  readonly sourceRpm: string;
}

/** `pkg:rpm/…`; `repositories` are Red Hat's content sets, joined by commas. */
export function rpmPurl(parts: RpmPurlParts, repositories: string, release: OsRelease): string {
  const qualifiers: Record<string, string> = { distro: `${release.name}-${release.version}` };
  const [moduleName, stream] = parts.module.split(":");
  if (moduleName !== undefined && stream !== undefined) qualifiers["module"] = `${moduleName}:${stream}`;
  const upstream = upstreamOf(parts.sourceRpm);
  if (upstream !== undefined) qualifiers["upstream"] = upstream;
  if (repositories !== "") qualifiers["repositories"] = repositories;
  if (parts.epoch !== undefined) qualifiers["epoch"] = String(parts.epoch);
  return new PackageURL("rpm", release.name, parts.name, parts.version, qualifiers, undefined).toString();
}

/** `bash-5.1.8-9.el9.src.rpm` → `bash@5.1.8-9.el9`; undefined for anything of another form. */
function upstreamOf(sourceRpm: string): string | undefined {
  const suffix = ".src.rpm";
  if (!sourceRpm.endsWith(suffix)) return undefined;
  const base = sourceRpm.slice(0, -suffix.length);
  const releaseAt = base.lastIndexOf("-");
  if (releaseAt <= 0 || releaseAt === base.length - 1) return undefined;
  const versionAt = base.lastIndexOf("-", releaseAt - 1);
  if (versionAt <= 0 || versionAt === releaseAt - 1) return undefined;
  return `${base.slice(0, versionAt)}@${base.slice(versionAt + 1)}`;
}
