/**
 * Rows of the database as the objects of the port.
 *
 * @module
 */
import type { CallbackSummary, JobState, JobSummary, JobTotals, LeasedJob, StoredError } from "../core/store.ts";
import type { Row } from "./database.ts";

const NO_BYTES = new Uint8Array();

/** A leased job. */
export function leased(row: Row): LeasedJob {
  return {
    id: text(row["id"]),
    requestId: text(row["request_id"]),
    kind: row["kind"] === "discover" ? "discover" : "scan",
    total: count(row["total"]),
    closing: row["closing"] === 1,
    request: text(row["request"]),
    credentials: bytes(row["credentials"]),
    position: count(row["position"]),
    attempts: count(row["attempts"]),
    cancelled: row["cancelled"] === 1,
  };
}

/** A job as it is listed. */
export function summary(row: Row): JobSummary {
  const { id, requestId, kind, total, attempts } = leased(row);
  const notBefore = count(row["not_before"]);
  return {
    id,
    requestId,
    kind,
    state: text(row["state"]) as JobState,
    total,
    attempts,
    acceptedAt: count(row["accepted_at"]),
    updatedAt: count(row["updated_at"]),
    notBefore: row["state"] === "queued" && notBefore > 0 ? notBefore : undefined,
    error: parseError(row["error"]),
    pending: count(row["pending"]),
    dead: count(row["dead"]),
    ...totals(row),
  };
}

/** The totals of a job's row. */
export function totals(row: Row | undefined): JobTotals {
  return { succeeded: count(row?.["succeeded"]), partial: count(row?.["partly"]), failed: count(row?.["failed"]) };
}

/** A callback. */
export function callbackSummary(row: Row): CallbackSummary {
  const ended = row["ended_at"];
  return {
    sequence: count(row["sequence"]),
    kind: row["kind"] === "closing" ? "closing" : "result",
    state: text(row["state"]) as CallbackSummary["state"],
    outcome: optional(row["outcome"]) as CallbackSummary["outcome"],
    attempts: count(row["attempts"]),
    endedAt: typeof ended === "number" ? ended : undefined,
    error: parseError(row["error"]),
  };
}

function parseError(value: Row[string] | undefined): StoredError | undefined {
  return typeof value === "string" ? JSON.parse(value) as StoredError : undefined;
}

/** A text; empty when it is none. */
export function text(value: Row[string] | undefined): string {
  return typeof value === "string" ? value : "";
}

/** A text, if it is one. */
export function optional(value: Row[string] | undefined): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** A number; 0 when it is none. */
export function count(value: Row[string] | undefined): number {
  return typeof value === "number" ? value : 0;
}

/** Bytes; none when they are not. */
export function bytes(value: Row[string] | undefined): Uint8Array {
  return value instanceof Uint8Array ? value : NO_BYTES;
}
