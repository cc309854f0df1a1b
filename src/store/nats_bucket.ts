/**
 * Key-value buckets of NATS JetStream, which every daemon makes that finds none.
 *
 * @module
 */
import { jetstream, type JetStreamClient, type JetStreamManager } from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/transport-node";
import { LIMITS } from "../core/limits.ts";
import { isBeingMade } from "./nats_errors.ts";

/** What a bucket is like. */
export interface BucketSettings {
  readonly name: string;
  readonly description: string;
  /** Servers that keep each message; undefined leaves the bucket as it is, and makes it with one. */
  readonly replicas: number | undefined;
  /** Milliseconds after which a message is forgotten; by default never. */
  readonly ttl?: number;
}

/** A bucket and the stream below it. */
export interface LayerBucket {
  readonly kv: KV;
  readonly manager: JetStreamManager;
  readonly stream: string;
}

/** Opens a bucket; makes it when there is none. */
export async function openBucket(
  client: JetStreamClient,
  manager: JetStreamManager,
  { name, description, replicas, ttl = 0 }: BucketSettings,
): Promise<KV> {
  // Answers of the leader alone: a replica may lag behind.
  const settings = { history: 1, replicas: replicas ?? 1, description, ttl, allow_direct: false };
  const kv = await makeTogether(() => new Kvm(client).create(name, { ...settings }));
  const { config } = await manager.streams.info(streamOf(name));
  if (replicas !== undefined && config.num_replicas !== replicas) {
    await manager.streams.update(streamOf(name), { num_replicas: replicas });
  }
  return kv;
}

/** Opens a bucket of layers, on a client of its own: reading a layer waits less long for NATS than keeping a job does. */
export async function openLayerBucket(connection: NatsConnection, settings: BucketSettings): Promise<LayerBucket> {
  const client = jetstream(connection, { timeout: LIMITS.layerStoreAnswerMs });
  const manager = await client.jetstreamManager();
  return { kv: await openBucket(client, manager, settings), manager, stream: streamOf(settings.name) };
}

/** Makes a bucket that other daemons may be making too: until one is done, JetStream refuses the others. */
export async function makeTogether<T>(make: () => Promise<T>): Promise<T> {
  for (let attempts = LIMITS.bucketAttempts;; attempts--) {
    try {
      return await make();
    } catch (error) {
      if (attempts <= 1 || !isBeingMade(error)) throw error;
    }
  }
}

function streamOf(bucket: string): string {
  return `KV_${bucket}`;
}
