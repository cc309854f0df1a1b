/**
 * rpm's package database in SQLite form (rpm 4.16 and later), as snyk-docker-plugin reads it (scan-semantics §4), but
 * one broken header costs one package and is told.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ImageFile, OsPackage, OsPackages } from "../core/types.ts";
import { type AnalyzerInput, found, newestOf, type OsAnalyzer } from "./analyzer.ts";
import { CONTENT_MANIFESTS, readContentSets } from "./content_sets.ts";
import { rpmPurl } from "./purl.ts";
import { parseRpmHeader, type RpmHeader, rpmVersion } from "./rpm_header.ts";
import { filePages, isSqlite, SqliteReader } from "./sqlite_reader.ts";

const PATHS = ["usr/lib/sysimage/rpm/rpmdb.sqlite", "var/lib/rpm/rpmdb.sqlite"];
/** Usually an NDB database; snyk-docker-plugin tries this path as SQLite as well. */
const EITHER = "usr/lib/sysimage/rpm/Packages.db";

/** Fedora, RHEL 9 and later, Amazon Linux 2022 and later. */
export const RPM_SQLITE: OsAnalyzer = {
  name: "rpm-sqlite",
  patterns: [
    { paths: [...PATHS, EITHER], maxBytes: LIMITS.packageDatabaseBytes },
    { directories: [CONTENT_MANIFESTS], maxBytes: LIMITS.smallFileBytes },
  ],
  parse: parseRpmSqlite,
};

function parseRpmSqlite(input: AnalyzerInput): OsPackages | undefined {
  const either = newestOf(input.view, [EITHER]).filter((file) => isSqlite(file.content));
  const file = [...newestOf(input.view, PATHS), ...either][0];
  if (file === undefined) return undefined;
  const headers = readHeaders(file, input);
  return found("rpm", file.path, toPackages(headers, file.path, input));
}

/** Headers of a database; what cannot be read is reported as one problem that counts and names the first. */
function readHeaders(file: ImageFile, { report }: AnalyzerInput): RpmHeader[] {
  const headers: RpmHeader[] = [];
  let damages = 0;
  let first = "";
  const damaged = (what: string): void => {
    if (damages++ === 0) first = what;
  };
  try {
    for (const { rowid, value } of new SqliteReader(filePages(file.content), damaged).rows("Packages", "blob")) {
      if (headers.length >= LIMITS.osPackages) {
        const message = `Cannot read all of ${file.path}: it has more than ${LIMITS.osPackages} packages (osPackages)`;
        report({ code: "LIMIT_EXCEEDED", subject: file.path, message });
        break;
      }
      const header = value instanceof Uint8Array
        ? tryHeader(value, rowid, damaged)
        : damaged(`row ${rowid} has no blob`);
      if (header !== undefined) headers.push(header);
    }
  } catch (error) {
    damaged(reasonOf(error));
  }
  if (damages > 0) {
    const more = damages > 1 ? ` (and ${damages - 1} more faults)` : "";
    report({
      code: "ANALYSIS_FAILED",
      subject: file.path,
      message: `Cannot read all of ${file.path}: ${first}${more}`,
    });
  }
  return headers;
}

function tryHeader(blob: Uint8Array, rowid: number, damaged: (what: string) => void): RpmHeader | undefined {
  try {
    return parseRpmHeader(blob);
  } catch (error) {
    damaged(`row ${rowid}: ${reasonOf(error)}`);
    return undefined;
  }
}

/** The readers' own errors are expected; anything else is a defect and goes up. */
function reasonOf(error: unknown): string {
  if (error instanceof OutpostError) return error.message;
  throw error;
}

function toPackages(headers: readonly RpmHeader[], database: string, input: AnalyzerInput): OsPackage[] {
  let repositories = headers.length === 0 ? "" : readContentSets(input).join(",");
  if (repositories.length * headers.length > LIMITS.purlRepositoryChars) {
    const message =
      `Cannot put the content sets into the purls of ${database}: they are too long for so many packages ` +
      "(purlRepositoryChars)";
    input.report({ code: "LIMIT_EXCEEDED", subject: CONTENT_MANIFESTS, message });
    repositories = "";
  }
  return headers.map((header) => {
    const version = rpmVersion(header);
    return {
      name: header.name,
      version,
      provides: [],
      depends: [],
      purl: rpmPurl({ ...header, version }, repositories, input.release),
    };
  });
}
