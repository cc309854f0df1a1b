/**
 * Builds zip archives byte by byte, well-formed ones as well as odd and broken ones.
 *
 * @module
 */
import { crc32, deflateRawSync } from "node:zlib";
import { bytesOf, concat } from "./tar_builder.ts";

/** A file of an archive; every field has a sensible default. */
export interface ZipMember {
  readonly name: string;
  readonly body?: string | Uint8Array;
  /** @default "deflate" */
  readonly method?: "stored" | "deflate" | number;
  /** Where its sizes stand: in the local header, or in a descriptor behind the content. @default "header" */
  readonly sizes?: "header" | "descriptor" | "unsigned" | "descriptor64" | "unsigned64" | "zip64";
  readonly encrypted?: boolean;
  /** Name in the directory, when it is another. */
  readonly listedName?: string;
  /** Checksum in the directory, when it is wrong. */
  readonly listedCrc?: number;
  /** Left out of the directory. */
  readonly unlisted?: boolean;
  /** Stored content as it is, instead of what follows from `body`. */
  readonly stored?: Uint8Array;
}

/** Options of {@link zip}. */
export interface ZipOptions {
  /** In front of the archive. `counted` says that offsets count it. */
  readonly prefix?: string | Uint8Array;
  readonly counted?: boolean;
  /** Between the last file and the directory. */
  readonly gap?: Uint8Array;
  readonly comment?: string;
  /** Entries that the end states, when it lies. */
  readonly entries?: number;
  /** With a zip64 end of directory. */
  readonly zip64?: boolean;
}

const METHODS = { stored: 0, deflate: 8 } as const;

/** An archive of these files. */
export function zip(members: readonly ZipMember[], options: ZipOptions = {}): Uint8Array<ArrayBuffer> {
  const prefix = bytesOf(options.prefix ?? "");
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let offset = options.counted === true ? prefix.length : 0;
  for (const member of members) {
    const { local, central } = pair(member, offset);
    parts.push(local);
    if (member.unlisted !== true) directory.push(central);
    offset += local.length;
  }
  const gap = options.gap ?? new Uint8Array(0);
  const listed = concat(...directory);
  const comment = bytesOf(options.comment ?? "");
  const entries = options.entries ?? directory.length;
  const at = offset + gap.length;
  const wide = options.zip64 === true
    ? concat(
      numbers([4, 0x06064b50], [8, 44], [2, 45], [2, 45], [4, 0], [4, 0], [8, entries], [8, entries]),
      numbers([8, listed.length], [8, at], [4, 0x07064b50], [4, 0], [8, at + listed.length], [4, 1]),
    )
    : new Uint8Array(0);
  const end = options.zip64 === true
    ? numbers([4, 0x06054b50], [4, 0], [2, 0xffff], [2, 0xffff], [4, 0xffffffff], [4, 0xffffffff], [2, comment.length])
    : numbers([4, 0x06054b50], [4, 0], [2, entries], [2, entries], [4, listed.length], [4, at], [2, comment.length]);
  return concat(prefix, ...parts, gap, listed, wide, end, comment);
}

function pair(member: ZipMember, offset: number): { readonly local: Uint8Array; readonly central: Uint8Array } {
  const { name, body = "", method = "deflate", sizes = "header", encrypted = false } = member;
  const content = bytesOf(body);
  const stored = member.stored ?? (method === "deflate" ? deflateRawSync(content) : content);
  const code = typeof method === "number" ? method : METHODS[method];
  const behind = sizes !== "header" && sizes !== "zip64";
  const flags = (encrypted ? 1 : 0) | (behind ? 8 : 0);
  const crc = crc32(content);
  const known = sizes === "header" ? [stored.length, content.length] : sizes === "zip64" ? [FULL, FULL] : [0, 0];
  const extra = sizes === "zip64"
    ? numbers([2, 1], [2, 16], [8, content.length], [8, stored.length])
    : new Uint8Array(0);
  const head = (at: number, [compressed = 0, size = 0]: readonly number[]): Uint8Array =>
    numbers([2, at], [2, flags], [2, code], [4, 0], [4, crc], [4, compressed], [4, size]);
  const nameBytes = bytesOf(name);
  const local = concat(
    numbers([4, 0x04034b50]),
    head(20, known),
    numbers([2, nameBytes.length], [2, extra.length]),
    nameBytes,
    extra,
    stored,
    descriptor(sizes, crc, stored.length, content.length),
  );
  const listedName = bytesOf(member.listedName ?? name);
  const listedCrc = member.listedCrc ?? crc;
  const central = concat(
    numbers([4, 0x02014b50], [2, 20], [2, 20], [2, flags], [2, code], [4, 0], [4, listedCrc]),
    numbers([4, stored.length], [4, content.length], [2, listedName.length], [2, 0], [2, 0], [2, 0], [2, 0], [4, 0]),
    numbers([4, offset]),
    listedName,
  );
  return { local, central };
}

const FULL = 0xffffffff;

function descriptor(sizes: ZipMember["sizes"], crc: number, compressed: number, size: number): Uint8Array {
  const width = sizes === "descriptor64" || sizes === "unsigned64" ? 8 : 4;
  const body = numbers([4, crc], [width, compressed], [width, size]);
  if (sizes === "descriptor" || sizes === "descriptor64") return concat(numbers([4, 0x08074b50]), body);
  return sizes === "unsigned" || sizes === "unsigned64" ? body : new Uint8Array(0);
}

/** Little-endian numbers of so many bytes each. */
function numbers(...fields: readonly (readonly [bytes: number, value: number])[]): Uint8Array {
  return Uint8Array.from(
    fields.flatMap(([bytes, value]) => Array.from({ length: bytes }, (_, at) => Math.floor(value / 256 ** at) % 256)),
  );
}

/** A pom.properties. */
export function pom(groupId: string, artifactId: string, version: string): ZipMember {
  return {
    name: `META-INF/maven/${groupId}/${artifactId}/pom.properties`,
    body: `#Generated by Maven\nversion=${version}\ngroupId=${groupId}\nartifactId=${artifactId}\n`,
  };
}
