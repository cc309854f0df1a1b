// deno-lint-ignore-file require-await -- the port's methods reject instead of throwing
/**
 * Jobs, callbacks and results in memory: the same rules as in SQLite, gone with the process.
 *
 * @module
 */
import type {
  Accepted,
  Backlog,
  CallbackSummary,
  CompletedTarget,
  JobDetail,
  JobFilter,
  JobState,
  JobSummary,
  JobTotals,
  Lease,
  LeasedJob,
  NewJob,
  PendingCallback,
  Retention,
  Store,
  StoredError,
} from "../core/store.ts";
import { busy, finalState } from "./job_rules.ts";

interface Job extends Omit<NewJob, "maxQueued"> {
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
  readonly callbacks: Callback[];
}

interface Callback {
  readonly sequence: number;
  readonly kind: "result" | "closing";
  readonly outcome: CallbackSummary["outcome"];
  readonly resultKey: string | undefined;
  readonly payload: string | undefined;
  state: CallbackSummary["state"];
  attempts: number;
  createdAt: number;
  nextAt: number;
  endedAt: number | undefined;
  error: StoredError | undefined;
}

const FINAL: readonly JobState[] = ["done", "partial", "failed"];

/** A {@link Store} that lives as long as the process. */
export class MemoryStore implements Store {
  readonly durable = false;
  /** In the order of their acceptance. */
  readonly #jobs = new Map<string, Job>();
  readonly #results = new Map<string, { readonly body: Uint8Array; usedAt: number }>();

