/**
 * A job as one record with its callbacks, and everything that may happen to it: the rules of the stores that keep jobs as
 * objects (memory, NATS). Each function changes the record that it is given, and says whether it did.
 *
 * @module
 */
import type {
  CallbackSummary,
  CompletedTarget,
  JobDetail,
  JobState,
  JobSummary,
  JobTotals,
  Lease,
  LeasedJob,
  NewJob,
  PendingCallback,
  StoredError,
} from "../core/store.ts";
import { finalState } from "./job_rules.ts";

/** A job with its callbacks. */
export interface JobRecord extends Omit<NewJob, "maxQueued"> {
  /** Grows with each job that is accepted. */
  readonly order: number;
  state: JobState;
  position: number;
  attempts: number;
  cancelled: boolean;
  updatedAt: number;
  notBefore: number;
  owner: string | undefined;
  leaseUntil: number;
  error: StoredError | undefined;
  credentials: Uint8Array;
  readonly callbacks: CallbackRecord[];
}

/** A callback of a {@link JobRecord}. */
export interface CallbackRecord {
  readonly sequence: number;
  readonly kind: "result" | "closing";
  readonly outcome: CallbackSummary["outcome"];
  readonly resultKey: string | undefined;
  readonly payload: string | undefined;
  state: CallbackSummary["state"];
  attempts: number;
  createdAt: number;
  nextAt: number;
  owner: string | undefined;
  leaseUntil: number;
  endedAt: number | undefined;
  error: StoredError | undefined;
}

/** A job that was just accepted. */
export function newRecord({ maxQueued: _, ...job }: NewJob, order: number): JobRecord {
  return {
    ...job,
    order,
    state: "queued",
    position: 0,
    attempts: 0,
    cancelled: false,
    updatedAt: job.acceptedAt,
    notBefore: 0,
    owner: undefined,
    leaseUntil: 0,
    error: undefined,
    callbacks: [],
  };
}

/** Whether the job has come to its end. */
export function isFinal({ state }: { readonly state: JobState }): boolean {
  return state === "done" || state === "partial" || state === "failed";
}

/** Whether an image of it is to be scanned, now or later. */
export function isOpen({ state }: { readonly state: JobState }): boolean {
  return state === "queued" || state === "scanning";
}

/** Whether it may be claimed now. */
export function isClaimable(job: JobRecord, now: number): boolean {
  return isOpen(job) && job.leaseUntil <= now && (job.notBefore <= now || job.cancelled);
}

/** Leases the job. */
export function claim(job: JobRecord, { owner, now, until }: Lease): void {
  Object.assign(job, { state: "scanning", attempts: job.attempts + 1, owner, leaseUntil: until, updatedAt: now });
}

/** What whoever claimed it gets. */
export function leased(job: JobRecord): LeasedJob {
  const { id, requestId, kind, total, closing, request, credentials, position, attempts, cancelled } = job;
  return { id, requestId, kind, total, closing, request, credentials, position, attempts, cancelled };
}

/** Prolongs the owner's leases of the job and of its callbacks, see {@link Store.heartbeat}. */
export function prolong(job: JobRecord, { owner, until }: Lease, sending?: readonly string[]): boolean {
  const leases = sending === undefined || sending.includes(job.id) ? [job, ...job.callbacks] : [job];
  const held = leases.filter((one) => one.owner === owner && one.leaseUntil !== until);
  for (const one of held) one.leaseUntil = until;
  return held.length > 0;
}

/** Puts the job back until `notBefore`. */
export function defer(
  job: JobRecord,
  { owner, notBefore, now, error }: {
    readonly owner: string;
    readonly notBefore: number;
    readonly now: number;
    readonly error: StoredError;
  },
): boolean {
  if (!isHeldBy(job, owner)) return false;
  Object.assign(job, { state: "queued", notBefore, error, updatedAt: now, ...FREE });
  return true;
}

/** Puts the job back as if it had not been claimed. */
export function release(
  job: JobRecord,
  { owner, now }: { readonly owner: string; readonly now: number },
): boolean {
  if (!isHeldBy(job, owner)) return false;
  Object.assign(job, { state: "queued", attempts: Math.max(0, job.attempts - 1), updatedAt: now, ...FREE });
  return true;
}

/** Ends the image at the job's position. */
export function complete(job: JobRecord, target: Omit<CompletedTarget, "result">): boolean {
  const { owner, now, sendUntil } = target;
  if (!isHeldBy(job, owner) || job.position !== target.sequence) return false;
  const lease = sendUntil === undefined ? FREE : { owner, leaseUntil: sendUntil };
  job.callbacks.push({ ...newCallback("result", target), ...lease });
  Object.assign(job, { position: job.position + 1, attempts: 1, error: undefined, notBefore: 0, updatedAt: now });
  if (job.position < job.total) return true;
  const credentials = job.credentials[0] === 1 ? new Uint8Array() : job.credentials;
  Object.assign(job, { state: "reporting", credentials, attempts: 0, ...FREE });
  if (job.closing) job.callbacks.push({ ...newCallback("closing", { now, sequence: job.total }), ...lease });
  return true;
}

/** The callback that is the next one of the job, when this owner may take it now. */
export function dueCallback(job: JobRecord, { owner, now }: Lease): CallbackRecord | undefined {
  const callback = pendingCallbacks(job)[0];
  if (callback === undefined || callback.nextAt > now) return undefined;
  return callback.leaseUntil <= now || callback.owner === owner ? callback : undefined;
}

