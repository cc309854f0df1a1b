/**
 * The names of the source files of a Go executable: a part of its table of lines, which it needs to run and which no
 * stripping removes (`debug/gosym` of Go's library; the layouts of Go 1.2, 1.16, 1.18 and 1.20).
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { ByteWindow, ByteWindows } from "./byte_windows.ts";
import { latin1, type WordFormat, wordOf } from "./go_build_info.ts";

/** Bytes of a table's start by which it is known. */
export const FILE_TABLE_MAGIC_BYTES = 8;

interface Layout {
  readonly words: WordFormat;
  /** Words of the header behind its first 8 bytes: the number of files, and where their names begin. Go 1.2 has neither. */
  readonly files?: number;
  readonly names?: number;
  /** Since Go 1.18, whose build info holds its texts itself. */
  readonly inlineTexts?: true;
}

/** What all files of one executable may still cost. */
export interface FileBudget {
  bytes: number;
}

/** By the first byte of the magic, written with the least significant one first. */
const LAYOUTS: ReadonlyMap<number, Omit<Layout, "words">> = new Map([
  [0xfb, {}],
  [0xfa, { files: 1, names: 4 }],
  [0xf0, { files: 1, names: 5, inlineTexts: true }],
  [0xf1, { files: 1, names: 5, inlineTexts: true }],
]);
/** The longest header that is read. */
const HEADER_WORDS = 6;
/** Names are read by so many bytes. */
const BLOCK_BYTES = 4096;

/** Whether a table begins there: a magic number, two zeros, the smallest instruction, the size of an address. */
export function isFileTable(bytes: Uint8Array, at: number): boolean {
  return layoutOf(bytes, at) !== undefined;
}

/** Whether the table that begins there is one of Go 1.18 or later, whose build info leads to no texts elsewhere. */
export function hasInlineTexts(bytes: Uint8Array, at: number): boolean {
  return layoutOf(bytes, at)?.inlineTexts === true;
}

/**
 * Reads the names of the files, in their order and each once. Undefined when that cannot be done within the budget.
 *
 * @param end Where the table ends at the latest: the end of the file.
 */
export function* readFileTable(
  at: number,
  end: number,
  budget: FileBudget,
): ByteWindows<readonly string[] | undefined> {
  const start = yield { at, length: FILE_TABLE_MAGIC_BYTES };
  const layout = layoutOf(start, 0);
  if (layout === undefined) return undefined;
  const { words, files, names } = layout;
  if (files === undefined || names === undefined) return yield* readOldTable(at, end, words, budget);
  const header = yield { at: at + FILE_TABLE_MAGIC_BYTES, length: HEADER_WORDS * words.bytes };
  const count = wordOf(header, files * words.bytes, words);
  return yield* readNames(at + wordOf(header, names * words.bytes, words), count, end, budget);
}

function layoutOf(bytes: Uint8Array, at: number): Layout | undefined {
  // Asked at every sixteenth byte that may begin one: nothing is allocated for those that do not.
  if (bytes[at + 1] !== 0xff || bytes[at + 2] !== 0xff || bytes[at + 4] !== 0 || bytes[at + 5] !== 0) return undefined;
  const b0 = bytes[at] ?? 0, b3 = bytes[at + 3] ?? 0, b6 = bytes[at + 6], b7 = bytes[at + 7];
  if ((b6 !== 1 && b6 !== 2 && b6 !== 4) || (b7 !== 4 && b7 !== 8)) return undefined;
  const littleEndian = b3 === 0xff;
  const layout = littleEndian ? LAYOUTS.get(b0) : b0 === 0xff ? LAYOUTS.get(b3) : undefined;
  return layout && { ...layout, words: { bytes: b7, littleEndian } };
}

/** So many texts one after another, each closed by a zero. */
function* readNames(
  from: number,
  count: number,
  end: number,
  budget: FileBudget,
): ByteWindows<readonly string[] | undefined> {
  if (count > LIMITS.goFiles) return undefined;
  const names = new Set<string>();
  let rest = "";
  for (let at = from, seen = 0; seen < count;) {
    const length = Math.min(BLOCK_BYTES, end - at);
    budget.bytes -= length;
    if (length <= 0 || budget.bytes < 0) return undefined;
    const texts = (rest + latin1(yield { at, length })).split("\0");
    rest = texts.pop() ?? "";
    if (rest.length > LIMITS.pathBytes) return undefined;
    at += length;
    for (const text of texts) if (seen++ < count) names.add(text);
  }
  return [...names];
}

/**
 * Go 1.2 to 1.15: behind the table of functions stands where the files are listed; the list has their number and the
 * place of each name, counted from the start of the table. The linker writes the names behind the list.
 */
function* readOldTable(
  at: number,
  end: number,
  words: WordFormat,
  budget: FileBudget,
): ByteWindows<readonly string[] | undefined> {
  const int: WordFormat = { ...words, bytes: 4 };
  const functions = wordOf(yield { at: at + FILE_TABLE_MAGIC_BYTES, length: words.bytes }, 0, words);
  const place = at + FILE_TABLE_MAGIC_BYTES + words.bytes * (2 * functions + 2);
  const list = at + wordOf(yield { at: place, length: 4 }, 0, int);
  // The first entry is the number itself.
  const count = wordOf(yield { at: list, length: 4 }, 0, int) - 1;
  if (count <= 0) return [];
  budget.bytes -= 4 * count;
  if (count > LIMITS.goFiles || budget.bytes < 0) return undefined;
  const entries = yield { at: list + 4, length: 4 * count };
  const places = Array.from({ length: count }, (_, index) => wordOf(entries, 4 * index, int));
  return yield* readNamesAt(at, places, end, budget);
}

/** Texts at any places of an area, each closed by a zero. */
function* readNamesAt(
  base: number,
  places: readonly number[],
  end: number,
  budget: FileBudget,
): ByteWindows<readonly string[] | undefined> {
  const first = places.reduce((least, place) => Math.min(least, place), Infinity);
  const last = places.reduce((most, place) => Math.max(most, place), 0);
  const parts: string[] = [];
  let length = 0;
  // The last name is closed by the first zero behind its start; no name is longer than a path.
  for (const wanted = last - first + LIMITS.pathBytes; length < wanted && base + first + length < end;) {
    const window: ByteWindow = {
      at: base + first + length,
      length: Math.min(BLOCK_BYTES, wanted - length, end - base - first - length),
    };
    budget.bytes -= window.length;
    if (budget.bytes < 0) return undefined;
    const part = latin1(yield window);
    parts.push(part);
    length += part.length;
    if (length - part.length > last - first && part.includes("\0")) break;
  }
  const area = parts.join("");
  const closed = (from: number): number => {
    const close = area.indexOf("\0", from);
    return close < 0 ? area.length : close;
  };
  return [...new Set(places.map((place) => area.slice(place - first, closed(place - first))))];
}
