/**
 * What tests of analyzers share: image views made of literals, databases made on the spot, and the table that every
 * analyzer's test fills.
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { expect, it } from "vitest";
import { compileWants, EXTRACTOR_CONTEXT } from "../../tests/fakes/file_reading.ts";
import type { FileExtractor, FilePattern, ImageView } from "../core/ports.ts";
import type {
  AnalysisOptions,
  ExtractedFile,
  ImageFile,
  JsonValue,
  OsPackage,
  OsPackages,
  OsRelease,
  Problem,
} from "../core/types.ts";
import type { OsAnalyzer } from "./analyzer.ts";
import type { AppAnalyzer, Findings } from "./app_analyzer.ts";

/** A file of a test image: its content, or content with its layer and its place in it. */
export type TestFile = string | Uint8Array | { content: string | Uint8Array; layer?: number; position?: number };

/** A view of the files. Paths that `links` names lead to other paths. */
export function viewOf(
  files: Readonly<Record<string, TestFile>>,
  links: Readonly<Record<string, string>> = {},
): ImageView {
  const kept = Object.entries(files).map(([path, file]) => imageFile(path, file)).sort((a, b) =>
    a.path < b.path ? -1 : 1
  );
  return {
    file: (path) => kept.find((file) => file.path === (links[path] ?? path)),
    realPath: (path) => links[path] ?? path,
    filesIn: (directory) => kept.filter((file) => file.path.startsWith(directory)),
    files: () => kept,
    linkedPaths: () => undefined,
    extracted: () => [],
    problems: [],
  };
}

function imageFile(path: string, file: TestFile): ImageFile {
  const { content, layer = 0, position } = typeof file === "string" || file instanceof Uint8Array
    ? { content: file }
    : file;
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  return { path, content: bytes, mode: 0o644, layer, ...(position !== undefined && { position }) };
}

/** Files of a test image by path, as a layer would bring them. */
export type TestFiles = Readonly<Record<string, string | Uint8Array>>;

/** What an application analyzer finds, and what it reports. */
export interface AppFindings extends Required<Findings> {
  readonly problems: readonly Problem[];
}

/** Runs an application analyzer over an image with these files. */
export async function findApplications(
  analyzer: AppAnalyzer,
  files: TestFiles,
  options: AnalysisOptions = {},
  more: { readonly release?: OsRelease; readonly imageName?: string } = {},
): Promise<AppFindings> {
  const { release = BOOKWORM, imageName = "team/app:1" } = more;
  const problems: Problem[] = [];
  const { results = [], imageFacts = [] } = await analyzer.analyze({
    view: extractedView(analyzer, files, options),
    os: { release, packages: { type: "linux", database: "", packages: [] }, problems: [] },
    imageName,
    options,
    report: (problem) => problems.push(problem),
    signal: new AbortController().signal,
  });
  return { results, imageFacts, problems };
}

/**
 * A view of the files: those that match the analyzer's patterns whole, the others read in small pieces by each of its
 * extractors that wants them.
 */
export function extractedView(analyzer: AppAnalyzer, files: TestFiles, options: AnalysisOptions = {}): ImageView {
  const kept = Object.entries(files).filter(([path]) =>
    analyzer.patterns?.some((pattern) => wants(pattern, path)) ?? false
  );
  const extractors = analyzer.extractors?.(options) ?? [];
  return {
    ...viewOf(Object.fromEntries(kept)),
    extracted: (name) =>
      extractors.filter((extractor) => extractor.name === name).flatMap((extractor) =>
        Object.entries(files).flatMap(([path, content]) => extractFile(extractor, path, content))
      ),
  };
}

/** Test files are read in pieces of this size: a prime, so that nothing fits. */
const PIECE_BYTES = 4093;

function extractFile(
  extractor: FileExtractor,
  path: string,
  file: string | Uint8Array,
): ExtractedFile[] {
  const bytes = typeof file === "string" ? new TextEncoder().encode(file) : file;
  const { magic = new Uint8Array(0), pattern } = extractor;
  if (
    (bytes.length === 0 && extractor.emptyFiles !== true) || !wants(pattern, path) ||
    magic.some((byte, at) => bytes[at] !== byte)
  ) return [];
  const data = readWith(extractor, bytes);
  return data === undefined ? [] : [{ path, size: bytes.length, layer: 0, data }];
}

