/**
 * One 512-byte tar header block, read as Go's archive/tar reads it: Docker and containerd unpack layers with that
 * package, so what it accepts is what an image contains.
 *
 * @module
 */

import { Buffer } from "node:buffer";

/** Size of a tar block. */
export const BLOCK_BYTES = 512;

/** Formats by magic (archive/tar, format.go `getFormat`). */
export type TarFormat = "v7" | "ustar" | "star" | "gnu";

/** A header block taken apart. */
export interface HeaderBlock {
  readonly format: TarFormat;
  readonly name: string;
  /** Length of the stored name in bytes. */
  readonly nameBytes: number;
  readonly linkName: string;
  /** Bytes that follow; negative when the field says so. */
  readonly size: number;
  readonly mode: number;
  /** Type flag, as character code. */
  readonly typeFlag: number;
}

/** A byte order mark is a part of a name, as everything else is. */
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const [USTAR, STAR, GNU] = ["ustar\0", "tar\0", "ustar  \0"].map((text) => new TextEncoder().encode(text)) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
];
/** The block that is being read: a copy, since its numbers are read four bytes at a time. */
const current = Buffer.alloc(BLOCK_BYTES);
const words = new Int32Array(current.buffer, current.byteOffset, BLOCK_BYTES / 4);
const SPACE = 0x20;
const ZERO = 0x30;

/** Whether all bytes of the block are zero. */
export function isZeroBlock(block: Uint8Array): boolean {
  for (let i = 0; i < BLOCK_BYTES; i++) if (block[i] !== 0) return false;
  return true;
}

/** Text up to the first NUL; what is not UTF-8 becomes U+FFFD. */
export function parseString(bytes: Uint8Array, start: number, length: number): string {
  return decoder.decode(bytes.subarray(start, stringEnd(bytes, start, length)));
}

/** Position of the first NUL, or the end of the field. */
export function stringEnd(bytes: Uint8Array, start: number, length: number): number {
  const end = start + length;
  let at = start;
  while (at < end && bytes[at] !== 0) at++;
  return at;
}

/** An octal field, padded with spaces and NULs on both sides; NaN when it holds anything else (strconv.go `parseOctal`). */
export function parseOctal(bytes: Uint8Array, start: number, length: number): number {
  const end = start + length;
  let at = start;
  while (at < end && isPadding(bytes[at])) at++;
  let value = 0;
  for (; at < end; at++) {
    const byte = bytes[at] ?? 0;
    const digit = byte - ZERO;
    if (digit >= 0 && digit <= 7) value = value * 8 + digit;
    else if (byte === 0) break;
    else return isPaddedFrom(bytes, at, end) ? value : NaN;
  }
  return value;
}

function isPaddedFrom(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (!isPadding(bytes[at])) return false;
  return true;
}

function isPadding(byte: number | undefined): boolean {
  return byte === SPACE || byte === 0;
}

/**
 * A number in octal or, when the first bit is set, in base 256: big-endian two's complement (strconv.go
 * `parseNumeric`). NaN when it is neither or does not fit into 64 bits.
 */
export function parseNumeric(bytes: Uint8Array, start: number, length: number): number {
  const first = bytes[start] ?? 0;
  if ((first & 0x80) === 0) return parseOctal(bytes, start, length);
  const invert = (first & 0x40) === 0 ? 0 : 0xff;
  let value = 0;
  for (let i = 0; i < length; i++) {
    let byte = (bytes[start + i] ?? 0) ^ invert;
    if (i === 0) byte &= 0x7f;
    const left = length - i;
    if ((left > 8 && byte !== 0) || (left === 8 && byte > 0x7f)) return NaN;
    value = value * 256 + byte;
  }
  return invert === 0 ? value : -value - 1;
}

/**
 * Takes a header block apart. Undefined when Go's archive/tar answers ErrHeader: wrong checksum (the unsigned and the
 * signed sum both count), or a number field that is no number.
 */
