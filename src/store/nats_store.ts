/**
 * Jobs, callbacks and results that several processes share, in buckets of NATS JetStream.
 *
 * A job is one entry, its whole record, and everything that happens to it replaces the revision that was read: of several
 * processes that change a job at once one succeeds, and the others look again. What to do next is decided by what this
 * process knows of the jobs (job_index.ts), which may be behind; whether it is done, by the revision alone (docs/adr/012).
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
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
import type { SharedJob } from "./job_codec.ts";
import type { KnownJob } from "./job_index.ts";
import * as rules from "./job_record.ts";
import { busy } from "./job_rules.ts";
import { backlog, newestFirst, nextCallback, nextClaim, nextDue } from "./job_selection.ts";
import type { NatsLink } from "./nats_connection.ts";
import { purgeShared, sweepPieces } from "./nats_purge.ts";
import { JOBS, SharedJobs } from "./shared_jobs.ts";
import { HEADS, SharedResults } from "./shared_results.ts";

/** Options of {@link NatsStore.open}. */
export interface NatsStoreOptions {
  /** Closed with the store. */
  readonly link: NatsLink;
  /** Begins the names of the buckets: `<prefix>-jobs` and `<prefix>-results`. */
  readonly prefix: string;
  /** Servers that keep each entry; undefined leaves buckets as they are, and makes them with one. */
  readonly replicas: number | undefined;
  /** A fresh random identifier. */
  readonly newId: () => string;
}

/** A {@link Store} for several processes. */
export class NatsStore implements Store {
  readonly durable = true;
  readonly shared = true;
  readonly #link: NatsLink;
  readonly #jobs: SharedJobs;
  readonly #results: SharedResults;
  /** Jobs that a claim of this process handed out: one that is leased to it all the same was lost on the way here. */
  readonly #handedOut = new Set<string>();
  /** Images whose end may have been written although the acknowledgement did not come. */
  readonly #uncertain = new Set<string>();
  #accepting = 0;
  #swept = false;

  private constructor(link: NatsLink, jobs: SharedJobs, results: SharedResults) {
    this.#link = link;
    this.#jobs = jobs;
    this.#results = results;
  }

  /**
   * Opens the buckets and reads what is in them.
   *
   * @throws {OutpostError} STORE_UNUSABLE or STORE_UNAVAILABLE, with advice.
   */
  static async open({ link, prefix, replicas, newId }: NatsStoreOptions): Promise<NatsStore> {
    const jobs = await link.bucket(`${prefix}-jobs`, { description: "Outpost: accepted scans", replicas });
    const bodies = await link.bucket(`${prefix}-results`, { description: "Outpost: results of scans", replicas });
    const results = new SharedResults(bodies, newId);
    const shared = new SharedJobs(jobs, results);
    await bodies.watch(HEADS, results);
    await jobs.watch(JOBS, shared);
    if (shared.unread !== undefined) throw shared.unread;
    return new NatsStore(link, shared, results);
  }

  onChange(listener: () => void): void {
    this.#jobs.onChange = listener;
  }

  problem(): string | undefined {
    return this.#link.problem;
  }

  async accept(given: NewJob): Promise<Accepted> {
    const waiting = this.#waiting();
    const mayTake = waiting < given.maxQueued;
    if (mayTake) this.#accepting++;
    try {
      const requestKey = await requestKeyOf(given);
      if (mayTake) return await this.#jobs.accept(given, requestKey);
      const id = await this.#jobs.acceptedAs(requestKey);
      if (id === undefined) throw busy(waiting);
      return { id, duplicate: true };
    } finally {
      if (mayTake) this.#accepting--;
    }
  }

