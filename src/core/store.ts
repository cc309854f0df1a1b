/**
 * The ports of what outlives the process: accepted jobs with their callbacks and results, and the facts of layers.
 *
 * @module
 */
import type { LayerFacts } from "./types.ts";

/** Where a job is. The last three are final: a job has exactly one of them in the end. */
export const JOB_STATES = ["queued", "scanning", "reporting", "done", "partial", "failed"] as const;

/** One of {@link JOB_STATES}. */
export type JobState = typeof JOB_STATES[number];

/** How one image ended. */
export type TargetOutcome = "success" | "partial" | "error";

/** A failure as it is kept: a code of core/errors.ts and its message, never a secret. */
export interface StoredError {
  readonly code: string;
  readonly message: string;
  readonly hint?: string | undefined;
}

/** A job to accept. */
export interface NewJob {
  readonly id: string;
  /** The caller's own name of the request. A second job with the same one and the same `request` is the first. */
  readonly requestId: string;
  readonly kind: "scan" | "discover";
  /** Images of the request. */
  readonly total: number;
  /** Whether a closing callback follows the results. */
  readonly closing: boolean;
  /** The request as JSON, without any credential. */
  readonly request: string;
  /** How the credentials are found again. Those whose first byte is 1 are sealed ones: forgotten with the last image. */
  readonly credentials: Uint8Array;
  /** Milliseconds since the epoch, as all times here. */
  readonly acceptedAt: number;
  /** Jobs that may wait; above it the job is refused. */
  readonly maxQueued: number;
}

/** What {@link Store.accept} answers: the job's identifier, or that of the same request accepted before. */
export interface Accepted {
  readonly id: string;
  readonly duplicate: boolean;
}

/** A job that is held by a lease. */
export interface LeasedJob {
  readonly id: string;
  readonly requestId: string;
  readonly kind: "scan" | "discover";
  readonly total: number;
  readonly closing: boolean;
  readonly request: string;
  readonly credentials: Uint8Array;
  /** Index of the first image that has no result yet. */
  readonly position: number;
  /** How often that image has been begun, this time included. */
  readonly attempts: number;
  /** Whether the operator wants no more of it. */
  readonly cancelled: boolean;
}

/** A lease: who works on the job, or sends the callback, and until when others believe it. */
export interface Lease {
  readonly owner: string;
  readonly now: number;
  readonly until: number;
}

/** A job that an owner holds now. */
export interface HeldJob {
  readonly id: string;
  readonly cancelled: boolean;
}

/** The end of one image of a job. */
export interface CompletedTarget {
  /** Who holds the job. */
  readonly owner: string;
  readonly sequence: number;
  readonly outcome: TargetOutcome;
  /** Key of the result that its callback carries; it is in the store already, or in `result`. */
  readonly resultKey?: string | undefined;
  /** A new result for the store, packed. */
  readonly result?: Uint8Array | undefined;
  /** What the callback carries instead of a result: JSON. */
  readonly error?: string | undefined;
  /** In a store that is shared: leases the callback, and a closing one, to the owner until then, who is about to send it. */
  readonly sendUntil?: number | undefined;
  readonly now: number;
}

/** A callback that is due, the first of its job. `totals` are those of a closing one. */
export interface PendingCallback {
  readonly jobId: string;
  readonly requestId: string;
  readonly sequence: number;
  readonly kind: "result" | "closing";
  readonly request: string;
  readonly resultKey: string | undefined;
  readonly error: string | undefined;
  /** Failed deliveries so far. */
  readonly attempts: number;
  readonly createdAt: number;
  readonly totals: JobTotals;
}

/** How the images of a job ended; one whose callback was refused counts as failed. */
export interface JobTotals {
  readonly succeeded: number;
  readonly partial: number;
  readonly failed: number;
}

