/** The shared store on Debian's nats-server: the suite of all stores, and what several processes do to each other. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../tests/fakes/clock.ts";
import { peer } from "../../tests/peers/mod.ts";
import { type NatsServer, startNatsServer } from "../../tests/peers/nats_server.ts";
import { within } from "../../tests/peers/process.ts";
import { LIMITS } from "../core/limits.ts";
import { NatsLink, type NatsLinkOptions } from "./nats_connection.ts";
import { NatsStore } from "./nats_store.ts";
import { connect } from "./nats_sockets.ts";
import { newJob, storeSuite } from "./store_suite.ts";

const lease = (now: number, owner: string) => ({ owner, now, until: now + 60_000 });
const ERROR = { code: "TIMEOUT", message: "It took too long" };

describe.skipIf(!peer("nats-server").available)("NATS", () => {
  let server: NatsServer;
  let buckets = 0;
  beforeAll(async () => {
    server = await startNatsServer();
  });
  afterAll(() => server.stop());

  async function open(prefix: string, more: Partial<NatsLinkOptions> = {}): Promise<NatsStore> {
    const target = { servers: [server.url] };
    const link = await NatsLink.open({ target, name: "outpost test", clock: systemClock, ...more });
    return await NatsStore.open({ link, prefix, replicas: undefined, newId: () => crypto.randomUUID() });
  }

  storeSuite("NatsStore", () => open(`suite-${++buckets}`));

  describe("NatsStore", () => {
    /** Runs `work` with stores of several processes on the same buckets. */
    async function shared(
      count: number,
      work: (...stores: readonly NatsStore[]) => Promise<void>,
      more: Partial<NatsLinkOptions> = {},
    ): Promise<void> {
      const prefix = `shared-${++buckets}`;
      const stores = await Promise.all(Array.from({ length: count }, () => open(prefix, more)));
      try {
        await work(...stores);
      } finally {
        await Promise.all(stores.map((store) => store.close()));
      }
    }

    /** Resolves when `test` answers true, which it is asked after each change that the store tells of. */
    async function changed(store: NatsStore, test: () => Promise<boolean>): Promise<void> {
      await within(10_000, "a change to be seen", async (signal) => {
        while (!await test()) {
          signal.throwIfAborted();
          const { promise, resolve } = Promise.withResolvers<void>();
          const timer = setTimeout(resolve, 50);
          store.onChange(resolve);
          await promise;
          clearTimeout(timer);
        }
      });
    }

    const queued = (store: NatsStore, count: number): Promise<void> =>
      changed(store, async () => (await store.backlog()).queued === count);

    it("P1 gives each job to one of three processes", async () => {
      await shared(3, async (...stores) => {
        const [first] = stores as [NatsStore];
        for (let n = 0; n < 30; n++) await first.accept(newJob(`j${n}`));
        await Promise.all(stores.map((store) => queued(store, 30)));
        const claimed = await Promise.all(stores.map(async (store, n) => {
          const ids: string[] = [];
          for (;;) {
            const job = await store.claim(lease(2000, `process-${n}`));
            if (job === undefined) return ids;
            ids.push(job.id);
          }
        }));
        expect(claimed.flat().toSorted()).toEqual(Array.from({ length: 30 }, (_, n) => `j${n}`).toSorted());
      });
    });

    it("P1 hands a job on when its lease is over, and takes nothing more from who had it", async () => {
      await shared(2, async (...stores) => {
        const [one, other] = stores as [NatsStore, NatsStore];
        await one.accept(newJob("a", { total: 1 }));
        expect(await one.claim(lease(1000, "one"))).toMatchObject({ id: "a" });
        await changed(other, async () => (await other.backlog()).scanning === 1);
        expect(await other.claim(lease(60_999, "other"))).toBeUndefined();
        expect(await other.claim(lease(61_000, "other"))).toMatchObject({ id: "a", attempts: 2 });
        const end = { sequence: 0, outcome: "success", resultKey: "k", now: 61_001 } as const;
        expect(await one.complete("a", { ...end, owner: "one", result: new Uint8Array([1]) })).toBe(false);
        await one.defer("a", { owner: "one", notBefore: 9e9, now: 61_002, error: ERROR });
        await one.heartbeat(lease(61_003, "one"));
        expect(await one.held("one")).toEqual([]);
        expect(await other.complete("a", { ...end, owner: "other", result: new Uint8Array([2]) })).toBe(true);
        expect(await one.result("k", 61_004)).toEqual(new Uint8Array([2]));
      });
    });

    it("P1 has a callback sent by one, and by another when that one is gone", async () => {
      await shared(2, async (...stores) => {
        const [one, other] = stores as [NatsStore, NatsStore];
        const result = crypto.getRandomValues(new Uint8Array(3000));
        await one.accept(newJob("a", { total: 1, closing: false }));
        await one.claim(lease(1000, "one"));
        const end = { owner: "one", sequence: 0, outcome: "success", resultKey: "k", result, now: 1001 } as const;
        await one.complete("a", end);
        await changed(other, async () => (await other.backlog()).pending === 1);
        await changed(other, async () => (await other.backlog()).pendingBytes === 3000);
        const taken = await Promise.all([one, other].map((store, n) => store.nextCallback(lease(2000, `${n}`), [])));
        expect(taken.filter((callback) => callback !== undefined)).toHaveLength(1);
        expect(await one.nextCallback(lease(62_000, "third"), [])).toMatchObject({ jobId: "a", sequence: 0 });
        expect(await other.result("k", 62_000)).toEqual(result);
        expect(await other.settle("a", 0, { owner: "third", now: 62_001 })).toBe("done");
        await changed(one, async () => (await one.list({ limit: 1 }))[0]?.state === "done");
        expect(await one.nextCallback(lease(9e9, "one"), [])).toBeUndefined();
      });
    });

    it("P1 leaves callbacks to who made them and writes nothing for it; what is not being sent is another's in time", async () => {
      let writes = 0;
      await shared(2, async (...stores) => {
        const [one, other] = stores as [NatsStore, NatsStore];
        await one.accept(newJob("a", { total: 1 }));
        await one.claim(lease(1000, "one"));
        const end = { owner: "one", sequence: 0, outcome: "error", error: "{}", now: 1001 } as const;
        await one.complete("a", { ...end, sendUntil: 61_000 });
        await changed(other, async () => (await other.backlog()).pending === 2);
        writes = 0;
        expect(await one.nextCallback(lease(2000, "one"), [])).toMatchObject({ jobId: "a", sequence: 0 });
        expect(await other.nextCallback(lease(2000, "other"), [])).toBeUndefined();
        expect(await other.nextDue(2000)).toBe(61_000);
        expect(writes).toBe(0);
        await one.settle("a", 0, { owner: "one", now: 2001 });
        await changed(other, async () => (await other.backlog()).pending === 1);
        expect(await other.nextCallback(lease(2002, "other"), [])).toBeUndefined();
        // Alive, but sending that of another job; then sending this one; then at its end.
        await one.heartbeat(lease(30_000, "one"), ["b"]);
        expect(await other.nextDue(30_000)).toBe(61_000);
        await one.heartbeat(lease(30_000, "one"), ["a"]);
        await changed(other, async () => (await other.nextDue(30_000)) === 90_000);
        await one.heartbeat({ owner: "one", now: 40_000, until: 40_000 });
        await changed(other, async () => (await other.nextDue(40_000)) === undefined);
        expect(await other.nextCallback(lease(40_000, "other"), [])).toMatchObject({ sequence: 1, kind: "closing" });
        expect(await one.nextCallback(lease(40_001, "one"), [])).toBeUndefined();
      }, { onWrite: () => writes++ });
    });

    it("prolongs a callback's lease that has little time left when it is taken", async () => {
      await shared(2, async (...stores) => {
        const [one, other] = stores as [NatsStore, NatsStore];
        await one.accept(newJob("a", { total: 1, closing: false }));
        await one.claim(lease(1000, "one"));
        const end = { owner: "one", sequence: 0, outcome: "error", error: "{}", now: 1001 } as const;
        await one.complete("a", { ...end, sendUntil: 61_000 });
        expect(await one.nextCallback(lease(32_000, "one"), [])).toMatchObject({ sequence: 0 });
        await changed(other, async () => (await other.nextDue(32_000)) === 92_000);
      });
    });

    it("tells who runs a job that another process cancelled it", async () => {
      await shared(2, async (...stores) => {
        const [runs, cancels] = stores as [NatsStore, NatsStore];
        await runs.accept(newJob("a"));
        await runs.claim(lease(1000, "runs"));
        expect(await cancels.cancel("a", 1001)).toBe("scanning");
        await changed(runs, async () => (await runs.held("runs"))[0]?.cancelled === true);
      });
    });

    it("accepts the same request once, whichever processes are asked at the same moment", async () => {
      await shared(3, async (...stores) => {
        const accepted = await Promise.all(
          stores.map((store, n) => store.accept(newJob(`own-${n}`, { requestId: "r", request: "{}" }))),
        );
        expect(new Set(accepted.map(({ id }) => id)).size).toBe(1);
        expect(await stores[0]?.list({ limit: 9 })).toHaveLength(1);
      });
    });

    it("keeps what is larger than a message, and gives it back to all", async () => {
      await shared(2, async (...stores) => {
        const [one, other] = stores as [NatsStore, NatsStore];
        const request = JSON.stringify({ text: "x".repeat(3 * LIMITS.queuePieceBytes) });
        const result = new Uint8Array(5 * LIMITS.queuePieceBytes + 1).map((_, n) => n % 251);
        await one.accept(newJob("a", { total: 1, request }));
        await queued(other, 1);
        expect((await other.claim(lease(1000, "other")))?.request).toBe(request);
        const end = { owner: "other", sequence: 0, outcome: "success", resultKey: "k", result, now: 1 } as const;
        await other.complete("a", end);
        expect(await one.result("k", 2)).toEqual(result);
        await changed(one, async () => (await one.backlog()).pending === 2);
        expect((await one.nextCallback(lease(2000, "one"), []))?.request).toBe(request);
        expect((await one.job("a"))?.request).toBe(request);
      });
    });

    it("reads no result back that it has just written, and gives what is there now", async () => {
      await shared(2, async (...stores) => {
        const [one, other] = stores as [NatsStore, NatsStore];
        const watcher = await connect(server.connectOptions);
        let reads = 0;
        watcher.subscribe("$JS.API.STREAM.MSG.GET.>", {
          callback: (_error, { subject }) => void (reads += Number(subject.endsWith("-results"))),
        });
        await watcher.flush();
        const readsOf = async (): Promise<number> => {
          await watcher.flush();
          return reads;
        };
        for (const [store, id, byte] of [[one, "a", 1], [other, "b", 2]] as const) {
          await store.accept(newJob(id, { total: 1 }));
          await store.claim(lease(1000, id));
          const result = { resultKey: "k", result: new Uint8Array([byte]) };
          await store.complete(id, { owner: id, sequence: 0, outcome: "success", now: 1, ...result });
          const before = await readsOf();
          expect([await store.result("k", 2), await readsOf() - before]).toEqual([new Uint8Array([byte]), 0]);
          expect([await store.result("k", 2), await readsOf() - before]).toEqual([new Uint8Array([byte]), 1]);
        }
        // What another process has put in its place, once this one knows of it.
        await changed(one, async () => (await one.result("k", 3))?.[0] === 2);
        // The one that it wrote last is another's.
        await one.accept(newJob("c", { total: 1 }));
        await one.claim(lease(1000, "c"));
        const third = { resultKey: "other", result: new Uint8Array([3]) };
        await one.complete("c", { owner: "c", sequence: 0, outcome: "success", now: 1, ...third });
        expect(await one.result("k", 4)).toEqual(new Uint8Array([2]));
        expect(await one.result("other", 4)).toEqual(new Uint8Array([3]));
        await watcher.close();
      });
    });

    it("takes away what a process left that ended while it wrote", async () => {
      const prefix = `left-${++buckets}`;
      const link = await NatsLink.open({ target: { servers: [server.url] }, name: "test", clock: systemClock });
      const bucket = await link.bucket(`${prefix}-results`, { description: "", replicas: undefined });
      const pieces = { "piece.left.0": 1, "piece.left.1": 1, "piece.request-gone.0": 1 };
      for (const key of Object.keys(pieces)) await bucket.put(key, new Uint8Array(9));
      const store = await open(prefix);
      try {
        await store.accept(newJob("a", { total: 1, request: "x".repeat(LIMITS.queueInlineRequestBytes + 1) }));
        await store.claim(lease(1000, "me"));
        const result = { resultKey: "k", result: new Uint8Array(9) };
        await store.complete("a", { owner: "me", sequence: 0, outcome: "success", now: 1, ...result });
        await store.purge({ now: systemClock.now() + 2 * LIMITS.retentionEveryMs, before: 0, maxBytes: 1e9 });
        const left = await bucket.keys("piece.>");
        expect(left).toHaveLength(2);
        expect(left).toContain("piece.request-a.0");
        expect(await store.result("k", 2)).toHaveLength(9);
      } finally {
        await store.close();
        await link.close();
      }
    });

    it("takes a thousand images to their end", async () => {
      await shared(1, async (...stores) => {
        const [store] = stores as [NatsStore];
        await store.accept(newJob("a", { total: 1000 }));
        await store.claim(lease(1000, "me"));
        const long = "d".repeat(200);
        for (let sequence = 0; sequence < 1000; sequence++) {
          const error = JSON.stringify({ message: `${long} ${sequence}` });
          await store.complete("a", { owner: "me", sequence, outcome: "error", error, now: 1001 });
        }
        expect(await store.job("a")).toMatchObject({ state: "reporting", pending: 1001 });
      });
    });

    it("P1 reads everything again when it is opened, and what was taken away is gone for all", async () => {
      const prefix = `again-${++buckets}`;
      const first = await open(prefix);
      for (const id of ["a", "b"]) {
        await first.accept(newJob(id, { total: 1, closing: false }));
        await first.claim(lease(1000, "first"));
        const result = { resultKey: `k-${id}`, result: new Uint8Array(9) };
        await first.complete(id, { owner: "first", sequence: 0, outcome: "success", ...result, now: 1 });
      }
      await first.settle("a", 0, { owner: "first", now: 2 });
      await first.close();
      const second = await open(prefix);
      const third = await open(prefix);
      expect((await second.list({ limit: 9 })).map(({ id, state }) => [id, state])).toEqual([
        ["b", "reporting"],
        ["a", "done"],
      ]);
      expect(await second.purge({ now: 1e9, before: 10, maxBytes: 1e9 })).toBe(1);
      expect(await second.accept(newJob("c", { requestId: "request-a", request: '{"job":"a"}' }))).toEqual({
        id: "c",
        duplicate: false,
      });
      await changed(third, async () => (await third.list({ limit: 9 })).map(({ id }) => id).join() === "c,b");
      expect(await third.hasResults("k-a")).toBe(false);
      expect(await third.result("k-b", 3)).toHaveLength(9);
      // The marks go with the next one.
      await second.purge({ now: 2e9, before: 10, maxBytes: 1e9 });
      await second.close();
      await third.close();
    });
  });
});
