/**
 * Metrics pushed by OTLP/HTTP, under the names of Snyk's client (broker-protocol.md §14). Loaded only when
 * METRICS_OTEL_ENDPOINT is set.
 *
 * @module
 */
import type { BrokerEvent } from "./broker/mod.ts";
import type { Config } from "./config/load.ts";
import { OutpostError } from "./core/errors.ts";
import { LIMITS } from "./core/limits.ts";
import type { Clock, Fetch, Logger } from "./core/ports.ts";
import { VERSION } from "./core/version.ts";
import { withDeadline } from "./lib/deadline.ts";
import { abortable } from "./net/body.ts";
import { classifyTransportError } from "./net/classify.ts";
import { type Attempt, RequestGate } from "./net/retry.ts";
import { BrokerMetrics } from "./telemetry/broker_metrics.ts";
import { OtlpExporter, type OtlpPost } from "./telemetry/otlp_exporter.ts";

/** Options of {@link pushMetrics}. */
export interface PushOptions {
  readonly target: NonNullable<Config["metricsPush"]>;
  readonly fetch: Fetch;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Tells this process from others of the same name (`service.instance.id`). */
  readonly instanceId: string;
}

/** Metrics on their way to a collector. */
export interface MetricsPush {
  /** Takes an event of the broker client. */
  readonly onEvent: (event: BrokerEvent) => void;
  /** Counts a defect that ends the process, and exports at once; resolves when that is over, however it went. */
  crashed(error: unknown): Promise<void>;
  /** Exports for the last time, for at most LIMITS.metricsLastExportMs. Never rejects. */
  stop(): Promise<void>;
}

/** Statuses after which the same request may be sent again (OTLP specification, "Retryable Response Codes"). */
const RETRYABLE: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/** Starts to count and to export. */
export function pushMetrics({ target, fetch, clock, logger, instanceId }: PushOptions): MetricsPush {
  const metrics = new BrokerMetrics(clock);
  const exporter = new OtlpExporter({
    instruments: metrics.instruments,
    resource: { "service.name": "outpost", "service.version": VERSION, "service.instance.id": instanceId },
    scope: { name: "broker-client", version: VERSION },
    post: otlpPost({ url: target.url, fetch, clock, logger }),
    intervalMs: target.intervalMs,
    clock,
    logger,
  });
  metrics.initialized.add();
  const within = async (ms: number, work: (signal: AbortSignal) => Promise<void>): Promise<void> => {
    await withDeadline({ clock, ms, what: "The last export of metrics" }, work).catch(() => {});
  };
  return {
    onEvent: (event) => count(metrics, event),
    crashed: async (error) => {
      metrics.uncaughtExceptions.add({ error_code: errnoOf(error) });
      metrics.processExits.add({ reason: "uncaught_exception" });
      await within(LIMITS.crashNoticeMs, (signal) => exporter.flush(signal));
    },
    stop: async () => {
      await metrics.stop();
      await within(LIMITS.metricsLastExportMs, (signal) => exporter.stop(signal));
    },
  };
}

function count(metrics: BrokerMetrics, event: BrokerEvent): void {
  switch (event.kind) {
    case "connected":
      return metrics.setConnectionState(event.role, "connected");
    case "disconnected":
      metrics.setConnectionState(event.role, "reconnecting");
      return metrics.reconnects.add();
    case "closed":
      return metrics.connectionSeconds.record(event.openMs / 1000, { role: event.role });
    case "pong":
      return metrics.pingSeconds.record(event.latencyMs / 1000);
    case "downstream-asked":
      metrics.downstreamRequests.add({ streaming: String(event.streaming) });
      return metrics.inflight.add(1);
    case "downstream-answered":
      metrics.inflight.add(-1);
      metrics.downstreamSeconds.record(event.ms / 1000, { streaming: String(event.streaming) });
      if (!event.streaming) metrics.downstreamStatus.add({ status_class: `${Math.floor(event.status / 100)}xx` });
      return;
    case "request":
      metrics.requests.add({ flow: "broker-server", allowed: String(event.allowed) });
      if (event.allowed && event.outcome === "answered") metrics.responseBytes.record(event.bytes);
      return;
    case "callback":
      return metrics.requests.add({ flow: "local-client", allowed: String(event.allowed) });
    case "authorization-failure":
      return event.what === "token"
        ? metrics.tokenFailures.add()
        : metrics.renewalFailures.add({ status_code: String(event.status) });
    case "frame":
      return;
  }
}

