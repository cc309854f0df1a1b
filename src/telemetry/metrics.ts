/**
 * Every metric name in one list, in Prometheus' text form.
 *
 * @module
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";

const SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];

/** The metrics of one process. Labels are bounded sets: never an image name, a path or a URL. */
export class Metrics {
  readonly #registry = new Registry();
  readonly brokerConnected: Gauge<"role">;
  readonly brokerReconnects: Counter<"role">;
  readonly brokerRequests: Counter<"outcome">;
  readonly brokerRequestSeconds: Histogram<string>;
  readonly registryRequests: Counter<"code">;
  readonly registryRetries: Counter<"reason">;
  readonly scans: Counter<"outcome">;
  readonly scanSeconds: Histogram<string>;
  readonly scanQueueDepth: Gauge<string>;
  readonly layerBytes: Counter<"compression">;
  readonly callbacks: Counter<"outcome">;
  readonly memoryBytes: Gauge<string>;
  readonly buildInfo: Gauge<"version" | "deno">;

  /** @param memory Resident bytes of this process, asked at each scrape. */
  constructor(build: { readonly version: string; readonly deno: string }, memory: () => number) {
    const registers = [this.#registry];
    const counter = <T extends string>(name: string, help: string, labelNames: T[] = []): Counter<T> =>
      new Counter({ name: `outpost_${name}`, help, labelNames, registers });
    const gauge = <T extends string>(
      name: string,
      help: string,
      labelNames: T[] = [],
      collect?: () => void,
    ): Gauge<T> =>
      new Gauge({
        name: `outpost_${name}`,
        help,
        labelNames,
        registers,
        ...(collect === undefined ? {} : { collect }),
      });
    const histogram = (name: string, help: string): Histogram<string> =>
      new Histogram({ name: `outpost_${name}`, help, buckets: SECONDS, registers });
    this.brokerConnected = gauge("broker_connected", "1 while the broker socket of the role is open", ["role"]);
    this.brokerReconnects = counter("broker_reconnects_total", "Reconnections of a broker socket", ["role"]);
    this.brokerRequests = counter("broker_requests_total", "Requests from the broker server", ["outcome"]);
    this.brokerRequestSeconds = histogram("broker_request_duration_seconds", "Brokered request, arrival to last byte");
    this.registryRequests = counter("registry_requests_total", "Requests to registries by status class", ["code"]);
    this.registryRetries = counter("registry_retries_total", "Repeated requests to registries", ["reason"]);
    this.scans = counter("scans_total", "Images scanned", ["outcome"]);
    this.scanSeconds = histogram("scan_duration_seconds", "One image, manifest to result");
    this.scanQueueDepth = gauge("scan_queue_depth", "Accepted scan requests that wait or run");
    this.layerBytes = counter("layer_decompress_bytes_total", "Uncompressed layer bytes read", ["compression"]);
    this.callbacks = counter("callback_deliveries_total", "Callbacks by outcome", ["outcome"]);
    this.memoryBytes = gauge(
      "process_resident_memory_bytes",
      "Resident memory",
      [],
      () => this.memoryBytes.set(memory()),
    );
    this.buildInfo = gauge("build_info", "Always 1", ["version", "deno"]);
    this.buildInfo.set({ version: build.version, deno: build.deno }, 1);
  }

  /** Media type of {@link Metrics.render}. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All metrics in the text exposition format. */
  render(): Promise<string> {
    return this.#registry.metrics();
  }
}
