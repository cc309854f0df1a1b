/**
 * Records of zip archives (PKWARE APPNOTE.TXT 6.3.10, section 4.3).
 *
 * @module
 */

/** Signatures, as little-endian numbers. */
export const SIGNATURE = {
  localHeader: 0x04034b50,
  centralHeader: 0x02014b50,
  endOfCentralDirectory: 0x06054b50,
  zip64EndOfCentralDirectory: 0x06064b50,
  dataDescriptor: 0x08074b50,
} as const;

/** Sizes of the records' fixed parts. */
export const FIXED_BYTES = {
  localHeader: 30,
  centralHeader: 46,
  endOfCentralDirectory: 22,
  zip64EndOfCentralDirectory: 56,
} as const;

/** Compression methods that jars are made with. */
export const METHOD = { stored: 0, deflate: 8 } as const;

/** A file's header where the file is. */
export interface LocalHeader {
  readonly name: string;
  readonly method: number;
  readonly encrypted: boolean;
  /** Undefined when it stands behind the content (general purpose bit 3). */
  readonly compressedSize: number | undefined;
}

/** A file's header in the central directory. */
export interface CentralHeader {
  readonly name: string;
  readonly crc: number;
  /** Where the archive says that the local header is. */
  readonly offset: number;
}

const FLAG = { encrypted: 1, descriptor: 8 } as const;
const ZIP64_EXTRA = 0x0001;
const FULL = 0xffffffff;

// A mark at the start of a name is part of it.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Bytes of a local header, its name and extra field included. `bytes` holds the fixed part. */
export function localHeaderBytes(bytes: Uint8Array): number {
  return FIXED_BYTES.localHeader + uint16(bytes, 26) + uint16(bytes, 28);
}

/** Bytes of a central header with name, extra field and comment. `bytes` holds the fixed part. */
export function centralHeaderBytes(bytes: Uint8Array): number {
  return FIXED_BYTES.centralHeader + uint16(bytes, 28) + uint16(bytes, 30) + uint16(bytes, 32);
}

/** Reads a whole local header. */
export function readLocalHeader(bytes: Uint8Array): LocalHeader {
  const flags = uint16(bytes, 6);
  const size = uint32(bytes, 18);
  const nameEnd = FIXED_BYTES.localHeader + uint16(bytes, 26);
  const extra = bytes.subarray(nameEnd, nameEnd + uint16(bytes, 28));
  const compressedSize = size === FULL ? zip64Value(extra, uint32(bytes, 22) === FULL ? 1 : 0) ?? size : size;
  return {
    name: decoder.decode(bytes.subarray(FIXED_BYTES.localHeader, nameEnd)),
    method: uint16(bytes, 8),
    encrypted: (flags & FLAG.encrypted) !== 0,
    // A writer that knew the size all the same has filled it in; 0 is what the others write.
    compressedSize: (flags & FLAG.descriptor) !== 0 && compressedSize === 0 ? undefined : compressedSize,
  };
}

/** Reads a whole central header. */
export function readCentralHeader(bytes: Uint8Array): CentralHeader {
  const nameEnd = FIXED_BYTES.centralHeader + uint16(bytes, 28);
  const extra = bytes.subarray(nameEnd, nameEnd + uint16(bytes, 30));
  const offset = uint32(bytes, 42);
  const before = Number(uint32(bytes, 24) === FULL) + Number(uint32(bytes, 20) === FULL);
  return {
    name: decoder.decode(bytes.subarray(FIXED_BYTES.centralHeader, nameEnd)),
    crc: uint32(bytes, 16),
    offset: offset === FULL ? zip64Value(extra, before) ?? offset : offset,
  };
}

/** A value of the zip64 extra field; it holds only those that do not fit, one after another. */
function zip64Value(extra: Uint8Array, index: number): number | undefined {
  for (let at = 0; at + 4 <= extra.length; at += 4 + uint16(extra, at + 2)) {
    const end = Math.min(at + 4 + uint16(extra, at + 2), extra.length);
    const value = at + 4 + 8 * index;
    if (uint16(extra, at) === ZIP64_EXTRA) return value + 8 <= end ? uint64(extra, value) : undefined;
  }
  return undefined;
}

/** A little-endian number; bytes beyond the end count as zero. */
export function uint16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
}

/** As {@link uint16}. */
export function uint32(bytes: Uint8Array, at: number): number {
  return (uint16(bytes, at) | (uint16(bytes, at + 2) << 16)) >>> 0;
}

/** As {@link uint16}; exact up to 2⁵³. */
export function uint64(bytes: Uint8Array, at: number): number {
  return uint32(bytes, at) + uint32(bytes, at + 4) * 0x1_0000_0000;
}

/**
 * Whether a record begins at `at` that ends an entry of unknown size: a header that follows a data descriptor with the
 * size that the entry would have. The entry began `start` bytes before the first of `bytes` plus nothing; a descriptor
 * has 32-bit or 64-bit sizes and may lack its signature (4.3.9.3).
 *
 * @returns Bytes of the descriptor, or undefined when no entry ends here.
 */
export function descriptorBefore(bytes: Uint8Array, at: number, start: number): number | undefined {
  const signature = uint32(bytes, at);
  if (signature !== SIGNATURE.localHeader && signature !== SIGNATURE.centralHeader) return undefined;
  for (const { length, wide } of DESCRIPTORS) {
    const from = at - length;
    if (from < Math.max(0, start)) continue;
    const signed = length === 16 || length === 24;
    if (signed && uint32(bytes, from) !== SIGNATURE.dataDescriptor) continue;
    const size = from + (signed ? 8 : 4);
    if ((wide ? uint64(bytes, size) : uint32(bytes, size)) === from - start) return length;
  }
  return undefined;
}

/** Signed forms first: an unsigned one could begin with the signature's last bytes. */
const DESCRIPTORS = [
  { length: 16, wide: false },
  { length: 24, wide: true },
  { length: 12, wide: false },
  { length: 20, wide: true },
] as const;

/** Bytes of the longest descriptor. */
export const DESCRIPTOR_BYTES = 24;
