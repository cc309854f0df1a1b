/**
 * The parts of an ELF file that say where things are (System V ABI, chapters 4 and 5): header, segments and sections.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { ByteWindows } from "./byte_windows.ts";

/** First bytes of every ELF file. */
export const ELF_MAGIC: Uint8Array = Uint8Array.of(0x7f, 0x45, 0x4c, 0x46);

/** A table of the file: entries of equal size. */
export interface ElfTable {
  readonly at: number;
  readonly entryBytes: number;
  readonly entries: number;
}

/** What the header says. */
export interface ElfHeader {
  readonly wide: boolean;
  readonly littleEndian: boolean;
  readonly segments: ElfTable;
  readonly sections: ElfTable;
}

/** A part of the file that is loaded. */
export interface ElfSegment {
  readonly at: number;
  readonly address: number;
  readonly bytes: number;
  readonly writable: boolean;
  readonly executable: boolean;
}

/** A section that takes part in the running program and has bytes in the file. */
export interface ElfSection {
  readonly at: number;
  readonly bytes: number;
  readonly writable: boolean;
}

const HEADER_BYTES = 64;
const PT_LOAD = 1, PF_X = 1, PF_W = 2, SHT_NULL = 0, SHT_NOBITS = 8, SHF_WRITE = 1, SHF_ALLOC = 2;

/** Reads the header; undefined when there is none. */
export function* readElfHeader(): ByteWindows<ElfHeader | undefined> {
  const bytes = yield { at: 0, length: HEADER_BYTES };
  const [bits, order] = [bytes[4], bytes[5]];
  if (ELF_MAGIC.some((byte, at) => bytes[at] !== byte)) return undefined;
  if ((bits !== 1 && bits !== 2) || (order !== 1 && order !== 2)) return undefined;
  const fields = new ElfFields(bytes, { wide: bits === 2, littleEndian: order === 1 });
  const { wide, littleEndian } = fields;
  const sizes = wide ? 54 : 42;
  const table = (at: number, from: number): ElfTable => ({
    at,
    entryBytes: fields.half(from),
    entries: fields.half(from + 2),
  });
  return {
    wide,
    littleEndian,
    segments: table(fields.word(wide ? 32 : 28), sizes),
    sections: table(fields.word(wide ? 40 : 32), sizes + 4),
  };
}

/** Reads the segments that are loaded. None when the table is not as it has to be. */
export function* readElfSegments(header: ElfHeader): ByteWindows<readonly ElfSegment[]> {
  const { wide } = header;
  const found: ElfSegment[] = [];
  for (const fields of yield* readTable(header, header.segments, wide ? 56 : 32)) {
    if (fields.int(0) !== PT_LOAD) continue;
    const flags = fields.int(wide ? 4 : 24);
    found.push({
      at: fields.word(wide ? 8 : 4),
      address: fields.word(wide ? 16 : 8),
      bytes: fields.word(wide ? 32 : 16),
      writable: (flags & PF_W) !== 0,
      executable: (flags & PF_X) !== 0,
    });
  }
  return found;
}

/** Reads the sections, in the order of their table. None when the table is not as it has to be. */
export function* readElfSections(header: ElfHeader): ByteWindows<readonly ElfSection[]> {
  const { wide } = header;
  const found: ElfSection[] = [];
  for (const fields of yield* readTable(header, header.sections, wide ? 64 : 40)) {
    const type = fields.int(4);
    const flags = fields.word(8);
    if (type === SHT_NULL || type === SHT_NOBITS || (flags & SHF_ALLOC) === 0) continue;
    found.push({
      at: fields.word(wide ? 24 : 16),
      bytes: fields.word(wide ? 32 : 20),
      writable: (flags & SHF_WRITE) !== 0,
    });
  }
  return found;
}

function* readTable(header: ElfHeader, table: ElfTable, leastBytes: number): ByteWindows<readonly ElfFields[]> {
  const { at, entryBytes, entries } = table;
  const length = entryBytes * entries;
  if (entryBytes < leastBytes || length === 0 || length > LIMITS.elfTableBytes) return [];
  const bytes = yield { at, length };
  return Array.from(
    { length: entries },
    (_, index) => new ElfFields(bytes.subarray(index * entryBytes, (index + 1) * entryBytes), header),
  );
}

/** Numbers of an entry: by their place, in the file's byte order. */
class ElfFields {
  readonly wide: boolean;
  readonly littleEndian: boolean;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, { wide, littleEndian }: Pick<ElfHeader, "wide" | "littleEndian">) {
    this.wide = wide;
    this.littleEndian = littleEndian;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  half(at: number): number {
    return this.#view.getUint16(at, this.littleEndian);
  }

  int(at: number): number {
    return this.#view.getUint32(at, this.littleEndian);
  }

  /** An address, an offset or a size. Beyond 2^53 it is no place in a file. */
  word(at: number): number {
    return this.wide ? Number(this.#view.getBigUint64(at, this.littleEndian)) : this.int(at);
  }
}
