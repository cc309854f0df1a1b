/**
 * The records of jobs in a bucket of NATS, read and replaced by their revisions.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Accepted, NewJob } from "../core/store.ts";
import { decodeJob, encodeJob, type SharedJob } from "./job_codec.ts";
import { JobIndex, type KnownJob } from "./job_index.ts";
import { newRecord } from "./job_record.ts";
import type { BucketEntry, NatsBucket } from "./nats_connection.ts";
import type { WatchHandler } from "./nats_watch.ts";
import type { SharedResults } from "./shared_results.ts";

/** Keys of jobs. */
export const JOBS = "job.*";

/** Jobs by their identifiers. */
export class SharedJobs implements WatchHandler {
  /** What this process knows of them. */
  readonly index = new JobIndex();
  /** Called after another process changed something that may be work for this one. */
  onChange: (() => void) | undefined;
  /** Why a job could not be read. */
  unread: unknown;
  readonly #bucket: NatsBucket;
  readonly #results: SharedResults;

  /** @param results Where long requests are kept. */
  constructor(bucket: NatsBucket, results: SharedResults) {
    this.#bucket = bucket;
    this.#results = results;
  }

  /** The job that a request was accepted as. */
  async acceptedAs(requestKey: string): Promise<string | undefined> {
    const known = await this.#bucket.get(`request.${requestKey}`);
    return known && new TextDecoder().decode(known.value);
  }

  /** First the request's own entry, which says which job it is, then the job: who finds one without the other goes on. */
  async accept(given: NewJob, requestKey: string): Promise<Accepted> {
    for (let attempt = 0; attempt < LIMITS.queueConflicts; attempt++) {
      const made = await this.#bucket.create(`request.${requestKey}`, new TextEncoder().encode(given.id));
      const entry = made === undefined ? await this.#bucket.get(`request.${requestKey}`) : undefined;
      const order = made ?? entry?.revision;
      // It was taken away in between: it is a new one then.
      if (order === undefined) continue;
      const id = entry === undefined ? given.id : new TextDecoder().decode(entry.value);
      if (entry !== undefined && (this.index.get(id) ?? await this.load(id)) !== undefined) {
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
    const record = newRecord({ ...given, request: long ? "" : given.request }, order);
    const job: SharedJob = { ...record, requestKey, requestPieces };
    const revision = await this.#bucket.create(jobKey(job.id), encodeJob(job, this.#bucket.maxValueBytes));
    // Otherwise whoever sent the same at the same moment was first.
    if (revision !== undefined) this.index.apply(job, revision);
    else await this.load(job.id);
  }

  /**
   * Takes a job that ended away, unless it was changed. The request goes first: the same request is a new one from then
   * on, with another job.
   */
  async remove({ job, revision }: KnownJob): Promise<boolean> {
    const { id, requestKey, requestPieces, order } = job;
    await this.#bucket.forget(`request.${requestKey}`, order);
    if (!await this.#bucket.remove(jobKey(id), revision)) return false;
    this.index.remove(id, revision + 1);
    if (requestPieces > 0) await this.#results.removePieces(requestBody(id));
    return true;
  }

  /** Takes away for good what {@link remove} left: its mark, up to a revision. */
  async forget(id: string, revision: number): Promise<void> {
    await this.#bucket.forget(jobKey(id), revision);
  }

  /**
   * Changes a job by a rule, which is asked again when another process was first. That there is nothing to change is said
   * of the record as NATS has it, never of what this process knows.
   */
  async change(
    id: string,
    rule: (job: SharedJob) => boolean,
  ): Promise<{ readonly job: SharedJob; readonly changed: boolean } | undefined> {
    let known = this.index.get(id);
    let fresh = known === undefined;
    known ??= await this.load(id);
    for (let attempt = 0; attempt < LIMITS.queueConflicts; attempt++) {
      if (known === undefined) return undefined;
      const job = structuredClone(known.job);
      if (rule(job)) {
        const value = encodeJob(job, this.#bucket.maxValueBytes);
        const revision = await this.#bucket.update(jobKey(id), value, known.revision);
        if (revision !== undefined) {
          this.index.apply(job, revision);
          return { job, changed: true };
        }
      } else if (fresh) return { job: known.job, changed: false };
      known = await this.load(id);
      fresh = true;
    }
    throw conflicts(id);
  }

  /** Reads a job as NATS has it. */
  async load(id: string): Promise<KnownJob | undefined> {
    // Anybody may ask for anything: only a part of a key is looked for.
    if (!/^[\w-]+$/.test(id)) return undefined;
    const entry = await this.#bucket.get(jobKey(id));
    if (entry === undefined) {
      const gone = this.index.get(id);
      if (gone !== undefined) this.index.remove(id, gone.revision + 1);
      return undefined;
    }
    const job = decodeJob(entry.key, entry.value);
    this.index.apply(job, entry.revision);
    return { job, revision: entry.revision };
  }

  /** The request of a job, wherever it is kept. */
  async request({ id, request, requestPieces }: SharedJob): Promise<string> {
    if (requestPieces === 0) return request;
    const bytes = await this.#results.readPieces(requestBody(id), requestPieces);
    if (bytes !== undefined) return new TextDecoder().decode(bytes);
    throw new OutpostError("STORE_UNUSABLE", `Cannot read job ${id}: its request is not in the queue any more`);
  }

  entry({ key, value, revision, removed }: BucketEntry): void {
    try {
      if (removed) this.index.remove(idOf(key), revision);
      else if (this.index.apply(decodeJob(key, value), revision)) this.onChange?.();
    } catch (error) {
      this.unread = error;
    }
  }

  began(last: number): void {
    this.index.forgetAfter(last);
  }

  synced(keys: ReadonlySet<string>, upTo: number): void {
    this.index.keep(new Set([...keys].map(idOf)), upTo);
    this.onChange?.();
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

function conflicts(id: string): OutpostError {
  return new OutpostError("STORE_UNAVAILABLE", `Cannot change job ${id}: others change it all the time`);
}
