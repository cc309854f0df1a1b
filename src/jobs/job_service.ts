/**
 * Accepted scans: kept in the store, worked on a bounded number at once, each to exactly one end.
 *
 * @module
 */
import { OutpostError, toOutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { CallbackTransport } from "../core/ports.ts";
import type { JobDetail, JobFilter, JobSummary, LeasedJob } from "../core/store.ts";
import { backoff } from "../lib/backoff.ts";
import type { IdleScans } from "../lib/idle_scans.ts";
import { Alarm } from "./alarm.ts";
import { errorText } from "./callback_body.ts";
import type { CredentialBox } from "./credential_box.ts";
import { abandoned, cancelledByOperator, Deferral, LostJob, notFound } from "./job_errors.ts";
import { type DeliveryOutcome, Outbox } from "./outbox.ts";
import { persist } from "./persist.ts";
import { decodeRequest, encodeRequest, type ScanJob, type StoredRequest, targetName } from "./scan_job.ts";
import { type TargetEnd, TargetScanner, type TargetScannerOptions } from "./scan_target.ts";

/** What {@link JobService} works with. */
export interface JobServiceOptions extends TargetScannerOptions {
  readonly transport: CallbackTransport;
  readonly box: CredentialBox;
  /** Requests that are scanned at once; MAX_ACTIVE_OPERATIONS. */
  readonly concurrency: number;
  /** Scans that wait for other daemons alone: as many more are begun, up to LIMITS.scansBesideIdle. @default none */
  readonly idle?: Pick<IdleScans, "count" | "onIdle"> | undefined;
  /** Times that one image is begun; OUTPOST_SCAN_ATTEMPTS. @default LIMITS.scanAttempts */
  readonly attempts?: number | undefined;
  /** Masks secrets in an error's text: a registry's own words may repeat what it was sent. */
  readonly redact: (text: string) => string;
  /** What has ended is kept for so long, and so many bytes of results. */
  readonly retention: { readonly ms: number; readonly bytes: number };
  readonly onCallback?: ((outcome: DeliveryOutcome) => void) | undefined;
  /** Told the number of waiting and running jobs after each change. */
  readonly onDepth?: ((depth: number) => void) | undefined;
}

/** Accepts jobs, runs them and reports on them. */
export class JobService {
  readonly #options: JobServiceOptions;
  readonly #scanner: TargetScanner;
  readonly #outbox: Outbox;
  readonly #alarm: Alarm;
  readonly #owner: string;
  readonly #attempts: number;
  readonly #running = new Map<string, { readonly done: Promise<void>; readonly cancel: AbortController }>();
  readonly #stop = new AbortController();
  #closed = false;
  #draining = false;
  #loop: Promise<void> | undefined;
  #purgeAt = 0;
  /** When the leases are prolonged next; undefined while there are none. */
  #beatAt: number | undefined;

  constructor(options: JobServiceOptions) {
    this.#options = options;
    this.#attempts = options.attempts ?? LIMITS.scanAttempts;
    this.#scanner = new TargetScanner(options);
    this.#alarm = new Alarm(options.clock);
    this.#owner = options.newId();
    const { store, transport, clock, logger, pause, onCallback } = options;
    const onChange = (): void => this.#alarm.ring();
    const owner = this.#owner;
    this.#outbox = new Outbox({ store, owner, transport, clock, logger, pause, onOutcome: onCallback, onChange });
    store.onChange?.(() => this.wake());
    options.idle?.onIdle(onChange);
  }

  /** Begins with what the store has. */
  start(): void {
    this.#loop ??= this.#run();
    this.#outbox.start();
  }

  /** Looks at the store again: it has something new, or what could not be sent may be sent now. */
  wake(): void {
    this.#alarm.ring();
    this.#outbox.wake();
  }

  /** Why the store can neither be read nor written now; undefined when it can. */
  get problem(): string | undefined {
    return this.#options.store.problem?.();
  }

  /**
   * Accepts a job: when this resolves it is as safe as the store makes it. The same request is accepted once.
   *
   * @throws {OutpostError} BUSY when too many wait or the process stops, STORE_UNAVAILABLE when it cannot be kept.
   */
  async accept(job: ScanJob): Promise<{ readonly id: string; readonly duplicate: boolean }> {
    if (this.#closed) throw new OutpostError("BUSY", "Cannot accept the scan: the process is stopping");
    const { store, clock, box, logger } = this.#options;
    const accepted = await store.accept({
      id: job.id,
      requestId: job.requestId,
      kind: job.kind,
      total: job.targets.length,
      closing: job.callbacks.done !== undefined,
      request: encodeRequest(job),
      credentials: await box.seal(job.credentials, job.connection),
      acceptedAt: clock.now(),
      maxQueued: LIMITS.queuedScans,
    });
    const { id, requestId, targets } = job;
    if (accepted.duplicate) logger.info("Scan request was accepted before", { id: accepted.id, requestId });
    else logger.info("Scan accepted", { id, requestId, images: targets.length });
    this.#alarm.ring();
    return accepted;
  }

  /** Jobs, newest first. */
  async list(filter: JobFilter): Promise<readonly JobSummary[]> {
    return await this.#options.store.list(filter);
  }

  /**
   * One job with its callbacks.
   *
   * @throws {OutpostError} JOB_NOT_FOUND.
   */
  async show(id: string): Promise<JobDetail> {
    const job = await this.#options.store.job(id);
    if (job === undefined) throw notFound(id);
    return job;
  }

  /**
   * Ends a job that is not yet reporting: its remaining images are reported as cancelled.
   *
   * @throws {OutpostError} JOB_NOT_FOUND, or JOB_STATE when it has been scanned already.
   */
  async cancel(id: string): Promise<void> {
    const { store, clock } = this.#options;
    const state = await store.cancel(id, clock.now());
    if (state === undefined) throw notFound(id);
    if (state !== "queued" && state !== "scanning") {
      throw new OutpostError("JOB_STATE", `Cannot cancel ${id}: it is ${state}`, {
        hint: "Only a job that is queued or scanning can be cancelled.",
      });
    }
    this.#running.get(id)?.cancel.abort(cancelledByOperator());
    this.#alarm.ring();
  }

  /**
   * Sends a job's dead callbacks again, or, when it has none, scans its images again as a new job.
   *
   * @throws {OutpostError} JOB_NOT_FOUND, or JOB_STATE when it is under way or its credentials are forgotten.
   */
  async retry(id: string): Promise<{ readonly id: string; readonly resent: number }> {
    const { store, clock, box, newId } = this.#options;
    const resent = await store.resend(id, clock.now());
    if (resent > 0) {
      this.#outbox.wake();
      return { id, resent };
    }
    const { state, request, kind, credentials } = await this.show(id);
    if (state !== "done" && state !== "partial" && state !== "failed") {
      throw new OutpostError("JOB_STATE", `Cannot retry ${id}: it is ${state}`, { hint: "It goes on by itself." });
    }
    if (credentials.length === 0) {
      throw new OutpostError("JOB_STATE", `Cannot retry ${id}: the credentials that came with it are forgotten`, {
        hint: "Ask for the scan again at Snyk.",
      });
    }
    const stored = decodeRequest(request);
    const fresh = newId();
    const opened = await box.open(credentials, stored.connection);
    await this.accept({ ...stored, id: fresh, requestId: fresh, kind, credentials: opened });
    return { id: fresh, resent: 0 };
  }

  /**
   * Takes no more jobs. Running scans may finish until `deadline` aborts; then they are cut short and begun again by the
   * next process. What is not durable is worked off as far as the time allows, since nobody else knows of it.
   */
  async close(deadline: AbortSignal): Promise<void> {
    this.#closed = true;
    this.#draining = true;
    const cancel = (): void => {
      this.#stop.abort(new OutpostError("CANCELLED", "The process is stopping"));
      this.#alarm.ring();
    };
    if (deadline.aborted) cancel();
    else deadline.addEventListener("abort", cancel, { once: true });
    this.#alarm.ring();
    await this.#loop;
    deadline.removeEventListener("abort", cancel);
    await this.#outbox.stop(new OutpostError("CANCELLED", "The process is stopping"));
    await this.#tellRest();
    const { store, clock, logger } = this.#options;
    // Callbacks that were cut short are another's at once.
    const now = clock.now();
    if (store.shared) {
      await store.heartbeat({ owner: this.#owner, now, until: now }).catch((error: unknown) =>
        logger.warn("Leases cannot be ended, others take over when they are over", { error: toOutpostError(error) })
      );
    }
    await store.close();
  }

  async #tellRest(): Promise<void> {
    const { store, logger } = this.#options;
    const rest = await store.list({ limit: LIMITS.listedJobs }).catch(() => []);
    for (const { id, requestId, state } of rest) {
      if (state === "done" || state === "partial" || state === "failed") continue;
      if (store.durable) logger.info("Scan request goes on after the next start", { id, requestId, state });
      else if (state === "queued") logger.error("Scan request dropped: the process is stopping", { id, requestId });
      else logger.error("Scan request not finished", { id, requestId, state });
    }
  }

  async #run(): Promise<void> {
    const { clock, logger } = this.#options;
    for (;;) {
      let until: number | undefined;
      try {
        until = await this.#turn();
      } catch (error) {
        logger.error("Scans cannot be read from the store", { error: toOutpostError(error) });
        until = clock.now() + LIMITS.storeRetryMaxMs;
      }
      if (this.#draining && await this.#drained()) break;
      await this.#alarm.wait(until);
    }
    await Promise.all([...this.#running.values()].map(({ done }) => done));
  }

  /** Whether there is nothing left that a stopping process waits for. */
  async #drained(): Promise<boolean> {
    if (this.#running.size > 0) return false;
    if (this.#stop.signal.aborted) return true;
    const { store } = this.#options;
    if (store.durable) return this.#outbox.idle;
    const { queued, scanning, pending } = await store.backlog();
    return queued + scanning + pending === 0;
  }

  /** Does what is due; answers when the next thing is. */
  async #turn(): Promise<number | undefined> {
    const { store, clock, concurrency, onDepth } = this.#options;
    const claims = !this.#stop.signal.aborted && !(this.#draining && store.durable);
    while (claims && this.#running.size < concurrency + this.#spare() && await this.#hasRoom()) {
      const now = clock.now();
      const job = await store.claim({ owner: this.#owner, now, until: now + LIMITS.jobLeaseMs });
      if (job === undefined) break;
      if (!this.#running.has(job.id)) this.#begin(job);
    }
    const now = clock.now();
    await this.#keepLeases(now);
    if (now >= this.#purgeAt) await this.#purge(now);
    const { queued, scanning } = await store.backlog();
    onDepth?.(queued + scanning);
    const times = [
      await store.nextDue(now) ?? Infinity,
      this.#beatAt ?? Infinity,
      store.durable || queued + scanning > 0 ? this.#purgeAt : Infinity,
    ];
    const until = Math.min(...times);
    return Number.isFinite(until) ? until : undefined;
  }

  /** Scans that may be begun in place of those that wait for other daemons. */
  #spare(): number {
    return Math.min(this.#options.idle?.count ?? 0, LIMITS.scansBesideIdle);
  }

  /** Prolongs leases when it is time to, and ends scans of jobs that others have or that others cancelled. */
  async #keepLeases(now: number): Promise<void> {
    const { store } = this.#options;
    if (this.#running.size === 0 && this.#outbox.sending.length === 0) {
      this.#beatAt = undefined;
      return;
    }
    this.#beatAt ??= now + LIMITS.jobHeartbeatMs;
    if (now >= this.#beatAt) {
      this.#beatAt = now + LIMITS.jobHeartbeatMs;
      await store.heartbeat({ owner: this.#owner, now, until: now + LIMITS.jobLeaseMs }, this.#outbox.sending);
    }
    if (!store.shared || this.#running.size === 0) return;
    const held = new Map((await store.held(this.#owner)).map(({ id, cancelled }) => [id, cancelled]));
    for (const [id, { cancel }] of this.#running) {
      if (!held.has(id)) cancel.abort(new LostJob("Another process goes on with the job"));
      else if (held.get(id) === true) cancel.abort(cancelledByOperator());
    }
  }

  /** Results that nobody takes must not fill the disk. */
  async #hasRoom(): Promise<boolean> {
    const { store } = this.#options;
    const bound = store.durable ? LIMITS.pendingResultBytes : LIMITS.pendingResultMemoryBytes;
    return (await store.backlog()).pendingBytes <= bound;
  }

  async #purge(now: number): Promise<void> {
    const { store, retention, logger } = this.#options;
    const ms = store.durable ? retention.ms : Math.min(retention.ms, LIMITS.retentionEveryMs);
    const maxBytes = store.durable ? retention.bytes : Math.min(retention.bytes, LIMITS.resultMemoryBytes);
    const jobs = await store.purge({ now, before: now - ms, maxBytes });
    if (jobs > 0) logger.info("Jobs that ended long ago were taken away", { jobs });
    this.#purgeAt = now + (jobs < LIMITS.queuePurgedJobs ? LIMITS.retentionEveryMs : LIMITS.jobHeartbeatMs);
  }

  #begin(job: LeasedJob): void {
    const cancel = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, cancel.signal]);
    const done = this.#work(job, signal).finally(() => {
      this.#running.delete(job.id);
      this.#alarm.ring();
    });
    this.#running.set(job.id, { done, cancel });
  }

  /** Works on a job until it is reporting, deferred, or cut short. Never rejects. */
  async #work(job: LeasedJob, signal: AbortSignal): Promise<void> {
    const { store, clock, logger } = this.#options;
    const { id, requestId } = job;
    try {
      await this.#scanAll(job, signal);
    } catch (error) {
      if (error instanceof LostJob) {
        logger.warn("Scan request goes on elsewhere: this process was silent for too long", { id, requestId });
        return;
      }
      const owner = this.#owner;
      const stopped = this.#stop.signal.aborted;
      const known = toOutpostError(error);
      const put = async (): Promise<void> => {
        if (error instanceof Deferral) {
          const { code, message } = error.failure;
          const stored = { code, message: this.#options.redact(message) };
          await store.defer(id, { owner, notBefore: error.notBefore, now: clock.now(), error: stored });
        } else if (stopped) await store.release(id, { owner, now: clock.now() });
        else {
          logger.error("Scan request interrupted, trying again", { id, requestId, error: known });
          const notBefore = clock.now() + LIMITS.storeRetryMaxMs;
          const stored = { code: known.code, message: known.message };
          await store.defer(id, { owner, notBefore, now: clock.now(), error: stored });
        }
      };
      // When this fails too, the lease ends by itself.
      await put().catch((cause: unknown) =>
        logger.error("Scan request cannot be put back", { id, requestId, error: cause })
      );
    }
  }

  async #scanAll(job: LeasedJob, signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#options;
    const request = decodeRequest(job.request);
    let attempts = job.attempts;
    for (let sequence = job.position; sequence < job.total; sequence++) {
      const { exhausted, ...end } = await this.#end(job, request, sequence, attempts, signal);
      // What was waited for in vain is not waited for again with each of a thousand images, until one of them succeeds.
      if (exhausted === true) attempts = this.#attempts;
      else if (end.outcome !== "error") attempts = 1;
      const complete = (): Promise<boolean> => {
        const now = clock.now();
        const sendUntil = this.#outbox.sendUntil(now);
        return store.complete(job.id, { owner: this.#owner, sequence, ...end, sendUntil, now });
      };
      if (!await persist(complete, clock, this.#stop.signal)) throw new LostJob("The job is at another image");
      this.#outbox.wake();
    }
  }

  /**
   * How an image ends.
   *
   * @throws {Deferral} when it failed for a reason that may pass; the stop signal's reason when the process stops.
   */
  async #end(
    job: LeasedJob,
    request: StoredRequest,
    sequence: number,
    attempts: number,
    signal: AbortSignal,
  ): Promise<TargetEnd & { readonly exhausted?: boolean }> {
    const { clock, logger, onScan, redact, box } = this.#options;
    const target = request.targets[sequence];
    const { id, requestId } = job;
    const startedAt = clock.now();
    try {
      if (target === undefined) throw new OutpostError("INTERNAL", "Cannot scan: the request has no such image");
      if (job.cancelled) throw cancelledByOperator();
      if (attempts > this.#attempts) throw abandoned(targetName(target), this.#attempts);
      signal.throwIfAborted();
      const credentials = await box.open(job.credentials, request.connection);
      return await this.#scanner.scan({ id, requestId, request, sequence, target, credentials }, signal);
    } catch (error) {
      // A scan that this process cut short is not a result: nobody learns "error" because of a restart.
      this.#stop.signal.throwIfAborted();
      if (signal.reason instanceof LostJob) throw signal.reason;
      const known = signal.aborted ? cancelledByOperator() : toOutpostError(error);
      const log = { id, requestId, image: target && targetName(target), attempts, error: known };
      if (known.retryable && !signal.aborted && !job.cancelled && attempts < this.#attempts) {
        const { scanRetryMinMs: min, scanRetryMaxMs: max } = LIMITS;
        const wait = clock.now() + backoff(attempts, { min, max, random: clock.random() });
        logger.warn("Scan failed, trying again later", log);
        throw new Deferral(Math.max(wait, Math.min(known.retryAt ?? 0, clock.now() + max)), known);
      }
      onScan?.("error", clock.now() - startedAt);
      logger.error("Scan failed", log);
      const exhausted = known.retryable && attempts >= this.#attempts;
      return { outcome: "error", error: errorText(known, redact), exhausted };
    }
  }
}
