/**
 * Instruments whose values are pushed by OTLP: what they hold since the last export, in OTLP's JSON form (OTLP
 * specification 1.9, "JSON Protobuf Encoding"; opentelemetry/proto/metrics/v1/metrics.proto). Counters and histograms are
 * deltas, up-down counters cumulative, as the SDKs' preference "delta" means it.
 *
 * @module
 */

/** Attributes of a point: bounded sets of words, never a name from outside. */
export type Attributes = Readonly<Record<string, string>>;

/** Name, description and unit (UCUM) of an instrument. */
export interface Description {
  readonly name: string;
  readonly description: string;
  readonly unit?: string;
}

/** A JSON object of the protocol. */
export type OtlpObject = Readonly<Record<string, unknown>>;

/** Start and end of what is collected, in milliseconds since the epoch. */
export interface Interval {
  readonly from: number;
  readonly to: number;
}

/** AggregationTemporality of metrics.proto. */
const DELTA = 1;
const CUMULATIVE = 2;

/** Something that can be collected and, once that has been delivered, forgotten. */
export interface Instrument {
  readonly description: Description;
  /** The metric's data (`sum`, `gauge` or `histogram`); undefined when there is nothing to tell. Changes nothing. */
  collect(interval: Interval): OtlpObject | undefined;
  /** What was collected last has arrived. */
  commit(): void;
}

/** A number that only grows; tells what was added since the last delivery. */
export class OtlpCounter implements Instrument {
  readonly description: Description;
  readonly #sums = new Map<string, number>();
  #collected: readonly (readonly [string, number])[] = [];

  constructor(description: Description) {
    this.description = description;
  }

  /** Adds 1 for these attributes. */
  add(attributes: Attributes = {}): void {
    const key = JSON.stringify(attributes);
    this.#sums.set(key, (this.#sums.get(key) ?? 0) + 1);
  }

  collect(interval: Interval): OtlpObject | undefined {
    this.#collected = [...this.#sums];
    if (this.#collected.length === 0) return undefined;
    const dataPoints = this.#collected.map(([key, sum]) => ({ ...head(key, interval), asInt: String(sum) }));
    return { sum: { dataPoints, aggregationTemporality: DELTA, isMonotonic: true } };
  }

  commit(): void {
    for (const [key, sum] of this.#collected) {
      const left = (this.#sums.get(key) ?? 0) - sum;
      if (left > 0) this.#sums.set(key, left);
      else this.#sums.delete(key);
    }
    this.#collected = [];
  }
}

/** A number of things that are there now; tells the whole of it, from its beginning on. */
export class OtlpUpDownCounter implements Instrument {
  readonly description: Description;
  readonly #since: number;
  #value = 0;

  /** @param since When counting began, in milliseconds since the epoch. */
  constructor(description: Description, since: number) {
    this.description = description;
    this.#since = since;
  }

  /** One more, or one less. */
  add(by: 1 | -1): void {
    this.#value += by;
  }

  collect({ to }: Interval): OtlpObject {
    const point = { ...head("{}", { from: this.#since, to }), asInt: String(this.#value) };
    return { sum: { dataPoints: [point], aggregationTemporality: CUMULATIVE, isMonotonic: false } };
  }

  commit(): void {}
}

/** A value as it was last. */
export class OtlpGauge implements Instrument {
  readonly description: Description;
  readonly #values = new Map<string, number>();

  constructor(description: Description) {
    this.description = description;
  }

  /** Sets a whole number for these attributes. */
  set(attributes: Attributes, value: number): void {
    this.#values.set(JSON.stringify(attributes), value);
  }

  collect({ to }: Interval): OtlpObject | undefined {
    if (this.#values.size === 0) return undefined;
    const dataPoints = [...this.#values].map(([key, value]) => ({
      attributes: attributesOf(key),
      timeUnixNano: nanoseconds(to),
      asInt: String(value),
    }));
    return { gauge: { dataPoints } };
  }

  commit(): void {}
}

/** A value that is asked for at each collection. */
export class OtlpObservedGauge implements Instrument {
  readonly description: Description;
  readonly #observe: (interval: Interval) => number | undefined;

  /** @param observe Gives the value; undefined when there is none. */
  constructor(description: Description, observe: (interval: Interval) => number | undefined) {
    this.description = description;
    this.#observe = observe;
  }

  collect(interval: Interval): OtlpObject | undefined {
    const asDouble = this.#observe(interval);
    if (asDouble === undefined) return undefined;
    return { gauge: { dataPoints: [{ attributes: [], timeUnixNano: nanoseconds(interval.to), asDouble }] } };
  }

  commit(): void {}
}

interface Buckets {
  readonly counts: readonly number[];
  readonly sum: number;
  readonly min: number;
  readonly max: number;
}

/** Counts of values between bounds; tells those since the last delivery. */
export class OtlpHistogram implements Instrument {
  readonly description: Description;
  readonly #bounds: readonly number[];
  /** What was collected and has not arrived yet, and what came after it. */
  #collected = new Map<string, Buckets>();
  #fresh = new Map<string, Buckets>();

  /** @param bounds Upper bounds, each inclusive, ascending; one more bucket holds what is above the last. */
  constructor(description: Description, bounds: readonly number[]) {
    this.description = description;
    this.#bounds = bounds;
  }

  /** Counts a value. */
  record(value: number, attributes: Attributes = {}): void {
    const at = this.#bounds.findIndex((bound) => value <= bound);
    const counts = new Array<number>(this.#bounds.length + 1).fill(0);
    counts[at < 0 ? this.#bounds.length : at] = 1;
    add(this.#fresh, JSON.stringify(attributes), { counts, sum: value, min: value, max: value });
  }

  collect(interval: Interval): OtlpObject | undefined {
    for (const [key, buckets] of this.#fresh) add(this.#collected, key, buckets);
    this.#fresh = new Map();
    if (this.#collected.size === 0) return undefined;
    const dataPoints = [...this.#collected].map(([key, { counts, sum, min, max }]) => ({
      ...head(key, interval),
      count: String(counts.reduce((total, count) => total + count, 0)),
      sum,
      min,
      max,
      bucketCounts: counts.map(String),
      explicitBounds: this.#bounds,
    }));
    return { histogram: { dataPoints, aggregationTemporality: DELTA } };
  }

  commit(): void {
    this.#collected = new Map();
  }
}

/** Attributes in the protocol's form, KeyValue of common.proto. */
export function keyValues(attributes: Attributes): readonly OtlpObject[] {
  return Object.entries(attributes).map(([key, stringValue]) => ({ key, value: { stringValue } }));
}

function add(to: Map<string, Buckets>, key: string, one: Buckets): void {
  const known = to.get(key);
  to.set(
    key,
    known === undefined ? one : {
      counts: known.counts.map((count, n) => count + (one.counts[n] ?? 0)),
      sum: known.sum + one.sum,
      min: Math.min(known.min, one.min),
      max: Math.max(known.max, one.max),
    },
  );
}

function head(key: string, { from, to }: Interval): OtlpObject {
  return { attributes: attributesOf(key), startTimeUnixNano: nanoseconds(from), timeUnixNano: nanoseconds(to) };
}

function attributesOf(key: string): readonly OtlpObject[] {
  return keyValues(JSON.parse(key));
}

/** As text, since a number of 64 bits does not fit JSON's. */
function nanoseconds(ms: number): string {
  return `${Math.round(ms)}000000`;
}
