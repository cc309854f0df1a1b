/**
 * What both stores decide alike.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import type { JobState, JobTotals } from "../core/store.ts";

/** How a job ended: done when every image gave a whole result that arrived, failed when none gave any. */
export function finalState({ succeeded, partial }: JobTotals, total: number, dead: number): JobState {
  if (succeeded === total && dead === 0) return "done";
  return succeeded + partial > 0 ? "partial" : "failed";
}

/** The refusal of a job beyond the bound. */
export function busy(waiting: number): OutpostError {
  return new OutpostError("BUSY", `Cannot accept the scan: ${waiting} scans are waiting`, {
    hint: "Send it again later.",
  });
}
