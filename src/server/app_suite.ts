/**
 * What the tests of the app share: the whole app with the real registry client, in front of a registry on a loopback
 * port. Only the broker client is played, at the interface that the routes see.
 *
 * @module
 */
import { FakeClock } from "../../tests/fakes/clock.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import {
  brokered,
  LOGIN,
  loopbackProvider,
  type LoopbackServer,
  startLoopbackRegistry,
} from "../../tests/fakes/loopback.ts";
import { loadConfig } from "../config/load.ts";
import { OutpostError } from "../core/errors.ts";
import type { SocketState } from "../core/ports.ts";
import type { ScanJob } from "../jobs/scan_job.ts";
import { Redactor } from "../lib/redact.ts";
import { alpineSample, debianSample, multiPlatformSample } from "../lib/sample_images.ts";
import { type ClosableRegistryProvider, parseBrokeredCredentials } from "../registries/mod.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { createApp } from "./app.ts";
import type { AppDeps, Arrival, BrokerFace, JobsFace, OutgoingRequest } from "./deps.ts";

/** States of two sockets, one open. */
export const SOCKETS: readonly [SocketState, SocketState] = [
  { role: "primary", open: true, url: "http://server/?connection_role=primary" },
  { role: "secondary", open: false, url: "http://server/?connection_role=secondary" },
];

/** Images of the registry: team/debian:12 and multi:latest. */
export const DEBIAN = debianSample();
export const MULTI = multiPlatformSample();

/** A broker client as the routes see it. */
export class Face implements BrokerFace {
  sockets: readonly SocketState[] = SOCKETS;
  readonly forwarded: OutgoingRequest[] = [];
  reload: OutpostError | undefined;
  answer: Awaited<ReturnType<BrokerFace["forward"]>> | OutpostError = {
    status: 201,
    headers: { "content-type": "application/json", "transfer-encoding": "chunked", "snyk-request-id": "r" },
    body: '{"ok":true}',
  };

  states(): readonly SocketState[] {
    return this.sockets;
  }
  rules(): unknown {
    return { public: [], private: [{ method: "GET", path: "/list" }] };
  }
  reloadRules(): Promise<unknown> {
    return this.reload instanceof OutpostError ? Promise.reject(this.reload) : Promise.resolve(this.rules());
  }
  checks(): Promise<readonly unknown[]> {
    return Promise.resolve([{ id: "a" }]);
  }
  check(id: string): Promise<unknown> {
    return Promise.resolve(id === "a" ? { id } : undefined);
  }
  forward(request: OutgoingRequest): ReturnType<BrokerFace["forward"]> {
    this.forwarded.push(request);
    return this.answer instanceof OutpostError ? Promise.reject(this.answer) : Promise.resolve(this.answer);
  }
}

/** Options of {@link AppHarness.ask}: those of a request, the environment, and dependencies to replace. */
export interface AskOptions extends RequestInit {
  readonly env?: Readonly<Record<string, string>>;
  readonly deps?: Partial<AppDeps>;
}

/** One registry for a suite; everything else is new for each test. */
export class AppHarness {
  readonly registry: LoopbackServer = startLoopbackRegistry({
    "team/debian": { "12": DEBIAN, "11": debianSample({ created: "2020-01-01T00:00:00Z" }) },
    "team/alpine": { "3.21": alpineSample() },
    multi: { latest: MULTI },
  });
  readonly clock = new FakeClock();
  #provider: ClosableRegistryProvider = loopbackProvider();
  face = new Face();
  jobs: ScanJob[] = [];
  stopping = false;
  records: { readonly name: string; readonly text: string }[] = [];
  logger = new RecordingLogger();

  /** Before each test. The registry client is new, since it remembers a registry that wants to be left alone. */
  reset(): void {
    this.#provider.close();
    this.#provider = loopbackProvider();
    this.face = new Face();
    this.jobs = [];
    this.stopping = false;
    this.records = [];
    this.logger = new RecordingLogger();
    this.registry.intercept = undefined;
  }

  /** After the suite. */
  async stop(): Promise<void> {
    this.#provider.close();
    await this.registry[Symbol.asyncDispose]();
  }

  /** Asks as the broker relay does, unless `arrival` says otherwise. */
  async ask(path: string, options: AskOptions = {}, arrival: Arrival = { internal: true }): Promise<Response> {
    const { env, deps, ...init } = options;
    const app = createApp({ ...await this.#deps(env), ...deps });
    return await app.fetch(new Request(`http://h${path}`, init), arrival);
  }

  /** Credentials that the registry refuses, as a header carries them. */
  get refusedCredentials(): string {
    return brokered({ ...this.registry.credentials, password: "wrong-canary" });
  }

  async #deps(env: Readonly<Record<string, string>> = {}): Promise<AppDeps> {
    const config = await loadConfig({ env, readFile: () => Promise.reject(new Error("no file")) });
    const redactor = new Redactor();
    redactor.add(LOGIN.password);
    let ids = 0;
    return {
      config,
      version: "0.0.1",
      protocolVersion: "5.22.14",
      registries: this.#provider,
      parseCredentials: parseBrokeredCredentials,
      credentials: this.registry.credentials,
      validate: undefined,
      jobs: {
        ...NO_JOBS,
        accept: (job) => {
          this.jobs.push(job);
          return Promise.resolve({ id: job.id, duplicate: false });
        },
      },
      broker: config.role === "agent" ? undefined : this.face,
      metrics: new Metrics({ version: "0.0.1", deno: "2" }, () => 1),
      redactor,
      logger: this.logger,
      clock: this.clock,
      newId: () => `id-${++ids}`,
      stopping: () => this.stopping,
      record: config.recordDir === undefined ? undefined : (name, exchange) => {
        this.records.push({ name, text: redactor.json(exchange) });
        return Promise.resolve();
      },
    };
  }
}

/** A service that takes jobs and has none. */
export const NO_JOBS: JobsFace = {
  accept: (job) => Promise.resolve({ id: job.id, duplicate: false }),
  list: () => Promise.resolve([]),
  show: (id) => Promise.reject(new OutpostError("JOB_NOT_FOUND", `There is no job ${id}`)),
  cancel: () => Promise.resolve(),
  retry: (id) => Promise.resolve({ id, resent: 0 }),
};

/** A POST of JSON, or of a text as it is. */
export function post(body: unknown, headers: Record<string, string> = {}): AskOptions {
  return { method: "POST", headers, body: typeof body === "string" ? body : JSON.stringify(body) };
}
