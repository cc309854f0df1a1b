/**
 * Alpine's package database (apk-tools, `installed` file format), as snyk-docker-plugin reads it (scan-semantics §4).
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { OsPackage, OsPackages, Problem } from "../core/types.ts";
import { type AnalyzerInput, found, newestOf, type OsAnalyzer } from "./analyzer.ts";
import { LineReader } from "./line_reader.ts";
import { type PackageDraft, PackageList } from "./package_list.ts";

/** Where the database is. A merged-/usr root has its live one below /usr, so that path wins a tie. */
export const APK_DATABASES: readonly string[] = ["usr/lib/apk/db/installed", "lib/apk/db/installed"];

/** Beginnings of the lines that are read; those of files (F, R) tell whose they are (apk_ownership.ts). */
const LINES = ["P", "V", "o", "p", "D", "r", "F", "R"].map((name) => `${name}:`);

/** Alpine, Wolfi and whatever else uses apk. */
export const APK: OsAnalyzer = {
  name: "apk",
  patterns: [{ paths: APK_DATABASES, maxBytes: LIMITS.packageDatabaseBytes, lines: LINES }],
  parse: parseApk,
};

function parseApk(input: AnalyzerInput): OsPackages | undefined {
  const file = newestOf(input.view, APK_DATABASES)[0];
  return file && found("apk", file.path, parseInstalled(file.content, file.path, input.report));
}

const P = 0x50, V = 0x56, O = 0x6f, PROVIDES = 0x70, D = 0x44, R = 0x72;

/** Packages of an `installed` file. Never throws: lines that mean nothing are passed over. */
export function parseInstalled(content: Uint8Array, database: string, report: (problem: Problem) => void): OsPackage[] {
  const list = new PackageList(database, report);
  const lines = new LineReader(content);
  while (lines.next()) {
    const key = lines.first;
    if (lines.length < 2 || (key !== P && key !== V && key !== O && key !== PROVIDES && key !== D && key !== R)) {
      continue;
    }
    if (lines.length > LIMITS.packageFieldBytes) {
      list.limit(`a line of more than ${LIMITS.packageFieldBytes} bytes (packageFieldBytes)`);
      if (key === P && !list.start("")) break;
      continue;
    }
    const value = lines.text().slice(2).trim();
    if (key === P) {
      if (!list.start(value)) break;
    } else if (list.current !== undefined) {
      takeField(list, list.current, key, value);
    }
  }
  return list.finish(() => undefined);
}

function takeField(list: PackageList, draft: PackageDraft, key: number, value: string): void {
  if (key === V) draft.version = value;
  else if (key === O) draft.source = value;
  else if (key === PROVIDES) takeProvides(list, draft, value);
  else takeDepends(list, draft, value);
}

function takeProvides(list: PackageList, draft: PackageDraft, value: string): void {
  for (const item of value.split(" ")) {
    if (!list.takeRelation()) return;
    draft.provides.push(beforeEquals(item));
  }
}

/** `!name` is a conflict. `name>=1` stays as written: snyk-docker-plugin cuts at `=` only. */
function takeDepends(list: PackageList, draft: PackageDraft, value: string): void {
  for (const item of value.split(" ")) {
    if (item.startsWith("!")) continue;
    if (!list.takeRelation()) return;
    draft.depends.add(beforeEquals(item));
  }
}

function beforeEquals(item: string): string {
  const at = item.indexOf("=");
  return at < 0 ? item : item.slice(0, at);
}
