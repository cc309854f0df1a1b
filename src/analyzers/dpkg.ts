/**
 * Debian's package databases: dpkg's status file, and the status.d directory of distroless images; as
 * snyk-docker-plugin reads them (scan-semantics §4), but without packages that are no longer installed.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ImageFile, OsPackage, OsPackages, OsRelease, Problem } from "../core/types.ts";
import { type AnalyzerInput, found, newestFirst, type OsAnalyzer } from "./analyzer.ts";
import { LineReader } from "./line_reader.ts";
import { type PackageDraft, PackageList } from "./package_list.ts";
import { debPurl } from "./purl.ts";

const STATUS = "var/lib/dpkg/status";
const EXTENDED_STATES = "var/lib/apt/extended_states";
const STATUS_D = "var/lib/dpkg/status.d/";
/** Beginnings of the lines that are read. */
const LINES = ["Package", "Version", "Source", "Status", "Provides", "Pre-Depends", "Depends"].map((name) =>
  `${name}: `
);

/** Debian, Ubuntu and their relatives. */
export const DPKG: OsAnalyzer = {
  name: "dpkg",
  patterns: [
    { paths: [STATUS], maxBytes: LIMITS.packageDatabaseBytes, lines: LINES },
    { paths: [EXTENDED_STATES], maxBytes: LIMITS.smallFileBytes },
  ],
  parse: parseDpkg,
};

/** Distroless images: one file per package. */
export const DPKG_STATUS_D: OsAnalyzer = {
  name: "dpkg-status-d",
  patterns: [{ directories: [STATUS_D], maxBytes: LIMITS.smallFileBytes }],
  parse: parseStatusD,
};

function parseDpkg({ view, release, report }: AnalyzerInput): OsPackages | undefined {
  const status = view.file(STATUS);
  if (status === undefined) return undefined;
  const list = readStatus(status, report);
  const states = view.file(EXTENDED_STATES);
  if (states !== undefined) list.markAutoInstalled(readAutoInstalled(states.content));
  return found("deb", status.path, packagesOf(list, release));
}

function parseStatusD({ view, release, report }: AnalyzerInput): OsPackages | undefined {
  const packages: OsPackage[] = [];
  for (const file of newestFirst(view.filesIn(STATUS_D))) {
    try {
      packages.push(...packagesOf(readStatus(file, report), release));
    } catch (error) {
      if (!(error instanceof OutpostError)) throw error;
      report({ code: error.code, subject: file.path, message: error.message });
    }
    if (packages.length > LIMITS.osPackages) {
      const message = `Cannot read all of ${STATUS_D}: it has more than ${LIMITS.osPackages} packages (osPackages)`;
      report({ code: "LIMIT_EXCEEDED", subject: STATUS_D, message });
      break;
    }
  }
  return found("deb", STATUS_D, packages);
}

function packagesOf(list: PackageList, release: OsRelease): OsPackage[] {
  return list.finish((draft) => debPurl(draft, release));
}

type TakeField = (list: PackageList, draft: PackageDraft, value: string) => void;

/** The fields that we read, with their exact spelling: the key of a line is what stands before its first `: `. */
const FIELDS: readonly { readonly prefix: Uint8Array; readonly take: TakeField }[] = [
  field("Version", (_list, draft, value) => draft.version = value),
  field("Source", takeSource),
  field("Status", takeStatus),
  field("Provides", takeProvides),
  field("Pre-Depends", takeDepends),
  field("Depends", takeDepends),
];
const PACKAGE = prefixOf("Package");
const AUTO_INSTALLED = prefixOf("Auto-Installed");

function field(name: string, take: TakeField): { prefix: Uint8Array; take: TakeField } {
  return { prefix: prefixOf(name), take };
}

function prefixOf(name: string): Uint8Array {
  return new TextEncoder().encode(`${name}: `);
}

/**
 * Reads a status file.
 *
 * @throws {OutpostError} ANALYSIS_FAILED when a field stands before the first Package: it is not known whose it is.
 */
function readStatus(file: ImageFile, report: (problem: Problem) => void): PackageList {
  const list = new PackageList(file.path, report);
  const lines = new LineReader(file.content);
  while (lines.next()) {
    if (lines.startsWith(PACKAGE)) {
      if (!list.start(fieldValue(lines, PACKAGE, list) ?? "")) break;
      continue;
    }
    const known = fieldOf(lines);
    if (known === undefined) continue;
    const draft = list.current;
    if (draft === undefined) {
      if (known.take === takeStatus) continue;
      throw new OutpostError(
        "ANALYSIS_FAILED",
        `Failed to detect installed OS packages: ${file.path} has a field before its first Package`,
        { hint: "Rebuild the image with an intact package database" },
      );
    }
    const value = fieldValue(lines, known.prefix, list);
    if (value !== undefined) known.take(list, draft, value);
  }
  return list;
}

const V = 0x56, S = 0x53, P = 0x50, D = 0x44;

function fieldOf(lines: LineReader): typeof FIELDS[number] | undefined {
  const first = lines.first;
  if (first !== V && first !== S && first !== P && first !== D) return undefined;
  return FIELDS.find(({ prefix }) => lines.startsWith(prefix));
}

/** The value ends at a second `: `, because snyk-docker-plugin splits the line there. */
function fieldValue(lines: LineReader, prefix: Uint8Array, list?: PackageList): string | undefined {
  if (lines.length > LIMITS.packageFieldBytes) {
    list?.limit(`a field of more than ${LIMITS.packageFieldBytes} bytes (packageFieldBytes)`);
    return undefined;
  }
  const text = lines.text(prefix.length);
  const end = text.indexOf(": ");
  return end < 0 ? text : text.slice(0, end);
}

/** `name (version)`, the version only when it differs from the binary package's. */
function takeSource(_list: PackageList, draft: PackageDraft, value: string): void {
  const parts = value.split(" ");
  draft.source = parts[0] ?? "";
  if (parts[1] !== undefined) draft.sourceVersion = parts[1].trim().replace("(", "").replace(")", "");
}

/** dpkg's Status is "want flag state"; these two states mean that nothing but configuration files is left (dpkg(1)). */
function takeStatus(_list: PackageList, draft: PackageDraft, value: string): void {
  const state = value.trim().split(" ")[2];
  draft.installed = state !== "config-files" && state !== "not-installed";
}

function takeProvides(list: PackageList, draft: PackageDraft, value: string): void {
  for (const item of value.split(",")) {
    if (!list.takeRelation()) return;
    draft.provides.push(firstWord(item));
  }
}

/** All alternatives count; an architecture suffix (`:any`) stays. */
function takeDepends(list: PackageList, draft: PackageDraft, value: string): void {
  for (const item of value.split(",")) {
    for (const alternative of item.split("|")) {
      if (!list.takeRelation()) return;
      draft.depends.add(firstWord(alternative));
    }
  }
}

function firstWord(text: string): string {
  const trimmed = text.trim();
  const end = trimmed.indexOf(" ");
  return end < 0 ? trimmed : trimmed.slice(0, end);
}

/** Names that apt's extended_states marks as installed only because something needed them. */
function readAutoInstalled(content: Uint8Array): Set<string> {
  const names = new Set<string>();
  const lines = new LineReader(content);
  let name: string | undefined;
  while (lines.next()) {
    if (lines.startsWith(PACKAGE)) name = fieldValue(lines, PACKAGE);
    else if (lines.startsWith(AUTO_INSTALLED) && name !== undefined) {
      if (Number.parseInt(fieldValue(lines, AUTO_INSTALLED) ?? "", 10) === 1) names.add(name);
    }
  }
  return names;
}
