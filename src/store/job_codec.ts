/**
 * A job's record as the bytes of one entry, the request left out when it is long.
 *
 * @module
 */
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { concatBytes } from "../lib/bytes.ts";
import type { JobRecord } from "./job_record.ts";

/** A {@link JobRecord} of a shared store. */
export interface SharedJob extends JobRecord {
  /** Under which its request is found again; `order` is the revision of that entry. */
  readonly requestKey: string;
  /** Pieces that hold `request`, which is empty here then. */
  readonly requestPieces: number;
}

/** First byte: how the rest is to be read. */
const PLAIN = 1;
/** A zstd frame (RFC 8878). Records are short enough to be packed in one go: a thousand images take milliseconds. */
const PACKED = 2;

/**
 * The bytes of a record.
 *
 * @throws {OutpostError} LIMIT_EXCEEDED when they are more than `maxBytes`.
 */
export function encodeJob(job: SharedJob, maxBytes: number): Uint8Array {
  const text = new TextEncoder().encode(JSON.stringify({ ...job, credentials: job.credentials.toBase64() }));
  const long = text.length > LIMITS.queuePackedRecordBytes;
  const whole = concatBytes([new Uint8Array([long ? PACKED : PLAIN]), long ? zstdCompressSync(text) : text]);
  if (text.length <= LIMITS.queueRecordBytes && whole.length <= maxBytes) return whole;
  throw new OutpostError(
    "LIMIT_EXCEEDED",
    `Cannot keep job ${job.id}: its record has ${whole.length} bytes, and NATS takes ${maxBytes}`,
    { hint: "Raise max_payload of nats-server." },
  );
}

/**
 * Reads what {@link encodeJob} wrote.
 *
 * @throws {OutpostError} STORE_UNUSABLE when it is of another form.
 */
export function decodeJob(key: string, bytes: Uint8Array): SharedJob {
  try {
    const text = unpacked(bytes);
    const read = JSON.parse(new TextDecoder().decode(text)) as SharedJob & { readonly credentials: unknown };
    return { ...read, credentials: Uint8Array.fromBase64(String(read.credentials)) };
  } catch (cause) {
    throw new OutpostError("STORE_UNUSABLE", `Cannot read ${key} of the queue: it has a form that is not known`, {
      hint: "A newer Outpost may have written it: run the same version everywhere.",
      cause,
    });
  }
}

function unpacked(bytes: Uint8Array): Uint8Array {
  if (bytes[0] === PLAIN) return bytes.subarray(1);
  if (bytes[0] === PACKED) return zstdDecompressSync(bytes.subarray(1), { maxOutputLength: LIMITS.queueRecordBytes });
  throw new Error("Its first byte is not known");
}
