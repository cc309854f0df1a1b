// deno-lint-ignore-file require-await -- the port's methods reject instead of throwing
/**
 * Jobs, callbacks and results in memory: the same rules as in SQLite, gone with the process.
 *
 * @module
 */
import type {
  Accepted,
  Backlog,
  CompletedTarget,
  HeldJob,
  JobDetail,
  JobFilter,
  JobState,
  JobSummary,
  Lease,
  LeasedJob,
  NewJob,
  PendingCallback,
  Retention,
  Store,
  StoredError,
} from "../core/store.ts";
import * as rules from "./job_record.ts";
import { busy } from "./job_rules.ts";
import { backlog, claimableAt, newestFirst, nextCallback, nextClaim, nextDue } from "./job_selection.ts";

/** A {@link Store} that lives as long as the process. */
export class MemoryStore implements Store {
  readonly durable = false;
  readonly shared: boolean = false;
  /** In the order of their acceptance. */
  readonly #jobs = new Map<string, rules.JobRecord>();
  readonly #results = new Map<string, { readonly body: Uint8Array; usedAt: number }>();
  #accepted = 0;

  async accept(job: NewJob): Promise<Accepted> {
    const known = this.#jobs.values().find((one) =>
      one.requestId === job.requestId && one.kind === job.kind && one.request === job.request
    );
    if (known !== undefined) return { id: known.id, duplicate: true };
    const waiting = this.#jobs.values().filter(({ state }) => state === "queued").toArray().length;
    if (waiting >= job.maxQueued) throw busy(waiting);
    this.#jobs.set(job.id, rules.newRecord(job, ++this.#accepted));
    return { id: job.id, duplicate: false };
  }

  async claim(lease: Lease): Promise<LeasedJob | undefined> {
    const job = nextClaim(this.#jobs.values(), claimableAt(lease.now));
    if (job === undefined) return undefined;
    rules.claim(job, lease);
    return rules.leased(job);
  }

  async heartbeat(lease: Lease, sending?: readonly string[]): Promise<void> {
    for (const job of this.#jobs.values()) rules.prolong(job, lease, sending);
  }

  async held(owner: string): Promise<readonly HeldJob[]> {
    return this.#jobs.values().filter((job) => job.owner === owner)
      .map(({ id, cancelled }) => ({ id, cancelled })).toArray();
  }

  async defer(
    id: string,
    options: {
      readonly owner: string;
      readonly notBefore: number;
      readonly now: number;
      readonly error: StoredError;
    },
  ): Promise<void> {
    const job = this.#jobs.get(id);
    if (job !== undefined) rules.defer(job, options);
  }

  async release(id: string, options: { readonly owner: string; readonly now: number }): Promise<void> {
    const job = this.#jobs.get(id);
    if (job !== undefined) rules.release(job, options);
  }

  async complete(id: string, target: CompletedTarget): Promise<boolean> {
    const job = this.#jobs.get(id);
    if (job === undefined || !rules.complete(job, target)) return false;
    const { resultKey, result, now } = target;
    if (resultKey !== undefined && result !== undefined) this.#results.set(resultKey, { body: result, usedAt: now });
    return true;
  }

  async nextCallback(lease: Lease, except: readonly string[]): Promise<PendingCallback | undefined> {
    const next = nextCallback(this.#jobs.values(), lease, except);
    if (next === undefined) return undefined;
    rules.take(next.callback, lease);
    return rules.taken(next.job, next.callback);
  }

  async result(key: string, now: number): Promise<Uint8Array | undefined> {
    const found = this.#results.get(key);
    if (found !== undefined) found.usedAt = now;
    return found?.body;
  }

  async hasResults(prefix: string): Promise<boolean> {
    return this.#results.keys().some((key) => key.startsWith(prefix));
  }

  async postpone(
    jobId: string,
    sequence: number,
    options: { readonly owner: string; readonly nextAt: number },
  ): Promise<void> {
    const job = this.#jobs.get(jobId);
    if (job !== undefined) rules.postpone(job, sequence, options);
  }

  async settle(
    jobId: string,
    sequence: number,
    end: { readonly owner: string; readonly now: number; readonly error?: StoredError | undefined },
  ): Promise<JobState> {
    const job = this.#jobs.get(jobId);
    if (job !== undefined) rules.settle(job, sequence, end);
    return job?.state ?? "failed";
  }

  async cancel(id: string, now: number): Promise<JobState | undefined> {
    const job = this.#jobs.get(id);
    if (job !== undefined) rules.cancel(job, now);
    return job?.state;
  }

  async resend(id: string, now: number): Promise<number> {
    const job = this.#jobs.get(id);
    return job === undefined ? 0 : rules.resend(job, now);
  }

  async list({ state, limit }: JobFilter): Promise<readonly JobSummary[]> {
    return [...this.#jobs.values()].filter((job) => state === undefined || job.state === state)
      .toSorted(newestFirst).slice(0, limit).map(rules.summary);
  }

  async job(id: string): Promise<JobDetail | undefined> {
    const job = this.#jobs.get(id);
    return job && rules.detail(job);
  }

  async backlog(): Promise<Backlog> {
    return backlog(this.#jobs.values(), (key) => this.#results.get(key)?.body.length ?? 0);
  }

  async nextDue(now: number): Promise<number | undefined> {
    return nextDue(this.#jobs.values(), now);
  }

  async purge({ before, maxBytes }: Retention): Promise<number> {
    const old = [...this.#jobs.values()].filter((job) => rules.isFinal(job) && job.updatedAt < before);
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
}