  async accept({ maxQueued, ...job }: NewJob): Promise<Accepted> {
    const known = [...this.#jobs.values()].find((one) =>
      one.requestId === job.requestId && one.kind === job.kind && one.request === job.request
    );
    if (known !== undefined) return { id: known.id, duplicate: true };
    const waiting = this.#count("queued");
    if (waiting >= maxQueued) throw busy(waiting);
    this.#jobs.set(job.id, {
      ...job,
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
    });
    return { id: job.id, duplicate: false };
  }

  async claim({ owner, now, until }: Lease): Promise<LeasedJob | undefined> {
    const due = [...this.#jobs.values()].filter((job) =>
      (job.state === "queued" || job.state === "scanning") && job.leaseUntil <= now &&
      (job.notBefore <= now || job.cancelled)
    ).toSorted((a, b) => Number(b.cancelled) - Number(a.cancelled) || a.acceptedAt - b.acceptedAt);
    const [job] = due;
    if (job === undefined) return undefined;
    Object.assign(job, { state: "scanning", attempts: job.attempts + 1, owner, leaseUntil: until, updatedAt: now });
    const { id, requestId, kind, total, closing, request, credentials, position, attempts, cancelled } = job;
    return { id, requestId, kind, total, closing, request, credentials, position, attempts, cancelled };
  }

  async heartbeat({ owner, until }: Lease): Promise<void> {
    for (const job of this.#jobs.values()) if (job.owner === owner) job.leaseUntil = until;
  }

  async defer(
    id: string,
    { notBefore, now, error }: { readonly notBefore: number; readonly now: number; readonly error: StoredError },
  ): Promise<void> {
    const job = this.#jobs.get(id);
    if (job?.state !== "scanning") return;
    Object.assign(job, { state: "queued", notBefore, error, updatedAt: now, owner: undefined, leaseUntil: 0 });
  }

  async release(id: string, now: number): Promise<void> {
    const job = this.#jobs.get(id);
    if (job?.state !== "scanning") return;
    const attempts = Math.max(0, job.attempts - 1);
    Object.assign(job, { state: "queued", attempts, updatedAt: now, owner: undefined, leaseUntil: 0 });
  }

  async complete(id: string, target: CompletedTarget): Promise<boolean> {
    const job = this.#jobs.get(id);
    if (job?.state !== "scanning" || job.position !== target.sequence) return false;
    const { resultKey, result, now } = target;
    if (resultKey !== undefined && result !== undefined) this.#results.set(resultKey, { body: result, usedAt: now });
    addCallback(job, "result", target);
    Object.assign(job, { position: job.position + 1, attempts: 1, error: undefined, notBefore: 0, updatedAt: now });
    if (job.position < job.total) return true;
    const credentials = job.credentials[0] === 1 ? new Uint8Array() : job.credentials;
    Object.assign(job, { state: "reporting", credentials, attempts: 0, owner: undefined, leaseUntil: 0 });
    if (job.closing) addCallback(job, "closing", { now, sequence: job.total });
    return true;
  }

  async nextCallback(now: number, except: readonly string[]): Promise<PendingCallback | undefined> {
    let best: { readonly job: Job; readonly callback: Callback } | undefined;
    for (const job of this.#jobs.values()) {
      const callback = job.callbacks.find(({ state }) => state === "pending");
      if (callback === undefined || callback.nextAt > now || except.includes(job.id)) continue;
      const later = best === undefined ? -1 : callback.nextAt - best.callback.nextAt ||
        callback.createdAt - best.callback.createdAt;
      if (later < 0) best = { job, callback };
    }
    if (best === undefined) return undefined;
    const { job, callback } = best;
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

  async result(key: string, now: number): Promise<Uint8Array | undefined> {
    const found = this.#results.get(key);
    if (found !== undefined) found.usedAt = now;
    return found?.body;
  }

  async hasResults(prefix: string): Promise<boolean> {
    return this.#results.keys().some((key) => key.startsWith(prefix));
  }

  async postpone(jobId: string, sequence: number, nextAt: number): Promise<void> {
    const callback = this.#pending(jobId, sequence);
    if (callback !== undefined) Object.assign(callback, { attempts: callback.attempts + 1, nextAt });
  }

  async settle(
    jobId: string,
    sequence: number,
    { now, error }: { readonly now: number; readonly error?: StoredError | undefined },
  ): Promise<JobState> {
    const callback = this.#pending(jobId, sequence);
    if (callback !== undefined) {
      Object.assign(callback, { state: error === undefined ? "delivered" : "dead", endedAt: now, error });
    }
    const job = this.#jobs.get(jobId);
    if (job?.state !== "reporting" || job.callbacks.some(({ state }) => state === "pending")) {
      return job?.state ?? "failed";
    }
    job.state = finalState(totals(job), job.total, job.callbacks.filter(({ state }) => state === "dead").length);
    job.updatedAt = now;
    return job.state;
  }

  async cancel(id: string, now: number): Promise<JobState | undefined> {
    const job = this.#jobs.get(id);
    if (job?.state === "queued" || job?.state === "scanning") Object.assign(job, { cancelled: true, updatedAt: now });
    return job?.state;
  }

  async resend(id: string, now: number): Promise<number> {
    const job = this.#jobs.get(id);
    const dead = job?.callbacks.filter(({ state }) => state === "dead") ?? [];
    for (const callback of dead) {
      Object.assign(callback, {
        state: "pending",
        attempts: 0,
        createdAt: now,
        nextAt: now,
        endedAt: undefined,
        error: undefined,
      });
    }
    if (job !== undefined && dead.length > 0 && FINAL.includes(job.state)) {
      Object.assign(job, { state: "reporting", updatedAt: now });
    }
    return dead.length;
  }

  async list({ state, limit }: JobFilter): Promise<readonly JobSummary[]> {
    return [...this.#jobs.values()].reverse().toSorted((a, b) => b.acceptedAt - a.acceptedAt)
      .filter((job) => state === undefined || job.state === state).slice(0, limit).map(summary);
  }

  async job(id: string): Promise<JobDetail | undefined> {
    const job = this.#jobs.get(id);
    if (job === undefined) return undefined;
    const callbacks = job.callbacks.map(({ sequence, kind, state, outcome, attempts, endedAt, error }) => (
      { sequence, kind, state, outcome, attempts, endedAt, error }
    ));
    return { ...summary(job), request: job.request, credentials: job.credentials, callbacks };
  }

  async backlog(): Promise<Backlog> {
    const pending = [...this.#jobs.values()].flatMap(({ callbacks }) =>
      callbacks.filter(({ state }) => state === "pending")
    );
    const keys = new Set(pending.map(({ resultKey }) => resultKey));
    let pendingBytes = 0;
    for (const [key, { body }] of this.#results) if (keys.has(key)) pendingBytes += body.length;
    return {
      queued: this.#count("queued"),
      scanning: this.#count("scanning"),
      pending: pending.length,
      pendingBytes,
    };
  }

  async nextDue(now: number): Promise<number | undefined> {
    const jobs = [...this.#jobs.values()];
    const times = [
      ...jobs.filter(({ state }) => state === "queued" || state === "scanning")
        .map(({ notBefore, leaseUntil }) => Math.max(notBefore, leaseUntil)),
      ...jobs.flatMap(({ callbacks }) => callbacks).filter(({ state }) => state === "pending").map(({ nextAt }) =>
        nextAt
      ),
    ].filter((time) => time > now);
    return times.length === 0 ? undefined : times.reduce((a, b) => Math.min(a, b));
  }

  async purge({ before, maxBytes }: Retention): Promise<number> {
    const old = [...this.#jobs.values()].filter((job) => FINAL.includes(job.state) && job.updatedAt < before);
    for (const { id } of old) this.#jobs.delete(id);
    const used = new Set(
      [...this.#jobs.values()].flatMap(({ callbacks }) => callbacks)
        .filter(({ state }) => state !== "delivered").map(({ resultKey }) => resultKey),
    );
    const unused = [...this.#results].filter(([key]) => !used.has(key))
      .toSorted(([a, one], [b, other]) => one.usedAt - other.usedAt || (a < b ? -1 : 1));
    let over = [...this.#results.values()].reduce((sum, { body }) => sum + body.length, 0) - maxBytes;
    for (const [key, { body, usedAt }] of unused) {
      if (usedAt >= before && over <= 0) continue;
      over -= body.length;
      this.#results.delete(key);
    }
    return old.length;
  }

  close(): void {}

  #count(state: JobState): number {
    return [...this.#jobs.values()].filter((job) => job.state === state).length;
  }

  #pending(jobId: string, sequence: number): Callback | undefined {
    return this.#jobs.get(jobId)?.callbacks.find((one) => one.sequence === sequence && one.state === "pending");
  }
}

function addCallback(
  job: Job,
  kind: "result" | "closing",
  { sequence, outcome, resultKey, error, now }: Partial<CompletedTarget> & {
    readonly sequence: number;
    readonly now: number;
  },
): void {
  job.callbacks.push({
    sequence,
    kind,
    outcome,
    resultKey,
    payload: error,
    state: "pending",
    attempts: 0,
    createdAt: now,
    nextAt: now,
    endedAt: undefined,
    error: undefined,
  });
}

function totals({ callbacks }: Job): JobTotals {
  const results = callbacks.filter(({ kind }) => kind === "result");
  const alive = results.filter(({ state }) => state !== "dead");
  const succeeded = alive.filter(({ outcome }) => outcome === "success").length;
  const partial = alive.filter(({ outcome }) => outcome === "partial").length;
  return { succeeded, partial, failed: results.length - succeeded - partial };
}

function summary(job: Job): JobSummary {
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
