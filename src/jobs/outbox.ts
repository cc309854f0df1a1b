/**
 * Delivers callbacks at least once, in order within a job: what cannot be delivered now stays in the store and is tried
 * again, by this process or the next.
 *
 * @module
 */
import { OutpostError, toOutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { CallbackRequest, CallbackTransport, Clock, Logger } from "../core/ports.ts";
import type { JobState, PendingCallback, Store } from "../core/store.ts";
import { backoff } from "../lib/backoff.ts";
import { type Pause, unpack } from "../lib/packed.ts";
import { Alarm } from "./alarm.ts";
import { closingBody, resultBody } from "./callback_body.ts";
import { persist } from "./persist.ts";
import { decodeRequest, targetName } from "./scan_job.ts";

/** How an attempt at a callback ended. */
export type DeliveryOutcome = "delivered" | "refused" | "retried" | "abandoned";

/** What {@link Outbox} works with. */
export interface OutboxOptions {
  readonly store: Store;
  /** Whose leases those of callbacks are. */
  readonly owner: string;
  readonly transport: CallbackTransport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly pause: Pause;
  readonly onOutcome?: ((outcome: DeliveryOutcome) => void) | undefined;
  /** Called after each attempt, and when nothing more is due. */
  readonly onChange?: (() => void) | undefined;
}

/** Sends callbacks that are due, a bounded number at once, each of another job. */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #alarm: Alarm;
  readonly #sending = new Map<string, Promise<void>>();
  readonly #stop = new AbortController();
  /** Whether the store was not looked at since there may be something new. */
  #unseen = true;
  #loop: Promise<void> | undefined;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#alarm = new Alarm(options.clock);
  }

  /** Begins to deliver. */
  start(): void {
    this.#loop ??= this.#run();
  }

  /** Looks at the store again: there is something new. */
  wake(): void {
    this.#unseen = true;
    this.#alarm.ring();
  }

  /** Jobs with callbacks on their way. */
  get sending(): readonly string[] {
    return [...this.#sending.keys()];
  }

  /** Until when a callback that there will be is for this process to send; undefined when it is for whoever comes first. */
  sendUntil(now: number): number | undefined {
    return this.#options.store.shared && this.#mayTake() ? now + LIMITS.jobLeaseMs : undefined;
  }

  /** Whether nothing is on its way, and nothing was due when the store was looked at last. */
  get idle(): boolean {
    return !this.#unseen && this.#sending.size === 0;
  }

  /** Ends what is on its way when the signal aborts, and waits for it. The rest stays in the store. */
  async stop(reason: unknown): Promise<void> {
    this.#stop.abort(reason);
    this.#alarm.ring();
    await this.#loop;
    await Promise.all(this.#sending.values());
  }

  async #run(): Promise<void> {
    const { clock, logger, store } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      let until: number | undefined;
      try {
        await this.#fill();
        until = await store.nextDue(clock.now());
      } catch (error) {
        logger.error("Callbacks cannot be read from the store", { error: toOutpostError(error) });
        until = clock.now() + LIMITS.storeRetryMaxMs;
      }
      if (!signal.aborted) await this.#alarm.wait(until);
    }
  }

  async #fill(): Promise<void> {
    const { store, clock, owner, onChange } = this.#options;
    while (this.#sending.size < LIMITS.callbacksInFlight && !this.#stop.signal.aborted) {
      this.#unseen = false;
      const now = clock.now();
      const lease = { owner, now, until: now + LIMITS.jobLeaseMs };
      const next = this.#mayTake() ? await store.nextCallback(lease, this.sending) : undefined;
      if (next === undefined) {
        if (this.idle) onChange?.();
        return;
      }
      const sending = this.#deliver(next).finally(() => {
        this.#sending.delete(next.jobId);
        this.wake();
        onChange?.();
      });
      this.#sending.set(next.jobId, sending);
    }
  }

  /** What this process cannot send now is left to those that can. */
  #mayTake(): boolean {
    const { store, transport } = this.#options;
    return !store.shared || transport.canSend?.() !== false;
  }

  /** One attempt. Never rejects. */
  async #deliver(callback: PendingCallback): Promise<void> {
    const { store, owner, clock, logger, onOutcome } = this.#options;
    const { signal } = this.#stop;
    const { jobId, sequence } = callback;
    const log = { id: jobId, requestId: callback.requestId, sequence };
    try {
      const failure = await this.#send(callback);
      if (signal.aborted && failure !== undefined) return;
      const age = clock.now() - callback.createdAt;
      if (failure?.retryable === true && age < LIMITS.callbackGiveUpMs) {
        await this.#postpone(callback, failure);
        return;
      }
      const outcome = failure === undefined ? "delivered" : failure.retryable ? "abandoned" : "refused";
      if (failure !== undefined) {
        const image = decodeRequest(callback.request).targets[sequence];
        const what = image === undefined ? {} : { image: targetName(image) };
        logger.error(outcome === "refused" ? "Callback refused" : "Callback given up", {
          ...log,
          ...what,
          error: failure,
        });
      }
      const error = failure && { code: failure.code, message: failure.message };
      onOutcome?.(outcome);
      const settle = (): Promise<JobState> => store.settle(jobId, sequence, { owner, now: clock.now(), error });
      await persist(settle, clock, signal);
    } catch (error) {
      // It stays pending: the other side may see it twice, under the same key.
      if (!signal.aborted) {
        logger.error("The end of a callback cannot be stored", { ...log, error: toOutpostError(error) });
      }
    }
  }

  async #postpone({ jobId, sequence, attempts, kind }: PendingCallback, error: OutpostError): Promise<void> {
    const { store, owner, clock, logger, onOutcome } = this.#options;
    const { retryMinMs: min, retryMaxMs: max } = LIMITS;
    const waitMs = backoff(attempts + 1, { min, max, random: clock.random() });
    logger.warn("Callback not delivered, trying again", {
      id: jobId,
      sequence,
      kind,
      attempt: attempts + 1,
      waitMs,
      error,
    });
    onOutcome?.("retried");
    const nextAt = clock.now() + waitMs;
    await persist(() => store.postpone(jobId, sequence, { owner, nextAt }), clock, this.#stop.signal);
  }

  async #send(callback: PendingCallback): Promise<OutpostError | undefined> {
    try {
      const request = await this.#request(callback);
      const { status } = await this.#options.transport.send(request, this.#stop.signal);
      if (status >= 200 && status < 300) return undefined;
      const retryable = status === 408 || status === 429 || status >= 500;
      return new OutpostError("BROKER_REFUSED", `Cannot deliver ${request.path}: the server answered ${status}`, {
        retryable,
        status,
      });
    } catch (error) {
      return toOutpostError(error);
    }
  }

  async #request(callback: PendingCallback): Promise<CallbackRequest> {
    const { jobId: id, sequence, requestId, kind } = callback;
    const request = decodeRequest(callback.request);
    const { result, done, origin } = request.callbacks;
    const headers = {
      "content-type": "application/json",
      "snyk-request-id": requestId,
      "idempotency-key": `${id}-${sequence}`,
    };
    const to = { headers, origin, connection: request.connection };
    if (kind === "closing") return { ...to, path: done ?? result, body: closingBody(request, id, callback.totals) };
    const target = request.targets[sequence];
    if (target === undefined) throw new OutpostError("INTERNAL", "Cannot deliver a callback: its image is unknown");
    const text = callback.error ?? await this.#result(callback.resultKey);
    return { ...to, path: result, body: resultBody(request, target, text, { id, sequence }) };
  }

  async #result(key: string | undefined): Promise<string> {
    const { store, clock, pause } = this.#options;
    const packed = key === undefined ? undefined : await store.result(key, clock.now());
    if (packed === undefined) throw new OutpostError("INTERNAL", "Cannot deliver a callback: its result is gone");
    return new TextDecoder().decode(await unpack(packed, LIMITS.brokerRequestBodyBytes, pause));
  }
}
