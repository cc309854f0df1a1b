import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "../tests/fakes/clock.ts";
import { RecordingLogger } from "../tests/fakes/logger.ts";
import { metricsOf, type OtlpCollector, pointsOf, startOtlpCollector } from "../tests/fakes/otlp_collector.ts";
import type { BrokerEvent } from "./broker/mod.ts";
import { LIMITS } from "./core/limits.ts";
import { VERSION } from "./core/version.ts";
import { type MetricsPush, pushMetrics } from "./daemon_metrics.ts";

const INTERVAL = 1_000;
const soon = (): AbortSignal => AbortSignal.timeout(10_000);

/** One of everything that is counted. */
const EVENTS: readonly BrokerEvent[] = [
  { kind: "connected", role: "primary" },
  { kind: "connected", role: "secondary" },
  { kind: "disconnected", role: "secondary", reason: "silence", waitMs: 5 },
  { kind: "closed", role: "secondary", openMs: 61_000 },
  { kind: "pong", role: "primary", latencyMs: 3 },
  { kind: "frame", role: "primary", outcome: "ignored" },
  { kind: "downstream-asked", streaming: true },
  { kind: "downstream-asked", streaming: false },
  { kind: "downstream-asked", streaming: true },
  { kind: "downstream-answered", streaming: true, status: 200, ms: 30 },
  { kind: "downstream-answered", streaming: false, status: 404, ms: 40_000 },
  { kind: "request", allowed: true, status: 200, path: "upload", outcome: "answered", ms: 1, bytes: 1024 },
  { kind: "request", allowed: true, status: 200, path: "upload", outcome: "lost", ms: 1, bytes: 0 },
  { kind: "request", allowed: false, status: 401, path: "upload", outcome: "answered", ms: 1, bytes: 70 },
  { kind: "callback", allowed: true, status: 200, ms: 1 },
  { kind: "callback", allowed: false, status: 401, ms: 1 },
  { kind: "authorization-failure", what: "token", status: 0 },
  { kind: "authorization-failure", what: "renewal", status: 503 },
];

