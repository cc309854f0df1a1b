/**
 * What the HTTP surface needs from the rest; main.ts fills it.
 *
 * @module
 */
import type { Context } from "hono";
import type { Config } from "../config/load.ts";
import type { Clock, Logger, RegistryCredentials, RegistryProvider, SocketState } from "../core/ports.ts";
import type { JobDetail, JobFilter, JobSummary } from "../core/store.ts";
import type { Redactor } from "../lib/redact.ts";
import type { ScanJob } from "../jobs/scan_job.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { ValidationResult } from "./validation.ts";

/** An HTTP message towards Snyk, as the public rules see it. */
export interface OutgoingRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** A connection of a deployment. */
export interface BrokerConnectionFace {
  readonly name: string;
  /** Undefined when it cannot be used. */
  readonly credentials: RegistryCredentials | undefined;
  /** Why it is not in use. */
  readonly problem: string | undefined;
}

/** The broker client, as far as HTTP routes show it. */
export interface BrokerFace {
  states(): readonly SocketState[];
  /** The connections of a deployment; undefined for a client with one token. */
  readonly connections?: (() => readonly BrokerConnectionFace[]) | undefined;
  /** The accept rules, unexpanded. */
  rules(): unknown;
  /** Reads the accept rules anew; rejects, and keeps the old ones, when the new ones cannot be used. */
  reloadRules(): Promise<unknown>;
  /** Checks of the network on the way to Snyk, run now. */
  checks(signal: AbortSignal): Promise<readonly unknown[]>;
  /** One of them; undefined when there is none of that id. */
  check(id: string, signal: AbortSignal): Promise<unknown>;
  /** Sends a request under the public rules and gives the upstream's answer. */
  forward(
    request: OutgoingRequest,
    signal: AbortSignal,
  ): Promise<{ status: number; headers: Readonly<Record<string, string>>; body: Uint8Array<ArrayBuffer> | string }>;
}

/** Accepted scans (jobs/job_service.ts). */
export interface JobsFace {
  /** Why accepted scans can neither be kept nor read now; undefined when they can. */
  readonly problem?: string | undefined;
  accept(job: ScanJob): Promise<{ readonly id: string; readonly duplicate: boolean }>;
  list(filter: JobFilter): Promise<readonly JobSummary[]>;
  show(id: string): Promise<JobDetail>;
  cancel(id: string): Promise<void>;
  retry(id: string): Promise<{ readonly id: string; readonly resent: number }>;
}

/** Dependencies of every route. */
export interface AppDeps {
  readonly config: Config;
  readonly version: string;
  /** Version of the broker protocol that /healthcheck reports. */
  readonly protocolVersion: string;
  readonly registries: RegistryProvider;
  /**
   * Parses credentials as they come in a request; `own` are those of the connection that it came by, which say for which
   * registry they may be.
   */
  readonly parseCredentials: (text: string, own?: RegistryCredentials) => RegistryCredentials;
  /** The configured registry; undefined when there is none. */
  readonly credentials: RegistryCredentials | undefined;
  /** Asks BROKER_CLIENT_VALIDATION_URL; undefined when there is none. */
  readonly validate: ((signal: AbortSignal) => Promise<readonly ValidationResult[]>) | undefined;
  readonly jobs: JobsFace;
  /** Absent when this process is the agent alone. */
  readonly broker: BrokerFace | undefined;
  readonly metrics: Metrics;
  readonly redactor: Redactor;
  readonly logger: Logger;
  readonly clock: Clock;
  /** A fresh random UUID. */
  readonly newId: () => string;
  /** True once the process is stopping. */
  readonly stopping: () => boolean;
  /** Keeps a redacted copy of an exchange; absent unless OUTPOST_RECORD_DIR is set. */
  readonly record: ((name: string, exchange: unknown) => Promise<void>) | undefined;
}

/** How a request came in. */
export interface Arrival {
  /** True for a request that the broker relay hands over inside the process. */
  readonly internal?: boolean;
  /** Paths into the JSON body whose values the relay filled in from variables: secrets of ours, perhaps. */
  readonly substitutedFields?: readonly string[];
  /** The connection of a deployment that the request came by, with its own credentials. */
  readonly connection?: { readonly name: string; readonly credentials: RegistryCredentials | undefined };
  /** Peer address of a request from the network. */
  readonly remoteAddress?: string;
}

/** Types of the Hono app. */
export interface AppEnv {
  Bindings: Arrival;
}

/** A request in the app. */
export type AppContext = Context<AppEnv>;
