/**
 * The facts of layers in a key-value bucket of NATS JetStream, for all daemons that use it. Most layers have one message. The
 * packed facts of others are in pieces: the first in a message that is written last and says how many there are, each other
 * in one of its own. The newest of a layer's messages is when it was used. Together they stay below a bound; the longest
 * unused go first.
 *
 * @module
 */
import type { KV } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/transport-node";
import { LIMITS } from "../core/limits.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { LayerFactsStore, LayerLock } from "../core/store.ts";
import type { LayerFacts } from "../core/types.ts";
import { concatBytes } from "../lib/bytes.ts";
import type { Pause } from "../lib/packed.ts";
import { sha256Hex } from "../lib/sha256.ts";
import { packFacts, unpackFacts } from "./facts_packer.ts";
import { openLayerBucket } from "./nats_bucket.ts";
import { NatsLayerLocks } from "./nats_layer_locks.ts";

/** How far below the bound a clean-up goes, so that the next facts do not begin another. */
const ROOM = 0.9;
/** Share of the free bytes that one daemon fills before it asks again how many there are: so many may do so at once. */
const SHARE = 1 / 16;
/** Number of pieces, before the first of them. */
const COUNT_BYTES = 4;
/** What is left of facts that are not whole is of no use; the checksums find pieces of two writers. */
const NOTHING = new Uint8Array();
/** Room in a message for its subject and headers. */
const MESSAGE_HEAD_BYTES = 4096;

/** Options of {@link NatsLayers}. */
export interface NatsLayersOptions {
  readonly connection: NatsConnection;
  /** Begins the names of the buckets: `<prefix>-layers` and `<prefix>-layer-locks`. */
  readonly prefix: string;
  /** Servers that keep each message; undefined leaves buckets as they are, and makes them with one. */
  readonly replicas: number | undefined;
  /** Bytes of all facts together; OUTPOST_CACHE_MAX_BYTES. */
  readonly maxBytes: number;
  readonly clock: Clock;
  readonly pause: Pause;
  readonly logger: Logger;
  /** Makes names that no other process makes. */
  readonly newId: () => string;
  /** Told how many bytes there are, as far as this process knows. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

/** What the bucket holds, as far as this process knows. */
interface Used {
  /** Bytes of all facts when the server was asked. */
  readonly asked: number;
  /** What this process has written since. */
  written: number;
}

/** A {@link LayerFactsStore} that several daemons share. Facts that cannot be used are taken away. */
export class NatsLayers implements LayerFactsStore {
  readonly #options: NatsLayersOptions;
  readonly #locks: NatsLayerLocks;
  #bucket: Promise<Bucket> | undefined;
  #used: Used | undefined;
  #failing = false;

  constructor(options: NatsLayersOptions) {
    this.#options = options;
    const { prefix, logger } = options;
    this.#locks = new NatsLayerLocks({ ...options, bucket: `${prefix}-layer-locks`, logger });
  }

  async get(key: string): Promise<LayerFacts | undefined> {
    const { pause, logger } = this.#options;
    const name = sha256Hex(key);
    try {
      const bucket = await this.#open();
      const packed = await this.#read(bucket, name);
      if (packed === undefined) return undefined;
      try {
        return await unpackFacts(key, packed, pause);
      } catch (error) {
        logger.warn("Stored facts of a layer cannot be used, the layer is read again", { name, error });
        await bucket.remove(name);
        return undefined;
      }
    } catch (error) {
      this.#warnOnce("Shared facts of layers cannot be read, layers are read instead", error);
      return undefined;
    }
  }

  async put(key: string, facts: LayerFacts): Promise<void> {
    const { maxBytes, pause, onBytes } = this.#options;
    try {
      const packed = await packFacts(key, facts, pause);
      if (packed === undefined || packed.length > maxBytes) return;
      const bucket = await this.#open();
      const used = await this.#makeRoom(bucket, packed.length);
      await this.#write(bucket, sha256Hex(key), packed);
      used.written += packed.length;
      onBytes?.(used.asked + used.written);
      this.#failing = false;
    } catch (error) {
      this.#warnOnce("Facts of a layer cannot be shared, scans go on without", error);
    }
  }

  lock(key: string, signal: AbortSignal, onWait?: () => void): Promise<LayerLock> {
    return this.#locks.lock(key, signal, onWait);
  }