describe("pushMetrics()", () => {
  let clock: FakeClock;
  let logger: RecordingLogger;
  let collector: OtlpCollector;
  let push: MetricsPush;
  let origin: bigint;

  beforeEach(() => {
    clock = new FakeClock();
    origin = BigInt(clock.now()) * 1_000_000n;
    logger = new RecordingLogger();
    collector = startOtlpCollector();
    push = start(new URL("/v1/metrics", collector.url));
  });
  afterEach(async () => {
    collector.answer = undefined;
    await push.stop();
    await collector[Symbol.asyncDispose]();
    expect(collector.problems).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  const start = (url: URL, instanceId = "i-1"): MetricsPush =>
    pushMetrics({
      target: { url, intervalMs: INTERVAL },
      fetch: (request) => fetch(request),
      clock,
      logger,
      instanceId,
    });
  const told = (n: number) => collector.exports[n];
  /** Brings the next export about and waits for it. */
  async function next(): Promise<void> {
    const count = collector.exports.length + 1;
    await clock.advance(INTERVAL);
    await collector.taken(count, soon());
    await settled();
  }
  /** The exporter has seen the answer: it waits for the next time, and nothing but that and the sampling of the loop. */
  async function settled(): Promise<void> {
    const limit = soon();
    while (clock.pending !== 2) {
      limit.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  it("§14 tells every metric of the reference with its attributes, by its temporality", async () => {
    for (const event of EVENTS) push.onEvent(event);
    await next();
    const [resource] = told(0)?.resourceMetrics ?? [];
    expect(resource?.resource.attributes).toEqual([
      { key: "service.name", value: { stringValue: "outpost" } },
      { key: "service.version", value: { stringValue: VERSION } },
      { key: "service.instance.id", value: { stringValue: "i-1" } },
    ]);
    expect(resource?.scopeMetrics[0]?.scope).toEqual({ name: "broker-client", version: VERSION });
    const values = Object.fromEntries(
      metricsOf(told(0)).map(({ name }) => [name, pointsOf(told(0), name).map((p) => [p.attributes, p.value])]),
    );
    expect(values).toEqual({
      "broker.client.initialized": [[{}, 1]],
      "broker.client.reconnect.total": [[{}, 1]],
      "broker.client.auth_renewal_failure.total": [[{ status_code: "503" }, 1]],
      "broker.client.jwt_refresh_failure.total": [[{}, 1]],
      "broker.client.request.total": [
        [{ flow: "broker-server", allowed: "true" }, 2],
        [{ flow: "broker-server", allowed: "false" }, 1],
        [{ flow: "local-client", allowed: "true" }, 1],
        [{ flow: "local-client", allowed: "false" }, 1],
      ],
      "broker.client.downstream.request.total": [[{ streaming: "true" }, 2], [{ streaming: "false" }, 1]],
      "broker.client.downstream.status": [[{ status_class: "4xx" }, 1]],
      "broker.client.downstream.duration.seconds": [[{ streaming: "true" }, 1], [{ streaming: "false" }, 1]],
      "broker.client.ws.duration.seconds": [[{ role: "secondary" }, 1]],
      "broker.client.upstream.response.bytes": [[{}, 1]],
      "broker.client.ws.ping.latency.seconds": [[{}, 1]],
      "broker.client.inflight.requests": [[{}, 1]],
      "broker.client.connection.state": [
        [{ state: "connected", role: "primary" }, 1],
        [{ state: "reconnecting", role: "primary" }, 0],
        [{ state: "failed", role: "primary" }, 0],
        [{ state: "connected", role: "secondary" }, 0],
        [{ state: "reconnecting", role: "secondary" }, 1],
        [{ state: "failed", role: "secondary" }, 0],
      ],
      "broker.client.uptime_seconds": [[{}, 1]],
      "broker.nodejs.eventloop.delay.p99": [[{}, 0]],
    });
    expect(metricsOf(told(0)).find(({ name }) => name.endsWith("downstream.duration.seconds"))).toMatchObject({
      unit: "s",
      histogram: {
        aggregationTemporality: 1,
        dataPoints: [
          { bucketCounts: ["1", "0", "0", "0", "0", "0", "0", "0", "0", "0"], sum: 0.03, min: 0.03, max: 0.03 },
          { bucketCounts: ["0", "0", "0", "0", "0", "0", "0", "0", "0", "1"], sum: 40 },
        ],
      },
    });
    expect(metricsOf(told(0)).find(({ name }) => name.endsWith("response.bytes"))).toMatchObject({
      unit: "By",
      histogram: { dataPoints: [{ bucketCounts: ["1", "0", "0", "0", "0", "0", "0", "0", "0"] }] },
    });
  });

  it("tells what is new since the last export, and what is there now from the beginning", async () => {
    for (const event of EVENTS) push.onEvent(event);
    await next();
    push.onEvent({ kind: "downstream-answered", streaming: true, status: 200, ms: 5 });
    push.onEvent({ kind: "callback", allowed: true, status: 200, ms: 1 });
    await next();
    const second = BigInt(INTERVAL) * 1_000_000n;
    expect(pointsOf(told(1), "broker.client.initialized")).toEqual([]);
    expect(pointsOf(told(1), "broker.client.request.total")).toEqual([{
      attributes: { flow: "local-client", allowed: "true" },
      value: 1,
      from: origin + second,
      to: origin + 2n * second,
    }]);
    expect(pointsOf(told(1), "broker.client.downstream.duration.seconds")).toHaveLength(1);
    expect(pointsOf(told(1), "broker.client.inflight.requests")).toMatchObject([{ value: 0, from: origin }]);
    const inflight = metricsOf(told(1)).find(({ name }) => name === "broker.client.inflight.requests");
    expect(inflight).toMatchObject({ sum: { aggregationTemporality: 2, isMonotonic: false } });
    expect(pointsOf(told(1), "broker.client.connection.state")).toHaveLength(6);
  });

  it.each([429, 502, 503, 504])("sends the same again after %i, and loses nothing in an outage", async (status) => {
    collector.answer = () => new Response("later", { status });
    push.onEvent({ kind: "pong", role: "primary", latencyMs: 3 });
    await clock.advance(INTERVAL);
    await collector.asked(1, soon());
    const limit = soon();
    while (!logger.lines.some(({ level }) => level === "warn")) {
      limit.throwIfAborted();
      await clock.advance(1_000);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    expect(collector.requests.length).toBe(LIMITS.attempts);
    push.onEvent({ kind: "pong", role: "primary", latencyMs: 30 });
    collector.answer = undefined;
    await next();
    expect(pointsOf(told(0), "broker.client.ws.ping.latency.seconds")).toMatchObject([{ value: 2, from: origin }]);
    expect(pointsOf(told(0), "broker.client.initialized")).toMatchObject([{ value: 1, from: origin }]);
    expect(logger.lines.map(({ message }) => message).at(-1)).toBe("Metrics are exported again");
  });

  it.each([400, 404, 500, 302])("drops what is answered %i, says so, and goes on", async (status) => {
    collector.answer = () => new Response(null, { status, headers: { location: "http://127.0.0.1:1/" } });
    push.onEvent({ kind: "pong", role: "primary", latencyMs: 3 });
    await clock.advance(INTERVAL);
    await collector.asked(1, soon());
    await settled();
    expect(logger.lines).toMatchObject([{ level: "error", fields: { status } }]);
    collector.answer = undefined;
    await next();
    expect(collector.requests).toHaveLength(2);
    expect(pointsOf(told(0), "broker.client.ws.ping.latency.seconds")).toEqual([]);
  });

  it("says how many points a collector rejected", async () => {
    collector.answer = () =>
      Response.json({ partialSuccess: { rejectedDataPoints: "3", errorMessage: "secret-looking text" } });
    await clock.advance(INTERVAL);
    await collector.asked(1, soon());
    await settled();
    expect(logger.lines).toMatchObject([{ level: "warn", fields: { rejected: 3 } }]);
    expect(JSON.stringify(logger.lines)).not.toContain("secret-looking");
  });

  it("gives up on a collector that never answers within metricsExportMs, and keeps what it had", async () => {
    const hold = Promise.withResolvers<Response>();
    collector.answer = () => hold.promise;
    await clock.advance(INTERVAL);
    await collector.asked(1, soon());
    await clock.advance(LIMITS.metricsExportMs);
    await settled();
    const shown = logger.lines.filter(({ level }) => level !== "debug");
    expect(shown).toMatchObject([{ level: "warn", fields: { code: "TIMEOUT" } }]);
    collector.answer = undefined;
    hold.resolve(new Response(null));
    await next();
    expect(pointsOf(told(0), "broker.client.initialized")).toMatchObject([{ value: 1, from: origin }]);
  });

  it("exports once more at the end, and is not kept from it by a collector that hangs", async () => {
    push.onEvent({ kind: "pong", role: "primary", latencyMs: 3 });
    await clock.advance(1_000);
    await push.stop();
    expect(pointsOf(told(0), "broker.client.ws.ping.latency.seconds")).toMatchObject([{ value: 1 }]);
    expect(clock.pending).toBe(0);
    collector.answer = () => new Promise(() => {});
    const other = start(new URL("/v1/metrics", collector.url), "i-2");
    await clock.advance(INTERVAL);
    await collector.asked(2, soon());
    const stopped = other.stop();
    await collector.asked(3, soon());
    await clock.advance(LIMITS.metricsLastExportMs);
    await stopped;
    expect(clock.pending).toBe(0);
  });

  it.each([
    [Object.assign(new Error("x"), { code: "EMFILE" }), "EMFILE"],
    [Object.assign(new Error("x"), { code: "a-name-from-outside" }), "unknown"],
    ["text", "unknown"],
  ])("tells of a defect at once: %o", async (error, error_code) => {
    await push.crashed(error);
    expect(pointsOf(told(0), "broker.client.uncaught_exception.total")).toMatchObject([{ attributes: { error_code } }]);
    expect(pointsOf(told(0), "broker.client.process_exit.total")).toMatchObject([
      { attributes: { reason: "uncaught_exception" }, value: 1 },
    ]);
  });

  it("logs in with the user of the URL, which no log line shows", async () => {
    await push.stop();
    const url = new URL("/v1/metrics", collector.url);
    url.username = "user";
    url.password = "p%40ss";
    push = start(url);
    collector.answer = () => new Response(null, { status: 401 });
    await clock.advance(INTERVAL);
    await collector.asked(2, soon());
    await settled();
    expect(collector.requests.at(-1)?.authorization).toBe(`Basic ${btoa("user:p@ss")}`);
    expect(JSON.stringify(logger.lines)).not.toMatch(/p@ss|p%40ss/);
  });

  it("says once that nobody answers", async () => {
    await push.stop();
    logger.lines.length = 0;
    push = start(new URL("http://127.0.0.1:1/v1/metrics"));
    for (let n = 0; n < 30; n++) await clock.advance(1_000);
    const shown = logger.lines.filter(({ level }) => level !== "debug");
    expect(shown).toMatchObject([{ level: "warn", message: expect.stringContaining("Metrics not exported") }]);
  });
});
