/**
 * Pushes the values of instruments by OTLP: every interval one request, and a last one at the end (OTLP specification 1.9,
 * "OTLP/HTTP"; its payload is an ExportMetricsServiceRequest in JSON).
 *
 * @module
 */
import { toOutpostError } from "../core/errors.ts";
import type { Clock, Logger } from "../core/ports.ts";
import { type Attributes, type Instrument, keyValues } from "./otlp_instruments.ts";

/**
 * Delivers a request's body; an answer that takes only a part of it, or refuses it for good, resolves too.
 *
 * @throws {OutpostError} when it did not arrive and may be sent again.
 */
export type OtlpPost = (body: string, signal: AbortSignal) => Promise<void>;

/** Options of {@link OtlpExporter}. */
export interface OtlpExporterOptions {
  readonly instruments: readonly Instrument[];
  /** Who tells: `service.name` and so on. */
  readonly resource: Attributes;
  /** The instrumentation scope. */
  readonly scope: { readonly name: string; readonly version: string };
  readonly post: OtlpPost;
  /** Milliseconds between two exports (METRICS_OTEL_EXPORT_INTERVAL_MS). */
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Exports from its making on until {@link OtlpExporter.stop}. What could not be delivered goes with the next export. */
export class OtlpExporter {
  readonly #options: OtlpExporterOptions;
  readonly #life = new AbortController();
  readonly #running: Promise<void>;
  #from: number;
  #exporting: Promise<void> = Promise.resolve();
  #failures = 0;

  constructor(options: OtlpExporterOptions) {
    this.#options = options;
    this.#from = options.clock.now();
    this.#running = this.#run();
  }

  /** Exports now, after what is being exported already. Never rejects. */
  async flush(signal: AbortSignal): Promise<void> {
    const next = this.#exporting.then(() => this.#export(signal));
    this.#exporting = next;
    await next;
  }

  /** Gives up what is being exported, and exports for the last time until the signal aborts. Never rejects. */
  async stop(signal: AbortSignal): Promise<void> {
    this.#life.abort();
    await this.#running;
    await this.flush(signal);
  }

  async #run(): Promise<void> {
    const { clock, intervalMs } = this.#options;
    const { signal } = this.#life;
    for (;;) {
      try {
        await clock.sleep(intervalMs, signal);
      } catch {
        return;
      }
      await this.flush(signal);
    }
  }

  async #export(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const { clock, instruments, logger, post } = this.#options;
    const to = clock.now();
    try {
      await post(this.#encode(to), signal);
    } catch (error) {
      if (signal.aborted) return;
      const { code, message: reason, hint } = toOutpostError(error);
      this.#failures++;
      // One line for each outage: an unreachable collector is no reason to fill the log.
      const level = this.#failures === 1 ? "warn" : "debug";
      return logger[level]("Metrics not exported; they go with the next export", { code, reason, hint });
    }
    if (this.#failures > 0) logger.info("Metrics are exported again", { failures: this.#failures });
    this.#failures = 0;
    this.#from = to;
    for (const instrument of instruments) instrument.commit();
  }

  #encode(to: number): string {
    const { instruments, resource, scope } = this.#options;
    const interval = { from: this.#from, to };
    const metrics = instruments.flatMap((instrument) => {
      const data = instrument.collect(interval);
      return data === undefined ? [] : [{ ...instrument.description, ...data }];
    });
    const scopeMetrics = [{ scope, metrics }];
    return JSON.stringify({ resourceMetrics: [{ resource: { attributes: keyValues(resource) }, scopeMetrics }] });
  }
}
