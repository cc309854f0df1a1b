/**
 * What a process knows of the jobs of a shared store: the records of those that are under way, a few numbers of those that
 * ended. It is fed by a watch and by the process's own writes; the newest revision of a job counts.
 *
 * @module
 */
import { isFinal } from "./job_record.ts";
import type { SharedJob } from "./job_codec.ts";
import type { JobState } from "../core/store.ts";

/** A job that ended. */
export interface EndedJob {
  readonly id: string;
  readonly state: JobState;
  readonly acceptedAt: number;
  readonly order: number;
  readonly updatedAt: number;
  /** Keys of the results that callbacks carry which were given up: they may be sent again. */
  readonly deadKeys: readonly string[];
}

/** A record and its revision. */
export interface KnownJob {
  readonly job: SharedJob;
  readonly revision: number;
}

/** An index of jobs. */
export class JobIndex {
  readonly #active = new Map<string, KnownJob>();
  readonly #ended = new Map<string, EndedJob & { readonly revision: number }>();
  /** Jobs that were taken away, with the revision of their mark. */
  readonly #removed = new Map<string, number>();
  #newest = 0;

  /**
   * Takes a record; an older one than what is known is ignored.
   *
   * @returns Whether it is something that somebody may have to act on: more than a lease that goes on.
   */
  apply(job: SharedJob, revision: number): boolean {
    const { id } = job;
    if (revision <= this.#revision(id)) return false;
    this.#newest = Math.max(this.#newest, revision);
    this.#removed.delete(id);
    const before = this.#active.get(id)?.job;
    if (isFinal(job)) {
      this.#active.delete(id);
      this.#ended.set(id, { ...ended(job), revision });
      return before !== undefined;
    }
    this.#ended.delete(id);
    this.#active.set(id, { job, revision });
    return before === undefined || sign(before) !== sign(job);
  }

  /** Takes that a job is there no more. */
  remove(id: string, revision: number): void {
    if (revision <= this.#revision(id)) return;
    this.#active.delete(id);
    this.#ended.delete(id);
    this.#removed.set(id, revision);
  }

  /** Forgets everything when it knows of revisions after `last`, which is the newest there is. */
  forgetAfter(last: number): void {
    if (this.#newest <= last) return;
    for (const known of [this.#active, this.#ended, this.#removed]) known.clear();
    this.#newest = 0;
  }

  /** Forgets jobs that are neither in `ids` nor newer than `upTo`. */
  keep(ids: ReadonlySet<string>, upTo: number): void {
    for (const jobs of [this.#active, this.#ended]) {
      for (const [id, { revision }] of jobs) if (!ids.has(id) && revision <= upTo) jobs.delete(id);
    }
  }

  /** A job that is under way. */
  get(id: string): KnownJob | undefined {
    return this.#active.get(id);
  }

  /** Jobs that are under way. */
  *active(): Generator<SharedJob> {
    for (const { job } of this.#active.values()) yield job;
  }

  /** Jobs that ended. */
  ended(): Iterable<EndedJob> {
    return this.#ended.values();
  }

  /** Marks of jobs that were taken away; they are forgotten here. */
  takeRemoved(): readonly (readonly [string, number])[] {
    const removed = [...this.#removed];
    this.#removed.clear();
    return removed;
  }

  #revision(id: string): number {
    return this.#active.get(id)?.revision ?? this.#ended.get(id)?.revision ?? this.#removed.get(id) ?? 0;
  }
}

function ended({ id, state, acceptedAt, order, updatedAt, callbacks }: SharedJob): EndedJob {
  const deadKeys = callbacks.filter((one) => one.state === "dead").flatMap(({ resultKey }) => resultKey ?? []);
  return { id, state, acceptedAt, order, updatedAt, deadKeys };
}

/** What changes with a job's work, and not with how long its leases last. */
function sign({ state, position, cancelled, notBefore, owner, callbacks }: SharedJob): string {
  return JSON.stringify([
    [state, position, cancelled, notBefore, owner],
    callbacks.map((one) => one.state === "pending" ? [one.attempts, one.nextAt, one.owner] : 0),
  ]);
}
