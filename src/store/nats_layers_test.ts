import { Kvm } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/transport-node";
import { describe, expect, it } from "vitest";
import { FakeClock, systemClock } from "../../tests/fakes/clock.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { peer } from "../../tests/peers/mod.ts";
import { type NatsServer, startNatsServer } from "../../tests/peers/nats_server.ts";
import { within } from "../../tests/peers/process.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock } from "../core/ports.ts";
import type { LayerFacts } from "../core/types.ts";
import { FACTS } from "./layer_files_suite.ts";
import { NatsLayers } from "./nats_layers.ts";
import { connect } from "./nats_sockets.ts";

const KEY = "sha256:1 extractor null";

/** A daemon's store, on a connection of its own. */
interface Daemon extends AsyncDisposable {
  readonly layers: NatsLayers;
  readonly connection: NatsConnection;
  readonly logger: RecordingLogger;
}

async function daemon(
  server: NatsServer,
  { maxBytes = 1 << 26, clock = systemClock, reconnect = true }: {
    readonly maxBytes?: number;
    readonly clock?: Clock;
    readonly reconnect?: boolean;
  } = {},
): Promise<Daemon> {
  const connection = await connect({ ...server.connectOptions, reconnect, reconnectTimeWait: 50 });
  const logger = new RecordingLogger();
  const layers = new NatsLayers({
    connection,
    prefix: "test",
    replicas: 1,
    maxBytes,
    clock,
    pause: () => Promise.resolve(),
    logger,
    newId: () => crypto.randomUUID(),
  });
  return { layers, connection, logger, [Symbol.asyncDispose]: () => connection.close() };
}

/** Facts whose file has so many bytes that cannot be packed. */
function bulky(bytes: number): LayerFacts {
  const content = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 65_536) crypto.getRandomValues(content.subarray(at, at + 65_536));
  return { ...FACTS, entries: [{ kind: "file", path: "a", size: bytes, mode: 0, content }] };
}

/** Waits until the condition holds; real messages are on their way, so this takes real time. */
async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  await within(20_000, what, async (signal) => {
    while (!await holds()) {
      signal.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });
}

/** Waits until the server answers again. */
function reconnected({ connection }: Daemon): Promise<void> {
  return until("the connection", () => connection.flush().then(() => true, () => false));
}

const idle = (): AbortSignal => new AbortController().signal;

/** Whether a promise is settled by now. */
function settled(promise: Promise<unknown>): () => boolean {
  let done = false;
  promise.then(() => done = true, () => done = true);
  return () => done;
}

const suite = describe.skipIf(!peer("nats-server").available);

