/**
 * A collector's OTLP/HTTP receiver on a loopback port. It takes what the specification allows and nothing else (OTLP
 * specification 1.9; metrics.proto and common.proto of opentelemetry-proto 1.9 in their JSON form; data-model.md).
 *
 * @module
 */
import { z } from "zod";

const fixed64 = z.string().regex(/^\d{1,20}$/);
const sfixed64 = z.string().regex(/^-?\d{1,19}$/);
const finite = z.number().finite();
const attributes = z.array(
  z.object({ key: z.string().min(1), value: z.object({ stringValue: z.string() }).strict() }).strict(),
)
  .refine((list) => new Set(list.map(({ key }) => key)).size === list.length, "an attribute stands twice");

const times = { attributes, startTimeUnixNano: fixed64, timeUnixNano: fixed64 };
const asInt = z.object({ ...times, asInt: sfixed64 }).strict();
const gaugeTimes = { attributes, timeUnixNano: fixed64 };
const gaugePoint = z.union([
  z.object({ ...gaugeTimes, asInt: sfixed64 }).strict(),
  z.object({ ...gaugeTimes, asDouble: finite }).strict(),
]);
const histogramPoint = z.object({
  ...times,
  count: fixed64,
  sum: finite,
  min: finite,
  max: finite,
  bucketCounts: z.array(fixed64),
  explicitBounds: z.array(finite),
}).strict().superRefine((point, context) => {
  const bad = (message: string): void => context.addIssue({ code: "custom", message });
  const counts = point.bucketCounts.map(Number);
  if (counts.length !== point.explicitBounds.length + 1) bad("one bucket more than bounds is needed");
  if (point.explicitBounds.some((bound, n) => n > 0 && bound <= (point.explicitBounds[n - 1] ?? 0))) bad("bounds rise");
  if (counts.reduce((sum, one) => sum + one, 0) !== Number(point.count)) bad("the buckets are to add up to count");
  if (Number(point.count) < 1 || point.min > point.max) bad("a histogram without a value");
  const bucket = (value: number): number => {
    const at = point.explicitBounds.findIndex((bound) => value <= bound);
    return at < 0 ? point.explicitBounds.length : at;
  };
  if (counts.findIndex((one) => one > 0) !== bucket(point.min)) bad("min is not in the first bucket that is filled");
  if (counts.findLastIndex((one) => one > 0) !== bucket(point.max)) bad("max is not in the last bucket that is filled");
  if (point.sum > point.max * Number(point.count) + 1e-9) bad("the sum is larger than can be");
});

const named = {
  name: z.string().regex(/^[A-Za-z][\w.\-/]{0,254}$/),
  description: z.string(),
  unit: z.string().max(63).optional(),
};
const metric = z.union([
  z.object({
    ...named,
    sum: z.object({
      dataPoints: z.array(asInt).min(1),
      aggregationTemporality: z.union([z.literal(1), z.literal(2)]),
      isMonotonic: z.boolean(),
    }).strict(),
  }).strict(),
  z.object({ ...named, gauge: z.object({ dataPoints: z.array(gaugePoint).min(1) }).strict() }).strict(),
  z.object({
    ...named,
    histogram: z.object({
      dataPoints: z.array(histogramPoint).min(1),
      aggregationTemporality: z.literal(1),
    }).strict(),
  }).strict(),
]);

const EXPORT = z.object({
  resourceMetrics: z.array(
    z.object({
      resource: z.object({ attributes }).strict(),
      scopeMetrics: z.array(
        z.object({
          scope: z.object({ name: z.string().min(1), version: z.string().min(1) }).strict(),
          metrics: z.array(metric).refine(
            (list) => new Set(list.map(({ name }) => name)).size === list.length,
            "a metric stands twice",
          ),
        }).strict(),
      ).length(1),
    }).strict(),
  ).length(1),
}).strict();

/** What one request told. */
export type Export = z.infer<typeof EXPORT>;
type Metric = z.infer<typeof metric>;

/** A point of a metric in a form that is easy to compare. */
export interface ToldPoint {
  readonly attributes: Readonly<Record<string, string>>;
  readonly value: number;
  /** Nanoseconds; undefined for gauges. */
  readonly from: bigint | undefined;
  readonly to: bigint;
}