  /** Sees to it that so many bytes fit below the bound; what is there is asked for now and then only. */
  async #makeRoom(bucket: Bucket, bytes: number): Promise<Used> {
    const { maxBytes } = this.#options;
    const known = this.#used;
    if (known !== undefined && known.written + bytes <= SHARE * (maxBytes - known.asked)) return known;
    const asked = await bucket.bytes();
    const left = asked + bytes > maxBytes ? await bucket.makeRoom(ROOM * maxBytes - bytes) : asked;
    return this.#used = { asked: left, written: 0 };
  }

  async #read(bucket: Bucket, name: string): Promise<Uint8Array | undefined> {
    const head = await bucket.kv.get(headKey(name));
    if (head === null || head.operation !== "PUT") return undefined;
    // Decoded anew each time that it is asked for.
    const { value } = head;
    if (value.length < COUNT_BYTES) return NOTHING;
    const count = new DataView(value.buffer, value.byteOffset).getUint32(0);
    const pieces = [value.subarray(COUNT_BYTES)];
    for (let index = 1; index < count; index++) {
      const piece = await bucket.kv.get(pieceKey(name, index));
      if (piece === null || piece.operation !== "PUT") return NOTHING;
      pieces.push(piece.value);
    }
    const { clock } = this.#options;
    if (clock.now() - head.created.getTime() > LIMITS.sharedFactsTouchMs) {
      await bucket.kv.put(headKey(name), value).catch(() => {});
    }
    return concatBytes(pieces);
  }

  async #write({ kv, pieceBytes }: Bucket, name: string, packed: Uint8Array): Promise<void> {
    const count = Math.max(1, Math.ceil(packed.length / pieceBytes));
    for (let index = 1; index < count; index++) {
      await kv.put(pieceKey(name, index), packed.subarray(index * pieceBytes, (index + 1) * pieceBytes));
    }
    const head = new Uint8Array(COUNT_BYTES);
    new DataView(head.buffer).setUint32(0, count);
    await kv.put(headKey(name), concatBytes([head, packed.subarray(0, pieceBytes)]));
  }

  /** The bucket, made by whoever comes first; asked for again after a failure. */
  async #open(): Promise<Bucket> {
    const opening = this.#bucket ??= openBucket(this.#options);
    try {
      return await opening;
    } catch (error) {
      if (this.#bucket === opening) this.#bucket = undefined;
      throw error;
    }
  }

  #warnOnce(message: string, error: unknown): void {
    if (!this.#failing) this.#options.logger.warn(message, { error });
    this.#failing = true;
  }
}

interface Bucket {
  readonly kv: KV;
  readonly pieceBytes: number;
  bytes(): Promise<number>;
  remove(name: string): Promise<void>;
  /** Removes what was used longest ago until at most so many bytes are left; answers how many are. */
  makeRoom(target: number): Promise<number>;
}

async function openBucket(options: NatsLayersOptions): Promise<Bucket> {
  const { connection, prefix, replicas } = options;
  const name = `${prefix}-layers`;
  const description = "Outpost: facts of layers";
  const { kv, manager, stream } = await openLayerBucket(connection, { name, description, replicas });
  const remove = async (layer: string): Promise<void> => {
    await manager.streams.purge(stream, { filter: `$KV.${name}.${layer}.>` });
  };
  const largest = connection.info?.max_payload ?? Infinity;
  return {
    kv,
    pieceBytes: Math.max(1, Math.min(LIMITS.sharedFactsChunkBytes, largest - MESSAGE_HEAD_BYTES)),
    bytes: async () => (await manager.streams.info(stream)).state.bytes,
    remove,
    makeRoom: (target) => makeRoom(kv, remove, target),
  };
}

async function makeRoom(kv: KV, remove: Bucket["remove"], target: number): Promise<number> {
  const layers = new Map<string, { readonly name: string; usedAt: number; bytes: number }>();
  // Without their contents.
  const listing = { key: ">", headers_only: true };
  for await (const { key, created, length } of await kv.history(listing)) {
    const name = key.slice(0, key.indexOf("."));
    const layer = layers.get(name) ?? { name, usedAt: 0, bytes: 0 };
    layer.usedAt = Math.max(layer.usedAt, created.getTime());
    layer.bytes += length;
    layers.set(name, layer);
  }
  let left = [...layers.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  for (const { name, bytes } of [...layers.values()].toSorted((a, b) => a.usedAt - b.usedAt)) {
    if (left <= target) break;
    await remove(name);
    left -= bytes;
  }
  return left;
}

function headKey(name: string): string {
  return `${name}.facts`;
}

function pieceKey(name: string, index: number): string {
  return `${name}.${index}`;
}
