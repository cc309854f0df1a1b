/**
 * What every {@link Store} does, whatever it is kept in.
 *
 * @module
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import type { NewJob, Store } from "../core/store.ts";

/** A job to accept; two images and a closing callback. */
export function newJob(id: string, more: Partial<NewJob> = {}): NewJob {
  return {
    id,
    requestId: `request-${id}`,
    kind: "scan",
    total: 2,
    closing: true,
    request: `{"job":"${id}"}`,
    credentials: new Uint8Array([0]),
    acceptedAt: 1000,
    maxQueued: 100,
    ...more,
  };
}

const lease = (now: number, owner = "me") => ({ owner, now, until: now + 60_000 });
const ERROR = { code: "TIMEOUT", message: "It took too long" };

/** Defines the suite. `open` makes an empty store, in the directory if it needs one. */
export function storeSuite(name: string, open: (directory: string) => Store | Promise<Store>): void {
  describe(`${name} as a store`, () => {
    let directory: string;
    let store: Store;
    beforeEach(async () => {
      directory = Deno.makeTempDirSync();
      store = await open(directory);
    });
    afterEach(async () => {
      await store.close();
      Deno.removeSync(directory, { recursive: true });
    });

    const state = async (id: string): Promise<string | undefined> => (await store.job(id))?.state;

    it("P1 takes a job from queued through scanning and reporting to done, its callbacks in order", async () => {
      expect(await store.accept(newJob("a"))).toEqual({ id: "a", duplicate: false });
      expect(await state("a")).toBe("queued");
      expect(await store.claim(lease(2000))).toMatchObject({ id: "a", position: 0, attempts: 1, cancelled: false });
      expect(await state("a")).toBe("scanning");
      const body = new Uint8Array([1, 2, 3]);
      const first = { owner: "me", sequence: 0, outcome: "success", resultKey: "k1", result: body, now: 2001 } as const;
      expect(await store.complete("a", first)).toBe(true);
      expect(await store.complete("a", first)).toBe(false);
      expect(await store.complete("a", { owner: "me", sequence: 1, outcome: "success", resultKey: "k1", now: 2002 }))
        .toBe(true);
      expect(await state("a")).toBe("reporting");
      for (const [sequence, kind] of [[0, "result"], [1, "result"], [2, "closing"]] as const) {
        const next = await store.nextCallback(lease(3000), []);
        expect(next).toMatchObject({ jobId: "a", sequence, kind, requestId: "request-a", request: '{"job":"a"}' });
        expect(await store.nextCallback(lease(3000), ["a"])).toBeUndefined();
        if (kind === "result") expect(await store.result(next?.resultKey ?? "", 3000)).toEqual(body);
        else expect(next?.totals).toEqual({ succeeded: 2, partial: 0, failed: 0 });
        expect(await store.settle("a", sequence, { owner: "me", now: 3000 })).toBe(
          kind === "closing" ? "done" : "reporting",
        );
      }
      expect(await store.nextCallback(lease(9e12), [])).toBeUndefined();
      expect(await store.job("a")).toMatchObject({ state: "done", succeeded: 2, pending: 0, dead: 0 });
    });

    it.each(
      [
        [["success", "partial"], "partial"],
        [["error", "error"], "failed"],
        [["error", "success"], "partial"],
      ] as const,
    )("ends a job with the outcomes %j as %s", async (outcomes, expected) => {
      await store.accept(newJob("a", { closing: false }));
      await store.claim(lease(1000));
      for (const [sequence, outcome] of outcomes.entries()) {
        await store.complete("a", { owner: "me", sequence, outcome, error: "{}", now: 1 });
        await store.settle("a", sequence, { owner: "me", now: 2 });
      }
      expect(await state("a")).toBe(expected);
    });

    it("answers the same request with the job that it has, and another one with its own", async () => {
      await store.accept(newJob("a"));
      const again = newJob("b", { requestId: "request-a", request: '{"job":"a"}' });
      expect(await store.accept(again)).toEqual({ id: "a", duplicate: true });
      expect(await store.accept({ ...again, request: "{}" })).toEqual({ id: "b", duplicate: false });
      expect(await store.accept({ ...again, id: "c", kind: "discover" })).toEqual({ id: "c", duplicate: false });
      expect((await store.backlog()).queued).toBe(3);
    });

    it("refuses beyond the bound, and nobody else", async () => {
      const ends = await Promise.all(
        ["a", "b", "c"].map((id) => store.accept(newJob(id, { maxQueued: 2 })).then(() => "taken", (error) => error)),
      );
      expect(ends.filter((end) => end === "taken")).toHaveLength(2);
      expect(ends.at(-1)).toBeInstanceOf(OutpostError);
      expect(ends.at(-1)).toMatchObject({ code: "BUSY", status: 503 });
      await store.claim(lease(1000));
      expect(await store.accept(newJob("d", { maxQueued: 2 }))).toMatchObject({ duplicate: false });
    });

    it("hands a job to one at a time, the oldest first, and again when its lease is over", async () => {
      await store.accept(newJob("a", { acceptedAt: 5 }));
      await store.accept(newJob("b", { acceptedAt: 4 }));
      expect((await store.claim(lease(1000)))?.id).toBe("b");
      expect((await store.claim(lease(1000)))?.id).toBe("a");
      expect(await store.claim(lease(1001))).toBeUndefined();
      await store.heartbeat(lease(30_000));
      expect(await store.claim(lease(61_001, "other"))).toBeUndefined();
      expect(await store.claim(lease(90_000, "other"))).toMatchObject({ id: "b", attempts: 2 });
    });

    it("puts a job off with the reason, and back without one", async () => {
      await store.accept(newJob("a"));
      await store.claim(lease(1000));
      await store.defer("a", { owner: "me", notBefore: 5000, now: 1500, error: ERROR });
      expect(await store.job("a")).toMatchObject({ state: "queued", notBefore: 5000, error: ERROR, attempts: 1 });
      expect(await store.claim(lease(4999))).toBeUndefined();
      expect(await store.nextDue(4999)).toBe(5000);
      expect(await store.claim(lease(5000))).toMatchObject({ attempts: 2 });
      await store.release("a", { owner: "me", now: 5001 });
      expect(await store.claim(lease(5002))).toMatchObject({ attempts: 2 });
    });

    it("P1 takes nothing from an owner whose lease another has", async () => {
      await store.accept(newJob("a"));
      await store.claim(lease(1000));
      expect(await store.held("me")).toEqual([{ id: "a", cancelled: false }]);
      await store.claim(lease(70_000, "other"));
      expect(await store.held("me")).toEqual([]);
      await store.defer("a", { owner: "me", notBefore: 5000, now: 71_000, error: ERROR });
      await store.release("a", { owner: "me", now: 71_000 });
      const end = { sequence: 0, outcome: "success", resultKey: "k", now: 71_000 } as const;
      expect(await store.complete("a", { ...end, owner: "me", result: new Uint8Array([1]) })).toBe(false);
      expect(await store.job("a")).toMatchObject({ state: "scanning", attempts: 2, callbacks: [] });
      expect(await store.complete("a", { ...end, owner: "other", result: new Uint8Array([2]) })).toBe(true);
      expect(await store.result("k", 72_000)).toEqual(new Uint8Array([2]));
      await store.cancel("a", 73_000);
      expect(await store.held("other")).toEqual([{ id: "a", cancelled: true }]);
    });

    it("hands a callback to one at a time, and again when its lease is over", async () => {
      await store.accept(newJob("a", { total: 1 }));
      await store.claim(lease(1000));
      await store.complete("a", { owner: "me", sequence: 0, outcome: "error", error: "{}", now: 1000 });
      expect(await store.nextCallback(lease(1000), [])).toMatchObject({ sequence: 0 });
      expect(await store.nextCallback(lease(1001, "other"), [])).toBeUndefined();
      expect(await store.nextCallback(lease(1002), [])).toMatchObject({ sequence: 0, attempts: 0 });
      await store.heartbeat(lease(30_000));
      expect(await store.nextDue(30_000)).toBe(90_000);
      expect(await store.nextCallback(lease(89_999, "other"), [])).toBeUndefined();
      expect(await store.nextCallback(lease(90_000, "other"), [])).toMatchObject({ sequence: 0 });
      await store.postpone("a", 0, { owner: "me", nextAt: 1e9 });
      expect(await store.settle("a", 0, { owner: "me", now: 90_001, error: ERROR })).toBe("reporting");
      expect(await store.job("a")).toMatchObject({ pending: 2, dead: 0 });
      // What arrived has arrived, whoever sent it.
      await store.settle("a", 0, { owner: "me", now: 90_002 });
      expect(await store.nextCallback(lease(90_003), [])).toMatchObject({ sequence: 1, kind: "closing" });
    });

    it("counts attempts for each image", async () => {
      await store.accept(newJob("a"));
      await store.claim(lease(1000));
      await store.release("a", { owner: "me", now: 1000 });
      await store.claim(lease(1000));
      await store.complete("a", { owner: "me", sequence: 0, outcome: "error", error: "{}", now: 1 });
      expect((await store.job("a"))?.attempts).toBe(1);
    });

    it("puts a callback off, gives it up, and sends it again", async () => {
      await store.accept(newJob("a", { total: 1 }));
      await store.claim(lease(1000));
      await store.complete("a", {
        owner: "me",
        sequence: 0,
        outcome: "success",
        resultKey: "k",
        result: new Uint8Array(9),
        now: 1000,
      });
      await store.postpone("a", 0, { owner: "me", nextAt: 7000 });
      expect(await store.nextCallback(lease(6999), [])).toBeUndefined();
      expect(await store.nextDue(6999)).toBe(7000);
      expect(await store.nextCallback(lease(7000), [])).toMatchObject({ sequence: 0, attempts: 1 });
      expect(await store.settle("a", 0, { owner: "me", now: 7000, error: ERROR })).toBe("reporting");
      const closing = await store.nextCallback(lease(7000), []);
      expect(closing).toMatchObject({ kind: "closing", totals: { succeeded: 0, failed: 1 } });
      expect(await store.settle("a", 1, { owner: "me", now: 7000 })).toBe("failed");
      expect(await store.job("a")).toMatchObject({ dead: 1, callbacks: [{ state: "dead", error: ERROR }, {}] });
      expect(await store.resend("a", 8000)).toBe(1);
      expect(await state("a")).toBe("reporting");
      expect(await store.settle("a", 0, { owner: "me", now: 8001 })).toBe("done");
      expect(await store.resend("a", 9000)).toBe(0);
      expect(await store.resend("none", 9000)).toBe(0);
    });

    it("keeps the order of one job while another one goes on", async () => {
      for (const id of ["a", "b"]) {
        await store.accept(newJob(id, { closing: false }));
        await store.claim(lease(1000));
        for (const sequence of [0, 1]) {
          await store.complete(id, { owner: "me", sequence, outcome: "error", error: "{}", now: 1000 });
        }
      }
      await store.postpone("a", 0, { owner: "me", nextAt: 5000 });
      expect(await store.nextCallback(lease(1000), [])).toMatchObject({ jobId: "b", sequence: 0 });
      await store.settle("b", 0, { owner: "me", now: 1000 });
      expect(await store.nextCallback(lease(1000), [])).toMatchObject({ jobId: "b", sequence: 1 });
      await store.settle("b", 1, { owner: "me", now: 1000 });
      expect(await store.nextCallback(lease(4999), [])).toBeUndefined();
    });

    it("hands a cancelled job out before all others, at once", async () => {
      await store.accept(newJob("a"));
      await store.accept(newJob("b"));
      await store.claim(lease(1000));
      await store.defer("a", { owner: "me", notBefore: 9000, now: 1000, error: ERROR });
      expect(await store.cancel("a", 1001)).toBe("queued");
      expect(await store.claim(lease(1002))).toMatchObject({ id: "a", cancelled: true });
      expect(await store.cancel("none", 1001)).toBeUndefined();
    });

    it("forgets sealed credentials with the last image, and keeps a mark", async () => {
      for (const [id, first] of [["a", 0], ["b", 1]] as const) {
        await store.accept(newJob(id, { total: 1, credentials: new Uint8Array([first, 7]) }));
        await store.claim(lease(1000));
        expect((await store.job(id))?.credentials).toEqual(new Uint8Array([first, 7]));
        await store.complete(id, { owner: "me", sequence: 0, outcome: "error", error: "{}", now: 1 });
      }
      expect((await store.job("a"))?.credentials).toHaveLength(2);
      expect((await store.job("b"))?.credentials).toHaveLength(0);
    });

    it("lists jobs, newest first", async () => {
      for (const id of ["a", "b", "c"]) await store.accept(newJob(id));
      await store.claim(lease(1000));
      expect((await store.list({ limit: 2 })).map(({ id }) => id)).toEqual(["c", "b"]);
      expect((await store.list({ limit: 9, state: "scanning" })).map(({ id }) => id)).toEqual(["a"]);
    });

    it("takes away what is old and what is too much, never what waits", async () => {
      for (const [id, now] of [["a", 1000], ["b", 2000], ["c", 3000]] as const) {
        await store.accept(newJob(id, { total: 1, closing: false, acceptedAt: now }));
        await store.claim(lease(now));
        const result = { resultKey: `k-${id}`, result: new Uint8Array(100) };
        await store.complete(id, { owner: "me", sequence: 0, outcome: "success", ...result, now });
      }
      for (const id of ["a", "b"]) await store.settle(id, 0, { owner: "me", now: id === "a" ? 1000 : 2000 });
      expect(await store.purge({ now: 1e9, before: 1500, maxBytes: 1000 })).toBe(1);
      expect(await store.job("a")).toBeUndefined();
      expect(await store.hasResults("k-a")).toBe(false);
      expect(await store.hasResults("k-b")).toBe(true);
      expect((await store.backlog()).pendingBytes).toBe(100);
      await store.purge({ now: 1e9, before: 0, maxBytes: 0 });
      expect(await store.hasResults("k-b")).toBe(false);
      expect(await store.result("k-c", 4000)).toHaveLength(100);
      expect(await store.job("b")).toMatchObject({ state: "done" });
    });
  });
}
