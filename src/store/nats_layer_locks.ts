/**
 * Locks of layers in a key-value bucket of NATS JetStream. A lock is a key that its holder rewrites now and then; whoever
 * waits sees that (no polling), and takes the key over once it has stayed the same for the length of a lease on the waiting
 * daemon's own clock. So no two clocks are ever compared. Each write names the revision that it replaces, so only one of
 * several succeeds.
 *
 * @module
 */
import type { KV, KvEntry } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/transport-node";
import { LIMITS } from "../core/limits.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { LayerLock } from "../core/store.ts";
import { sha256Hex } from "../lib/sha256.ts";
import { isConflict } from "./nats_errors.ts";
import { openLayerBucket } from "./nats_bucket.ts";

/** Options of {@link NatsLayerLocks}. */
export interface NatsLayerLocksOptions {
  readonly connection: NatsConnection;
  /** Name of the bucket. */
  readonly bucket: string;
  /** Servers that keep each key; undefined leaves the bucket as it is, and makes it with one. */
  readonly replicas: number | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Makes names that no other process makes. */
  readonly newId: () => string;
}

/** A lock that was granted because nobody could be asked. */
const UNLOCKED: LayerLock = { isFirst: false, [Symbol.asyncDispose]: () => Promise.resolve() };

/** Gives out locks; see LayerFactsStore.lock in core/store.ts. */
export class NatsLayerLocks {
  readonly #options: NatsLayerLocksOptions;
  #kv: Promise<KV> | undefined;
  /** How often the connection was lost or came back. */
  #breaks = 0;
  /** When nobody could be asked, first and last. */
  #silence: { readonly since: number; readonly until: number } | undefined;

  constructor(options: NatsLayerLocksOptions) {
    this.#options = options;
    void this.#countBreaks();
  }

  /**
   * Waits for the lock of a key. `onWait` is called whenever another holds it.
   *
   * @throws the signal's reason, nothing else.
   */
  async lock(key: string, signal: AbortSignal, onWait?: () => void): Promise<LayerLock> {
    const { clock, logger, newId } = this.#options;
    const name = sha256Hex(key);
    const id = newId();
    for (let abandoned: number | undefined;;) {
      signal.throwIfAborted();
      try {
        const kv = await this.#open();
        const taken = await take(kv, name, id, abandoned);
        if (taken === undefined) onWait?.();
        abandoned = taken === undefined ? await this.#abandoned(kv, name, signal) : undefined;
        this.#silence = undefined;
        if (taken !== undefined) return this.#held(kv, name, id, taken);
      } catch (error) {
        signal.throwIfAborted();
        if (this.#silentFor() >= LIMITS.layerLockMs) {
          logger.warn("Layers cannot be locked, other daemons may read them too", { error });
          return UNLOCKED;
        }
        await clock.sleep(LIMITS.storeRetryMinMs, signal);
      }
    }
  }

