/**
 * rpm's package database in its three forms (Berkeley DB, NDB, SQLite), as snyk-docker-plugin reads it (scan-semantics
 * §4), but one broken header costs one package and is told.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ImageFile, OsPackage, OsPackages } from "../core/types.ts";
import { type AnalyzerInput, found, newestOf, type OsAnalyzer } from "./analyzer.ts";
import { CONTENT_MANIFESTS, readContentSets } from "./content_sets.ts";
import { rpmPurl } from "./purl.ts";
import { bdbValues } from "./rpm_bdb.ts";
import { parseRpmHeader, type RpmHeader, rpmVersion } from "./rpm_header.ts";
import { ndbValues } from "./rpm_ndb.ts";
import type { OnDamage, RpmValue } from "./rpm_value.ts";
import { isSqlite, SqliteReader } from "./sqlite_reader.ts";
import { pagesWithLog } from "./sqlite_wal.ts";

/** The place that rpm itself prefers comes first; the others are links to it, older, or those of ostree and bootc images. */
const DIRECTORIES = ["usr/lib/sysimage/rpm/", "var/lib/rpm/", "usr/share/rpm/"];
const BDB = DIRECTORIES.map((directory) => `${directory}Packages`);
const NDB = DIRECTORIES.map((directory) => `${directory}Packages.db`);
const SQLITE = DIRECTORIES.map((directory) => `${directory}rpmdb.sqlite`);
/** Usually an NDB database; snyk-docker-plugin tries this path as SQLite as well. */
const EITHER = "usr/lib/sysimage/rpm/Packages.db";

/** RHEL and CentOS up to 8, Amazon Linux up to 2 (Berkeley DB), SUSE (NDB). */
export const RPM_BDB_NDB: OsAnalyzer = {
  name: "rpm-bdb-ndb",
  patterns: [
    { paths: [...BDB, ...NDB], maxBytes: LIMITS.packageDatabaseBytes },
    { directories: [CONTENT_MANIFESTS], maxBytes: LIMITS.smallFileBytes },
  ],
  parse: parseRpmBdbNdb,
};

/** Fedora, RHEL 9 and later, Amazon Linux 2022 and later. */
export const RPM_SQLITE: OsAnalyzer = {
  name: "rpm-sqlite",
  patterns: [
    { paths: [...SQLITE, ...SQLITE.map(logOf), EITHER, logOf(EITHER)], maxBytes: LIMITS.packageDatabaseBytes },
    { directories: [CONTENT_MANIFESTS], maxBytes: LIMITS.smallFileBytes },
  ],
  parse: parseRpmSqlite,
};

function parseRpmBdbNdb(input: AnalyzerInput): OsPackages | undefined {
  const bdb = newestOf(input.view, BDB)[0];
  const ndb = newestOf(input.view, NDB).filter((file) => !isSqlite(file.content))[0];
  const headers = [
    ...(bdb === undefined ? [] : readHeaders(bdb, bdbValues, input)),
    ...(ndb === undefined ? [] : readHeaders(ndb, ndbValues, input)),
  ];
  const database = (bdb ?? ndb)?.path ?? "";
  return found("rpm", database, toPackages(headers, database, input));
}

function parseRpmSqlite(input: AnalyzerInput): OsPackages | undefined {
  const { view } = input;
  const either = newestOf(view, [EITHER]).filter((file) => isSqlite(file.content));
  const file = [...newestOf(view, SQLITE), ...either][0];
  if (file === undefined) return undefined;
  // A database that is reached through a link has its log beside it: asking for both makes the extractor keep both.
  for (const path of SQLITE) view.file(logOf(path));
  const log = view.file(logOf(file.path))?.content;
  const values = (content: Uint8Array, onDamage: OnDamage): Iterable<RpmValue> => sqliteValues(content, log, onDamage);
  const headers = readHeaders(file, values, input);
  return found("rpm", file.path, toPackages(headers, file.path, input));
}

function logOf(path: string): string {
  return `${path}-wal`;
}

function* sqliteValues(content: Uint8Array, log: Uint8Array | undefined, onDamage: OnDamage): Generator<RpmValue> {
  for (const { rowid, value } of new SqliteReader(pagesWithLog(content, log), onDamage).rows("Packages", "blob")) {
    yield { place: `row ${rowid}`, blob: value instanceof Uint8Array ? value : undefined };
  }
}

type ReadValues = (content: Uint8Array, onDamage: OnDamage) => Iterable<RpmValue>;

/** Headers of a database; what cannot be read is reported as one problem that counts and names the first. */
function readHeaders(file: ImageFile, readValues: ReadValues, { report }: AnalyzerInput): RpmHeader[] {
  const headers: RpmHeader[] = [];
  let damages = 0;
  let first = "";
  const damaged = (what: string): void => {
    if (damages++ === 0) first = what;
  };
  try {
    for (const { place, blob } of readValues(file.content, damaged)) {
      if (headers.length >= LIMITS.osPackages) {
        const message = `Cannot read all of ${file.path}: it has more than ${LIMITS.osPackages} packages (osPackages)`;
        report({ code: "LIMIT_EXCEEDED", subject: file.path, message });
        break;
      }
      const header = blob === undefined ? damaged(`${place} has no blob`) : tryHeader(blob, place, damaged);
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

function tryHeader(blob: Uint8Array, place: string, damaged: OnDamage): RpmHeader | undefined {
  try {
    return parseRpmHeader(blob);
  } catch (error) {
    damaged(`${place}: ${reasonOf(error)}`);
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