  #waiting(): number {
    return this.#jobs.index.active().filter(({ state }) => state === "queued").toArray().length + this.#accepting;
  }

  /**
   * Whether a lease ran out only because NATS was away: nobody could prolong one. Its owner gets the time of another when
   * the connection is back.
   */
  #isSpared({ owner }: { readonly owner: string | undefined }, lease: Lease): boolean {
    return owner !== undefined && owner !== lease.owner && lease.now < this.#sparedUntil;
  }

  get #sparedUntil(): number {
    const { reconnectedAt } = this.#link;
    return reconnectedAt === undefined ? 0 : reconnectedAt + LIMITS.jobLeaseMs;
  }

  async claim(lease: Lease): Promise<LeasedJob | undefined> {
    const mayClaim = (job: rules.JobRecord): boolean =>
      (rules.isClaimable(job, lease.now) && !this.#isSpared(job, lease)) ||
      (job.owner === lease.owner && rules.isOpen(job) && !this.#handedOut.has(job.id));
    for (let attempt = 0; attempt < LIMITS.queueConflicts; attempt++) {
      const next = nextClaim(this.#jobs.index.active(), mayClaim);
      if (next === undefined) return undefined;
      const change = await this.#jobs.change(next.id, (job) => {
        if (!mayClaim(job)) return false;
        rules.claim(job, lease);
        return true;
      });
      if (change?.changed !== true) continue;
      this.#handedOut.add(next.id);
      try {
        return rules.leased({ ...change.job, request: await this.#jobs.request(change.job) });
      } catch (error) {
        this.#handedOut.delete(next.id);
        throw error;
      }
    }
    return undefined;
  }

  async heartbeat(lease: Lease, sending?: readonly string[]): Promise<void> {
    const { owner } = lease;
    for (const id of this.#handedOut) if (this.#jobs.index.get(id)?.job.owner !== owner) this.#handedOut.delete(id);
    const held = this.#jobs.index.active().filter((job) =>
      (job.owner === owner && this.#handedOut.has(job.id)) ||
      ((sending?.includes(job.id) ?? true) && job.callbacks.some((one) => one.owner === owner))
    ).toArray();
    await Promise.all(held.map(({ id }) => this.#jobs.change(id, (job) => rules.prolong(job, lease, sending))));
  }

  async held(owner: string): Promise<readonly HeldJob[]> {
    return await Promise.resolve(
      this.#jobs.index.active().filter((job) => job.owner === owner)
        .map(({ id, cancelled }) => ({ id, cancelled })).toArray(),
    );
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
    this.#handedOut.delete(id);
    await this.#jobs.change(id, (job) => rules.defer(job, options));
  }

  async release(id: string, options: { readonly owner: string; readonly now: number }): Promise<void> {
    this.#handedOut.delete(id);
    await this.#jobs.change(id, (job) => rules.release(job, options));
  }

  async complete(id: string, target: CompletedTarget): Promise<boolean> {
    const { result, ...end } = target;
    const attempt = `${id} ${target.sequence} ${target.owner}`;
    // Nothing is written for one whose lease another has, and no callback without its result.
    const mayEnd = this.#mayEnd(this.#jobs.index.get(id), end) || this.#mayEnd(await this.#jobs.load(id), end);
    if (mayEnd) await this.#keepResult(end, result);
    try {
      const change = await this.#jobs.change(id, (job) => mayEnd && rules.complete(job, end));
      const done = change?.changed === true || (this.#uncertain.has(attempt) && isEnded(change?.job, target.sequence));
      this.#uncertain.delete(attempt);
      if (!done || change?.job.state !== "scanning") this.#handedOut.delete(id);
      return done;
    } catch (error) {
      this.#uncertain.add(attempt);
      throw error;
    }
  }

  #mayEnd(known: KnownJob | undefined, end: Omit<CompletedTarget, "result">): boolean {
    return known !== undefined && rules.complete(structuredClone(known.job), end);
  }

  /** The result is there before the callback that carries it. */
  async #keepResult(
    { resultKey, now }: Omit<CompletedTarget, "result">,
    result: Uint8Array | undefined,
  ): Promise<void> {
    if (resultKey === undefined) return;
    if (result !== undefined) return await this.#results.put(resultKey, result, now);
    if (await this.#results.touch(resultKey, now)) return;
    throw new OutpostError("INTERNAL", "Cannot end the scan: its result was taken away in the meantime");
  }

  async nextCallback(lease: Lease, except: readonly string[]): Promise<PendingCallback | undefined> {
    for (let attempt = 0; attempt < LIMITS.queueConflicts; attempt++) {
      const jobs = this.#jobs.index.active().filter((job) => {
        const callback = rules.pendingCallbacks(job)[0];
        return callback !== undefined && !this.#isSpared(callback, lease);
      });
      const next = nextCallback(jobs, lease, except);
      if (next === undefined) return undefined;
      // What this owner's own lease is on needs no leave of anybody.
      const job = rules.isTaken(next.callback, lease) ? next.job : await this.#takeCallback(next.job.id, lease);
      const callback = job && rules.pendingCallbacks(job)[0];
      if (job === undefined || callback === undefined) continue;
      return rules.taken({ ...job, request: await this.#jobs.request(job) }, callback);
    }
    return undefined;
  }

  /** Leases the next callback of a job; answers the job, undefined when another was first. */
  async #takeCallback(id: string, lease: Lease): Promise<SharedJob | undefined> {
    const change = await this.#jobs.change(id, (job) => {
      const callback = rules.dueCallback(job, lease);
      if (callback !== undefined) rules.take(callback, lease);
      return callback !== undefined;
    });
    return change?.changed === true ? change.job : undefined;
  }

  async result(key: string, now: number): Promise<Uint8Array | undefined> {
    return await this.#results.get(key, now);
  }

  async hasResults(prefix: string): Promise<boolean> {
    return await Promise.resolve(this.#results.has(prefix));
  }

  async postpone(
    jobId: string,
    sequence: number,
    options: { readonly owner: string; readonly nextAt: number },
  ): Promise<void> {
    await this.#jobs.change(jobId, (job) => rules.postpone(job, sequence, options));
  }

  async settle(
    jobId: string,
    sequence: number,
    end: { readonly owner: string; readonly now: number; readonly error?: StoredError | undefined },
  ): Promise<JobState> {
    return (await this.#jobs.change(jobId, (job) => rules.settle(job, sequence, end)))?.job.state ?? "failed";
  }

  async cancel(id: string, now: number): Promise<JobState | undefined> {
    return (await this.#jobs.change(id, (job) => rules.cancel(job, now)))?.job.state;
  }

  async resend(id: string, now: number): Promise<number> {
    let resent = 0;
    await this.#jobs.change(id, (job) => {
      resent = rules.resend(job, now);
      return resent > 0;
    });
    return resent;
  }

  async list({ state, limit }: JobFilter): Promise<readonly JobSummary[]> {
    const known = [...this.#jobs.index.active(), ...this.#jobs.index.ended()];
    const wanted = known.filter((job) => state === undefined || job.state === state).toSorted(newestFirst);
    const found: (JobSummary | undefined)[] = [];
    for (let at = 0; at < Math.min(limit, wanted.length); at += LIMITS.queueRequestsAtOnce) {
      const some = wanted.slice(at, Math.min(limit, at + LIMITS.queueRequestsAtOnce));
      found.push(...await Promise.all(some.map(({ id }) => this.#summary(id))));
    }
    return found.filter((one) => one !== undefined);
  }

  async #summary(id: string): Promise<JobSummary | undefined> {
    const known = this.#jobs.index.get(id) ?? await this.#jobs.load(id);
    return known && rules.summary(known.job);
  }

  async job(id: string): Promise<JobDetail | undefined> {
    const known = await this.#jobs.load(id);
    return known && rules.detail({ ...known.job, request: await this.#jobs.request(known.job) });
  }

  async backlog(): Promise<Backlog> {
    return await Promise.resolve(backlog(this.#jobs.index.active(), (key) => this.#results.bytes(key)));
  }

  async nextDue(now: number): Promise<number | undefined> {
    const due = await Promise.resolve(nextDue(this.#jobs.index.active(), now));
    const spared = this.#sparedUntil;
    return spared > now ? Math.min(due ?? Infinity, spared) : due;
  }

  async purge(retention: Retention): Promise<number> {
    const parts = { jobs: this.#jobs, results: this.#results };
    const removed = await purgeShared(parts, retention);
    if (!this.#swept) await sweepPieces(parts, retention.now);
    this.#swept = true;
    return removed;
  }

  async close(): Promise<void> {
    await this.#link.close();
  }
}

/** Names a request for whoever sends the same again. Asynchronous, for it may have megabytes. */
async function requestKeyOf({ requestId, kind, request }: NewJob): Promise<string> {
  const text = JSON.stringify([requestId, kind, request]);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))).toHex();
}

function isEnded(job: SharedJob | undefined, sequence: number): boolean {
  return job !== undefined && job.position === sequence + 1;
}
