/**
 * The metrics that Snyk's broker client pushes, under its names (broker-protocol.md §14; `otelClient` of snyk-broker
 * 5.22.14: attributes, units and buckets).
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { Clock } from "../core/ports.ts";
import {
  type Instrument,
  OtlpCounter,
  OtlpGauge,
  OtlpHistogram,
  OtlpObservedGauge,
  OtlpUpDownCounter,
} from "./otlp_instruments.ts";

const DOWNSTREAM_SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const CONNECTION_SECONDS = [1, 5, 10, 15, 30, 60, 300, 900, 3600, 14_400, 43_200, 86_400];
const RESPONSE_BYTES = [1024, 10_240, 102_400, 524_288, 1_048_576, 5_242_880, 10_485_760, 20_971_520];
const PING_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

const CONNECTION_STATES = ["connected", "reconnecting", "failed"] as const;

/** State of a socket; Outpost gives none up, so that `failed` stays 0. */
export type ConnectionState = typeof CONNECTION_STATES[number];

/** Every metric of the list, and what is derived from the clock. */
export class BrokerMetrics {
  readonly initialized = new OtlpCounter({
    name: "broker.client.initialized",
    description: "Count of broker client initializations",
  });
  readonly reconnects = new OtlpCounter({
    name: "broker.client.reconnect.total",
    description: "Number of websocket reconnect attempts scheduled",
  });
  readonly processExits = new OtlpCounter({
    name: "broker.client.process_exit.total",
    description: "Count of process exits by reason",
  });
  readonly renewalFailures = new OtlpCounter({
    name: "broker.client.auth_renewal_failure.total",
    description: "Auth renewal HTTP failures by status code",
  });
  readonly tokenFailures = new OtlpCounter({
    name: "broker.client.jwt_refresh_failure.total",
    description: "OAuth JWT refresh failures",
  });
  readonly uncaughtExceptions = new OtlpCounter({
    name: "broker.client.uncaught_exception.total",
    description: "Uncaught exceptions by error code",
  });
  readonly requests = new OtlpCounter({
    name: "broker.client.request.total",
    description: "Requests received, by flow and by what the accept rules say",
  });
  readonly downstreamRequests = new OtlpCounter({
    name: "broker.client.downstream.request.total",
    description: "Requests passed to the agent",
  });
  readonly downstreamStatus = new OtlpCounter({
    name: "broker.client.downstream.status",
    description: "Classes of the agent's statuses, for answers that are not streamed",
  });
  readonly downstreamSeconds = new OtlpHistogram({
    name: "broker.client.downstream.duration.seconds",
    description: "Time to the head of the agent's answer",
    unit: "s",
  }, DOWNSTREAM_SECONDS);
  readonly connectionSeconds = new OtlpHistogram({
    name: "broker.client.ws.duration.seconds",
    description: "Websocket connection, from open to close",
    unit: "s",
  }, CONNECTION_SECONDS);
  readonly responseBytes = new OtlpHistogram({
    name: "broker.client.upstream.response.bytes",
    description: "Bytes of answers' bodies sent to the broker server",
    unit: "By",
  }, RESPONSE_BYTES);
  readonly pingSeconds = new OtlpHistogram({
    name: "broker.client.ws.ping.latency.seconds",
    description: "Websocket heartbeat, from ping to pong",
    unit: "s",
  }, PING_SECONDS);
  readonly inflight: OtlpUpDownCounter;
  readonly #connectionState = new OtlpGauge({
    name: "broker.client.connection.state",
    description: "1 for the state that the websocket of a role is in, 0 for the others",
  });
  readonly #uptime: OtlpObservedGauge;
  readonly #loopDelay: OtlpObservedGauge;
  readonly #clock: Clock;
  readonly #life = new AbortController();
  readonly #watching: Promise<void>;
  #delays: number[] = [];

  constructor(clock: Clock) {
    const startedAt = clock.now();
    this.#clock = clock;
    this.inflight = new OtlpUpDownCounter({
      name: "broker.client.inflight.requests",
      description: "Requests that the agent is being asked",
    }, startedAt);
    this.#uptime = new OtlpObservedGauge({
      name: "broker.client.uptime_seconds",
      description: "Seconds since the broker client started",
      unit: "s",
    }, ({ to }) => (to - startedAt) / 1000);
    this.#loopDelay = new OtlpObservedGauge({
      name: "broker.nodejs.eventloop.delay.p99",
      description: "99th percentile of how late timers are",
      unit: "s",
    }, () => this.#takeDelay());
    this.#watching = this.#watchLoop();
  }

  /** Everything, for an exporter. */
  get instruments(): readonly Instrument[] {
    return [
      this.initialized,
      this.reconnects,
      this.processExits,
      this.renewalFailures,
      this.tokenFailures,
      this.uncaughtExceptions,
      this.requests,
      this.downstreamRequests,
      this.downstreamStatus,
      this.downstreamSeconds,
      this.connectionSeconds,
      this.responseBytes,
      this.pingSeconds,
      this.inflight,
      this.#connectionState,
      this.#uptime,
      this.#loopDelay,
    ];
  }

  /** The socket of a role is in this state now. */
  setConnectionState(role: string, state: ConnectionState): void {
    for (const one of CONNECTION_STATES) this.#connectionState.set({ state: one, role }, one === state ? 1 : 0);
  }

  /** Stops watching the event loop. */
  async stop(): Promise<void> {
    this.#life.abort();
    await this.#watching;
  }

  /** A timer's lateness is the time for which something else kept the event loop busy. */
  async #watchLoop(): Promise<void> {
    const { signal } = this.#life;
    for (;;) {
      const due = this.#clock.now() + LIMITS.loopDelaySampleMs;
      try {
        await this.#clock.sleep(LIMITS.loopDelaySampleMs, signal);
      } catch {
        return;
      }
      if (this.#delays.length < LIMITS.loopDelaySamples) this.#delays.push(Math.max(0, this.#clock.now() - due));
    }
  }

  /** In seconds, of the samples since the last time. */
  #takeDelay(): number | undefined {
    const sorted = this.#delays.toSorted((a, b) => a - b);
    this.#delays = [];
    const delay = sorted[Math.ceil(sorted.length * 0.99) - 1];
    return delay === undefined ? undefined : delay / 1000;
  }
}
