/**
 * Which operating system an image holds, as snyk-docker-plugin tells it (scan-semantics §3).
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { FilePattern, ImageView } from "../core/ports.ts";
import type { OsRelease } from "../core/types.ts";

type Parse = (text: string) => OsRelease | undefined;

/** In the order in which they are tried: the first that can be parsed decides. */
const FILES: readonly { readonly path: string; readonly parse: Parse }[] = [
  { path: "etc/os-release", parse: parseOsRelease },
  { path: "usr/lib/os-release", parse: parseOsRelease },
  { path: "etc/lsb-release", parse: parseLsbRelease },
  { path: "etc/debian_version", parse: parseDebianVersion },
  { path: "etc/alpine-release", parse: parseAlpineRelease },
  { path: "etc/oracle-release", parse: parseOracleRelease },
  { path: "etc/redhat-release", parse: parseRedHatRelease },
  { path: "etc/centos-release", parse: parseCentosRelease },
];

/** Files that extraction must keep. */
export const OS_RELEASE_PATTERNS: readonly FilePattern[] = [
  { paths: FILES.map((file) => file.path), maxBytes: LIMITS.smallFileBytes },
];

/** What tells something of an image without release files. */
export interface ReleaseHints {
  /** Path of Chisel's manifest. */
  readonly chiselManifest: string;
  /** Base image of the Dockerfile. */
  readonly baseImage?: string | undefined;
}

/**
 * Detects the operating system; without any release file it is `chisel`/`0.0` when a Chisel manifest is there,
 * `scratch`/`0.0` when the Dockerfile says so, else `unknown`/`0.0`.
 *
 * @throws {OutpostError} ANALYSIS_FAILED when a release file exists and none can be parsed.
 */
export function detectOsRelease(view: ImageView, { chiselManifest, baseImage }: ReleaseHints): OsRelease {
  const present: string[] = [];
  for (const { path, parse } of FILES) {
    const content = view.file(path)?.content;
    if (content === undefined || content.length === 0) continue;
    present.push(path);
    const release = parse(new TextDecoder().decode(content));
    if (release !== undefined && isSane(release)) return normalized(release);
  }
  if (present.length > 0) {
    throw new OutpostError(
      "ANALYSIS_FAILED",
      `Failed to detect OS release: none of ${present.join(", ")} names an operating system`,
      { hint: "Add ID= and VERSION_ID= to /etc/os-release in the image" },
    );
  }
  const name = view.file(chiselManifest) !== undefined ? "chisel" : baseImage === "scratch" ? baseImage : "unknown";
  return { name, version: "0.0", prettyName: "" };
}

/** Name and version are repeated in every purl, so that an absurd length counts as unreadable. */
function isSane(release: OsRelease): boolean {
  return release.name.length <= LIMITS.osReleaseChars && release.version.length <= LIMITS.osReleaseChars;
}

/** Oracle Linux calls itself `ol`; SLES names its first service pack without `.0`. */
function normalized(release: OsRelease): OsRelease {
  const name = release.name.trim() === "ol" ? "oracle" : release.name;
  const round = name.trim() === "sles" && release.version !== "" && !release.version.includes(".");
  return { ...release, name, version: round ? `${release.version}.0` : release.version };
}

/** Only double quotes are quotes, wherever they stand; single ones stay. */
function unquoted(text: string): string {
  return text.replaceAll('"', "");
}

function majorOf(version: string): string {
  return version.split(".", 1)[0] ?? "";
}

function parseOsRelease(text: string): OsRelease | undefined {
  const id = /^ID=(.+)$/m.exec(text)?.[1];
  if (id === undefined) return undefined;
  const name = unquoted(id);
  const version = unquoted(/^VERSION_ID=(.+)$/m.exec(text)?.[1] ?? "unstable");
  const prettyName = unquoted(/^PRETTY_NAME=(.+)$/m.exec(text)?.[1] ?? "");
  return { name, version: name === "ol" ? majorOf(version) : version, prettyName };
}

function parseLsbRelease(text: string): OsRelease | undefined {
  const id = /^DISTRIB_ID=(.+)$/m.exec(text)?.[1];
  const version = /^DISTRIB_RELEASE=(.+)$/m.exec(text)?.[1];
  if (id === undefined || version === undefined) return undefined;
  return { name: unquoted(id).toLowerCase(), version: unquoted(version), prettyName: "" };
}

function parseDebianVersion(text: string): OsRelease | undefined {
  const trimmed = text.trim();
  return trimmed.length < 2 ? undefined : { name: "debian", version: majorOf(trimmed), prettyName: "" };
}

function parseAlpineRelease(text: string): OsRelease | undefined {
  const trimmed = text.trim();
  return trimmed.length < 2 ? undefined : { name: "alpine", version: trimmed, prettyName: "" };
}

function parseRedHatRelease(text: string): OsRelease | undefined {
  const release = parseCentosRelease(text);
  return release !== undefined && text.includes("Red Hat") ? { ...release, name: "rhel" } : release;
}

/** The look-behind keeps the search linear: a run of digits is tried once, not from each of its digits. */
function parseCentosRelease(text: string): OsRelease | undefined {
  return firstWordAnd(text, /(?<!\d)(\d+)\./.exec(text)?.[1]);
}

function parseOracleRelease(text: string): OsRelease | undefined {
  return firstWordAnd(text, /(?<!\d)(\d+)\.\d/.exec(text)?.[1]);
}

function firstWordAnd(text: string, version: string | undefined): OsRelease | undefined {
  const word = /^\S+/m.exec(text)?.[0];
  if (word === undefined || version === undefined) return undefined;
  return { name: unquoted(word).toLowerCase(), version, prettyName: "" };
}