suite("NatsLayers", () => {
  it("gives every daemon what one has put, in as many messages as it takes", async () => {
    await using server = await startNatsServer();
    await using one = await daemon(server);
    await using other = await daemon(server);
    expect(await other.layers.get(KEY)).toBeUndefined();
    const large = bulky(2 * LIMITS.sharedFactsChunkBytes);
    await one.layers.put(KEY, large);
    await one.layers.put("small", FACTS);
    expect(await other.layers.get(KEY)).toEqual(large);
    expect(await other.layers.get("small")).toEqual(FACTS);
    expect(await other.layers.get("third")).toBeUndefined();
    expect([...one.logger.lines, ...other.logger.lines]).toEqual([]);
  });

  it("takes facts that are damaged or not whole for none, and takes them away", async () => {
    await using server = await startNatsServer();
    await using one = await daemon(server);
    const large = bulky(2 * LIMITS.sharedFactsChunkBytes);
    await one.layers.put(KEY, large);
    const kv = await new Kvm(one.connection).open("test-layers");
    const keys = (await Array.fromAsync(await kv.keys())).toSorted();
    const [second = "", third = "", first = ""] = keys;
    expect(keys).toHaveLength(3);
    const changed = async (key: string, at: number): Promise<void> => {
      const bytes = (await kv.get(key))?.value.slice() ?? new Uint8Array();
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      await kv.put(key, bytes);
    };
    const damages: (() => Promise<unknown>)[] = [
      () => changed(second, 100_000),
      () => changed(first, 100_000),
      // The number of pieces: 3 becomes 2.
      () => changed(first, 3),
      () => kv.delete(third),
      () => kv.put(first, ""),
      () => kv.put(first, "1"),
      () => kv.put(first, "nonsense"),
    ];
    for (const damage of damages) {
      await one.layers.put(KEY, large);
      await damage();
      expect(await one.layers.get(KEY)).toBeUndefined();
      expect(await Array.fromAsync(await kv.keys())).toEqual([]);
    }
    expect(one.logger.lines.map(({ level }) => level)).toEqual(damages.map(() => "warn"));
  });

  it("stays below its bound: what was used longest ago goes first, what was never finished too", async () => {
    await using server = await startNatsServer();
    const clock = new FakeClock(Date.now());
    await using one = await daemon(server, { maxBytes: 100_000, clock });
    const kv = await new Kvm(one.connection).create("test-layers", { allow_direct: false });
    await kv.put(`${"0".repeat(64)}.0`, new Uint8Array(30_000));
    for (const key of ["a", "b"]) await one.layers.put(key, bulky(30_000));
    await clock.advance(2 * LIMITS.sharedFactsTouchMs);
    expect(await one.layers.get("a")).toBeDefined();
    await one.layers.put("c", bulky(30_000));
    await one.layers.put("d", bulky(30_000));
    const kept = await Promise.all(["a", "b", "c", "d"].map((key) => one.layers.get(key)));
    expect(kept.map((facts) => facts !== undefined)).toEqual([true, false, true, true]);
    await one.layers.put("e", bulky(200_000));
    expect(await one.layers.get("e")).toBeUndefined();
    expect((await kv.status()).size).toBeLessThanOrEqual(100_000);
  });

  it("stays below its bound with several daemons, and does not ask for each layer how much there is", async () => {
    await using server = await startNatsServer();
    const daemons = await Promise.all([1, 2].map(() => daemon(server, { maxBytes: 1 << 20 })));
    const sizes: number[] = [];
    let asked = 0;
    const watcher = await connect(server.connectOptions);
    watcher.subscribe("$JS.API.STREAM.INFO.KV_test-layers", { callback: () => void asked++ });
    await watcher.flush();
    const [{ layers: first }] = daemons as [Daemon, Daemon];
    for (let at = 0; at < 20; at++) await first.put(`small ${at}`, bulky(1_000));
    await watcher.flush();
    // The bucket is opened, and asked about once.
    expect(asked).toBeLessThanOrEqual(3);
    const kv = await new Kvm(watcher).open("test-layers");
    for (let at = 0; at < 120; at++) {
      await daemons[at % 2]?.layers.put(`large ${at}`, bulky(20_000));
      sizes.push((await kv.status()).size);
    }
    expect(Math.max(...sizes)).toBeLessThanOrEqual(1 << 20);
    expect(Math.max(...sizes)).toBeGreaterThan(0.8 * (1 << 20));
    for (const connection of [watcher, ...daemons.map(({ connection }) => connection)]) await connection.close();
  });

  it("goes on without while the server is full or gone, says so once, and stores again afterwards", async () => {
    await using server = await startNatsServer({ maxStoreBytes: 1 << 20 });
    await using one = await daemon(server);
    await one.layers.put("a", FACTS);
    await one.layers.put("b", bulky(2 << 20));
    expect(await one.layers.get("b")).toBeUndefined();
    await one.layers.put("b", bulky(2 << 20));
    expect(one.logger.lines.map(({ level }) => level)).toEqual(["warn"]);
    expect(await one.layers.get("a")).toEqual(FACTS);
    await one.connection.close();
    expect(await one.layers.get("a")).toBeUndefined();
    await one.layers.put("a", FACTS);
  });

  it("has its facts after a restart of the server", async () => {
    await using server = await startNatsServer();
    await using one = await daemon(server);
    await one.layers.put(KEY, FACTS);
    await server.kill();
    await server.restart();
    await reconnected(one);
    expect(await one.layers.get(KEY)).toEqual(FACTS);
  });
});

