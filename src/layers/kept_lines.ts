/**
 * Shortens text databases to the lines that somebody reads: of a dpkg status those are a tenth, and what is kept of a layer
 * stands in memory while packages and graph are made.
 *
 * @module
 */
import type { FilePattern } from "../core/ports.ts";
import type { ReadFile } from "./want.ts";

const NEWLINE = 0x0a;

/** Beginnings of the lines to keep, by path. */
export type KeptLines = ReadonlyMap<string, readonly Uint8Array[]>;

/** Collects {@link FilePattern.lines} of patterns with exact paths. */
export function keptLinesOf(patterns: readonly FilePattern[]): KeptLines {
  const encoder = new TextEncoder();
  const all = patterns.flatMap(({ paths = [], lines }) =>
    lines === undefined ? [] : paths.map((path) => [path, lines.map((line) => encoder.encode(line))] as const)
  );
  return new Map(all);
}

/**
 * The file's content; of one of more than `whole` bytes whose lines are not all read, the lines that are, and the first, in
 * front of which a byte-order mark may stand. The content's buffer is then taken away from whoever holds it, so that its
 * memory is free at once: that many bytes must not wait for the garbage collector.
 */
export function shortened(
  { path, content }: ReadFile,
  lines: KeptLines | undefined,
  whole: number,
): Uint8Array | undefined {
  const beginnings = lines?.get(path);
  if (content === undefined || beginnings === undefined || content.length <= whole) return content;
  const { buffer, byteOffset } = content;
  const end = byteOffset + keepLines(content, beginnings);
  return new Uint8Array(buffer instanceof ArrayBuffer ? buffer.transfer(end) : buffer.slice(0, end), byteOffset);
}

/** Moves the lines to the front; returns their length. */
function keepLines(content: Uint8Array, beginnings: readonly Uint8Array[]): number {
  let to = 0;
  for (let at = 0; at < content.length;) {
    const newline = content.indexOf(NEWLINE, at);
    const end = newline < 0 ? content.length : newline + 1;
    if (at === 0 || beginnings.some((beginning) => beginsWith(content, at, beginning))) {
      content.copyWithin(to, at, end);
      to += end - at;
    }
    at = end;
  }
  return to;
}

/** Beginnings hold no newline, so that none reaches beyond its line. */
function beginsWith(content: Uint8Array, at: number, beginning: Uint8Array): boolean {
  for (let i = 0; i < beginning.length; i++) if (content[at + i] !== beginning[i]) return false;
  return true;
}
