/** What a process does with jobs that others have, cancel or finish, on a store that they share. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { loopbackProvider, type LoopbackServer, startLoopbackRegistry } from "../../tests/fakes/loopback.ts";
import { SharedMemoryStore } from "../../tests/fakes/shared_store.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { CallbackRequest } from "../core/ports.ts";
import { alpineSample } from "../lib/sample_images.ts";
import type { ClosableRegistryProvider } from "../registries/mod.ts";
import { callbackPaths } from "./callback_paths.ts";
import { CredentialBox } from "./credential_box.ts";
import { JobService } from "./job_service.ts";
import type { ScanJob } from "./scan_job.ts";

describe("JobService on a shared store", () => {
  let registry: LoopbackServer;
  let provider: ClosableRegistryProvider;
  let store: SharedMemoryStore;
  let clock: FakeClock;
  let logger: RecordingLogger;
  let sent: CallbackRequest[];
  let canSend: () => boolean;
  /** Scans that fail at once; the others go on until they are cut short. */
  let fails: number;
  let answer: (signal: AbortSignal) => Promise<number>;
  let jobs: JobService;
  /** Resolves with the signal of the scan that begins next. */
  let scanning: PromiseWithResolvers<AbortSignal>;

  beforeEach(() => {
    registry = startLoopbackRegistry({ "team/alpine": { "1": alpineSample() } });
    provider = loopbackProvider();
    store = new SharedMemoryStore();
    clock = new FakeClock();
    logger = new RecordingLogger();
    sent = [];
    canSend = () => true;
    fails = 0;
    answer = () => Promise.resolve(200);
    scanning = Promise.withResolvers();
    jobs = new JobService({
      registries: provider,
      scan: ({ signal }) => {
        if (fails-- > 0) return Promise.reject(new OutpostError("UNSUPPORTED_IMAGE", "It holds no image"));
        scanning.resolve(signal);
        return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      },
      resultVersion: () => Promise.resolve("1"),
      store,
      box: new CredentialBox({ own: () => undefined, key: () => Promise.resolve(new Uint8Array(32)) }),
      concurrency: 1,
      clock,
      logger,
      pause: () => Promise.resolve(),
      newId: () => crypto.randomUUID(),
      retention: { ms: 1e12, bytes: 1e9 },
      maxImageBytes: 1 << 30,
      redact: (text) => text,
      transport: {
        canSend: () => canSend(),
        send: async (request, signal) => {
          sent.push(request);
          return { status: await answer(signal) };
        },
      },
    });
    jobs.start();
  });
  afterEach(async () => {
    await jobs.close(AbortSignal.abort());
    provider.close();
    await registry[Symbol.asyncDispose]();
  });

  function job(): ScanJob {
    const target = { repository: "team/alpine", tag: "1", digest: undefined, platform: undefined, fields: {} };
    return {
      id: "a",
      kind: "scan",
      targets: [target],
      credentials: registry.credentials,
      callbacks: callbackPaths("scan", undefined, []),
      fields: {},
      requestId: "request",
    };
  }

  /** Lets promises of the loops settle until `test` holds. */
  async function settled(test: () => boolean | Promise<boolean>): Promise<void> {
    for (let turn = 0; turn < 2000; turn++) {
      if (await test()) return;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect.unreachable("it did not come to this");
  }

  it("P1 stops a scan whose job another process has, and tells nothing of it", async () => {
    await jobs.accept(job());
    const signal = await scanning.promise;
    const now = clock.now() + LIMITS.jobLeaseMs;
    expect(await store.claim({ owner: "other", now, until: now + LIMITS.jobLeaseMs })).toMatchObject({ id: "a" });
    store.changed();
    await settled(() => signal.aborted);
    await settled(() => logger.lines.some(({ message }) => message.includes("goes on elsewhere")));
    expect(await store.job("a")).toMatchObject({ state: "scanning", callbacks: [] });
    expect(await store.held("other")).toEqual([{ id: "a", cancelled: false }]);
    expect(sent).toEqual([]);
  });

  it("ends a scan that is cancelled elsewhere", async () => {
    await jobs.accept(job());
    const signal = await scanning.promise;
    await store.cancel("a", clock.now());
    store.changed();
    await settled(() => signal.aborted);
    await settled(async () => (await store.job("a"))?.state === "failed");
    expect(new TextDecoder().decode(sent[0]?.body)).toContain("cancelled by the operator");
  });

  it("leaves callbacks to others as long as it cannot send, and sends when it can", async () => {
    canSend = () => false;
    await jobs.accept(job());
    await scanning.promise;
    await jobs.cancel("a");
    await settled(async () => (await store.backlog()).pending === 2);
    const lease = { owner: "other", now: clock.now(), until: clock.now() + LIMITS.jobLeaseMs };
    expect(await store.nextCallback(lease, [])).toMatchObject({ sequence: 0 });
    await store.settle("a", 0, { owner: "other", now: clock.now() });
    expect(sent).toEqual([]);
    canSend = () => true;
    jobs.wake();
    await settled(async () => (await store.job("a"))?.state === "failed");
    expect(sent.map(({ headers }) => headers["idempotency-key"])).toEqual(["a-1"]);
  });

  it("leaves what it was about to send to others when it cannot send any more, though it scans on", async () => {
    fails = 1;
    // It can when the first image ends, and cannot a moment later.
    const answers = [true];
    canSend = () => answers.pop() ?? false;
    await jobs.accept({ ...job(), targets: [...job().targets, ...job().targets] });
    await scanning.promise;
    await settled(async () => (await store.backlog()).pending === 1);
    const lease = () => ({ owner: "other", now: clock.now(), until: clock.now() + LIMITS.jobLeaseMs });
    expect(await store.nextCallback(lease(), [])).toBeUndefined();
    await clock.advance(LIMITS.jobLeaseMs);
    expect(await store.nextCallback(lease(), [])).toMatchObject({ jobId: "a", sequence: 0 });
    // The job itself is still this process's.
    expect(await store.claim(lease())).toBeUndefined();
    expect(sent).toEqual([]);
  });

  it("gives the callbacks that it cuts short to others at once", async () => {
    answer = (signal) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    await jobs.accept(job());
    await scanning.promise;
    await jobs.cancel("a");
    await settled(() => sent.length === 1);
    const lease = { owner: "other", now: clock.now(), until: clock.now() + LIMITS.jobLeaseMs };
    expect(await store.nextCallback(lease, [])).toBeUndefined();
    await jobs.close(AbortSignal.abort());
    expect(await store.nextCallback(lease, [])).toMatchObject({ jobId: "a", sequence: 0 });
  });
});
