/**
 * A scan's result for people at a terminal.
 *
 * @module
 */
import type { ScanReport } from "../core/scan_ports.ts";
import type { RenderOptions, ResultFormat } from "./format.ts";
import { type ReportedPackage, reportedPackages, reportedPlatform } from "./packages.ts";

/** Space between columns. */
const GAP = "  ";
/** A column is not cut below this, whatever the terminal's width. */
const MIN_COLUMN = 8;
/** Terminals act on these: control characters, and the marks that reverse the direction of text. */
// deno-lint-ignore no-control-regex
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Head, package table and problems, as plain text; ANSI bold and yellow only when colour is asked for. */
export const table = {
  name: "table",
  mediaType: "text/plain; charset=utf-8",
  *render(report: ScanReport, options: RenderOptions = {}): Generator<string> {
    const packages = reportedPackages(report);
    yield* head(report, packages);
    yield* packageTable(packages, options);
    yield* problemList(report, options);
  },
} as const satisfies ResultFormat;

function* head(report: ScanReport, packages: readonly ReportedPackage[]): Generator<string> {
  const { release } = report.os;
  const identity = `${release.name} ${release.version}`;
  const rows: readonly (readonly [string, string])[] = [
    ["Image", report.imageName],
    report.digests.manifest === undefined ? ["Image ID", report.configDigest] : ["Digest", report.digests.manifest],
    ["Platform", reportedPlatform(report) ?? "unknown"],
    ["OS", release.prettyName === "" ? identity : `${release.prettyName} (${identity})`],
    ["Status", report.status === "success" ? "complete" : "partial: some content could not be read"],
    ["Packages", counts(packages) + (report.os.packages.type === "linux" ? " (no known package manager)" : "")],
  ];
  for (const [label, value] of rows) yield `${label.padEnd(8)}${GAP}${safe(value)}\n`;
}

/** `12 deb, 3 npm`. */
function counts(packages: readonly ReportedPackage[]): string {
  const byType = new Map<string, number>();
  for (const { type } of packages) byType.set(type, (byType.get(type) ?? 0) + 1);
  return byType.size === 0 ? "none found" : Array.from(byType, ([type, count]) => `${count} ${type}`).join(", ");
}

function* packageTable(packages: readonly ReportedPackage[], options: RenderOptions): Generator<string> {
  if (packages.length === 0) return;
  const titles = ["NAME", "VERSION", "SOURCE"];
  const rows = packages.map(({ name, version, source, location }) =>
    [name, version, source ?? location ?? ""].map(safe)
  );
  const natural = titles.map((title, column) =>
    rows.reduce((most, row) => Math.max(most, length(row[column] ?? "")), title.length)
  );
  const widths = fit(natural, options.width ?? Infinity);
  yield "\n";
  yield `${paint(line(titles, widths), "1", options)}\n`;
  for (const row of rows) yield `${line(row, widths)}\n`;
}

function* problemList({ problems }: ScanReport, options: RenderOptions): Generator<string> {
  if (problems.length === 0) return;
  yield "\n";
  yield `${paint(`Problems (${problems.length})`, "1;33", options)}\n`;
  // Not cut to the width: a message that lost its end helps nobody.
  for (const { code, subject, message } of problems) yield `${GAP}${safe(code)} ${safe(subject)}: ${safe(message)}\n`;
}

/** Narrows the widest column, step by step, until a line fits or nothing can be narrowed any more. */
function fit(natural: readonly number[], width: number): readonly number[] {
  const widths = [...natural];
  const room = width - GAP.length * (widths.length - 1);
  while (widths.reduce((sum, each) => sum + each, 0) > room) {
    const widest = widths.indexOf(Math.max(...widths));
    const narrowed = (widths[widest] ?? 0) - 1;
    if (narrowed < MIN_COLUMN) break;
    widths[widest] = narrowed;
  }
  return widths;
}

function line(cells: readonly string[], widths: readonly number[]): string {
  return cells.map((cell, column) => pad(cell, widths[column] ?? 0)).join(GAP).trimEnd();
}

function pad(text: string, width: number): string {
  const spare = width - length(text);
  return spare >= 0 ? text + " ".repeat(spare) : `${[...text].slice(0, width - 1).join("")}…`;
}

/** Columns of a text, one for each code point: package names and versions are ASCII in practice. */
function length(text: string): number {
  return [...text].length;
}

/** Everything shown comes from an image that nobody vouches for: it must not steer the terminal. */
function safe(text: string): string {
  return text.replace(UNSAFE, "\ufffd");
}

function paint(text: string, style: string, { color = false }: RenderOptions): string {
  return color ? `\u001b[${style}m${text}\u001b[0m` : text;
}
