/**
 * Which of many jobs is next, for the stores that keep jobs as objects.
 *
 * @module
 */
import type { Backlog, Lease } from "../core/store.ts";
import {
  type CallbackRecord,
  dueCallback,
  isClaimable,
  isOpen,
  type JobRecord,
  pendingCallbacks,
} from "./job_record.ts";

/** The job to claim: a cancelled one, else the oldest that is due. `mayClaim` is asked beside the rules. */
export function nextClaim(
  jobs: Iterable<JobRecord>,
  mayClaim: (job: JobRecord) => boolean,
): JobRecord | undefined {
  let best: JobRecord | undefined;
  for (const job of jobs) {
    if (mayClaim(job) && (best === undefined || comesBefore(job, best))) best = job;
  }
  return best;
}

/** The rule of {@link nextClaim} where nothing else is to be asked. */
export function claimableAt(now: number): (job: JobRecord) => boolean {
  return (job) => isClaimable(job, now);
}

function comesBefore(a: JobRecord, b: JobRecord): boolean {
  return (Number(b.cancelled) - Number(a.cancelled) || a.acceptedAt - b.acceptedAt || a.order - b.order) < 0;
}

/** The callback to send: the one that is due for the longest time. */
export function nextCallback<J extends JobRecord>(
  jobs: Iterable<J>,
  lease: Lease,
  except: readonly string[],
): { readonly job: J; readonly callback: CallbackRecord } | undefined {
  let best: { readonly job: J; readonly callback: CallbackRecord } | undefined;
  for (const job of jobs) {
    const callback = except.includes(job.id) ? undefined : dueCallback(job, lease);
    if (callback === undefined) continue;
    const later = best === undefined ? -1 : callback.nextAt - best.callback.nextAt ||
      callback.createdAt - best.callback.createdAt || job.order - best.job.order;
    if (later < 0) best = { job, callback };
  }
  return best;
}

/** When the next job or callback that waits for its time, or for the end of a lease, is due. */
export function nextDue(jobs: Iterable<JobRecord>, now: number): number | undefined {
  let next: number | undefined;
  const see = (time: number): void => {
    if (time > now && (next === undefined || time < next)) next = time;
  };
  for (const job of jobs) {
    if (isOpen(job)) see(Math.max(job.notBefore, job.leaseUntil));
    for (const { nextAt, leaseUntil } of pendingCallbacks(job)) see(Math.max(nextAt, leaseUntil));
  }
  return next;
}

/** What waits. `bytes` are those of a result. */
export function backlog(jobs: Iterable<JobRecord>, bytes: (resultKey: string) => number): Backlog {
  const keys = new Set<string>();
  const counted = { queued: 0, scanning: 0, pending: 0, pendingBytes: 0 };
  for (const job of jobs) {
    if (isOpen(job)) counted[job.state === "queued" ? "queued" : "scanning"]++;
    for (const { resultKey } of pendingCallbacks(job)) {
      counted.pending++;
      if (resultKey !== undefined) keys.add(resultKey);
    }
  }
  for (const key of keys) counted.pendingBytes += bytes(key);
  return counted;
}

/** Newest first. */
export function newestFirst(
  a: { readonly acceptedAt: number; readonly order: number },
  b: { readonly acceptedAt: number; readonly order: number },
): number {
  return b.acceptedAt - a.acceptedAt || b.order - a.order;
}