/** Callbacks that wait, in their order. */
export function pendingCallbacks({ callbacks }: JobRecord): readonly CallbackRecord[] {
  return callbacks.filter(({ state }) => state === "pending");
}

/** Leases a callback, unless {@link isTaken}. */
export function take(callback: CallbackRecord, lease: Lease): void {
  if (!isTaken(callback, lease)) Object.assign(callback, { owner: lease.owner, leaseUntil: lease.until });
}

/** Whether the owner has the callback already, for half as long at least: heartbeats prolong what is being sent. */
export function isTaken(callback: CallbackRecord, { owner, now, until }: Lease): boolean {
  return callback.owner === owner && 2 * (callback.leaseUntil - now) >= until - now;
}

/** What whoever took it gets. */
export function taken(job: JobRecord, callback: CallbackRecord): PendingCallback {
  const { sequence, kind, resultKey, payload, attempts, createdAt } = callback;
  return {
    jobId: job.id,
    requestId: job.requestId,
    sequence,
    kind,
    request: job.request,
    resultKey,
    error: payload,
    attempts,
    createdAt,
    totals: totals(job),
  };
}

/** Puts a callback off. */
export function postpone(
  job: JobRecord,
  sequence: number,
  { owner, nextAt }: { readonly owner: string; readonly nextAt: number },
): boolean {
  const callback = pending(job, sequence);
  if (callback === undefined || isAnothers(callback, owner)) return false;
  Object.assign(callback, { attempts: callback.attempts + 1, nextAt, ...FREE });
  return true;
}

/** Ends a callback, and the job with its last one. */
export function settle(
  job: JobRecord,
  sequence: number,
  { owner, now, error }: {
    readonly owner: string;
    readonly now: number;
    readonly error?: StoredError | undefined;
  },
): boolean {
  const callback = pending(job, sequence);
  const ends = callback !== undefined && (error === undefined || !isAnothers(callback, owner));
  if (ends) {
    Object.assign(callback, { state: error === undefined ? "delivered" : "dead", endedAt: now, error, ...FREE });
  }
  if (job.state !== "reporting" || pendingCallbacks(job).length > 0) return ends;
  job.state = finalState(totals(job), job.total, job.callbacks.filter(({ state }) => state === "dead").length);
  job.updatedAt = now;
  return true;
}

/** Marks the job as cancelled. */
export function cancel(job: JobRecord, now: number): boolean {
  if (!isOpen(job)) return false;
  Object.assign(job, { cancelled: true, updatedAt: now });
  return true;
}

/** Makes dead callbacks due again; answers their number. */
export function resend(job: JobRecord, now: number): number {
  const dead = job.callbacks.filter(({ state }) => state === "dead");
  for (const callback of dead) {
    const again = { state: "pending", attempts: 0, createdAt: now, nextAt: now, endedAt: undefined, error: undefined };
    Object.assign(callback, again);
  }
  if (dead.length > 0 && isFinal(job)) Object.assign(job, { state: "reporting", updatedAt: now });
  return dead.length;
}

/** How its images ended. */
export function totals({ callbacks }: JobRecord): JobTotals {
  const results = callbacks.filter(({ kind }) => kind === "result");
  const alive = results.filter(({ state }) => state !== "dead");
  const succeeded = alive.filter(({ outcome }) => outcome === "success").length;
  const partial = alive.filter(({ outcome }) => outcome === "partial").length;
  return { succeeded, partial, failed: results.length - succeeded - partial };
}

/** The job as it is listed. */
export function summary(job: JobRecord): JobSummary {
  const { id, requestId, kind, state, total, attempts, acceptedAt, updatedAt, notBefore, error, callbacks } = job;
  return {
    id,
    requestId,
    kind,
    state,
    total,
    attempts,
    acceptedAt,
    updatedAt,
    notBefore: state === "queued" && notBefore > 0 ? notBefore : undefined,
    error,
    pending: callbacks.filter((one) => one.state === "pending").length,
    dead: callbacks.filter((one) => one.state === "dead").length,
    ...totals(job),
  };
}

/** The job with its callbacks. */
export function detail(job: JobRecord): JobDetail {
  const callbacks = job.callbacks.map(({ sequence, kind, state, outcome, attempts, endedAt, error }) => (
    { sequence, kind, state, outcome, attempts, endedAt, error }
  ));
  return { ...summary(job), request: job.request, credentials: job.credentials, callbacks };
}

const FREE = { owner: undefined, leaseUntil: 0 };

function isHeldBy(job: JobRecord, owner: string): boolean {
  return job.state === "scanning" && job.owner === owner;
}

function isAnothers(callback: CallbackRecord, owner: string): boolean {
  return callback.owner !== undefined && callback.owner !== owner;
}

function pending(job: JobRecord, sequence: number): CallbackRecord | undefined {
  return job.callbacks.find((one) => one.sequence === sequence && one.state === "pending");
}

function newCallback(
  kind: "result" | "closing",
  { sequence, outcome, resultKey, error, now }: Partial<CompletedTarget> & {
    readonly sequence: number;
    readonly now: number;
  },
): CallbackRecord {
  return {
    sequence,
    kind,
    outcome,
    resultKey,
    payload: error,
    state: "pending",
    attempts: 0,
    createdAt: now,
    nextAt: now,
    ...FREE,
    endedAt: undefined,
    error: undefined,
  };
}