/** A job as it is listed. */
export interface JobSummary extends JobTotals {
  readonly id: string;
  readonly requestId: string;
  readonly kind: "scan" | "discover";
  readonly state: JobState;
  readonly total: number;
  readonly attempts: number;
  readonly acceptedAt: number;
  readonly updatedAt: number;
  /** When it may be tried again, while it waits for that. */
  readonly notBefore: number | undefined;
  readonly error: StoredError | undefined;
  /** Callbacks that wait, and those that were given up. */
  readonly pending: number;
  readonly dead: number;
}

/** A callback of {@link JobDetail}. */
export interface CallbackSummary {
  readonly sequence: number;
  readonly kind: "result" | "closing";
  readonly state: "pending" | "delivered" | "dead";
  readonly outcome: TargetOutcome | undefined;
  readonly attempts: number;
  readonly endedAt: number | undefined;
  readonly error: StoredError | undefined;
}

/** A job with its callbacks. */
export interface JobDetail extends JobSummary {
  readonly request: string;
  /** Empty after the last image when they were sealed. */
  readonly credentials: Uint8Array;
  readonly callbacks: readonly CallbackSummary[];
}

/** Which jobs are listed. */
export interface JobFilter {
  readonly state?: JobState | undefined;
  readonly limit: number;
}

/** What waits. */
export interface Backlog {
  /** Jobs that are not being worked on. */
  readonly queued: number;
  readonly scanning: number;
  /** Callbacks that are not delivered, and the packed bytes of the results that they carry. */
  readonly pending: number;
  readonly pendingBytes: number;
}

/** What {@link Store.purge} takes away. */
export interface Retention {
  readonly now: number;
  /** Jobs that ended, and results that were used last, before this time. */
  readonly before: number;
  /** Packed bytes of results that may stay; the longest unused go first. Results of pending callbacks always stay. */
  readonly maxBytes: number;
}

/**
 * Jobs, callbacks and results. Every method is one transaction. Those that an acknowledgement depends on (accept,
 * complete, cancel, retry) are on disk when they resolve; the others survive the end of the process, and after a power
 * failure only cost work that is done again. Where several processes share the store, the times of a {@link Lease} are
 * compared with those of others: their clocks may differ by much less than a lease lasts.
 *
 * @throws {OutpostError} every method: STORE_UNAVAILABLE when nothing can be written now, STORE_UNUSABLE when the
 * database is damaged.
 */
