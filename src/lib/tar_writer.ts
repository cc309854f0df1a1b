/**
 * Writes tar archives into memory: POSIX.1-2017 ustar headers, with pax or GNU records where a name does not fit.
 * For the images that the demo and the tests build on the spot; archives of any size belong into a stream instead.
 *
 * @module
 */
import { concatBytes } from "./bytes.ts";

/** One member of an archive. Paths are stored as given. `mtime` is in seconds since the epoch, default 0. */
export type TarMember =
  & { readonly path: string; readonly mode?: number; readonly mtime?: number }
  & (
    | { readonly kind?: "file"; readonly content: string | Uint8Array }
    | { readonly kind: "directory" }
    | { readonly kind: "symlink" | "hardlink"; readonly target: string }
  );

/** Options of {@link writeTar}. */
export interface TarOptions {
  /** How names are stored that do not fit into a ustar header. Default pax. */
  readonly longNames?: "pax" | "gnu";
}

const BLOCK = 512;
const NAME_BYTES = 100;
const PREFIX_BYTES = 155;
const encoder = new TextEncoder();

/** Type flags of POSIX.1-2017 pax, "ustar Interchange Format". */
const FLAGS = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  directory: "5",
  pax: "x",
  gnuName: "L",
  gnuTarget: "K",
} as const;

/**
 * Returns the archive: the members in the given order, then two zero blocks. Owners are 0:0, so that equal members
 * give equal bytes.
 */
export function writeTar(members: Iterable<TarMember>, options: TarOptions = {}): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  for (const member of members) writeMember(parts, member, options.longNames ?? "pax");
  parts.push(new Uint8Array(2 * BLOCK));
  return concatBytes(parts);
}

function writeMember(parts: Uint8Array[], member: TarMember, longNames: "pax" | "gnu"): void {
  const kind = member.kind ?? "file";
  const content = "content" in member ? bytesOf(member.content) : new Uint8Array(0);
  const target = "target" in member ? member.target : "";
  const name = splitName(encoder.encode(member.path));
  const longTarget = encoder.encode(target).length > NAME_BYTES;
  if (longNames === "gnu") {
    if (name === undefined) writeRecord(parts, FLAGS.gnuName, "././@LongLink", encoder.encode(`${member.path}\0`));
    if (longTarget) writeRecord(parts, FLAGS.gnuTarget, "././@LongLink", encoder.encode(`${target}\0`));
  } else if (name === undefined || longTarget) {
    const records = [
      ...(name === undefined ? [paxRecord("path", member.path)] : []),
      ...(longTarget ? [paxRecord("linkpath", target)] : []),
    ];
    writeRecord(parts, FLAGS.pax, "PaxHeaders/0", concatBytes(records));
  }
  parts.push(header({
    flag: FLAGS[kind],
    name: name?.name ?? encoder.encode(member.path).subarray(0, NAME_BYTES),
    prefix: name?.prefix ?? new Uint8Array(0),
    target: encoder.encode(target).subarray(0, NAME_BYTES),
    mode: member.mode ?? (kind === "directory" ? 0o755 : kind === "symlink" ? 0o777 : 0o644),
    mtime: member.mtime ?? 0,
    size: content.length,
  }));
  writeContent(parts, content);
}

/** An extension record: a header of its own whose content speaks about the member that follows. */
function writeRecord(parts: Uint8Array[], flag: string, name: string, content: Uint8Array): void {
  const empty = new Uint8Array(0);
  const fields = { flag, name: encoder.encode(name), prefix: empty, target: empty, mode: 0o644, mtime: 0 };
  parts.push(header({ ...fields, size: content.length }));
  writeContent(parts, content);
}

function writeContent(parts: Uint8Array[], content: Uint8Array): void {
  if (content.length === 0) return;
  parts.push(content);
  const rest = content.length % BLOCK;
  if (rest > 0) parts.push(new Uint8Array(BLOCK - rest));
}

interface Fields {
  readonly flag: string;
  readonly name: Uint8Array;
  readonly prefix: Uint8Array;
  readonly target: Uint8Array;
  readonly mode: number;
  readonly mtime: number;
  readonly size: number;
}

function header(fields: Fields): Uint8Array {
  const block = new Uint8Array(BLOCK);
  block.set(fields.name, 0);
  block.set(octal(fields.mode, 8), 100);
  block.set(octal(0, 8), 108);
  block.set(octal(0, 8), 116);
  block.set(octal(fields.size, 12), 124);
  block.set(octal(fields.mtime, 12), 136);
  block.fill(0x20, 148, 156);
  block.set(encoder.encode(fields.flag), 156);
  block.set(fields.target, 157);
  block.set(encoder.encode("ustar\x0000"), 257);
  block.set(octal(0, 8), 329);
  block.set(octal(0, 8), 337);
  block.set(fields.prefix, 345);
  const sum = block.reduce((total, byte) => total + byte, 0);
  // The checksum field is six digits, NUL, space: the one field that does not end with NUL.
  block.set(encoder.encode(`${sum.toString(8).padStart(6, "0")}\0 `), 148);
  return block;
}

function octal(value: number, width: number): Uint8Array {
  return encoder.encode(`${value.toString(8).padStart(width - 1, "0")}\0`);
}

/** `<length> key=value\n`, where the length counts itself. */
function paxRecord(key: string, value: string): Uint8Array {
  const rest = encoder.encode(` ${key}=${value}\n`);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return concatBytes([encoder.encode(String(length)), rest]);
}

/** Splits a path at a slash into ustar's prefix and name; undefined when it does not fit. */
function splitName(path: Uint8Array): { readonly name: Uint8Array; readonly prefix: Uint8Array } | undefined {
  if (path.length <= NAME_BYTES) return { name: path, prefix: new Uint8Array(0) };
  for (let at = Math.min(PREFIX_BYTES, path.length - 2); at >= path.length - NAME_BYTES - 1 && at > 0; at--) {
    if (path[at] === 0x2f) return { name: path.subarray(at + 1), prefix: path.subarray(0, at) };
  }
  return undefined;
}

function bytesOf(content: string | Uint8Array): Uint8Array {
  return typeof content === "string" ? encoder.encode(content) : content;
}
