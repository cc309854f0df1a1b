/**
 * A small read-only reader of rpm's `Packages.db` in NDB form (rpm's lib/backend/ndb/rpmpkg.c; SUSE's default).
 *
 * The file starts with pages of 16-byte slots, the first two of which are the file's header. A slot names a package's
 * number and the block (of 16 bytes) where its blob starts. A blob has a head, the header, zeros up to a block's end, and
 * a tail with a checksum. Everything is little-endian.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { OnDamage, RpmValue } from "./rpm_value.ts";

const FILE_MAGIC = 0x506d7052; // RpmP
const SLOT_MAGIC = 0x746f6c53; // Slot
const BLOB_MAGIC = 0x53626c42; // BlbS
const TAIL_MAGIC = 0x45626c42; // BlbE
const BLOCK_BYTES = 16;
const SLOT_BYTES = 16;
const SLOT_PAGE_BYTES = 4096;
const FILE_HEADER_BYTES = 32;
const HEAD_BYTES = 16;
const TAIL_BYTES = 12;
/** Versions of the format that rpm has had. */
const VERSION = 0;

/** Whether the bytes start as an NDB package database does. */
export function isNdb(bytes: Uint8Array): boolean {
  return bytes.length >= FILE_HEADER_BYTES && viewOf(bytes).getUint32(0, true) === FILE_MAGIC;
}

/**
 * The blobs of the database in the order of its slots, as views of `bytes`. What is damaged is told; a blob whose
 * checksum is wrong is told and given all the same, since what can be read of it names a package.
 *
 * @throws {OutpostError} ANALYSIS_FAILED when the file is no NDB database of a known version.
 */
export function* ndbValues(bytes: Uint8Array, onDamage: OnDamage): Generator<RpmValue> {
  if (!isNdb(bytes)) throw broken("its header is missing");
  const view = viewOf(bytes);
  const version = view.getUint32(4, true);
  if (version !== VERSION) throw broken(`version ${version} is not known`);
  const slotPages = view.getUint32(12, true);
  const stated = slotPages * SLOT_PAGE_BYTES;
  const end = Math.min(stated, bytes.length - bytes.length % SLOT_BYTES);
  if (slotPages === 0 || end < stated) onDamage(`the file ends within its ${slotPages} pages of slots`);
  // Blobs do not overlap, so that together they are no longer than the file: slots that share one would multiply the work.
  let room = bytes.length;
  for (let at = FILE_HEADER_BYTES; at < end; at += SLOT_BYTES) {
    if (view.getUint32(at, true) !== SLOT_MAGIC) {
      onDamage(`the slot at byte ${at} is none`);
      continue;
    }
    const number = view.getUint32(at + 4, true);
    if (number === 0) continue;
    const place = `package ${number}`;
    const slot = { number, start: view.getUint32(at + 8, true) * BLOCK_BYTES };
    const blob = blobOf(bytes, slot, room, (what) => onDamage(`${place}: ${what}`));
    if (blob === undefined) continue;
    room -= blob.length;
    yield { place, blob };
  }
}

interface Slot {
  readonly number: number;
  /** Offset of the blob's head. */
  readonly start: number;
}

function blobOf(bytes: Uint8Array, slot: Slot, room: number, onDamage: OnDamage): Uint8Array | undefined {
  const view = viewOf(bytes);
  const { number, start } = slot;
  if (start + HEAD_BYTES + TAIL_BYTES > bytes.length) return void onDamage("its blob lies behind the file's end");
  if (view.getUint32(start, true) !== BLOB_MAGIC) return void onDamage("its blob does not start as one");
  const owner = view.getUint32(start + 4, true);
  if (owner !== number) return void onDamage(`its blob belongs to package ${owner}`);
  const length = view.getUint32(start + 12, true);
  const from = start + HEAD_BYTES;
  const blocks = Math.ceil((HEAD_BYTES + length + TAIL_BYTES) / BLOCK_BYTES);
  const tail = start + blocks * BLOCK_BYTES - TAIL_BYTES;
  if (tail + TAIL_BYTES > bytes.length) return void onDamage(`its blob of ${length} bytes is cut off`);
  if (length > LIMITS.rpmHeaderBytes) {
    return void onDamage(`it has ${length} bytes, more than ${LIMITS.rpmHeaderBytes} (rpmHeaderBytes)`);
  }
  if (length > room) return void onDamage("its blob overlaps another");
  const whole = view.getUint32(tail + 8, true) === TAIL_MAGIC && view.getUint32(tail + 4, true) === length &&
    view.getUint32(tail, true) === adler32(bytes.subarray(start, tail));
  if (!whole) onDamage("the checksum of its blob is wrong");
  return bytes.subarray(from, from + length);
}

/** Adler-32 (RFC 1950 §8.2), reduced every 4 KiB so that the sums stay small integers. */
function adler32(bytes: Uint8Array): number {
  let a = 1;
  let b = 0;
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(at + 4096, bytes.length);
    for (; at < end; at++) {
      a += bytes[at] ?? 0;
      b += a;
    }
    a %= 65521;
    b %= 65521;
  }
  return ((b << 16) | a) >>> 0;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function broken(why: string): OutpostError {
  return new OutpostError("ANALYSIS_FAILED", `Cannot read the NDB database: ${why}`);
}
