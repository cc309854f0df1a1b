/**
 * How the work on a job ends early, and what is said of it.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";

/** A failure that may pass: the job waits and is begun again. */
export class Deferral extends Error {
  constructor(readonly notBefore: number, readonly failure: OutpostError) {
    super(failure.message);
  }
}

/** Why a scan is cut short: the job's lease was over, and another process goes on with it. */
export class LostJob extends Error {}

/** Why what is left of a job is reported as it is. */
export function cancelledByOperator(): OutpostError {
  return new OutpostError("CANCELLED", "The scan was cancelled by the operator");
}

/** What is reported of an image that ended the process each time. */
export function abandoned(image: string, attempts: number): OutpostError {
  return new OutpostError(
    "INTERNAL",
    `Cannot scan ${image}: the process ended during each of ${attempts} attempts`,
    {
      hint: "Give the process more memory, or look into its log for how it ended.",
    },
  );
}

/** Nobody knows the job. */
export function notFound(id: string): OutpostError {
  return new OutpostError("JOB_NOT_FOUND", `There is no job ${id.slice(0, 100)}`, { hint: "outpost jobs lists them." });
}
