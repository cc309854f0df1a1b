/**
 * Accepted scans in memory: first come, first served, a bounded number at once.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";

/** What {@link ScanQueue} works with. */
export interface ScanQueueOptions<Job> {
  /** Jobs that run at once; MAX_ACTIVE_OPERATIONS. */
  readonly concurrency: number;
  /** Runs one job. Must not reject: a job reports its own failures. */
  readonly run: (job: Job, signal: AbortSignal) => Promise<void>;
  /** Told the number of waiting and running jobs after each change. */
  readonly onDepth?: ((depth: number) => void) | undefined;
}

/** A queue that forgets nothing while the process lives, and refuses rather than grows without bound. */
export class ScanQueue<Job> {
  readonly #options: ScanQueueOptions<Job>;
  readonly #waiting: Job[] = [];
  readonly #running = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  #closed = false;

  constructor(options: ScanQueueOptions<Job>) {
    this.#options = options;
  }

  /** Waiting and running jobs. */
  get depth(): number {
    return this.#waiting.length + this.#running.size;
  }

  /**
   * Accepts a job.
   *
   * @throws {OutpostError} BUSY when too many wait or the queue is closing.
   */
  add(job: Job): void {
    if (this.#closed) throw new OutpostError("BUSY", "Cannot accept the scan: the process is stopping");
    if (this.#waiting.length >= LIMITS.queuedScans) {
      throw new OutpostError("BUSY", `Cannot accept the scan: ${this.#waiting.length} scans are waiting`, {
        hint: "Send it again later.",
      });
    }
    this.#waiting.push(job);
    this.#pump();
  }

  #pump(): void {
    while (!this.#stop.signal.aborted && this.#running.size < this.#options.concurrency) {
      const job = this.#waiting.shift();
      if (job === undefined) break;
      const running = this.#options.run(job, this.#stop.signal).finally(() => {
        this.#running.delete(running);
        this.#pump();
      });
      this.#running.add(running);
    }
    this.#options.onDepth?.(this.depth);
  }

  /**
   * Takes no more jobs. Those that were accepted go on, also the waiting ones, since nobody else knows of them; when
   * `deadline` aborts, the running ones are cancelled. Returns the jobs that never started.
   */
  async close(deadline: AbortSignal): Promise<readonly Job[]> {
    this.#closed = true;
    const cancel = (): void => this.#stop.abort(new OutpostError("CANCELLED", "The process is stopping"));
    if (deadline.aborted) cancel();
    else deadline.addEventListener("abort", cancel, { once: true });
    while (this.#running.size > 0) await Promise.all(this.#running);
    deadline.removeEventListener("abort", cancel);
    return this.#waiting.splice(0);
  }
}