  /**
   * Watches a key that another holds. Resolves once it is released (undefined), or with the revision that stayed the same
   * for the length of a lease.
   */
  async #abandoned(kv: KV, name: string, signal: AbortSignal): Promise<number | undefined> {
    const { clock } = this.#options;
    const watcher = await kv.watch({ key: name });
    const stop = (): void => watcher.stop();
    let silence = new AbortController();
    let over = false;
    const restart = (): void => {
      silence.abort();
      silence = new AbortController();
      const breaks = this.#breaks;
      clock.sleep(LIMITS.layerLockMs, silence.signal).then(() => {
        // While NATS was away the holder could give no sign of life: it gets its time once more.
        over = breaks === this.#breaks;
        stop();
      }, () => {});
    };
    signal.addEventListener("abort", stop, { once: true });
    try {
      restart();
      let revision: number | undefined;
      for await (const entry of watcher) {
        if (signal.aborted || entry.operation !== "PUT") return undefined;
        revision = entry.revision;
        restart();
      }
      return over ? revision : undefined;
    } finally {
      silence.abort();
      signal.removeEventListener("abort", stop);
      stop();
    }
  }

  async #countBreaks(): Promise<void> {
    for await (const { type } of this.#options.connection.status()) {
      if (type === "disconnect" || type === "reconnect") this.#breaks++;
    }
  }

  /** Gives signs of life until the lock is released or another has it. */
  #held(kv: KV, name: string, id: string, taken: Taken): LayerLock {
    const { clock } = this.#options;
    const released = new AbortController();
    let revision: number | undefined = taken.revision;
    const beating = (async () => {
      let wait: number = LIMITS.layerLockHeartbeatMs;
      while (revision !== undefined) {
        await clock.sleep(wait, released.signal);
        try {
          revision = await prolong(kv, name, id, revision);
          wait = LIMITS.layerLockHeartbeatMs;
        } catch {
          // A server that starts again is back before the others give this one up.
          wait = LIMITS.storeRetryMinMs;
        }
      }
    })().catch(() => {});
    return {
      isFirst: taken.isFirst,
      [Symbol.asyncDispose]: async () => {
        released.abort();
        await beating;
        if (revision !== undefined) await kv.delete(name, { previousSeq: revision }).catch(() => {});
      },
    };
  }

  /**
   * How long nobody could be asked, this time included. After the length of a lease everybody's locks count as given up:
   * their holders cannot give a sign of life either.
   */
  #silentFor(): number {
    const now = this.#options.clock.now();
    const { since, until } = this.#silence ?? { since: now, until: now };
    this.#silence = { since: now - until > LIMITS.layerLockMs ? now : since, until: now };
    return now - this.#silence.since;
  }

  async #open(): Promise<KV> {
    const opening = this.#kv ??= openBucket(this.#options);
    try {
      return await opening;
    } catch (error) {
      if (this.#kv === opening) this.#kv = undefined;
      throw error;
    }
  }
}

async function openBucket({ connection, bucket: name, replicas }: NatsLayerLocksOptions): Promise<KV> {
  const description = "Outpost: layers that are read now";
  return (await openLayerBucket(connection, { name, description, replicas, ttl: LIMITS.layerLockKeptMs })).kv;
}

/** A key that was taken. */
interface Taken {
  readonly revision: number;
  /** Nobody has had it within LIMITS.layerLockKeptMs: what is left of a released one would be there. */
  readonly isFirst: boolean;
}

/**
 * Takes a key that nobody holds, or whose revision is still the `abandoned` one.
 *
 * @returns Undefined when another holds the key.
 */
async function take(kv: KV, name: string, id: string, abandoned: number | undefined): Promise<Taken | undefined> {
  if (abandoned === undefined) {
    // Most locks are of layers that nobody ever read.
    const made = await write(kv, name, id, 0);
    if (made !== undefined) return { revision: made, isFirst: true };
  }
  const entry = await kv.get(name);
  if (entry !== null && isOwn(entry, id)) return { revision: entry.revision, isFirst: false };
  const held = entry !== null && entry.operation === "PUT";
  if (held && entry.revision !== abandoned) return undefined;
  const revision = await write(kv, name, id, entry?.revision ?? 0);
  return revision === undefined ? undefined : { revision, isFirst: false };
}

/** Rewrites an own key; undefined when another has it. */
async function prolong(kv: KV, name: string, id: string, revision: number): Promise<number | undefined> {
  const written = await write(kv, name, id, revision);
  if (written !== undefined) return written;
  // The answer to an earlier sign was lost, or another took the lock.
  const entry = await kv.get(name);
  return isOwn(entry, id) ? entry?.revision : undefined;
}

/** Writes a key if its last revision is still the one (0: none); undefined when it is not. */
async function write(kv: KV, name: string, id: string, previousSeq: number): Promise<number | undefined> {
  try {
    return await kv.put(name, id, { previousSeq });
  } catch (error) {
    if (isConflict(error)) return undefined;
    throw error;
  }
}

function isOwn(entry: KvEntry | null, id: string): boolean {
  return entry !== null && entry.operation === "PUT" && entry.string() === id;
}
