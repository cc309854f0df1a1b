/**
 * Jobs with the real registry client and layer engine, in front of a registry on a loopback port; only the way to Snyk is
 * in memory.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { BackoffClock, FakeClock } from "../../tests/fakes/clock.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { LOGIN, loopbackProvider, type LoopbackServer, startLoopbackRegistry } from "../../tests/fakes/loopback.ts";
import { ANALYZERS_VERSION, WANTED } from "../analyzers/mod.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { CallbackRequest, Clock, LayerEngine } from "../core/ports.ts";
import { createLayerEngine } from "../layers/engine.ts";
import { scanImage } from "./scan_image.ts";
import { IdleScans } from "../lib/idle_scans.ts";
import { buildImage } from "../lib/oci_builder.ts";
import { alpineSample, debianSample, multiPlatformSample } from "../lib/sample_images.ts";
import type { ClosableRegistryProvider } from "../registries/mod.ts";
import { callbackPaths } from "./callback_paths.ts";
import { MemoryStore } from "../store/memory_store.ts";
import { CredentialBox } from "./credential_box.ts";
import { JobService, type JobServiceOptions } from "./job_service.ts";
import type { ScanJob, ScanTarget } from "./scan_job.ts";

type Reply = number | OutpostError | (() => number | Promise<number>);

const ENGINE: LayerEngine = createLayerEngine({ patterns: WANTED, version: ANALYZERS_VERSION });
const DEBIAN = debianSample();
/** Its package database cannot be read. */
const BROKEN_DATABASE = buildImage({
  layers: [{
    members: [
      { path: "etc/os-release", content: "ID=fedora\nVERSION_ID=42\n" },
      { path: "usr/lib/sysimage/rpm/rpmdb.sqlite", content: "no database" },
    ],
  }],
});

