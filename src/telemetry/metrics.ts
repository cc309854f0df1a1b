/**
 * Every metric name in one list.
 *
 * @module
 */
import { Counter, exposition, EXPOSITION_TYPE, Gauge, Histogram } from "./prometheus.ts";

const SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];

/** The metrics of one process. Labels are bounded sets: never an image name, a path or a URL. */
export class Metrics {
  readonly brokerConnected = new Gauge<"role">("outpost_broker_connected", "1 while the broker socket is open");
  readonly brokerReconnects = new Counter<"role">(
    "outpost_broker_reconnects_total",
    "Reconnections of a broker socket",
  );
  readonly brokerRequests = new Counter<"outcome">("outpost_broker_requests_total", "Requests from the broker server");
  readonly brokerRequestSeconds = new Histogram(
    "outpost_broker_request_duration_seconds",
    "Brokered request, arrival to last byte",
    SECONDS,
  );
  readonly brokerAuthorizationFailures = new Counter<"what">(
    "outpost_broker_authorization_failures_total",
    "Access tokens that could not be had, and renewals that failed",
  );
  readonly scans = new Counter<"outcome">("outpost_scans_total", "Images scanned");
  readonly scanSeconds = new Histogram("outpost_scan_duration_seconds", "One image, manifest to result", SECONDS);
  readonly scanQueueDepth = new Gauge(
    "outpost_scan_queue_depth",
    "Accepted scan requests that wait or run, with OUTPOST_QUEUE those of all daemons",
  );
  readonly layers = new Counter<"origin">("outpost_layers_total", "Layers by where their facts came from");
  readonly layerCacheBytes = new Gauge("outpost_layer_cache_bytes", "Stored facts of layers");
  readonly storeWriteSeconds = new Histogram(
    "outpost_store_write_duration_seconds",
    "One transaction: so long the event loop waits, with OUTPOST_QUEUE until NATS has it",
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1],
  );
  readonly storeDiskFull = new Gauge("outpost_store_disk_full", "1 while the store cannot be written");
  readonly queueConnected = new Gauge(
    "outpost_queue_connected",
    "1 while the NATS servers of OUTPOST_QUEUE are reached; absent without",
  );
  readonly callbacks = new Counter<"outcome">("outpost_callback_deliveries_total", "Callbacks by outcome");
  readonly memoryBytes: Gauge;
  readonly buildInfo = new Gauge<"version" | "deno">("outpost_build_info", "Always 1");

  /** @param memory Resident bytes of this process, asked at each scrape. */
  constructor(build: { readonly version: string; readonly deno: string }, memory: () => number) {
    this.memoryBytes = new Gauge("outpost_process_resident_memory_bytes", "Resident memory", memory);
    this.buildInfo.set({ version: build.version, deno: build.deno }, 1);
  }

  /** Media type of {@link Metrics.render}. */
  get contentType(): string {
    return EXPOSITION_TYPE;
  }

  /** All metrics in the text exposition format. */
  render(): string {
    return exposition([
      this.brokerConnected,
      this.brokerReconnects,
      this.brokerRequests,
      this.brokerRequestSeconds,
      this.brokerAuthorizationFailures,
      this.scans,
      this.scanSeconds,
      this.scanQueueDepth,
      this.layers,
      this.layerCacheBytes,
      this.storeWriteSeconds,
      this.storeDiskFull,
      this.queueConnected,
      this.callbacks,
      this.memoryBytes,
      this.buildInfo,
    ]);
  }
}