export interface Store {
  /** Whether it outlives the process. */
  readonly durable: boolean;
  /** Whether other processes work on it too. */
  readonly shared: boolean;
  /**
   * Accepts a job, or finds the one that the same request was accepted as.
   *
   * @throws {OutpostError} BUSY when `maxQueued` jobs wait; processes that share a store may each exceed it by what they
   * accept at the same moment.
   */
  accept(job: NewJob): Promise<Accepted>;
  /**
   * Leases the next job: a cancelled one, else the oldest that is due and that nobody holds; its image counts as begun
   * once more.
   */
  claim(lease: Lease): Promise<LeasedJob | undefined>;
  /** Prolongs the owner's leases, of jobs and of callbacks; of callbacks only those of jobs in `sending`, when it is given. */
  heartbeat(lease: Lease, sending?: readonly string[]): Promise<void>;
  /** The jobs that the owner holds: one that is not among them any more is another's, whose results alone count. */
  held(owner: string): Promise<readonly HeldJob[]>;
  /** Puts a job back until `notBefore`. Does nothing when the owner does not hold it. */
  defer(
    id: string,
    options: {
      readonly owner: string;
      readonly notBefore: number;
      readonly now: number;
      readonly error: StoredError;
    },
  ): Promise<void>;
  /** Puts a job back as if it had not been claimed. Does nothing when the owner does not hold it. */
  release(id: string, options: { readonly owner: string; readonly now: number }): Promise<void>;
  /**
   * Ends the image at the job's position: its callback is due. With the last one the job is reporting. Does nothing, and
   * answers false, when the job is not at that image, or another holds it.
   */
  complete(id: string, target: CompletedTarget): Promise<boolean>;
  /**
   * Leases the next callback that is due, of a job that is not in `except`; those of one job come in their order. The
   * owner of a lease may take it again, others when it is over.
   */
  nextCallback(lease: Lease, except: readonly string[]): Promise<PendingCallback | undefined>;
  /** The packed bytes of a result; undefined when there is none. */
  result(key: string, now: number): Promise<Uint8Array | undefined>;
  /** Whether there is a result with a key that begins so. */
  hasResults(prefix: string): Promise<boolean>;
  /** Puts a callback off, and ends its lease. Does nothing when another holds it. */
  postpone(
    jobId: string,
    sequence: number,
    options: { readonly owner: string; readonly nextAt: number },
  ): Promise<void>;
  /**
   * Ends a callback: delivered, or dead with the reason. Ends the job with its last one; answers the job's state. What was
   * delivered is so whoever holds it; dead it becomes by its holder alone.
   */
  settle(
    jobId: string,
    sequence: number,
    end: { readonly owner: string; readonly now: number; readonly error?: StoredError | undefined },
  ): Promise<JobState>;
  /** Marks a job that is not yet reporting as cancelled; answers its state, undefined when there is no such job. */
  cancel(id: string, now: number): Promise<JobState | undefined>;
  /** Makes the dead callbacks of a job due again; answers their number. */
  resend(id: string, now: number): Promise<number>;
  /** Newest first. */
  list(filter: JobFilter): Promise<readonly JobSummary[]>;
  job(id: string): Promise<JobDetail | undefined>;
  backlog(): Promise<Backlog>;
  /** When the next job or callback that waits for its time, or for the end of a lease, is due; undefined when none does. */
  nextDue(now: number): Promise<number | undefined>;
  /** Takes away what is old or too much; answers the number of jobs. */
  purge(retention: Retention): Promise<number>;
  /** Calls the listener after another process changed something that may be work for this one. One listener at a time. */
  onChange?(listener: () => void): void;
  /** Why nothing can be read or written now; undefined when it can, as far as is known. */
  problem?(): string | undefined;
  close(): void | Promise<void>;
}

/** The facts of layers, by key. A store of this kind may lose them at any time: they only cost work. */
export interface LayerFactsStore {
  get(key: string): Promise<LayerFacts | undefined>;
  /** Keeps facts; never rejects. */
  put(key: string, facts: LayerFacts): Promise<void>;
  /**
   * Where several processes share the store: waits until no other of them reads the layer, and keeps them from it until
   * the lock is released. The facts may be there afterwards: ask again before reading. A lock saves work, nothing depends
   * on it: when nobody can be asked it is granted, and where no sign of life comes from its holder it goes to the next.
   * `onWait` is called, once or more, when another holds it.
   *
   * Who waits for a lock holds nothing that the reading of another layer needs (memory, a connection), and who has one
   * reads its layer without waiting for another: so no two processes ever wait for each other.
   *
   * @throws the signal's reason, nothing else.
   */
  lock?(key: string, signal: AbortSignal, onWait?: () => void): Promise<LayerLock>;
}

/** The right to read a layer; disposing of it releases it and never rejects. */
export interface LayerLock extends AsyncDisposable {
  /** True when nobody has had it before: then facts that were not there when it was asked for are not there now either. */
  readonly isFirst: boolean;
}

/** A directory of small files, injected so that nothing below main opens one. Names have no `/` in them. */
export interface FileStore {
  /** Undefined when there is none. */
  read(name: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Writes a file whole or not at all: what others read is never half of it. */
  write(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  list(): Promise<readonly { readonly name: string; readonly bytes: number; readonly usedAt: number }[]>;
  /** Marks a file as used now. */
  touch(name: string): Promise<void>;
  remove(name: string): Promise<void>;
}