/** A code of the operating system; anything else may hold names from outside. */
function errnoOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" && /^E[A-Z0-9]{2,15}$/.test(code) ? code : "unknown";
}

interface Collector {
  readonly url: URL;
  readonly fetch: Fetch;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Posts to a collector, again where the specification allows it, within LIMITS.metricsExportMs. */
function otlpPost({ url: given, fetch, clock, logger }: Collector): OtlpPost {
  const { url, headers } = addressOf(given);
  const gate = new RequestGate({ clock, logger });
  return async (body, signal) => {
    const limit = { clock, signal, ms: LIMITS.metricsExportMs, what: `The export of metrics to ${url.host}` };
    await withDeadline(limit, async (deadline) => {
      const send = async (): Promise<Sent> => {
        const request = new Request(url, { method: "POST", headers, body, redirect: "manual", signal: deadline });
        const response = await abortable(fetch(request), deadline).catch((error) => {
          deadline.throwIfAborted();
          throw classifyTransportError(error, url);
        });
        const text = await readText(response, deadline);
        // To the gate any other answer is a good one: it must not be asked for again.
        const status = RETRYABLE.has(response.status) ? response.status : 200;
        return { status, headers: response.headers, discard: () => Promise.resolve(), real: response.status, text };
      };
      const { answer } = await gate.run(url.host, { idempotent: true, signal: deadline }, send);
      report(answer, url, logger);
    });
  };
}

interface Sent extends Attempt {
  /** The status as it came. */
  readonly real: number;
  readonly text: string;
}

/** @throws {OutpostError} when the collector could not take it now. */
function report({ real, text }: Sent, url: URL, logger: Logger): void {
  if (RETRYABLE.has(real)) {
    throw new OutpostError("CONNECTION_FAILED", `Cannot export metrics: ${url.host} answered ${real}`);
  }
  if (real < 200 || real > 299) {
    const hint = "Check METRICS_OTEL_ENDPOINT: it is to be the URL of a collector's OTLP/HTTP receiver.";
    return logger.error("The collector refused metrics; they are lost", { host: url.host, status: real, hint });
  }
  const rejected = rejectedPoints(text);
  if (rejected > 0) logger.warn("The collector did not take all metrics", { host: url.host, rejected });
}

/** `partialSuccess.rejectedDataPoints` of an ExportMetricsServiceResponse: a number, or its digits. */
function rejectedPoints(text: string): number {
  try {
    const answer: { readonly partialSuccess?: { readonly rejectedDataPoints?: unknown } } | null = JSON.parse(text);
    return Number(answer?.partialSuccess?.rejectedDataPoints ?? 0);
  } catch {
    return 0;
  }
}

/** The answer as text, unless it is longer than LIMITS.errorBodyBytes: it is then of no interest. */
async function readText(response: Response, signal: AbortSignal): Promise<string> {
  const decoder = new TextDecoder();
  const reader = response.body?.getReader();
  let text = "";
  try {
    while (reader !== undefined) {
      const { done, value } = await abortable(reader.read(), signal);
      if (done || text.length > LIMITS.errorBodyBytes) break;
      text += decoder.decode(value, { stream: true });
    }
  } catch {
    // The status has come, and says enough.
  } finally {
    await reader?.cancel().catch(() => {});
  }
  return text;
}

/** `user:password@` becomes a header: no request may have it in its URL. */
function addressOf(given: URL): { readonly url: URL; readonly headers: Record<string, string> } {
  const url = new URL(given);
  const user = [url.username, url.password].map(decodeURIComponent);
  url.username = url.password = "";
  const authorization = `Basic ${new TextEncoder().encode(user.join(":")).toBase64()}`;
  const headers = { "content-type": "application/json" };
  return { url, headers: given.username === "" && given.password === "" ? headers : { ...headers, authorization } };
}
