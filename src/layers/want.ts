/**
 * What is wanted of a layer's file, and what is kept of one that was read.
 *
 * @module
 */
import type { FileExtractor } from "../core/ports.ts";
import type { FileFacts, LayerEntry } from "../core/types.ts";

/** What somebody wants of a path: its content up to a size, and what extractors make of it. */
export interface Want {
  readonly limit: number;
  readonly extractors: readonly FileExtractor[];
}

/** A file that is read, or was: what is kept of it is decided at its end. */
export interface ReadFile {
  readonly path: string;
  readonly size: number;
  readonly mode: number;
  readonly content: Uint8Array | undefined;
  readonly facts?: FileFacts | undefined;
}

/** Nobody wants anything. */
export const NOTHING: Want = { limit: 0, extractors: [] };

/** Both together. */
export function union(one: Want, other: Want): Want {
  if (other === NOTHING) return one;
  const extractors = [...new Set([...one.extractors, ...other.extractors])];
  return { limit: Math.max(one.limit, other.limit), extractors };
}

/** What is kept of a file under a path of which this much is wanted; undefined when that is nothing. */
export function entryOf(
  { size, mode, content, facts = {} }: ReadFile,
  path: string,
  want: Want,
): LayerEntry | undefined {
  const wanted = Object.entries(facts).filter(([name]) => want.extractors.some((extractor) => extractor.name === name));
  const kept = wanted.length > 0 && Object.fromEntries(wanted);
  if (content !== undefined && want.limit > 0 && size <= want.limit) {
    return { kind: "file", path, size, mode, content, ...(kept && { facts: kept }) };
  }
  return kept ? { kind: "extracted", path, size, mode, facts: kept } : undefined;
}

/** Frees the content of a file that nobody will read, at once; hard links share that of their target. */
export function freeContent(file: LayerEntry | ReadFile | undefined): void {
  const buffer = file !== undefined && "content" in file ? file.content?.buffer : undefined;
  if (buffer instanceof ArrayBuffer && !buffer.detached) buffer.transfer(0);
}

/** The entry as the file that it was made of. */
export function fileOf(entry: LayerEntry | undefined): ReadFile | undefined {
  if (entry?.kind === "file") return entry;
  return entry?.kind === "extracted" ? { ...entry, content: undefined } : undefined;
}
