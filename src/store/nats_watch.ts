/**
 * Following the keys of a bucket: first what there is, then each change, in their order. After the connection was away,
 * everything once more.
 *
 * @module
 */
import {
  DeliverPolicy,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
  type PushConsumer,
} from "@nats-io/jetstream";
import { LIMITS } from "../core/limits.ts";
import type { Clock } from "../core/ports.ts";
import type { BucketEntry } from "./nats_connection.ts";
import { queueError } from "./nats_errors.ts";

/** What a watch tells. Nothing in it waits. */
export interface WatchHandler {
  /**
   * All there is will be told, the newest with revision `last`: who knows of a newer one knows what NATS has lost, after a
   * power failure for instance.
   */
  began(last: number): void;
  /** An entry as it is now, or that it was taken away. */
  entry(entry: BucketEntry): void;
  /** All there is was told. A key that is not in `keys` and whose revision is at most `upTo` is there no more. */
  synced(keys: ReadonlySet<string>, upTo: number): void;
}

/** Options of {@link BucketWatch}. */
export interface BucketWatchOptions {
  /** Makes the bucket when it is gone. */
  readonly ensure: () => Promise<void>;
  readonly client: JetStreamClient;
  readonly manager: JetStreamManager;
  readonly stream: string;
  /** Subject of the keys. */
  readonly filter: string;
  /** Length of what comes before the key in a subject. */
  readonly prefix: number;
  readonly handler: WatchHandler;
  readonly clock: Clock;
}

type Messages = Awaited<ReturnType<PushConsumer["consume"]>>;

/** A watch that goes on until it is stopped. */
export class BucketWatch {
  readonly #options: BucketWatchOptions;
  readonly #stop = new AbortController();
  #messages: Messages | undefined;
  #consumer: PushConsumer | undefined;
  #checking: Promise<void> | undefined;
  #running: Promise<void> | undefined;
  #again = false;
  #synced = false;

  constructor(options: BucketWatchOptions) {
    this.#options = options;
  }

  /** Whether everything was told since the connection is there. */
  get synced(): boolean {
    return this.#synced;
  }

  /**
   * Begins; resolves when all there is was told.
   *
   * @throws {OutpostError} STORE_UNAVAILABLE or STORE_UNUSABLE when it cannot.
   */
  async start(): Promise<void> {
    this.#checking = this.#check();
    try {
      await this.#follow();
    } catch (error) {
      throw queueError("Cannot follow the queue", error, { opening: true });
    }
  }

  /** Tells everything once more: something may have been missed. */
  restart(): void {
    this.#synced = false;
    this.#again = true;
    // What still waits for the rest of before ends.
    this.#messages?.stop();
    this.#running ??= this.#followAgain().finally(() => this.#running = undefined);
  }

  /** Ends. Never rejects. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#messages?.stop();
    await Promise.all([this.#running, this.#checking]);
  }

  /** Begins anew when the server does not know the watch any more. */
  async #check(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#options.clock.sleep(LIMITS.queueWatchCheckMs, signal).catch(() => {});
      const consumer = this.#consumer;
      if (consumer === undefined || signal.aborted) continue;
      const lives = await consumer.info().then(() => true, () => false);
      if (!lives && consumer === this.#consumer && !signal.aborted) this.restart();
    }
  }

  async #followAgain(): Promise<void> {
    const { clock } = this.#options;
    while (this.#again && !this.#stop.signal.aborted) {
      this.#again = false;
      try {
        await this.#options.ensure();
        await this.#follow();
      } catch {
        // The server has just come back: streams may need a moment until they have a leader.
        this.#again = true;
        await clock.sleep(LIMITS.queueReconnectMs, this.#stop.signal).catch(() => {});
      }
    }
  }

  async #follow(): Promise<void> {
    const { client, manager, stream, filter, handler, prefix } = this.#options;
    this.#messages?.stop();
    const { state } = await manager.streams.info(stream);
    handler.began(state.last_seq);
    const consumer = await client.consumers.getPushConsumer(stream, {
      deliver_policy: DeliverPolicy.LastPerSubject,
      filter_subjects: filter,
    });
    const { num_pending: count } = await consumer.info(true);
    const keys = new Set<string>();
    const told = Promise.withResolvers<void>();
    const end = (): void => {
      this.#synced = true;
      handler.synced(keys, state.last_seq);
      told.resolve();
    };
    const messages = await consumer.consume({
      callback: (message) => {
        const entry = entryOf(message, prefix);
        handler.entry(entry);
        if (this.#synced || messages !== this.#messages) return;
        keys.add(entry.key);
        if (keys.size >= count || message.info.pending === 0) end();
      },
    });
    this.#messages = messages;
    this.#consumer = consumer;
    if (this.#stop.signal.aborted) messages.stop();
    if (count === 0) end();
    // Lost on the way when the connection is: then it begins anew.
    void messages.closed().then(() => told.resolve());
    await told.promise;
  }
}

function entryOf(message: JsMsg, prefix: number): BucketEntry {
  const operation = message.headers?.get("KV-Operation") ?? "";
  return {
    key: message.subject.slice(prefix),
    value: message.data,
    revision: message.seq,
    removed: operation !== "",
  };
}
