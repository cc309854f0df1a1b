import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { MemoryStore } from "../store/memory_store.ts";
import { callbackPaths } from "./callback_paths.ts";
import { Outbox } from "./outbox.ts";
import { encodeRequest } from "./scan_job.ts";

const DOWN = new OutpostError("BROKER_DISCONNECTED", "The broker is not connected");
const ERROR = '{"status":"error","scanResults":[],"error":{"code":"X","message":"y"}}';

describe("Outbox", () => {
  let store: MemoryStore;
  let clock: FakeClock;
  let logger: RecordingLogger;
  let outbox: Outbox;
  let outcomes: string[];
  /** Job and sequence of each attempt, with its time. */
  let attempts: { readonly key: string; readonly at: number }[];
  let answer: (key: string) => number | OutpostError | Promise<number>;

  beforeEach(() => {
    store = new MemoryStore();
    clock = new FakeClock();
    logger = new RecordingLogger();
    outcomes = [];
    attempts = [];
    answer = () => 200;
    outbox = new Outbox({
      store,
      owner: "outbox",
      clock,
      logger,
      pause: () => Promise.resolve(),
      onOutcome: (outcome) => outcomes.push(outcome),
      transport: {
        send: async ({ headers }) => {
          const key = headers["idempotency-key"] ?? "";
          attempts.push({ key, at: clock.now() });
          const given = await answer(key);
          if (given instanceof OutpostError) throw given;
          return { status: given };
        },
      },
    });
    outbox.start();
  });
  afterEach(() => outbox.stop(new Error("over")));

  const keys = (): string[] => attempts.map(({ key }) => key);

  /** A job whose images all have results, with a closing callback. */
  async function reported(id: string, images = 2): Promise<void> {
    const target = { repository: "team/app", tag: "1", digest: undefined, platform: undefined, fields: {} };
    const targets = Array.from({ length: images }, () => target);
    const request = encodeRequest({ targets, callbacks: callbackPaths("scan", undefined, []), fields: { id } });
    const job = { id, requestId: id, kind: "scan", total: images, closing: true, request } as const;
    await store.accept({ ...job, credentials: new Uint8Array(1), acceptedAt: clock.now(), maxQueued: 99 });
    await store.claim({ owner: "me", now: clock.now(), until: clock.now() + 1000 });
    for (let sequence = 0; sequence < images; sequence++) {
      await store.complete(id, { owner: "me", sequence, outcome: "error", error: ERROR, now: clock.now() });
    }
    outbox.wake();
    await clock.advance(0);
  }

  it("delivers the callbacks of a job in their order, under one key each", async () => {
    await reported("a");
    expect(keys()).toEqual(["a-0", "a-1", "a-2"]);
    expect(await store.job("a")).toMatchObject({ state: "failed", pending: 0 });
    expect(outcomes).toEqual(["delivered", "delivered", "delivered"]);
  });

  it("P1 keeps everything while the broker is down for ten minutes, asks with longer and longer waits, and delivers all", async () => {
    answer = () => DOWN;
    for (const id of ["a", "b", "c"]) await reported(id);
    const until = clock.now() + 10 * 60_000;
    while (clock.now() < until) await clock.advance(10_000);
    expect(new Set(keys())).toEqual(new Set(["a-0", "b-0", "c-0"]));
    expect(attempts.length).toBeLessThan(3 * 25);
    const waits = attempts.filter(({ key }) => key === "a-0").map(({ at }, i, all) => at - (all[i - 1]?.at ?? at));
    expect(Math.max(...waits)).toBeLessThanOrEqual(LIMITS.retryMaxMs);
    expect((await store.backlog()).pending).toBe(9);
    answer = () => 200;
    attempts.length = 0;
    await clock.advance(LIMITS.retryMaxMs);
    await clock.advance(0);
    for (const id of ["a", "b", "c"]) {
      expect(keys().filter((key) => key.startsWith(id))).toEqual([`${id}-0`, `${id}-1`, `${id}-2`]);
      expect(await store.job(id)).toMatchObject({ pending: 0, dead: 0 });
    }
  });

  it.each([408, 429, 500, 503])("tries again after %i", async (status) => {
    answer = () => attempts.length === 1 ? status : 204;
    await reported("a", 1);
    expect(keys()).toEqual(["a-0"]);
    await clock.advance(LIMITS.retryMinMs);
    expect(keys()).toEqual(["a-0", "a-0", "a-1"]);
    expect(outcomes).toEqual(["retried", "delivered", "delivered"]);
  });

  it("puts aside, with the reason, what is refused for good, goes on with the next, and sends it again on demand", async () => {
    answer = (key) => key === "a-0" ? 401 : 200;
    await reported("a");
    expect(keys()).toEqual(["a-0", "a-1", "a-2"]);
    expect(await store.job("a")).toMatchObject({
      state: "failed",
      dead: 1,
      callbacks: [
        { state: "dead", error: { code: "BROKER_REFUSED", message: expect.stringContaining("401") } },
        {},
        {},
      ],
    });
    expect(logger.lines.filter(({ level }) => level === "error")).toMatchObject([{ fields: { image: "team/app:1" } }]);
    answer = () => 200;
    await store.resend("a", clock.now());
    outbox.wake();
    await clock.advance(0);
    expect(keys().at(-1)).toBe("a-0");
    expect(await store.job("a")).toMatchObject({ dead: 0, pending: 0 });
  });

  it("gives up after the bound", async () => {
    answer = () => DOWN;
    await reported("a", 1);
    await clock.advance(LIMITS.callbackGiveUpMs - LIMITS.retryMaxMs);
    expect(outcomes).not.toContain("abandoned");
    await clock.advance(2 * LIMITS.retryMaxMs);
    expect(outcomes).toContain("abandoned");
    expect((await store.job("a"))?.callbacks[0]).toMatchObject({ state: "dead" });
  });

  it("has a bounded number on their way, each of another job", async () => {
    const gate = Promise.withResolvers<number>();
    answer = () => gate.promise;
    for (let n = 0; n < LIMITS.callbacksInFlight + 3; n++) await reported(`j${n}`);
    expect(attempts).toHaveLength(LIMITS.callbacksInFlight);
    gate.resolve(200);
    await clock.advance(0);
    expect(attempts).toHaveLength(3 * (LIMITS.callbacksInFlight + 3));
  });

  it("leaves what is on its way in the store when it is stopped", async () => {
    const gate = Promise.withResolvers<number>();
    answer = () => gate.promise;
    await reported("a", 1);
    const stopping = outbox.stop(new Error("over"));
    gate.reject(new DOMException("cut", "AbortError"));
    await stopping;
    expect((await store.job("a"))?.callbacks[0]).toMatchObject({ state: "pending", attempts: 0 });
    expect(clock.pending).toBe(0);
  });
});
