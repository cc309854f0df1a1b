/**
 * The shared queue (OUTPOST_QUEUE): jobs of several daemons on NATS JetStream, facts of layers that all of them use, and
 * the key that they have in common.
 *
 * Loaded only where there is one: a daemon without holds nothing of NATS in memory.
 *
 * @module
 */
import type { Config, QueueConfig } from "./config/load.ts";
import { OutpostError } from "./core/errors.ts";
import type { Clock, Logger } from "./core/ports.ts";
import type { LayerFactsStore, Store } from "./core/store.ts";
import { NatsLink, type QueueTarget } from "./store/nats_connection.ts";
import { NatsLayers } from "./store/nats_layers.ts";
import { NatsStore } from "./store/nats_store.ts";
import type { Metrics } from "./telemetry/metrics.ts";
import { eventLoop } from "./world.ts";

/** Begins the names of all buckets. */
const PREFIX = "outpost";
const KEY_BYTES = 32;
/** Rounds of PBKDF2 for a key that somebody thought of (OWASP's advice for HMAC-SHA-256); it is made once. */
const PASSPHRASE_ROUNDS = 600_000;
const KEY_PURPOSE = new TextEncoder().encode("Outpost: credentials of requests in the shared queue");

/** Options of {@link openQueue}. */
export interface QueueOptions {
  readonly queue: QueueConfig;
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly newId: () => string;
}

/** What daemons share. */
export interface SharedQueue {
  /** Closing it ends the connection. */
  readonly store: Store;
  readonly layers: LayerFactsStore;
}

/**
 * Connects to NATS and reads what is in the queue.
 *
 * @throws {OutpostError} STORE_UNAVAILABLE or STORE_UNUSABLE, with advice.
 */
export async function openQueue(options: QueueOptions): Promise<SharedQueue> {
  const { queue, config, clock, logger, metrics, newId } = options;
  const link = await NatsLink.open({
    target: targetOf(queue, config.tls.caCerts),
    name: "outpost",
    clock,
    onState: (connected, reason) => {
      metrics.queueConnected.set({}, connected ? 1 : 0);
      if (connected) logger.info("Connected to the queue");
      else logger.warn("The queue is not reached, trying again", reason === undefined ? {} : { reason });
    },
    onWrite: (milliseconds) => metrics.storeWriteSeconds.observe(milliseconds / 1000),
  });
  try {
    const store = await NatsStore.open({ link, prefix: PREFIX, replicas: queue.replicas, newId });
    const layers = new NatsLayers({
      connection: link.connection,
      prefix: PREFIX,
      replicas: queue.replicas,
      maxBytes: config.data.cacheBytes,
      clock,
      pause: eventLoop.turn,
      logger: logger.child("layers"),
      newId,
      // Beside a data directory the gauge is that of its disk.
      onBytes: config.data.directory === undefined ? (bytes) => metrics.layerCacheBytes.set({}, bytes) : undefined,
    });
    return { store, layers };
  } catch (error) {
    await link.close();
    throw error;
  }
}

function targetOf(queue: QueueConfig, caCerts: readonly string[]): QueueTarget {
  const isEncrypted = queue.caCerts.length > 0 || queue.clientCert !== undefined ||
    queue.servers.some((server) => server.startsWith("tls:"));
  return {
    servers: queue.servers,
    user: queue.user,
    password: queue.password?.reveal(),
    token: queue.token?.reveal(),
    credentials: queue.credentials?.reveal(),
    // Those for every connection say nothing of whether this one is to be encrypted.
    ca: [...(isEncrypted ? caCerts : []), ...queue.caCerts],
    clientCert: queue.clientCert,
  };
}

/**
 * The key that credentials of requests are sealed with, the same in every daemon: OUTPOST_QUEUE_KEY, 32 bytes in base64 or
 * any text; without it one that is made of BROKER_TOKEN (RFC 5869), which they have in common too.
 *
 * @throws {OutpostError} CONFIG_INVALID when there is neither.
 */
export async function queueKey({ queue, brokerToken }: Config): Promise<Uint8Array<ArrayBuffer>> {
  const given = queue?.key?.reveal();
  if (given !== undefined) return rawKey(given) ?? await passphraseKey(given);
  if (brokerToken !== undefined) return await tokenKey(brokerToken.reveal());
  throw new OutpostError(
    "CONFIG_INVALID",
    "Cannot keep the credentials of the request: the daemons of the queue have no key in common",
    { hint: "Set OUTPOST_QUEUE_KEY to the same 32 random bytes in base64 for all (openssl rand -base64 32)." },
  );
}

function rawKey(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    const bytes = Uint8Array.fromBase64(text);
    return bytes.length === KEY_BYTES ? bytes : undefined;
  } catch {
    return undefined;
  }
}

async function passphraseKey(text: string): Promise<Uint8Array<ArrayBuffer>> {
  const material = await crypto.subtle.importKey("raw", new TextEncoder().encode(text), "PBKDF2", false, [
    "deriveBits",
  ]);
  const algorithm = { name: "PBKDF2", hash: "SHA-256", salt: KEY_PURPOSE, iterations: PASSPHRASE_ROUNDS };
  return new Uint8Array(await crypto.subtle.deriveBits(algorithm, material, KEY_BYTES * 8));
}

async function tokenKey(token: string): Promise<Uint8Array<ArrayBuffer>> {
  const material = await crypto.subtle.importKey("raw", new TextEncoder().encode(token), "HKDF", false, ["deriveBits"]);
  const algorithm = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: KEY_PURPOSE };
  return new Uint8Array(await crypto.subtle.deriveBits(algorithm, material, KEY_BYTES * 8));
}
