/** S6: random actions on the stores, with crashes and jumps of the clock, against each other and against the promises. */
import fc from "fast-check";
import { expect, it } from "vitest";
import type { JobState, Store, TargetOutcome } from "../core/store.ts";
import { systemClock } from "../../tests/fakes/clock.ts";
import { peer } from "../../tests/peers/mod.ts";
import { startNatsServer } from "../../tests/peers/nats_server.ts";
import { MemoryStore } from "./memory_store.ts";
import { NatsLink } from "./nats_connection.ts";
import { NatsStore } from "./nats_store.ts";
import { SqliteStore } from "./sqlite_store.ts";
import { newJob } from "./store_suite.ts";

type Action =
  | { readonly kind: "accept"; readonly id: number; readonly total: number; readonly closing: boolean }
  | { readonly kind: "claim" | "heartbeat" | "release" | "deliver" | "refuse" | "postpone" | "crash" }
  | { readonly kind: "complete"; readonly outcome: TargetOutcome; readonly sends: boolean }
  | { readonly kind: "defer" | "jump"; readonly ms: number }
  | { readonly kind: "cancel" | "resend"; readonly id: number };

const id = fc.integer({ min: 0, max: 5 });
const action: fc.Arbitrary<Action> = fc.oneof(
  fc.record({ kind: fc.constant("accept" as const), id, total: fc.integer({ min: 1, max: 3 }), closing: fc.boolean() }),
  fc.record({
    kind: fc.constantFrom("claim" as const, "heartbeat", "release", "deliver", "refuse", "postpone", "crash"),
  }),
  fc.record({
    kind: fc.constant("complete" as const),
    outcome: fc.constantFrom("success" as const, "partial", "error"),
    sends: fc.boolean(),
  }),
  fc.record({ kind: fc.constantFrom("defer" as const, "jump"), ms: fc.integer({ min: 0, max: 100_000 }) }),
  fc.record({ kind: fc.constantFrom("cancel" as const, "resend"), id }),
);

/** What a caller may rely on, in a few lines. */
class Model {
  readonly accepted = new Map<string, { total: number; closing: boolean; position: number; held: boolean }>();
  /** Callbacks that were taken, by job. */
  readonly taken = new Map<string, number[]>();
  readonly final = new Map<string, JobState>();
}

/** The worker: what it holds, and what time it is. */
interface Worker {
  owner: string;
  now: number;
  held: { readonly id: string; readonly position: number } | undefined;
  /** Whether the store under test is one that processes share. */
  readonly shared: boolean;
}

async function act(store: Store, action: Action, worker: Worker): Promise<unknown> {
  const { owner, now, held, shared } = worker;
  const lease = { owner, now, until: now + 60_000 };
  switch (action.kind) {
    case "accept": {
      const { total, closing } = action;
      return await store.accept(newJob(`j${action.id}`, { total, closing, acceptedAt: now, maxQueued: 4 }))
        .catch((error) => error.code);
    }
    case "claim":
      return await store.claim(lease);
    case "heartbeat":
      return await store.heartbeat(lease);
    case "release":
      return held && await store.release(held.id, { owner, now });
    case "defer":
      return held &&
        await store.defer(held.id, { owner, notBefore: now + action.ms, now, error: { code: "X", message: "y" } });
    case "complete": {
      const { outcome, sends } = action;
      const sendUntil = sends && shared ? now + 60_000 : undefined;
      const result = { resultKey: `k-${held?.id}`, result: new Uint8Array([held?.position ?? 0]) };
      const what = outcome === "error" ? { error: "{}" } : result;
      return held &&
        await store.complete(held.id, { owner, sequence: held.position, outcome, now, sendUntil, ...what });
    }
    case "deliver":
    case "refuse":
    case "postpone": {
      const next = await store.nextCallback(lease, []);
      if (next === undefined) return undefined;
      if (action.kind === "postpone") {
        return [next, await store.postpone(next.jobId, next.sequence, { owner, nextAt: now + 500 })];
      }
      const error = action.kind === "refuse" ? { code: "X", message: "y" } : undefined;
      return [next, await store.settle(next.jobId, next.sequence, { owner, now, error })];
    }
    case "cancel":
      return await store.cancel(`j${action.id}`, now);
    case "resend":
      return await store.resend(`j${action.id}`, now);
    default:
      return undefined;
  }
}

