/**
 * Members of a tar archive, as the parser hands them on.
 *
 * @module
 */

/** What a member is. `other` are GNU's volume labels and the like: they name no file. */
export type TarType = "file" | "hardlink" | "symlink" | "device" | "fifo" | "directory" | "other";

/** A member of an archive. */
export interface TarHeader {
  /** As stored, after extensions: clean it with `cleanPath` before use. */
  readonly name: string;
  /** Target of a link, as stored. */
  readonly linkName: string;
  readonly type: TarType;
  /** Type flag as character. */
  readonly typeFlag: string;
  /** Logical size in bytes; 0 for members without a body. */
  readonly size: number;
  /** Permission bits. */
  readonly mode: number;
  /** Where the stored body begins, in bytes from the start of the archive. */
  readonly offset: number;
  /** True when the stored body is shorter than `size`: holes are filled with zeros on delivery. */
  readonly sparse: boolean;
}

/** Receives an archive's members in order. */
export interface TarSink {
  /** A member begins. @returns Whether its body is wanted; without it `data` and `end` are not called. */
  header(header: TarHeader): boolean;
  /** Part of the wanted body. The bytes are valid during the call only. */
  data(bytes: Uint8Array): void;
  /** The wanted body is complete. */
  end(): void;
}

/** Type flags (POSIX.1-2017, pax "ustar Interchange Format"; GNU's own are letters). */
export const FLAG = {
  regular: 0x30,
  hardlink: 0x31,
  symlink: 0x32,
  directory: 0x35,
  fifo: 0x36,
  pax: 0x78,
  globalPax: 0x67,
  longName: 0x4c,
  longLink: 0x4b,
  oldSparse: 0x53,
} as const;

/** Type flags of members that are no plain files; every other flag means a regular file (POSIX, ustar "typeflag"). */
const TYPES: Readonly<Record<string, TarType>> = {
  "1": "hardlink",
  "2": "symlink",
  "3": "device",
  "4": "device",
  "5": "directory",
  "6": "fifo",
  "D": "directory",
  "M": "other",
  "N": "other",
  "V": "other",
};

/** The type behind a type flag. */
export function typeOf(typeFlag: string): TarType {
  return TYPES[typeFlag] ?? "file";
}

/** Types whose size field counts no bytes (archive/tar `isHeaderOnlyType`). */
export function isBodiless(typeFlag: number): boolean {
  return typeFlag >= FLAG.hardlink && typeFlag <= FLAG.fifo;
}
