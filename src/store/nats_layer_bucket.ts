/**
 * Buckets of NATS JetStream for facts and locks of layers.
 *
 * @module
 */
import { jetstream, type JetStreamManager } from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/transport-node";
import { LIMITS } from "../core/limits.ts";
import { makeTogether } from "./nats_errors.ts";

/** Options of {@link openLayerBucket}. */
export interface LayerBucketOptions {
  readonly connection: NatsConnection;
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
export async function openLayerBucket(options: LayerBucketOptions): Promise<LayerBucket> {
  const { connection, name, description, replicas, ttl = 0 } = options;
  const client = jetstream(connection, { timeout: LIMITS.layerStoreAnswerMs });
  const manager = await client.jetstreamManager();
  // Answers of the leader alone: a replica that lags behind would have a layer read twice.
  const settings = { history: 1, replicas: replicas ?? 1, description, ttl, allow_direct: false };
  const kv = await makeTogether(() => new Kvm(client).create(name, { ...settings }));
  const stream = `KV_${name}`;
  const { config } = await manager.streams.info(stream);
  if (replicas !== undefined && config.num_replicas !== replicas) {
    await manager.streams.update(stream, { num_replicas: replicas });
  }
  return { kv, manager, stream };
}
