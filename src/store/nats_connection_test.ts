/** What becomes of the shared store when NATS refuses, goes away and comes back, and on a cluster. */
import { describe, expect, it } from "vitest";
import { systemClock } from "../../tests/fakes/clock.ts";
import { peer, peerPath } from "../../tests/peers/mod.ts";
import { createNatsOperator } from "../../tests/peers/nats_jwt.ts";
import { startNatsCluster, startNatsServer } from "../../tests/peers/nats_server.ts";
import { freePort, startProcess, within } from "../../tests/peers/process.ts";
import { LIMITS } from "../core/limits.ts";
import { NatsLink, type QueueTarget } from "./nats_connection.ts";
import { openLayerBucket } from "./nats_bucket.ts";
import { NatsStore } from "./nats_store.ts";
import { newJob } from "./store_suite.ts";

/** A store whose connection tells of its changes. */
interface Opened {
  readonly store: NatsStore;
  /** Resolves when the connection is (not) there. */
  state(connected: boolean): Promise<void>;
}

async function open(target: QueueTarget, replicas?: number): Promise<Opened> {
  let connected = false;
  let wake = (): void => {};
  const onState = (now: boolean): void => {
    connected = now;
    wake();
  };
  const link = await NatsLink.open({ target, name: "outpost test", clock: systemClock, onState });
  const store = await NatsStore.open({ link, prefix: "test", replicas, newId: () => crypto.randomUUID() })
    .catch(async (error: unknown) => {
      await link.close();
      throw error;
    });
  const state = (wanted: boolean): Promise<void> =>
    within(20_000, `the connection to be ${wanted ? "there" : "lost"}`, async (signal) => {
      while (connected !== wanted) {
        signal.throwIfAborted();
        const { promise, resolve } = Promise.withResolvers<void>();
        wake = resolve;
        await Promise.race([promise, new Promise((_, reject) => signal.addEventListener("abort", reject))]);
      }
    });
  return { store, state };
}

/**
 * Bound of a wait for a cluster: its servers hold an election for each stream, 4 to 9 s after they miss a leader, and
 * hold it again when one of them was too busy to vote; a request that nobody answers takes 5 s.
 */
const ELECTIONS_MS = 240_000;

const BUCKET = { description: "", replicas: undefined };

