/**
 * rpm's header: the blob that every rpm database keeps per package (rpm's lib/header.c; scan-semantics §4).
 *
 * A header is two big-endian numbers, an index of 16-byte entries (tag, type, offset, count) and the data that the
 * offsets point into.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";

/** What we read of a header. */
export interface RpmHeader {
  readonly name: string;
  readonly version: string;
  readonly release: string;
  readonly epoch: number | undefined;
  /** Modularity label, empty when there is none. */
  readonly module: string;
  /** File name of the source package, empty when there is none. */
  readonly sourceRpm: string;
}

const TAGS = { name: 1000, version: 1001, release: 1002, epoch: 1003, sourceRpm: 1044, module: 5096 } as const;
const INT32 = 4;
const STRING = 6;
const ENTRY_BYTES = 16;
const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Where a tag's value is. */
interface Entry {
  readonly type: number;
  readonly at: number;
}

/**
 * Reads a header.
 *
 * @throws {OutpostError} ANALYSIS_FAILED when it is no header, or lacks name, version or release.
 */
export function parseRpmHeader(blob: Uint8Array): RpmHeader {
  const entries = readIndex(blob);
  const string = (tag: keyof typeof TAGS): string => readString(blob, entries.get(TAGS[tag]), tag);
  const epoch = entries.get(TAGS.epoch);
  const header = {
    name: string("name"),
    version: string("version"),
    release: string("release"),
    epoch: epoch === undefined ? undefined : readInt32(blob, epoch),
    module: string("module"),
    sourceRpm: string("sourceRpm"),
  };
  if (header.name === "" || header.version === "" || header.release === "") {
    throw broken("name, version or release is missing");
  }
  return header;
}

/** `[epoch:]version-release`; an epoch of 0 is not written. */
export function rpmVersion(header: RpmHeader): string {
  const version = `${header.version}-${header.release}`;
  return header.epoch === undefined || header.epoch === 0 ? version : `${header.epoch}:${version}`;
}

function readIndex(blob: Uint8Array): Map<number, Entry> {
  if (blob.length < 8) throw broken("it is too short");
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
  const count = view.getInt32(0);
  if (count < 1 || count > LIMITS.rpmHeaderEntries) throw broken(`it claims ${count} index entries`);
  const data = 8 + count * ENTRY_BYTES;
  if (data > blob.length) throw broken("its index is cut off");
  const wanted = new Set<number>(Object.values(TAGS));
  const entries = new Map<number, Entry>();
  for (let at = 8; at < data; at += ENTRY_BYTES) {
    const tag = view.getInt32(at);
    if (!wanted.has(tag)) continue;
    const offset = view.getInt32(at + 8);
    if (offset < 0 || data + offset >= blob.length) throw broken(`the value of tag ${tag} lies outside`);
    entries.set(tag, { type: view.getUint32(at + 4), at: data + offset });
  }
  return entries;
}

function readString(blob: Uint8Array, entry: Entry | undefined, tag: string): string {
  if (entry === undefined) return "";
  if (entry.type !== STRING) throw broken(`${tag} has type ${entry.type}`);
  const end = blob.indexOf(0, entry.at);
  if (end < 0) throw broken(`${tag} has no end`);
  if (end - entry.at > LIMITS.packageFieldBytes) {
    throw broken(`${tag} is longer than ${LIMITS.packageFieldBytes} bytes`);
  }
  return UTF8.decode(blob.subarray(entry.at, end));
}

function readInt32(blob: Uint8Array, entry: Entry): number {
  if (entry.type !== INT32) throw broken(`epoch has type ${entry.type}`);
  if (entry.at + 4 > blob.length) throw broken("epoch is cut off");
  return new DataView(blob.buffer, blob.byteOffset + entry.at, 4).getInt32(0);
}

function broken(why: string): OutpostError {
  return new OutpostError("ANALYSIS_FAILED", `Cannot read the rpm header: ${why}`);
}
