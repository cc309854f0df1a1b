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
import { decodeJob, encodeJob, type SharedJob } from "./job_codec.ts";
import { JobIndex, type KnownJob } from "./job_index.ts";
import * as rules from "./job_record.ts";
import { busy } from "./job_rules.ts";
import { backlog, newestFirst, nextCallback, nextClaim, nextDue } from "./job_selection.ts";
import type { BucketEntry, NatsBucket, NatsLink } from "./nats_connection.ts";
import { purgeShared } from "./nats_purge.ts";
import { digestName, HEADS, SharedResults } from "./shared_results.ts";

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
  readonly #jobs: NatsBucket;
  readonly #results: SharedResults;
  readonly #index = new JobIndex();
  /** Jobs that a claim of this process handed out: one that is leased to it all the same was lost on the way here. */
  readonly #handedOut = new Set<string>();
  /** Images whose end may have been written although the acknowledgement did not come. */
  readonly #uncertain = new Set<string>();
  #accepting = 0;
  #unread: unknown;
  #onChange: (() => void) | undefined;

  private constructor(link: NatsLink, jobs: NatsBucket, results: SharedResults) {
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
    const store = new NatsStore(link, jobs, results);
    await bodies.watch(HEADS, results);
    await jobs.watch("job.*", {
      entry: (entry) => store.#see(entry),
      synced: (keys, upTo) => {
        store.#index.keep(new Set([...keys].map(idOf)), upTo);
        store.#onChange?.();
      },
    });
    if (store.#unread !== undefined) throw store.#unread;
    return store;
  }

  onChange(listener: () => void): void {
    this.#onChange = listener;
  }

  problem(): string | undefined {
    return this.#link.problem;
  }

  async accept(given: NewJob): Promise<Accepted> {
    const waiting = this.#waiting();
    const mayTake = waiting < given.maxQueued;
    if (mayTake) this.#accepting++;
    try {
      const requestKey = await digestName(JSON.stringify([given.requestId, given.kind, given.request]));
      if (mayTake) return await this.#accept(given, requestKey);
      const known = await this.#jobs.get(`request.${requestKey}`);
      if (known === undefined) throw busy(waiting);
      return { id: new TextDecoder().decode(known.value), duplicate: true };
    } finally {
      if (mayTake) this.#accepting--;
    }
  }

  #waiting(): number {
    return this.#index.active().filter(({ state }) => state === "queued").toArray().length + this.#accepting;
  }

  /** First the request's own entry, which says which job it is, then the job: who finds one without the other goes on. */
  async #accept(given: NewJob, requestKey: string): Promise<Accepted> {
    for (let attempt = 0; attempt < LIMITS.queueConflicts; attempt++) {
      const made = await this.#jobs.create(`request.${requestKey}`, new TextEncoder().encode(given.id));
      const entry = made === undefined ? await this.#jobs.get(`request.${requestKey}`) : undefined;
      const order = made ?? entry?.revision;
      // It was taken away in between: it is a new one then.
      if (order === undefined) continue;
      const id = entry === undefined ? given.id : new TextDecoder().decode(entry.value);
      if (entry !== undefined && (this.#index.get(id) ?? await this.#load(id)) !== undefined) {
        return { id, duplicate: true };
      }
      await this.#create({ ...given, id }, requestKey, order);
      return { id, duplicate: id !== given.id };
    }
    throw conflicts(given.id);
  }

  async #create(given: NewJob, requestKey: string, order: number): Promise<void> {
    const bytes = new TextEncoder().encode(given.request);
    const long = bytes.length > LIMITS.queueInlineRequestBytes;
    const requestPieces = long ? await this.#results.writePieces(requestBody(given.id), bytes) : 0;
    const record = rules.newRecord({ ...given, request: long ? "" : given.request }, order);
    const job: SharedJob = { ...record, requestKey, requestPieces };
    const revision = await this.#jobs.create(jobKey(job.id), encodeJob(job, this.#jobs.maxValueBytes));
    // Otherwise whoever sent the same at the same moment was first.
    if (revision !== undefined) this.#index.apply(job, revision);
    else await this.#load(job.id);
  }

  async claim(lease: Lease): Promise<LeasedJob | undefined> {
    const mayClaim = (job: rules.JobRecord): boolean =>
      rules.isClaimable(job, lease.now) ||
      (job.owner === lease.owner && rules.isOpen(job) && !this.#handedOut.has(job.id));
    for (let attempt = 0; attempt < LIMITS.queueConflicts; attempt++) {
      const next = nextClaim(this.#index.active(), mayClaim);
      if (next === undefined) return undefined;
      const change = await this.#change(next.id, (job) => {
        if (!mayClaim(job)) return false;
        rules.claim(job, lease);
        return true;
      });
      if (change?.changed !== true) continue;
      const claimed = rules.leased({ ...change.job, request: await this.#request(change.job) });
      this.#handedOut.add(next.id);
      return claimed;
    }
    return undefined;
  }

  async heartbeat(lease: Lease): Promise<void> {
    const { owner } = lease;
    const held = this.#index.active().filter((job) =>
      (job.owner === owner && this.#handedOut.has(job.id)) || job.callbacks.some((one) => one.owner === owner)
    ).toArray();
    await Promise.all(held.map(({ id }) => this.#change(id, (job) => rules.prolong(job, lease))));
  }

  async held(owner: string): Promise<readonly HeldJob[]> {
    return await Promise.resolve(
      this.#index.active().filter((job) => job.owner === owner)
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
    await this.#change(id, (job) => rules.defer(job, options));
  }

  async release(id: string, options: { readonly owner: string; readonly now: number }): Promise<void> {
    this.#handedOut.delete(id);
    await this.#change(id, (job) => rules.release(job, options));
  }

  async complete(id: string, target: CompletedTarget): Promise<boolean> {
    const { result, ...end } = target;
    const attempt = `${id} ${target.sequence} ${target.owner}`;
    // Nothing is written for one whose lease another has.
    const known = this.#index.get(id) ?? await this.#load(id);
    const mayEnd = known !== undefined && rules.complete(structuredClone(known.job), end);
    if (mayEnd) await this.#keepResult(end, result);
    try {
      const change = await this.#change(id, (job) => rules.complete(job, end));
      const done = change?.changed === true || (this.#uncertain.has(attempt) && isEnded(change?.job, target.sequence));
      this.#uncertain.delete(attempt);
      if (!done || change?.job.state !== "scanning") this.#handedOut.delete(id);
      return done;
    } catch (error) {
      this.#uncertain.add(attempt);
      throw error;
    }
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
      const next = nextCallback(this.#index.active(), lease, except);
      if (next === undefined) return undefined;
      const change = await this.#change(next.job.id, (job) => {
        const callback = rules.dueCallback(job, lease);
        if (callback !== undefined) rules.take(callback, lease);
        return callback !== undefined;
      });
      const callback = change?.changed === true ? rules.pendingCallbacks(change.job)[0] : undefined;
      if (change === undefined || callback === undefined) continue;
      return rules.taken({ ...change.job, request: await this.#request(change.job) }, callback);
    }
    return undefined;
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
    await this.#change(jobId, (job) => rules.postpone(job, sequence, options));
  }

  async settle(
    jobId: string,
    sequence: number,
    end: { readonly owner: string; readonly now: number; readonly error?: StoredError | undefined },
  ): Promise<JobState> {
    return (await this.#change(jobId, (job) => rules.settle(job, sequence, end)))?.job.state ?? "failed";
  }

  async cancel(id: string, now: number): Promise<JobState | undefined> {
    return (await this.#change(id, (job) => rules.cancel(job, now)))?.job.state;
  }

  async resend(id: string, now: number): Promise<number> {
    let resent = 0;
    await this.#change(id, (job) => {
      resent = rules.resend(job, now);
      return resent > 0;
    });
    return resent;
  }

  async list({ state, limit }: JobFilter): Promise<readonly JobSummary[]> {
    const known = [...this.#index.active(), ...this.#index.ended()];
    const wanted = known.filter((job) => state === undefined || job.state === state).toSorted(newestFirst);
    const found: (JobSummary | undefined)[] = [];
    for (let at = 0; at < Math.min(limit, wanted.length); at += LIMITS.queueRequestsAtOnce) {
      const some = wanted.slice(at, Math.min(limit, at + LIMITS.queueRequestsAtOnce));
      found.push(...await Promise.all(some.map(({ id }) => this.#summary(id))));
    }
    return found.filter((one) => one !== undefined);
  }

  async #summary(id: string): Promise<JobSummary | undefined> {
    const known = this.#index.get(id) ?? await this.#load(id);
    return known && rules.summary(known.job);
  }

  async job(id: string): Promise<JobDetail | undefined> {
    const known = await this.#load(id);
    return known && rules.detail({ ...known.job, request: await this.#request(known.job) });
  }

  async backlog(): Promise<Backlog> {
    return await Promise.resolve(backlog(this.#index.active(), (key) => this.#results.bytes(key)));
  }

  async nextDue(now: number): Promise<number | undefined> {
    return await Promise.resolve(nextDue(this.#index.active(), now));
  }

  async purge(retention: Retention): Promise<number> {
    const parts = { jobs: this.#jobs, index: this.#index, results: this.#results };
    return await purgeShared(parts, retention, (id) => this.#load(id));
  }

  async close(): Promise<void> {
    await this.#link.close();
  }

  /**
   * Changes a job by a rule, which is asked again when another process was first. That there is nothing to change is said
   * of the record as NATS has it, never of what this process knows.
   */
  async #change(
    id: string,
    rule: (job: SharedJob) => boolean,
  ): Promise<{ readonly job: SharedJob; readonly changed: boolean } | undefined> {
    let known = this.#index.get(id);
    let fresh = known === undefined;
    known ??= await this.#load(id);
    for (let attempt = 0; attempt < LIMITS.queueConflicts; attempt++) {
      if (known === undefined) return undefined;
      const job = structuredClone(known.job);
      if (rule(job)) {
        const value = encodeJob(job, this.#jobs.maxValueBytes);
        const revision = await this.#jobs.update(jobKey(id), value, known.revision);
        if (revision !== undefined) {
          this.#index.apply(job, revision);
          return { job, changed: true };
        }
      } else if (fresh) return { job: known.job, changed: false };
      known = await this.#load(id);
      fresh = true;
    }
    throw conflicts(id);
  }

  /** Reads a job as NATS has it. */
  async #load(id: string): Promise<KnownJob | undefined> {
    // Anybody may ask for anything: only a part of a key is looked for.
    if (!/^[\w-]+$/.test(id)) return undefined;
    const entry = await this.#jobs.get(jobKey(id));
    if (entry === undefined) return undefined;
    const job = decodeJob(entry.key, entry.value);
    this.#index.apply(job, entry.revision);
    return { job, revision: entry.revision };
  }

  async #request({ id, request, requestPieces }: SharedJob): Promise<string> {
    if (requestPieces === 0) return request;
    const bytes = await this.#results.readPieces(requestBody(id), requestPieces);
    if (bytes !== undefined) return new TextDecoder().decode(bytes);
    throw new OutpostError("STORE_UNUSABLE", `Cannot read job ${id}: its request is not in the queue any more`);
  }

  #see({ key, value, revision, removed }: BucketEntry): void {
    try {
      if (removed) this.#index.remove(idOf(key), revision);
      else if (this.#index.apply(decodeJob(key, value), revision)) this.#onChange?.();
    } catch (error) {
      this.#unread = error;
    }
  }
}

function jobKey(id: string): string {
  return `job.${id}`;
}

function idOf(key: string): string {
  return key.slice("job.".length);
}

/** Under which pieces of a long request are. */
export function requestBody(id: string): string {
  return `request-${id}`;
}

function isEnded(job: SharedJob | undefined, sequence: number): boolean {
  return job !== undefined && job.position === sequence + 1;
}

function conflicts(id: string): OutpostError {
  return new OutpostError("STORE_UNAVAILABLE", `Cannot change job ${id}: others change it all the time`);
}
