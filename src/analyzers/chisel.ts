/**
 * The manifest of Ubuntu's Chisel, as snyk-docker-plugin reads it (scan-semantics §4): JSON lines in Zstandard, one line
 * for each package, slice, path and content.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ImageFile, OsPackage, OsPackages, Problem } from "../core/types.ts";
import { decodeZstd, isZstd } from "../lib/zstd_frames.ts";
import { type AnalyzerInput, found, type OsAnalyzer } from "./analyzer.ts";
import { LineReader } from "./line_reader.ts";

/** Where Chisel keeps its manifest; its presence also names the operating system when nothing else does. */
export const CHISEL_MANIFEST = "var/lib/chisel/manifest.wall";

/** Ubuntu's Chisel. */
export const CHISEL: OsAnalyzer = {
  name: "chisel",
  patterns: [{ paths: [CHISEL_MANIFEST], maxBytes: LIMITS.smallFileBytes }],
  parse: parseChisel,
};

function parseChisel({ view, report }: AnalyzerInput): OsPackages | undefined {
  const file = view.file(CHISEL_MANIFEST);
  if (file === undefined || file.content.length === 0) return undefined;
  try {
    return found("deb", file.path, readManifest(file, report));
  } catch (error) {
    if (!(error instanceof OutpostError)) throw error;
    report({ code: error.code, subject: file.path, message: `Cannot read ${file.path}: ${error.message}` });
    return undefined;
  }
}

/** A manifest that somebody stored without compression is read too. */
function readManifest(file: ImageFile, report: (problem: Problem) => void): OsPackage[] {
  const text = isZstd(file.content) ? decodeZstd(file.content, LIMITS.chiselManifestBytes) : file.content;
  const lines = new LineReader(text);
  const packages: OsPackage[] = [];
  let broken = 0;
  let objects = 0;
  for (let number = 1; lines.next(); number++) {
    const line = lines.length > LIMITS.packageFieldBytes ? undefined : lines.text().trim();
    // A line that is no object at all states nothing; one that begins as an object and does not end as one is damaged.
    if (line !== undefined && !line.startsWith("{")) continue;
    objects++;
    const entry = line === undefined ? undefined : parseLine(line);
    if (entry === undefined) broken ||= number;
    else if (entry["kind"] === "package") {
      if (packages.length >= LIMITS.osPackages) {
        const message = `Cannot read all of ${file.path}: it has more than ${LIMITS.osPackages} packages (osPackages)`;
        report({ code: "LIMIT_EXCEEDED", subject: file.path, message });
        break;
      }
      packages.push(...packageOf(entry));
    }
  }
  if (broken > 0 || objects === 0) {
    const what = objects === 0 ? "it has no JSON objects" : `line ${broken} is a broken JSON object`;
    const message = `Cannot read all of ${file.path}: ${what}`;
    report({ code: "ANALYSIS_FAILED", subject: file.path, message });
  }
  return packages;
}

type Entry = Readonly<Record<string, unknown>>;

/** Only lines that mention packages are parsed: most of a manifest are paths. */
function parseLine(line: string): Entry | undefined {
  if (line.endsWith("}") && !line.includes('"package"')) return {};
  try {
    const entry: unknown = JSON.parse(line);
    return typeof entry === "object" && entry !== null ? entry as Entry : undefined;
  } catch {
    return undefined;
  }
}

/** Chisel's packages come whole or not at all: without digest and architecture it is none (the plugin's rule). */
function packageOf(entry: Entry): OsPackage[] {
  const { name, version, sha256, arch } = entry;
  if (!name || !version || !sha256 || !arch || typeof name !== "string" || typeof version !== "string") return [];
  return [{ name, version, provides: [], depends: [] }];
}