/** Moves the model, and says what no store may do. */
function check(model: Model, action: Action, answer: unknown, worker: Worker): void {
  if (action.kind === "accept" && typeof answer === "object") {
    const { id, duplicate } = answer as { id: string; duplicate: boolean };
    expect(duplicate).toBe(model.accepted.has(id));
    const { total, closing } = action;
    if (!duplicate) model.accepted.set(id, { total, closing, position: 0, held: false });
  }
  if (action.kind === "claim" && answer !== undefined) {
    const { id, position } = answer as { id: string; position: number };
    expect(model.accepted.get(id)?.position).toBe(position);
    worker.held = { id, position };
  }
  if (action.kind === "complete" && answer === true && worker.held !== undefined) {
    const job = model.accepted.get(worker.held.id);
    if (job !== undefined) job.position++;
    worker.held = { id: worker.held.id, position: worker.held.position + 1 };
  }
  if ((action.kind === "deliver" || action.kind === "refuse") && Array.isArray(answer)) {
    const [{ jobId, sequence, kind }, state] = answer as [{ jobId: string; sequence: number; kind: string }, JobState];
    const job = model.accepted.get(jobId);
    const taken = model.taken.get(jobId) ?? [];
    const last = (job?.total ?? 0) + (job?.closing ? 1 : 0) - 1;
    // In order, but for those that were refused before and are sent again.
    if (!taken.includes(sequence)) expect(sequence).toBe(taken.length);
    expect(kind).toBe(sequence === job?.total ? "closing" : "result");
    if (!taken.includes(sequence)) model.taken.set(jobId, [...taken, sequence]);
    const final = ["done", "partial", "failed"].includes(state);
    if (final) {
      expect(model.taken.get(jobId)).toHaveLength(last + 1);
      model.final.set(jobId, state);
    }
  }
  if (action.kind === "resend" && typeof answer === "number" && answer > 0) model.final.delete(`j${action.id}`);
}

/** A store of the kind under test: opened again after each crash, with what it had. */
interface Opener {
  open(): Store | Promise<Store>;
  /** What a process that ends leaves to the clock: its leases, where nobody knows that it ended. */
  letGo(store: Store, owner: string, now: number): Promise<void>;
}

/** Runs the actions on the store and on its twin in memory. */
async function compare(actions: readonly Action[], { open, letGo }: Opener): Promise<void> {
  const memory = new MemoryStore();
  let store = await open();
  const model = new Model();
  const worker: Worker = { owner: "me", now: 1_000_000, held: undefined, shared: store.shared };
  try {
    for (const one of actions) {
      worker.now += 1;
      if (one.kind === "jump") worker.now += one.ms;
      if (one.kind === "crash") {
        await letGo(store, worker.owner, worker.now);
        await store.close();
        store = await open();
        // The twin has no crash of its own: leases of a process that ended are let go.
        await memory.heartbeat({ owner: worker.owner, now: worker.now, until: 0 });
        worker.held = undefined;
        worker.owner += "'";
        continue;
      }
      const answer = await act(store, one, worker);
      expect(await act(memory, one, worker)).toEqual(answer);
      check(model, one, answer, worker);
      expect(await store.list({ limit: 99 })).toEqual(await memory.list({ limit: 99 }));
      expect(await store.nextDue(worker.now)).toBe(await memory.nextDue(worker.now));
      expect(await store.backlog()).toEqual(await memory.backlog());
    }
    const jobs = await store.list({ limit: 99 });
    expect(jobs.map((job) => job.id).toSorted()).toEqual([...model.accepted.keys()].toSorted());
    for (const [id, state] of model.final) expect(jobs.find((job) => job.id === id)?.state).toBe(state);
  } finally {
    await store.close();
  }
}

const RUNS = Number(Deno.env.get("OUTPOST_TEST_MODEL_RUNS") ?? 60);

it("P1 S6 SQLite and memory do the same, lose nothing, and end every job once", async () => {
  const directory = Deno.makeTempDirSync();
  let files = 0;
  try {
    const run = async (actions: readonly Action[]): Promise<void> => {
      const path = `${directory}/${++files}.db`;
      const open = (): SqliteStore => new SqliteStore({ path, defer: queueMicrotask, now: () => 0 });
      await compare(actions, { open, letGo: () => Promise.resolve() });
      Deno.removeSync(path);
    };
    await fc.assert(fc.asyncProperty(fc.array(action, { maxLength: 60 }), run), { numRuns: RUNS });
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

it.skipIf(!peer("nats-server").available)("P1 S6 NATS and memory do the same", async () => {
  await using server = await startNatsServer();
  let buckets = 0;
  const run = async (actions: readonly Action[]): Promise<void> => {
    const prefix = `model-${++buckets}`;
    const open = async (): Promise<Store> => {
      const link = await NatsLink.open({ target: { servers: [server.url] }, name: "test", clock: systemClock });
      return await NatsStore.open({ link, prefix, replicas: undefined, newId: () => crypto.randomUUID() });
    };
    await compare(actions, { open, letGo: (store, owner, now) => store.heartbeat({ owner, now, until: 0 }) });
  };
  await fc.assert(fc.asyncProperty(fc.array(action, { maxLength: 60 }), run), { numRuns: Math.ceil(RUNS / 4) });
});