describe("JobService", () => {
  let registry: LoopbackServer;
  let provider: ClosableRegistryProvider;
  let store: MemoryStore;
  let logger: RecordingLogger;
  let sent: { readonly request: CallbackRequest; readonly body: Record<string, unknown> }[];
  let outcomes: string[];

  beforeAll(() => {
    registry = startLoopbackRegistry({
      "team/debian": { "12": DEBIAN },
      "team/alpine": { "3.21": alpineSample(), latest: alpineSample() },
      "team/broken": { "1": BROKEN_DATABASE },
      multi: { latest: multiPlatformSample() },
    });
  });
  afterAll(() => registry[Symbol.asyncDispose]());
  beforeEach(() => {
    provider = loopbackProvider();
    store = new MemoryStore();
    logger = new RecordingLogger();
    sent = [];
    outcomes = [];
    registry.intercept = undefined;
  });
  afterEach(() => provider.close());

  function service(
    reply: (index: number) => Reply = () => 200,
    more: Partial<JobServiceOptions> = {},
    clock: Clock = retrying(),
  ): JobService {
    return new JobService({
      registries: provider,
      scan: (options) => scanImage({ engine: ENGINE, clock, ...options }),
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
      redact: (text) => text.replaceAll(LOGIN.password, "***"),
      onScan: (outcome) => outcomes.push(outcome),
      transport: {
        send: async (request) => {
          const index = sent.length;
          sent.push({ request, body: JSON.parse(new TextDecoder().decode(request.body)) });
          const answer = reply(index);
          if (answer instanceof OutpostError) throw answer;
          return { status: typeof answer === "function" ? await answer() : answer };
        },
      },
      ...more,
    });
  }

  /** Runs one job to its end, or until the signal aborts; `reply` answers each callback. */
  function runner(...args: Parameters<typeof service>) {
    return async (job: ScanJob, signal: AbortSignal): Promise<void> => {
      const jobs = service(...args);
      jobs.start();
      await jobs.accept(job);
      await ended(job.id, signal);
      await jobs.close(signal.aborted ? signal : new AbortController().signal);
    };
  }

  async function ended(id: string, signal: AbortSignal = idle()): Promise<void> {
    while (!signal.aborted) {
      const known = await store.job(id);
      if (known !== undefined && ["done", "partial", "failed"].includes(known.state)) return;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  function job(targets: readonly Partial<ScanTarget>[], more: Partial<ScanJob> = {}): ScanJob {
    return {
      id: "job-1",
      kind: "scan",
      targets: targets.map((target) => ({
        repository: "team/alpine",
        tag: undefined,
        digest: undefined,
        platform: undefined,
        fields: {},
        ...target,
      })),
      credentials: registry.credentials,
      callbacks: callbackPaths("scan", undefined, []),
      fields: {},
      requestId: "request-1",
      ...more,
    };
  }

  const idle = (): AbortSignal => new AbortController().signal;
  const seen = (): unknown[] => sent.map(({ request, body }) => [request.path, body["sequence"], body["status"]]);
  const done = (): unknown => sent.at(-1)?.body;

  it("sends one result per image in the request's order, then the totals", async () => {
    const targets = [{ repository: "team/debian", tag: "12" }, { tag: "3.21" }, { repository: "team/none", tag: "1" }];
    await runner()(job(targets), idle());
    expect(seen()).toEqual([
      ["/api/v2/import/result", 0, "success"],
      ["/api/v2/import/result", 1, "success"],
      ["/api/v2/import/result", 2, "error"],
      ["/api/v2/import/done", undefined, undefined],
    ]);
    expect(done()).toEqual({ id: "job-1", total: 3, succeeded: 2, partial: 0, failed: 1 });
    expect(outcomes).toEqual(["success", "success", "error"]);
  });

  it("carries the request's fields to all callbacks and an image's to its own; ours go before both", async () => {
    const targets = [{ fields: { key: 1, status: "theirs" } }, { fields: { key: 2, org: "image" } }];
    await runner()(job(targets, { fields: { org: "request", id: "theirs" } }), idle());
    expect(sent.map(({ body: { scanResults: _scanResults, ...rest } }) => rest)).toEqual([
      { org: "request", key: 1, id: "job-1", sequence: 0, status: "success" },
      { org: "image", key: 2, id: "job-1", sequence: 1, status: "success" },
      { org: "request", id: "job-1", total: 2, succeeded: 2, partial: 0, failed: 0 },
    ]);
    expect(sent.map(({ request }) => request.headers)).toEqual([0, 1, 2].map((sequence) => ({
      "content-type": "application/json",
      "snyk-request-id": "request-1",
      "idempotency-key": `job-1-${sequence}`,
    })));
  });

  it("scans tag, digest, the latest tag and the platform that was asked for", async () => {
    const platform = { os: "linux", architecture: "arm64" };
    await runner()(
      job([
        { repository: "team/debian", digest: DEBIAN.descriptor.digest },
        { repository: "team/alpine" },
        { repository: "multi", tag: "latest", platform },
      ]),
      idle(),
    );
    const results = sent.slice(0, 3).map(({ body }) => (body["scanResults"] as Record<string, unknown>[])[0]);
    expect(results.map((result) => result?.["identity"])).toEqual([
      { type: "deb", args: { platform: "linux/amd64" } },
      { type: "apk", args: { platform: "linux/amd64" } },
      { type: "apk", args: { platform: expect.stringContaining("linux/arm64") } },
    ]);
    expect(JSON.stringify(results[0])).toContain(DEBIAN.descriptor.digest);
  });

  it("sends one message and no closing one for a discovery", async () => {
    const callbacks = callbackPaths("discover", undefined, []);
    await runner()(job([{}], { kind: "discover", callbacks }), idle());
    expect(seen()).toEqual([["/v1/import/app", 0, "success"]]);
  });

  it("uses the paths and the origin that the request named", async () => {
    const callbacks = callbackPaths("scan", "http://client:1/v2/import/result", ["http://client:1"]);
    await runner()(job([{}], { callbacks }), idle());
    expect(sent.map(({ request }) => [request.origin, request.path])).toEqual([
      ["http://client:1", "/v2/import/result"],
      ["http://client:1", "/v2/import/done"],
    ]);
  });

  it("says when a result is partial, and what is missing", async () => {
    await runner()(job([{ repository: "team/broken", tag: "1" }]), idle());
    expect(sent[0]?.body).toMatchObject({
      status: "partial",
      problems: [{ subject: "usr/lib/sysimage/rpm/rpmdb.sqlite" }],
    });
    expect(sent[0]?.body["scanResults"]).toHaveLength(1);
    expect(done()).toMatchObject({ succeeded: 0, partial: 1, failed: 0 });
  });

  it.each([
    [{ repository: "team/none" }, "REPO_NOT_FOUND"],
    [{ repository: "team/debian", tag: "none" }, "TAG_NOT_FOUND"],
    [{ repository: "multi", platform: { os: "plan9", architecture: "mips" } }, "PLATFORM_NOT_FOUND"],
  ])("explains why %j failed", async (target, code) => {
    await runner()(job([target]), idle());
    const [{ body }] = sent as [typeof sent[number]];
    expect(body).toMatchObject({ status: "error", scanResults: [], error: { code } });
    const error = body["error"] as Record<string, unknown>;
    expect(Object.keys(error).filter((key) => !["code", "message", "hint"].includes(key))).toEqual([]);
    expect(error["message"]).toMatch(/^Cannot .*[^.]$/);
  });

  it("masks a password that the registry repeats", async () => {
    registry.intercept = () =>
      Response.json({ errors: [{ code: "DENIED", message: `no ${LOGIN.password} here` }] }, { status: 403 });
    await runner()(job([{}]), idle());
    expect(sent[0]?.body).toMatchObject({ status: "error" });
    expect(JSON.stringify(sent)).not.toContain(LOGIN.password);
  });

  it("ends an image that is too large with an error", async () => {
    await runner(undefined, { maxImageBytes: 10 })(job([{}]), idle());
    expect(sent[0]?.body).toMatchObject({
      error: { code: "LIMIT_EXCEEDED", hint: expect.stringContaining("SNYK_MAX") },
    });
    expect(registry.requests.some((line) => line.includes("layer"))).toBe(false);
  });

  it("replaces a result that is larger than the broker takes, and counts it as failed", async () => {
    await runner()(job([{ fields: { note: "x".repeat(LIMITS.brokerRequestBodyBytes - 2000) } }, {}]), idle());
    const [large, small] = sent;
    expect(large?.body).toMatchObject({ status: "error", scanResults: [], error: { code: "BODY_TOO_LARGE" } });
    expect(large?.request.body.length).toBeLessThanOrEqual(LIMITS.brokerRequestBodyBytes);
    expect(small?.body).toMatchObject({ status: "success" });
    expect(done()).toMatchObject({ total: 2, succeeded: 1, failed: 1 });
  });

  it("delivers again what did not arrive", async () => {
    const down = new OutpostError("BROKER_DISCONNECTED", "Cannot send the callback");
    await runner((index) => [down, 503, 200, 200][index] ?? 200)(job([{}]), idle());
    expect(seen().map((one) => (one as unknown[])[0])).toEqual([
      ...Array.from({ length: 3 }, () => "/api/v2/import/result"),
      "/api/v2/import/done",
    ]);
  });

  it("goes on with the next image when a result is refused for good", async () => {
    await runner((index) => index === 0 ? 400 : 200)(job([{}, { tag: "3.21" }]), idle());
    expect(seen().slice(0, 2)).toEqual([
      ["/api/v2/import/result", 0, "success"],
      ["/api/v2/import/result", 1, "success"],
    ]);
    expect(done()).toEqual({ id: "job-1", total: 2, succeeded: 1, partial: 0, failed: 1 });
    const refused = logger.lines.find(({ message }) => message === "Callback refused");
    expect(refused).toMatchObject({ level: "error", fields: { id: "job-1", image: "team/alpine:latest" } });
  });

  it("logs, and does not reject, when the closing message is refused", async () => {
    await runner((index) => index === 1 ? 401 : 200)(job([{}]), idle());
    expect(logger.lines.at(-1)).toMatchObject({ level: "error", message: "Callback refused", fields: { sequence: 1 } });
    expect(await store.job("job-1")).toMatchObject({ state: "partial", succeeded: 1, dead: 1 });
  });

  it("sends nothing for a scan that it cuts short", async () => {
    const controller = new AbortController();
    registry.intercept = (request) => {
      if (!new URL(request.url).pathname.includes("/blobs/")) return undefined;
      controller.abort(new OutpostError("CANCELLED", "The process is stopping"));
      return new Response(null, { status: 503 });
    };
    await runner()(job([{}, {}]), controller.signal);
    expect(sent).toEqual([]);
    expect(outcomes).toEqual([]);
    expect(logger.lines.at(-1)).toMatchObject({
      message: "Scan request dropped: the process is stopping",
      fields: { id: "job-1" },
    });
  });

  it("stops waiting for a delivery when it is cancelled", async () => {
    const controller = new AbortController();
    const clock = new FakeClock();
    const running = runner(
      () => {
        queueMicrotask(() => controller.abort(new OutpostError("CANCELLED", "The process is stopping")));
        return 503;
      },
      {},
      clock,
    )(job([{}, {}]), controller.signal);
    await running;
    expect(sent).toHaveLength(1);
    expect(logger.lines.at(-1)).toMatchObject({ message: expect.stringContaining("Scan request dropped") });
    expect(clock.pending).toBe(0);
  });

  it("scans the same image once, at once or later: then the manifest is all that it asks for", async () => {
    const jobs = service(undefined, { concurrency: 2 });
    jobs.start();
    await Promise.all(["a", "b"].map((id) => jobs.accept(job([{}], { id, requestId: id }))));
    for (const id of ["a", "b"]) await ended(id);
    const before = registry.requests.length;
    await jobs.accept(job([{ fields: { key: "later" } }], { id: "c", requestId: "c" }));
    await ended("c");
    const later = registry.requests.slice(before).filter((line) => !line.includes("token"));
    expect(later).toEqual(["GET /v2/team/alpine/manifests/latest"]);
    await jobs.close(idle());
    const results = sent.filter(({ body }) => "sequence" in body).map(({ body }) => body["scanResults"]);
    expect(results).toHaveLength(3);
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
    expect(sent.find(({ body }) => body["id"] === "c")?.body).toMatchObject({ key: "later", status: "success" });
  });

  it("begins another scan in place of one that waits for another daemon", async () => {
    const idleScans = new IdleScans();
    const gate = Promise.withResolvers<void>();
    const asked: string[] = [];
    const second = Promise.withResolvers<void>();
    const jobs = service(undefined, {
      idle: idleScans,
      scan: async (options) => {
        asked.push("begun");
        if (asked.length === 1) {
          const scan = idleScans.scan();
          using _working = scan.begin();
          using _waiting = scan.wait();
          await gate.promise;
        } else second.resolve();
        return await scanImage({ engine: ENGINE, clock: retrying(), ...options });
      },
    });
    jobs.start();
    for (const id of ["a", "b"]) {
      await jobs.accept(job([{ tag: id === "a" ? "latest" : "3.21" }], { id, requestId: id }));
    }
    await second.promise;
    expect(asked).toHaveLength(2);
    gate.resolve();
    for (const id of ["a", "b"]) await ended(id);
    await jobs.close(idle());
  });

  it("begins an image three times when its failure may pass, then tells", async () => {
    const reasons: string[] = [];
    const scan = (): Promise<never> => {
      reasons.push("asked");
      return Promise.reject(new OutpostError("TIMEOUT", "The scan took too long"));
    };
    await runner(undefined, { scan })(job([{}, { tag: "3.21" }]), idle());
    // The second image is not waited for again.
    expect(reasons).toHaveLength(LIMITS.scanAttempts + 1);
    expect(sent[0]?.body).toMatchObject({ status: "error", error: { code: "TIMEOUT" } });
    expect(logger.lines.filter(({ message }) => message === "Scan failed, trying again later")).toHaveLength(2);
  });

  it("waits longer and longer between them, and lets others go first", async () => {
    const clock = new FakeClock();
    const begun: string[] = [];
    const scan: JobServiceOptions["scan"] = ({ imageName }) => {
      begun.push(imageName);
      return Promise.reject(
        new OutpostError(imageName.includes("debian") ? "RATE_LIMITED" : "LAYER_CORRUPT", "It failed"),
      );
    };
    const jobs = service(undefined, { scan, clock }, clock);
    jobs.start();
    await jobs.accept(job([{ repository: "team/debian", tag: "12" }], { id: "a", requestId: "a" }));
    await jobs.accept(job([{}], { id: "b", requestId: "b" }));
    const until = async (count: number): Promise<void> => {
      while (begun.length < count) await new Promise((resolve) => setTimeout(resolve, 1));
    };
    await until(2);
    expect(begun).toEqual(["team/debian:12", "team/alpine:latest"]);
    await clock.advance(0);
    expect(await store.job("a")).toMatchObject({ state: "queued", attempts: 1, error: { code: "RATE_LIMITED" } });
    await clock.advance(LIMITS.scanRetryMinMs);
    await until(3);
    await clock.advance(LIMITS.scanRetryMinMs * 2);
    await until(4);
    expect(begun.slice(2)).toEqual(["team/debian:12", "team/debian:12"]);
    await ended("a");
    await jobs.close(idle());
  });

  it("gives an image up that ended the process each time", async () => {
    const scan = (): never => expect.unreachable();
    for (let n = 0; n <= LIMITS.scanAttempts; n++) {
      if (n === 0) {
        const request = JSON.stringify({ targets: job([{}]).targets, callbacks: job([]).callbacks, fields: {} });
        const kept = { id: "job-1", requestId: "r", kind: "scan", total: 1, closing: true, request } as const;
        await store.accept({ ...kept, credentials: new Uint8Array(1), acceptedAt: 0, maxQueued: 9 });
      } else await store.claim({ owner: `process ${n}`, now: n, until: n });
    }
    const jobs = service(undefined, { scan });
    jobs.start();
    await ended("job-1");
    await jobs.close(idle());
    expect(sent[0]?.body).toMatchObject({
      status: "error",
      error: { code: "INTERNAL", message: expect.stringContaining("ended during each") },
    });
  });

  it("cancels a job that waits and one that runs: what is left of it is reported as cancelled", async () => {
    const gate = Promise.withResolvers<void>();
    registry.intercept = (request) => {
      if (!request.url.includes("/manifests/")) return undefined;
      gate.resolve();
      return new Promise((resolve) => request.signal.addEventListener("abort", () => resolve(new Response())));
    };
    const jobs = service();
    jobs.start();
    await jobs.accept(job([{}, {}], { id: "runs", requestId: "runs" }));
    await jobs.accept(job([{}], { id: "waits", requestId: "waits" }));
    await gate.promise;
    await jobs.cancel("waits");
    await jobs.cancel("runs");
    for (const id of ["runs", "waits"]) {
      await ended(id);
      expect(await jobs.show(id)).toMatchObject({ state: "failed", dead: 0, pending: 0 });
    }
    const errors = sent.filter(({ body }) => body["status"] === "error").map(({ body }) => body["error"]);
    expect(errors).toMatchObject(Array.from({ length: 3 }, () => ({ code: "CANCELLED" })));
    await expect(jobs.cancel("runs")).rejects.toMatchObject({ code: "JOB_STATE" });
    await expect(jobs.cancel("none")).rejects.toMatchObject({ code: "JOB_NOT_FOUND" });
    await jobs.close(idle());
    await expect(jobs.accept(job([{}]))).rejects.toMatchObject({ code: "BUSY" });
  });

  it("refuses beyond its bound", async () => {
    const jobs = service();
    for (let n = 0; n < LIMITS.queuedScans; n++) await jobs.accept(job([{}], { id: `${n}`, requestId: `${n}` }));
    await expect(jobs.accept(job([{}], { id: "more", requestId: "more" }))).rejects.toMatchObject({
      code: "BUSY",
      status: 503,
    });
  });

  it("goes on with the store of a process that ended, when its lease is over", async () => {
    const first = service();
    await first.accept(job([{}, {}]));
    await store.claim({ owner: "a process that ended", now: 0, until: 1 });
    await store.complete("job-1", {
      owner: "a process that ended",
      sequence: 0,
      outcome: "error",
      error: '{"status":"error","scanResults":[]}',
      now: 1,
    });
    const second = service();
    second.start();
    await ended("job-1");
    await second.close(idle());
    expect(seen()).toEqual([
      ["/api/v2/import/result", 0, "error"],
      ["/api/v2/import/result", 1, "success"],
      ["/api/v2/import/done", undefined, undefined],
    ]);
  });
});

/** Waits between attempts are over at once; time limits of scans never run out, and no heart beats. */
function retrying(): Clock {
  return new BackoffClock([LIMITS.scanTimeoutMs, LIMITS.jobHeartbeatMs]);
}