export function parseHeader(bytes: Uint8Array): HeaderBlock | undefined {
  const block = current;
  block.set(bytes);
  if (!checksumHolds(block)) return undefined;
  const format = formatOf(block);
  const size = parseNumeric(block, 124, 12);
  const mode = parseNumeric(block, 100, 8);
  const others = parseNumeric(block, 108, 8) + parseNumeric(block, 116, 8) + parseNumeric(block, 136, 12);
  const devices = format === "v7" ? 0 : parseNumeric(block, 329, 8) + parseNumeric(block, 337, 8);
  const times = format === "star" ? parseNumeric(block, 476, 12) + parseNumeric(block, 488, 12) : 0;
  if (Number.isNaN(size + mode + others + devices + times)) return undefined;
  const prefixLength = prefixBytes(block, format);
  const nameLength = stringEnd(block, 0, 100);
  const name = textOf(0, nameLength);
  return {
    format,
    name: prefixLength === 0 ? name : `${textOf(345, 345 + prefixLength)}/${name}`,
    nameBytes: prefixLength === 0 ? nameLength : prefixLength + 1 + nameLength,
    linkName: textOf(157, stringEnd(block, 157, 100)),
    size,
    mode: mode & 0o7777,
    typeFlag: block[156] ?? 0,
  };
}

/** Text of the current block: what Buffer makes of it costs half of a decoder's call. */
function textOf(start: number, end: number): string {
  return start === end ? "" : current.toString("utf8", start, end);
}

function checksumHolds(block: Uint8Array): boolean {
  const stored = parseOctal(block, 148, 8);
  const unsigned = byteSum();
  let own = 0;
  for (let i = 148; i < 156; i++) own += SPACE - (block[i] ?? 0);
  if (stored === unsigned + own) return true;
  let high = 0;
  for (let i = 0; i < BLOCK_BYTES; i++) if (i < 148 || i >= 156) high += (block[i] ?? 0) >>> 7;
  return stored === unsigned + own - 256 * high;
}

/** The sum of the current block's bytes, sixteen at a time: it is the most that is done for an entry that nobody wants. */
function byteSum(): number {
  let even = 0;
  let odd = 0;
  // Each half of a number holds a sum of 128 bytes, which 16 bits are enough for.
  for (let at = 0; at < words.length; at += 4) {
    const a = words[at] ?? 0, b = words[at + 1] ?? 0, c = words[at + 2] ?? 0, d = words[at + 3] ?? 0;
    even = (even + (a & 0x00ff00ff) + (b & 0x00ff00ff) + (c & 0x00ff00ff) + (d & 0x00ff00ff)) | 0;
    odd = (odd + ((a >>> 8) & 0x00ff00ff) + ((b >>> 8) & 0x00ff00ff) + ((c >>> 8) & 0x00ff00ff) +
      ((d >>> 8) & 0x00ff00ff)) | 0;
  }
  return (even & 0xffff) + (even >>> 16) + (odd & 0xffff) + (odd >>> 16);
}

function formatOf(block: Uint8Array): TarFormat {
  if (holds(block, 257, USTAR)) return holds(block, 508, STAR) ? "star" : "ustar";
  return holds(block, 257, GNU) ? "gnu" : "v7";
}

function holds(block: Uint8Array, start: number, text: Uint8Array): boolean {
  for (let i = 0; i < text.length; i++) if (block[start + i] !== text[i]) return false;
  return true;
}

/**
 * Bytes of the name's prefix. GNU headers have times there; but Go before 1.8 wrote a prefix into GNU headers, so
 * archive/tar takes what is no time and all ASCII for a prefix (golang.org/issues/12594).
 */
function prefixBytes(block: Uint8Array, format: TarFormat): number {
  if (format === "v7") return 0;
  if (format === "ustar") return stringEnd(block, 345, 155) - 345;
  if (format === "star") return stringEnd(block, 345, 131) - 345;
  const access = block[345] === 0 ? 0 : parseNumeric(block, 345, 12);
  const change = block[357] === 0 ? 0 : parseNumeric(block, 357, 12);
  if (!Number.isNaN(access + change)) return 0;
  const end = stringEnd(block, 345, 155);
  for (let i = 345; i < end; i++) if ((block[i] ?? 0) > 0x7f) return 0;
  return end - 345;
}
