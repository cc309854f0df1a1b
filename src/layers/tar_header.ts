/**
 * One 512-byte tar header block, read as Go's archive/tar reads it: Docker and containerd unpack layers with that
 * package, so what it accepts is what an image contains.
 *
 * @module
 */

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

const decoder = new TextDecoder();
const [USTAR, STAR, GNU] = ["ustar\0", "tar\0", "ustar  \0"].map((text) => new TextEncoder().encode(text)) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
];
/** Longest text that is made without the decoder, whose call costs more than the work. */
const SHORT_TEXT = 256;
const SPACE = 0x20;
const ZERO = 0x30;

/** Whether all bytes of the block are zero. */
export function isZeroBlock(block: Uint8Array): boolean {
  for (let i = 0; i < BLOCK_BYTES; i++) if (block[i] !== 0) return false;
  return true;
}

/** Text up to the first NUL; what is not UTF-8 becomes U+FFFD. */
export function parseString(bytes: Uint8Array, start: number, length: number): string {
  const end = stringEnd(bytes, start, length);
  if (end === start) return "";
  const text = bytes.subarray(start, end);
  if (text.length > SHORT_TEXT) return decoder.decode(text);
  for (let i = start; i < end; i++) if ((bytes[i] ?? 0) > 0x7f) return decoder.decode(text);
  // Twice as fast as the decoder for a name; concatenation would keep a tree of single characters in memory.
  return String.fromCharCode.apply(null, text as unknown as number[]);
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
  let from = start;
  let to = start + length;
  while (from < to && (bytes[from] === SPACE || bytes[from] === 0)) from++;
  while (to > from && (bytes[to - 1] === SPACE || bytes[to - 1] === 0)) to--;
  let value = 0;
  for (let i = from; i < to; i++) {
    const byte = bytes[i] ?? 0;
    if (byte === 0) break;
    const digit = byte - ZERO;
    if (digit < 0 || digit > 7) return NaN;
    value = value * 8 + digit;
  }
  return value;
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
export function parseHeader(block: Uint8Array): HeaderBlock | undefined {
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
  const name = parseString(block, 0, 100);
  return {
    format,
    name: prefixLength === 0 ? name : `${parseString(block, 345, prefixLength)}/${name}`,
    nameBytes: prefixLength === 0 ? nameLength : prefixLength + 1 + nameLength,
    linkName: parseString(block, 157, 100),
    size,
    mode: mode & 0o7777,
    typeFlag: block[156] ?? 0,
  };
}

function checksumHolds(block: Uint8Array): boolean {
  const stored = parseOctal(block, 148, 8);
  const unsigned = byteSum(block);
  let own = 0;
  for (let i = 148; i < 156; i++) own += SPACE - (block[i] ?? 0);
  if (stored === unsigned + own) return true;
  let high = 0;
  for (let i = 0; i < BLOCK_BYTES; i++) if (i < 148 || i >= 156) high += (block[i] ?? 0) >>> 7;
  return stored === unsigned + own - 256 * high;
}

/**
 * The sum of the block's bytes, four at a time: it is the most that is done for an entry that nobody wants. Signed numbers, which
 * all compilers of V8 read in place.
 */
function byteSum(block: Uint8Array): number {
  const view = new DataView(block.buffer, block.byteOffset, BLOCK_BYTES);
  let even = 0;
  let odd = 0;
  // Each half of a number holds a sum of 128 bytes, which 16 bits are enough for.
  for (let at = 0; at < BLOCK_BYTES; at += 4) {
    const word = view.getInt32(at);
    even = (even + (word & 0x00ff00ff)) | 0;
    odd = (odd + ((word >>> 8) & 0x00ff00ff)) | 0;
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
