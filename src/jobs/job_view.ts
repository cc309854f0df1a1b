/**
 * Jobs as people see them, in `/api/jobs` and `outpost jobs`: times in RFC 3339, nothing secret.
 *
 * @module
 */
import type { JobDetail, JobSummary } from "../core/store.ts";
import { decodeRequest, targetName } from "./scan_job.ts";

/** A job in a list. */
export interface SummaryView extends Omit<JobSummary, "acceptedAt" | "updatedAt" | "notBefore"> {
  readonly acceptedAt: string;
  readonly updatedAt: string;
  readonly notBefore: string | undefined;
}

/** A job with its images and callbacks. */
export interface JobView extends SummaryView {
  readonly images: readonly string[];
  readonly callbacks: readonly (Omit<JobDetail["callbacks"][number], "endedAt"> & { readonly endedAt?: string })[];
}

/** A job for a list. */
export function summaryView(job: JobSummary): SummaryView {
  const { id, requestId, kind, state, total, succeeded, partial, failed, attempts, error, pending, dead } = job;
  return {
    id,
    requestId,
    kind,
    state,
    total,
    succeeded,
    partial,
    failed,
    pending,
    dead,
    attempts,
    acceptedAt: time(job.acceptedAt),
    updatedAt: time(job.updatedAt),
    notBefore: job.notBefore === undefined ? undefined : time(job.notBefore),
    error,
  };
}

/** A job with everything about it. */
export function jobView(job: JobDetail): JobView {
  return {
    ...summaryView(job),
    images: decodeRequest(job.request).targets.map(targetName),
    callbacks: job.callbacks.map(({ endedAt, ...callback }) =>
      endedAt === undefined ? callback : { ...callback, endedAt: time(endedAt) }
    ),
  };
}

function time(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
