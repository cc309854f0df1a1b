/**
 * The connection to NATS, and buckets of JetStream with revisions as this program uses them. All errors leave as those of
 * a store.
 *
 * @module
 */
import { jetstream, type JetStreamClient, type JetStreamManager } from "@nats-io/jetstream";
import type { KV } from "@nats-io/kv";
import { credsAuthenticator, type NatsConnection, type NodeConnectionOptions } from "@nats-io/transport-node";
import { LIMITS } from "../core/limits.ts";
import type { Clock } from "../core/ports.ts";
import { openBucket } from "./nats_bucket.ts";
import { isConflict, queueError } from "./nats_errors.ts";
import { connect } from "./nats_sockets.ts";
import { BucketWatch, type WatchHandler } from "./nats_watch.ts";

/** Where NATS is, and how to log in there. */
export interface QueueTarget {
  /** `nats://host:port` or `tls://host:port`, without user and password. */
  readonly servers: readonly string[];
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly token?: string | undefined;
  /** Content of a .creds file: a JWT and the seed of its key. */
  readonly credentials?: string | undefined;
  /** Authorities in PEM besides the built-in ones; with any, `nats:` means TLS too. */
  readonly ca?: readonly string[] | undefined;
  /** What this client shows the server, in PEM; with one, `nats:` means TLS too. */
  readonly clientCert?: { readonly cert: string; readonly key: string } | undefined;
}

/** Options of {@link NatsLink.open}. */
export interface NatsLinkOptions {
  readonly target: QueueTarget;
  /** Under which the server lists this client. */
  readonly name: string;
  readonly clock: Clock;
  /** Told when the connection is lost and when it is there again; the reason is for people. */
  readonly onState?: ((connected: boolean, reason?: string) => void) | undefined;
  /** Told how long each acknowledged write took. */
  readonly onWrite?: ((milliseconds: number) => void) | undefined;
}

/** An entry of a bucket. `value` is empty where it was taken away. */
export interface BucketEntry {
  readonly key: string;
  readonly value: Uint8Array;
  readonly revision: number;
  readonly removed: boolean;
}

/** An entry that was read. */
export interface ReadEntry extends BucketEntry {
  /** When it was written, by the server's clock. */
  readonly writtenAt: number;
}

/** A bucket: keys with values, each write with a revision that is higher than all before. Errors are those of a store. */
export interface NatsBucket {
  /** Most bytes of one value. */
  readonly maxValueBytes: number;
  /** The entry as the server that decides has it; undefined when there is none, or it was taken away. */
  get(key: string): Promise<ReadEntry | undefined>;
  /** Keys that there are (`*` stands for one part). */
  keys(keys: string): Promise<readonly string[]>;
  /** Writes a key that is not there; answers its revision, undefined when it is there. */
  create(key: string, value: Uint8Array): Promise<number | undefined>;
  /** Replaces the revision of a key; answers the new one, undefined when it has another. */
  update(key: string, value: Uint8Array, revision: number): Promise<number | undefined>;
  /** Writes a key, whatever it was. */
  put(key: string, value: Uint8Array): Promise<void>;
  /** Takes away the revision of a key: watches are told, a mark stays. False when it has another. */
  remove(key: string, revision: number): Promise<boolean>;
  /** Takes away keys for good (`*` stands for one part, `>` for the rest), up to a revision; watches are not told. */
  forget(keys: string, upTo?: number): Promise<void>;
  /** Follows keys; resolves when all of them were shown once. */
  watch(keys: string, handler: WatchHandler): Promise<BucketWatch>;
}

/** Options of {@link NatsLink.bucket}. */
export interface BucketOptions {
  readonly description: string;
  /** Servers that keep each entry; as they are, or one, when undefined. */
  readonly replicas: number | undefined;
}

/** A connection to NATS that comes back by itself for ever once it was there. */
export class NatsLink {
  /** For what this class does not do. */
  readonly connection: NatsConnection;
  readonly #options: NatsLinkOptions;
  readonly #client: JetStreamClient;
  readonly #manager: JetStreamManager;
  readonly #watches = new Set<BucketWatch>();
  #connected = true;
  #closing = false;
  #reconnectedAt: number | undefined;
  #states: Promise<void> = Promise.resolve();

  private constructor(connection: NatsConnection, manager: JetStreamManager, options: NatsLinkOptions) {
    this.connection = connection;
    this.#options = options;
    this.#manager = manager;
    this.#client = jetstream(connection, { timeout: LIMITS.queueAnswerMs });
    this.#states = this.#follow();
    options.onState?.(true);
  }

  /**
   * Connects.
   *
   * @throws {OutpostError} STORE_UNAVAILABLE when NATS cannot be reached, STORE_UNUSABLE when it refuses the login, cannot
   * be trusted, or has no JetStream.
   */
  static async open(options: NatsLinkOptions): Promise<NatsLink> {
    const connection = await connect(connectOptions(options)).catch((error: unknown) => {
      throw queueError("Cannot connect to the queue", error, { opening: true });
    });
    try {
      const client = jetstream(connection, { timeout: LIMITS.queueAnswerMs });
      return new NatsLink(connection, await client.jetstreamManager(true), options);
    } catch (error) {
      await connection.close();
      throw queueError("Cannot use the queue", error, { opening: true });
    }
  }

  /** When the connection came back the last time. */
  get reconnectedAt(): number | undefined {
    return this.#reconnectedAt;
  }

