/**
 * Package databases that are recognised but not read. They hold their rows in the table, so that an image that has one
 * is reported as incomplete instead of as empty.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { OsPackages } from "../core/types.ts";
import { type AnalyzerInput, newestOf, type OsAnalyzer } from "./analyzer.ts";
import { isSqlite } from "./sqlite_reader.ts";

/** Where Chisel keeps its manifest; its presence also names the operating system when nothing else does. */
export const CHISEL_MANIFEST = "var/lib/chisel/manifest.wall";

/** rpm before 4.16 (Berkeley DB), SUSE (NDB). */
export const RPM_BDB_NDB: OsAnalyzer = unread("rpm-bdb-ndb", "an rpm database in Berkeley DB or NDB form", [
  "usr/lib/sysimage/rpm/Packages",
  "var/lib/rpm/Packages",
  "usr/lib/sysimage/rpm/Packages.db",
  "var/lib/rpm/Packages.db",
]);

/** Ubuntu's Chisel. */
export const CHISEL: OsAnalyzer = unread("chisel", "a Chisel manifest", [CHISEL_MANIFEST]);

function unread(name: string, what: string, paths: readonly string[]): OsAnalyzer {
  return {
    name,
    patterns: [{ paths, maxBytes: LIMITS.packageDatabaseBytes }],
    parse: (input) => reportUnread(input, what, paths),
  };
}

function reportUnread({ view, report }: AnalyzerInput, what: string, paths: readonly string[]): OsPackages | undefined {
  for (const file of newestOf(view, paths)) {
    if (isSqlite(file.content)) continue;
    const message = `Cannot read ${file.path}: it is ${what}, which is not supported`;
    report({ code: "UNSUPPORTED_IMAGE", subject: file.path, message });
  }
  return undefined;
}