function readWith(extractor: FileExtractor, bytes: Uint8Array): JsonValue | undefined {
  const reader = extractor.open({ size: bytes.length }, EXTRACTOR_CONTEXT);
  try {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      // A copy that is gone after the call: whoever keeps it finds zeros.
      const piece = bytes.slice(at, at + PIECE_BYTES);
      const more = reader.data(piece);
      piece.fill(0);
      if (!more) break;
    }
    return reader.end();
  } finally {
    reader.close();
  }
}

/** Whether a pattern names a path. */
function wants(pattern: FilePattern, path: string): boolean {
  return compileWants([pattern])(path).limit > 0;
}

/** Debian 12. */
export const BOOKWORM: OsRelease = { name: "debian", version: "12", prettyName: "" };

/** What an analyzer answers, and what it reports. */
export interface Analyzed {
  readonly result: OsPackages | undefined;
  readonly problems: readonly Problem[];
}

/** Runs one analyzer. */
export function analyzeWith(analyzer: OsAnalyzer, view: ImageView, release: OsRelease = BOOKWORM): Analyzed {
  const problems: Problem[] = [];
  const result = analyzer.parse({ view, release, report: (problem) => problems.push(problem) });
  return { result, problems };
}

/** One row of an analyzer's table: files and the packages that are expected, each by the fields that matter. */
export interface AnalyzerRow {
  readonly name: string;
  readonly files: Readonly<Record<string, TestFile>>;
  readonly release?: OsRelease;
  /** Path of the database that decides. */
  readonly database: string;
  readonly packages: readonly Partial<OsPackage>[];
}

/** Runs every row: the listed fields are equal, there is no other package, no problem, and the files are wanted. */
export function analyzerSuite(analyzer: OsAnalyzer, type: OsPackages["type"], rows: readonly AnalyzerRow[]): void {
  for (const row of rows) {
    it(`${analyzer.name} reads ${row.name}`, () => {
      const { result, problems } = analyzeWith(analyzer, viewOf(row.files), row.release);
      expect(problems).toEqual([]);
      expect(result?.type).toBe(type);
      expect(result?.database).toBe(row.database);
      expect(result?.packages).toHaveLength(row.packages.length);
      expect(result?.packages).toMatchObject(row.packages);
      for (const path of Object.keys(row.files)) expect(isWanted(analyzer, path)).toBe(true);
    });
  }
}

function isWanted(analyzer: OsAnalyzer, path: string): boolean {
  return analyzer.patterns.some((pattern) =>
    pattern.paths?.includes(path) || pattern.directories?.some((directory) => path.startsWith(directory))
  );
}

/** A tag of a test header: number, rpm type, value. */
export type HeaderTag = readonly [tag: number, type: number, value: string | number];

/** Tags of a package that has everything. */
export function rpmTags(name: string, version = "1.0", release = "1.el9"): HeaderTag[] {
  return [
    [1000, 6, name],
    [1001, 6, version],
    [1002, 6, release],
    [1009, 4, 1234],
    [1044, 6, `${name}-${version}-${release}.src.rpm`],
    [1128, 4, 7],
  ];
}

/** A header blob as rpm keeps it in a database. */
export function rpmHeader(tags: readonly HeaderTag[]): Uint8Array {
  const data: number[] = [];
  const index = tags.map(([tag, type, value]) => {
    while (typeof value === "number" && data.length % 4 !== 0) data.push(0);
    const offset = data.length;
    if (typeof value === "number") data.push(...new Uint8Array(Int32Array.of(value).buffer).reverse());
    else data.push(...new TextEncoder().encode(value), 0);
    return [tag, type, offset, 1];
  });
  const blob = new Uint8Array(8 + 16 * tags.length + data.length);
  const view = new DataView(blob.buffer);
  view.setInt32(0, tags.length);
  view.setInt32(4, data.length);
  index.flat().forEach((number, at) => view.setInt32(8 + 4 * at, number));
  blob.set(data, 8 + 16 * tags.length);
  return blob;
}

/** Bytes of a database that SQLite itself wrote. */
export function sqliteBytes(fill: (database: DatabaseSync) => void): Uint8Array {
  const folder = Deno.makeTempDirSync();
  try {
    const path = `${folder}/database`;
    const database = new DatabaseSync(path);
    fill(database);
    database.close();
    return Deno.readFileSync(path);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** An rpm database with these header blobs. */
export function rpmDatabase(blobs: readonly Uint8Array[]): Uint8Array {
  return sqliteBytes((database) => {
    database.exec("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL)");
    const insert = database.prepare("INSERT INTO Packages (blob) VALUES (?)");
    for (const blob of blobs) insert.run(blob);
  });
}