  /** Why nothing can be read or written now. */
  get problem(): string | undefined {
    if (!this.#connected) return "queue not connected";
    return this.#watches.values().some(({ synced }) => !synced) ? "queue is read again" : undefined;
  }

  /**
   * Opens a bucket; makes it when there is none.
   *
   * @throws {OutpostError} STORE_UNUSABLE when there are not so many servers as `replicas`.
   */
  async bucket(name: string, { description, replicas }: BucketOptions): Promise<NatsBucket> {
    const action = `Cannot open the queue's bucket ${name}`;
    try {
      const open = (): Promise<KV> => openBucket(this.#client, this.#manager, { name, description, replicas });
      return this.#face(await open(), name, async () => void await open());
    } catch (error) {
      throw queueError(action, error, { opening: true });
    }
  }

  /** Ends all watches and the connection. What was acknowledged is safe; nothing else is waited for. */
  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#watches].map((watch) => watch.stop()));
    await this.connection.close();
    await this.#states;
  }

  #face(kv: KV, name: string, ensure: () => Promise<void>): NatsBucket {
    const stream = `KV_${name}`;
    const subject = (keys: string): string => `$KV.${name}.${keys}`;
    const read = <T>(work: () => Promise<T>): Promise<T> => this.#guard("Cannot read from the queue", work);
    const write = <T>(work: () => Promise<T>): Promise<T> => this.#timed(work);
    return {
      // Headers and subject are part of a message.
      maxValueBytes: Math.min(this.connection.info?.max_payload ?? Infinity, LIMITS.queueRecordBytes) - 4096,
      get: (key) =>
        read(async () => {
          const found = await kv.get(key);
          if (found === null || found.operation !== "PUT") return undefined;
          const { value, revision, created } = found;
          return { key, value, revision, removed: false, writtenAt: created.getTime() };
        }),
      keys: (keys) =>
        read(async () => {
          const { state } = await this.#manager.streams.info(stream, { subjects_filter: subject(keys) });
          return Object.keys(state.subjects ?? {}).map((name) => name.slice(subject("").length));
        }),
      create: (key, value) => write(() => unlessConflict(kv.create(key, value))),
      update: (key, value, revision) => write(() => unlessConflict(kv.update(key, value, revision))),
      put: (key, value) => write(async () => void await kv.put(key, value)),
      remove: (key, revision) =>
        write(async () =>
          await unlessConflict(kv.purge(key, { previousSeq: revision }).then(() => revision)) !== undefined
        ),
      forget: (keys, upTo) =>
        write(async () => {
          const filter = { filter: subject(keys), ...(upTo === undefined ? {} : { seq: upTo + 1 }) };
          await this.#manager.streams.purge(stream, filter);
        }),
      watch: async (keys, handler) => {
        const source = { client: this.#client, manager: this.#manager, stream, filter: subject(keys) };
        const prefix = subject("").length;
        const watch = new BucketWatch({ ...source, ensure, prefix, handler, clock: this.#options.clock });
        this.#watches.add(watch);
        await watch.start();
        return watch;
      },
    };
  }

  async #timed<T>(work: () => Promise<T>): Promise<T> {
    const { clock, onWrite } = this.#options;
    const startedAt = clock.now();
    const value = await this.#guard("Cannot write to the queue", work);
    onWrite?.(clock.now() - startedAt);
    return value;
  }

  /** What is asked while the connection is away would be sent when it is back, long after nobody waits for it. */
  async #guard<T>(action: string, work: () => Promise<T>): Promise<T> {
    try {
      if (!this.#connected) throw new Error("the connection is lost");
      return await work();
    } catch (error) {
      throw queueError(action, error);
    }
  }

  async #follow(): Promise<void> {
    for await (const status of this.connection.status()) {
      if (status.type === "disconnect") this.#setConnected(false);
      if (status.type === "reconnect") {
        this.#reconnectedAt = this.#options.clock.now();
        this.#setConnected(true);
        for (const watch of this.#watches) watch.restart();
      }
      if (status.type === "error" && !this.#connected) this.#options.onState?.(false, status.error.message);
    }
    this.#setConnected(false);
  }

  #setConnected(connected: boolean): void {
    if (this.#connected === connected) return;
    this.#connected = connected;
    if (this.#closing) return;
    this.#options.onState?.(connected);
  }
}

function connectOptions({ target, name }: NatsLinkOptions): NodeConnectionOptions {
  const { servers, user, password, token, credentials, ca = [], clientCert } = target;
  // Given any, the client asks for TLS; without, it follows the server.
  const tls = servers.some((server) => server.startsWith("tls:")) || ca.length > 0 || clientCert !== undefined;
  return {
    servers: [...servers],
    name,
    timeout: LIMITS.queueConnectMs,
    maxReconnectAttempts: -1,
    reconnectTimeWait: LIMITS.queueReconnectMs,
    // A server that comes back may know its users a moment later.
    ignoreAuthErrorAbort: true,
    noAsyncTraces: true,
    ...(user === undefined ? {} : { user, pass: password ?? "" }),
    ...(token === undefined ? {} : { token }),
    ...(credentials === undefined ? {} : { authenticator: credsAuthenticator(new TextEncoder().encode(credentials)) }),
    ...(tls ? { tls: { ...(ca.length === 0 ? {} : { ca: ca.join("\n") }), ...clientCert } } : {}),
  };
}

async function unlessConflict(writing: Promise<number>): Promise<number | undefined> {
  try {
    return await writing;
  } catch (error) {
    if (isConflict(error)) return undefined;
    throw error;
  }
}