/** A running receiver. */
export interface OtlpCollector extends AsyncDisposable {
  /** `http://127.0.0.1:port`. */
  readonly url: string;
  /** Exports that were taken, in order. */
  readonly exports: readonly Export[];
  /** Requests so far, refused ones included. */
  readonly requests: readonly { readonly path: string; readonly authorization: string | null }[];
  /** What was wrong with requests, in order. */
  readonly problems: readonly string[];
  /** Answers instead, while it is set; the export then counts as not taken. */
  answer: (() => Response | Promise<Response>) | undefined;
  /** Resolves when so many exports were taken. */
  taken(count: number, signal: AbortSignal): Promise<void>;
  /** Resolves when so many requests came. */
  asked(count: number, signal: AbortSignal): Promise<void>;
}

/** Starts the receiver. */
export function startOtlpCollector(path = "/v1/metrics"): OtlpCollector {
  const exports: Export[] = [];
  const requests: { path: string; authorization: string | null }[] = [];
  const problems: string[] = [];
  const watchers = new Set<() => void>();
  const changed = (): void => {
    for (const look of [...watchers]) look();
  };
  async function serve(request: Request): Promise<Response> {
    const { pathname, search } = new URL(request.url);
    const text = await request.text();
    requests.push({ path: pathname + search, authorization: request.headers.get("authorization") });
    if (request.method !== "POST" || pathname !== path) problems.push(`${request.method} ${pathname}`);
    if (request.headers.get("content-type") !== "application/json") problems.push("content-type");
    const parsed = EXPORT.safeParse(JSON.parse(text));
    if (!parsed.success) {
      problems.push(...parsed.error.issues.map(({ path, message }) => `${path.join(".")} ${message}`));
    }
    try {
      if (problems.length > 0 || !parsed.success) return Response.json({ message: problems.join() }, { status: 400 });
      const source = sourceOf(parsed.data);
      problems.push(...conflicts(exports.findLast((one) => sourceOf(one) === source), parsed.data));
      if (made.answer !== undefined) return await made.answer();
      exports.push(parsed.data);
      return Response.json({});
    } finally {
      changed();
    }
  }
  const stop = new AbortController();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {}, signal: stop.signal }, serve);
  const until = (condition: () => boolean, signal: AbortSignal): Promise<void> => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const look = (): void => {
      if (condition()) resolve();
    };
    const abort = (): void => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    watchers.add(look);
    look();
    return promise.finally(() => {
      watchers.delete(look);
      signal.removeEventListener("abort", abort);
    });
  };
  const made: OtlpCollector = {
    url: `http://127.0.0.1:${server.addr.port}`,
    exports,
    requests,
    problems,
    answer: undefined,
    taken: (count, signal) => until(() => exports.length >= count, signal),
    asked: (count, signal) => until(() => requests.length >= count, signal),
    // At once: an answer may be held back for ever.
    [Symbol.asyncDispose]: () => {
      stop.abort();
      return server.finished;
    },
  };
  return made;
}

/** Metrics of an export. */
export function metricsOf(told: Export | undefined): readonly Metric[] {
  return told?.resourceMetrics[0]?.scopeMetrics[0]?.metrics ?? [];
}

/** Points of a metric, histograms with their count; none when it was not told. */
export function pointsOf(told: Export | undefined, name: string): readonly ToldPoint[] {
  const found = metricsOf(told).find((one) => one.name === name);
  if (found === undefined) return [];
  const points = "sum" in found
    ? found.sum.dataPoints
    : "gauge" in found
    ? found.gauge.dataPoints
    : found.histogram.dataPoints;
  return points.map((point) => ({
    attributes: Object.fromEntries(point.attributes.map(({ key, value }) => [key, value.stringValue])),
    value: Number("count" in point ? point.count : "asInt" in point ? point.asInt : point.asDouble),
    from: "startTimeUnixNano" in point ? BigInt(point.startTimeUnixNano) : undefined,
    to: BigInt(point.timeUnixNano),
  }));
}

function sourceOf(told: Export): string {
  return JSON.stringify(told.resourceMetrics[0]?.resource);
}

/** Delta points lie one behind the other; cumulative ones keep their start (data-model.md, "Temporality"). */
function conflicts(before: Export | undefined, now: Export): readonly string[] {
  return metricsOf(now).flatMap((one) => {
    const cumulative = "sum" in one && one.sum.aggregationTemporality === 2;
    return pointsOf(now, one.name).flatMap((point) => {
      if (point.from === undefined) return [];
      const last = pointsOf(before, one.name).find((other) =>
        JSON.stringify(other.attributes) === JSON.stringify(point.attributes)
      );
      const late = point.from > point.to ? [`${one.name} ends before it starts`] : [];
      if (last?.from === undefined) return late;
      if (cumulative) return point.from === last.from ? late : [`${one.name} began anew`];
      return point.from < last.to ? [...late, `${one.name} overlaps what was told before`] : late;
    });
  });
}