/** Resolves when the store has nothing to say against being used. */
async function usable(store: NatsStore): Promise<void> {
  await within(ELECTIONS_MS, "the store to be usable", async (signal) => {
    while (store.problem() !== undefined) {
      signal.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  });
}

/** Accepts a job, which is tried until NATS takes it. */
async function accepted(store: NatsStore, id: string): Promise<void> {
  await within(ELECTIONS_MS, "the cluster to take a job", async (signal) => {
    while (!await store.accept(newJob(id)).then(() => true, () => false)) {
      signal.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  });
}

const lease = (now: number, owner: string) => ({ owner, now, until: now + 60_000 });

describe.skipIf(!peer("nats-server").available)("NatsLink", () => {
  it("P6 says so while NATS is away, and goes on by itself, with what others did in the meantime", async () => {
    await using server = await startNatsServer();
    const target = { servers: [server.url] };
    const one = await open(target);
    const other = await open(target);
    try {
      await one.store.accept(newJob("a"));
      await one.store.accept(newJob("held"));
      await one.store.cancel("held", 1);
      await one.store.claim(lease(1000, "one"));
      await server.kill();
      await Promise.all([one.state(false), other.state(false)]);
      expect(one.store.problem()).toBe("queue not connected");
      await expect(one.store.accept(newJob("b"))).rejects.toMatchObject({
        code: "STORE_UNAVAILABLE",
        retryable: true,
        hint: expect.stringContaining("OUTPOST_QUEUE"),
      });
      await expect(one.store.claim(lease(1000, "one"))).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
      await server.restart();
      await Promise.all([one.state(true), other.state(true)]);
      await Promise.all([usable(one.store), usable(other.store)]);
      expect(await one.store.job("a")).toMatchObject({ state: "queued" });
      await one.store.accept(newJob("b"));
      // The watches live again.
      const { promise, resolve } = Promise.withResolvers<void>();
      other.store.onChange(resolve);
      if ((await other.store.backlog()).queued < 2) await promise;
      expect((await other.store.backlog()).queued).toBe(2);
      expect(await other.store.claim(lease(1000, "other"))).toMatchObject({ id: "a" });
      // A lease that nobody could prolong is good for a while, although the job is cancelled.
      expect(await other.store.claim(lease(62_000, "third"))).toMatchObject({ id: "b" });
      const due = await other.store.nextDue(62_000);
      expect(due).toBeLessThanOrEqual(systemClock.now() + LIMITS.jobLeaseMs);
      expect(await other.store.claim(lease(systemClock.now() + LIMITS.jobLeaseMs, "other"))).toMatchObject({
        id: "held",
      });
    } finally {
      await one.store.close();
      await other.store.close();
    }
  });

  it("goes on with nothing when NATS has lost everything", async () => {
    await using server = await startNatsServer();
    const { store, state } = await open({ servers: [server.url] });
    try {
      for (const id of ["a", "b", "c"]) await store.accept(newJob(id));
      await store.claim(lease(1000, "me"));
      await server.kill();
      await state(false);
      await Deno.remove(server.storage, { recursive: true });
      await server.restart();
      await state(true);
      await usable(store);
      expect(await store.list({ limit: 9 })).toEqual([]);
      expect(await store.held("me")).toEqual([]);
      expect(await store.accept(newJob("a"))).toEqual({ id: "a", duplicate: false });
      expect(await store.claim(lease(2000, "me"))).toMatchObject({ id: "a", attempts: 1 });
      expect(
        await store.complete("a", {
          owner: "me",
          sequence: 0,
          outcome: "success",
          resultKey: "k",
          result: new Uint8Array(9),
          now: 1,
        }),
      ).toBe(true);
    } finally {
      await store.close();
    }
  });

  it("makes a bucket that others make at the same moment", async () => {
    await using server = await startNatsServer();
    const target = { servers: [server.url] };
    const links = await Promise.all(
      Array.from({ length: 16 }, () => NatsLink.open({ target, name: "outpost test", clock: systemClock })),
    );
    try {
      for (let round = 0; round < 50; round++) {
        const name = `together-${round}`;
        await Promise.all(links.map((link) => link.bucket(name, { description: "", replicas: undefined })));
      }
      await Promise.all(
        links.flatMap(({ connection }) => ["x", "y"].map((name) => openLayerBucket(connection, { name, ...BUCKET }))),
      );
    } finally {
      for (const link of links) await link.close();
    }
  });

  it("logs in over TLS with a password, and says what is wrong with either", async () => {
    await using server = await startNatsServer({ tls: true, username: "outpost", password: "pass word/1" });
    const ca = [server.caPem ?? ""];
    const target = { servers: [server.url], user: "outpost", password: "pass word/1", ca };
    const { store } = await open(target);
    await store.accept(newJob("a"));
    await store.close();
    const refused = await open({ ...target, password: "another" }).catch((error) => error);
    expect(refused).toMatchObject({ code: "STORE_UNUSABLE", message: expect.stringContaining("refuses the login") });
    expect(JSON.stringify(refused) + refused.message).not.toContain("another");
    await expect(open({ ...target, user: undefined })).rejects.toMatchObject({ code: "STORE_UNUSABLE" });
    await expect(open({ ...target, ca: undefined })).rejects.toMatchObject({
      code: "STORE_UNUSABLE",
      message: expect.stringContaining("is not trusted"),
      hint: expect.stringContaining("OUTPOST_QUEUE_CA"),
    });
  });

  it("logs in with a token", async () => {
    await using server = await startNatsServer({ token: "s3cr3t-token" });
    const { store } = await open({ servers: [server.url], token: "s3cr3t-token" });
    await store.accept(newJob("a"));
    await store.close();
    for (const token of ["another", undefined]) {
      await expect(open({ servers: [server.url], token })).rejects.toMatchObject({
        code: "STORE_UNUSABLE",
        message: expect.stringContaining("refuses the login"),
      });
    }
  });

  it("logs in with a credentials file, and again after a restart of the server", async () => {
    const operator = createNatsOperator();
    await using server = await startNatsServer({ operator });
    const { store, state } = await open({ servers: [server.url], credentials: operator.user() });
    try {
      await store.accept(newJob("a"));
      const lost = state(false);
      await server.restart();
      await lost;
      await state(true);
      await accepted(store, "b");
    } finally {
      await store.close();
    }
    // One of another operator, one that is none, and none.
    for (const credentials of [createNatsOperator().user(), undefined]) {
      await expect(open({ servers: [server.url], credentials })).rejects.toMatchObject({
        code: "STORE_UNUSABLE",
        message: expect.stringContaining("refuses the login"),
      });
    }
    const user = operator.user();
    for (const credentials of [user.replace(/^SU.*$/m, "SUNKNOWN"), user.slice(0, user.indexOf("-----BEGIN USER"))]) {
      await expect(open({ servers: [server.url], credentials })).rejects.toMatchObject({
        code: "STORE_UNUSABLE",
        message: expect.stringContaining("credentials file cannot be read"),
        hint: expect.stringContaining("OUTPOST_QUEUE_CREDS"),
      });
    }
  });

  it("shows its certificate where the server asks for one", async () => {
    await using server = await startNatsServer({ clientCertificates: true });
    const { certPem: cert = "", keyPem: key = "" } = server.client ?? {};
    const target = { servers: [server.url], ca: [server.caPem ?? ""] };
    const { store } = await open({ ...target, clientCert: { cert, key } });
    await store.accept(newJob("a"));
    await store.close();
    await expect(open(target)).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
      hint: expect.stringContaining("OUTPOST_QUEUE_CLIENT_CERT"),
    });
  });

  it("refuses a server that is not there, one without JetStream, and more replicas than servers", async () => {
    await expect(open({ servers: [`nats://127.0.0.1:${freePort()}`] })).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
      hint: expect.stringContaining("nats-server runs"),
    });
    await using server = await startNatsServer();
    await expect(open({ servers: [server.url.replace("nats:", "tls:")] })).rejects.toMatchObject({
      code: "STORE_UNUSABLE",
      hint: expect.stringContaining("nats://"),
    });
    await expect(open({ servers: [server.url] }, 3)).rejects.toMatchObject({
      code: "STORE_UNUSABLE",
      hint: expect.stringContaining("OUTPOST_QUEUE_REPLICAS"),
    });
    const port = freePort();
    await using _plain = await startProcess({
      name: "nats-server",
      command: peerPath("nats-server"),
      args: ["--addr", "127.0.0.1", "--port", String(port)],
      ready: (process, signal) => process.printed(/Server is ready/, signal),
    });
    await expect(open({ servers: [`nats://127.0.0.1:${port}`] })).rejects.toMatchObject({
      code: "STORE_UNUSABLE",
      hint: expect.stringContaining("--jetstream"),
    });
  });

  it("keeps everything on three servers, and goes on with two of them", async () => {
    await using cluster = await startNatsCluster(3);
    const target = { servers: cluster.url.split(",") };
    const { store } = await open(target, 1);
    await store.accept(newJob("a"));
    await store.close();
    // One replica becomes three.
    const { store: replicated } = await open(target, 3);
    try {
      // Servers agree on a leader first.
      await accepted(replicated, "b");
      const other = await open(target);
      await cluster.servers[0]?.kill();
      await accepted(replicated, "c");
      // Whichever server kept its watch.
      await within(ELECTIONS_MS, "the other store to see it", async (signal) => {
        while ((await other.store.backlog()).queued < 3) {
          signal.throwIfAborted();
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      });
      await other.store.close();
      await usable(replicated);
      const ids = (await replicated.list({ limit: 9 })).map(({ id }) => id);
      expect(ids.toSorted()).toEqual(["a", "b", "c"]);
    } finally {
      await replicated.close();
    }
  });
});
