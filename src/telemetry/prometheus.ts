/**
 * Counters, gauges and histograms in Prometheus' text exposition format 0.0.4. Own code because a client library costs
 * 6 MB of resident memory in a process whose memory is a promise, for what is a page of text.
 *
 * @module
 */

/** Values of a metric's labels. */
export type Labels<T extends string> = Readonly<Record<T, string>>;

const NO_LABELS = "";

/** One named metric with a line per set of label values. */
abstract class Metric {
  readonly name: string;
  readonly help: string;
  abstract readonly type: "counter" | "gauge" | "histogram";

  constructor(name: string, help: string) {
    this.name = name;
    this.help = help;
  }

  /** The samples, a line each. */
  abstract lines(): Iterable<string>;
}

/** A number that only grows. */
export class Counter<T extends string = never> extends Metric {
  readonly type = "counter";
  readonly #values = new Map<string, number>();

  /** Adds `by` (1 by default) to the sample with these labels. */
  inc(labels: Labels<T>, by = 1): void {
    const key = labelText(labels);
    this.#values.set(key, (this.#values.get(key) ?? 0) + by);
  }

  *lines(): Iterable<string> {
    for (const [labels, value] of this.#values) yield `${this.name}${labels} ${value}`;
  }
}

/** A number that goes up and down. */
export class Gauge<T extends string = never> extends Metric {
  readonly type = "gauge";
  readonly #values = new Map<string, number>();
  readonly #read: (() => number) | undefined;

  /** @param read Asked at each scrape, for a gauge without labels. */
  constructor(name: string, help: string, read?: () => number) {
    super(name, help);
    this.#read = read;
  }

  /** Sets the sample with these labels. */
  set(labels: Labels<T>, value: number): void {
    this.#values.set(labelText(labels), value);
  }

  *lines(): Iterable<string> {
    if (this.#read !== undefined) yield `${this.name} ${this.#read()}`;
    for (const [labels, value] of this.#values) yield `${this.name}${labels} ${value}`;
  }
}

/** Counts of values up to bounds, with their sum. */
export class Histogram extends Metric {
  readonly type = "histogram";
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;
  #count = 0;

  /** @param bounds Upper bounds of the buckets, ascending. */
  constructor(name: string, help: string, bounds: readonly number[]) {
    super(name, help);
    this.#bounds = bounds;
    this.#counts = bounds.map(() => 0);
  }

  /** Counts a value. */
  observe(value: number): void {
    this.#sum += value;
    this.#count++;
    for (const [index, bound] of this.#bounds.entries()) {
      if (value <= bound) this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    }
  }

  *lines(): Iterable<string> {
    for (const [index, bound] of this.#bounds.entries()) {
      yield `${this.name}_bucket{le="${bound}"} ${this.#counts[index]}`;
    }
    yield `${this.name}_bucket{le="+Inf"} ${this.#count}`;
    yield `${this.name}_sum ${this.#sum}`;
    yield `${this.name}_count ${this.#count}`;
  }
}

/** Media type of {@link exposition}. */
export const EXPOSITION_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** All metrics as one text. */
export function exposition(metrics: readonly Metric[]): string {
  const lines: string[] = [];
  for (const metric of metrics) {
    lines.push(`# HELP ${metric.name} ${metric.help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}`);
    lines.push(`# TYPE ${metric.name} ${metric.type}`, ...metric.lines());
  }
  return `${lines.join("\n")}\n`;
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? NO_LABELS : `{${pairs.join(",")}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