suite("NatsLayers.lock()", () => {
  it("has one daemon of several read a layer at a time; the others have its facts", async () => {
    await using server = await startNatsServer();
    const daemons = await Promise.all([1, 2, 3, 4].map(() => daemon(server)));
    let reading = 0;
    let reads = 0;
    const facts = await Promise.all(daemons.map(async ({ layers }) => {
      await using _lock = await layers.lock(KEY, idle());
      const stored = await layers.get(KEY);
      if (stored !== undefined) return stored;
      expect(++reading).toBe(1);
      reads++;
      await layers.put(KEY, FACTS);
      reading--;
      return FACTS;
    }));
    expect(reads).toBe(1);
    expect(facts).toEqual(daemons.map(() => FACTS));
    for (const { connection, logger } of daemons) {
      expect(logger.lines).toEqual([]);
      await connection.close();
    }
  });

  it("lets who waits begin when the holder releases without facts, and locks of other layers are others", async () => {
    await using server = await startNatsServer();
    const clock = new FakeClock();
    await using one = await daemon(server, { clock });
    await using other = await daemon(server, { clock });
    const held = await one.layers.lock(KEY, idle());
    expect(held.isFirst).toBe(true);
    await (await other.layers.lock("another", idle()))[Symbol.asyncDispose]();
    const waiting = other.layers.lock(KEY, idle());
    const done = settled(waiting);
    await until("the wait", () => clock.sleeps.includes(LIMITS.layerLockMs));
    expect(done()).toBe(false);
    await held[Symbol.asyncDispose]();
    const second = await waiting;
    await second[Symbol.asyncDispose]();
    // Once more: what is left of a released lock is in nobody's way.
    const third = await one.layers.lock(KEY, idle());
    await third[Symbol.asyncDispose]();
    expect([second.isFirst, third.isFirst]).toEqual([false, false]);
    expect(clock.pending).toBe(0);
  });

  it("goes to another daemon after a lease without a sign of life, not before", async () => {
    await using server = await startNatsServer();
    const clock = new FakeClock();
    const stopped = new FakeClock();
    await using one = await daemon(server, { clock: stopped });
    await using other = await daemon(server, { clock });
    const held = await one.layers.lock(KEY, idle());
    const waiting = other.layers.lock(KEY, idle());
    const done = settled(waiting);
    const waits = (): number => clock.sleeps.filter((ms) => ms === LIMITS.layerLockMs).length;
    // Once when it begins to watch, once when it sees whose lock it is.
    await until("the watch", () => waits() === 2);
    await clock.advance(LIMITS.layerLockMs - 1);
    await stopped.advance(LIMITS.layerLockHeartbeatMs);
    await until("the sign of life", () => waits() === 3);
    await clock.advance(LIMITS.layerLockMs - 1);
    expect(done()).toBe(false);
    await clock.advance(1);
    await using _taken = await waiting;
    // The late one neither prolongs nor releases what another has.
    await stopped.advance(2 * LIMITS.layerLockHeartbeatMs);
    await held[Symbol.asyncDispose]();
    const third = one.layers.lock(KEY, idle());
    const early = settled(third);
    await until("the third", () => stopped.sleeps.filter((ms) => ms === LIMITS.layerLockMs).length === 2);
    expect(early()).toBe(false);
    await _taken[Symbol.asyncDispose]();
    await (await third)[Symbol.asyncDispose]();
  });

  it("is kept over a restart of the server, and who waits goes on waiting", async () => {
    await using server = await startNatsServer();
    const clock = new FakeClock();
    const beats = new FakeClock();
    await using one = await daemon(server, { clock: beats });
    await using other = await daemon(server, { clock });
    const held = await one.layers.lock(KEY, idle());
    const waiting = other.layers.lock(KEY, idle());
    const done = settled(waiting);
    await until("the watch", () => clock.sleeps.filter((ms) => ms === LIMITS.layerLockMs).length === 2);
    await server.kill();
    await server.restart();
    await Promise.all([one, other].map(reconnected));
    await beats.advance(LIMITS.layerLockHeartbeatMs);
    expect(done()).toBe(false);
    await held[Symbol.asyncDispose]();
    await clock.advance(LIMITS.layerLockMs);
    await (await waiting)[Symbol.asyncDispose]();
  });

  it("counts a lease anew after an outage, in which no holder could give a sign of life", async () => {
    await using server = await startNatsServer();
    const clock = new FakeClock();
    await using one = await daemon(server, { clock: new FakeClock() });
    await using other = await daemon(server, { clock });
    await using _held = await one.layers.lock(KEY, idle());
    const waiting = other.layers.lock(KEY, idle());
    const done = settled(waiting);
    const waits = (): number => clock.sleeps.filter((ms) => ms === LIMITS.layerLockMs).length;
    await until("the watch", () => waits() === 2);
    await server.kill();
    await server.restart();
    await reconnected(other);
    const before = waits();
    await clock.advance(LIMITS.layerLockMs);
    await until("another watch", () => waits() > before);
    expect(done()).toBe(false);
    await until("the end of the lease", async () => {
      await clock.advance(LIMITS.layerLockMs);
      return done();
    });
    await (await waiting)[Symbol.asyncDispose]();
  });

  it("stops waiting when it is cancelled", async () => {
    await using server = await startNatsServer();
    const clock = new FakeClock();
    await using one = await daemon(server, { clock });
    await using other = await daemon(server, { clock });
    await using _held = await one.layers.lock(KEY, idle());
    const stop = new AbortController();
    const waiting = other.layers.lock(KEY, stop.signal);
    await until("the watch", () => clock.sleeps.filter((ms) => ms === LIMITS.layerLockMs).length === 2);
    stop.abort(new Error("cancelled"));
    await expect(waiting).rejects.toThrow("cancelled");
    await expect(other.layers.lock(KEY, stop.signal)).rejects.toThrow("cancelled");
  });

  it("is granted once nobody could be asked for the length of a lease", async () => {
    await using server = await startNatsServer();
    const clock = new FakeClock();
    await using one = await daemon(server, { clock, reconnect: false });
    await server.kill();
    await one.connection.closed();
    const waiting = one.layers.lock(KEY, idle());
    const done = settled(waiting);
    await clock.advance(LIMITS.layerLockMs - 1);
    expect(done()).toBe(false);
    await clock.advance(LIMITS.storeRetryMinMs);
    await (await waiting)[Symbol.asyncDispose]();
    // Known by now: the next is granted at once.
    await (await one.layers.lock("another", idle()))[Symbol.asyncDispose]();
    expect(one.logger.lines.map(({ level }) => level)).toEqual(["warn", "warn"]);
  });
});
