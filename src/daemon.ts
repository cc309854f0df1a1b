/**
 * The daemon: queue, broker client and HTTP surface joined, and the order in which they start and stop.
 *
 * @module
 */
import { type BrokerClient, type Preflight, type PreflightCheck, preflightTable } from "./broker/mod.ts";
import type { Daemon } from "./cli/context.ts";
import type { Config } from "./config/load.ts";
import { startupNotices } from "./config/notices.ts";
import { OutpostError } from "./core/errors.ts";
import { LIMITS } from "./core/limits.ts";
import type { CallbackTransport, Clock, RegistryCredentials } from "./core/ports.ts";
import { BROKER_PROTOCOL_VERSION, VERSION } from "./core/version.ts";
import { createBroker, createPreflight, createValidation, type LoadedRules, loadRules } from "./daemon_broker.ts";
import type { MetricsPush } from "./daemon_metrics.ts";
import type { DaemonParts } from "./daemon_parts.ts";
import { createJobs } from "./daemon_jobs.ts";
import type { JobService } from "./jobs/job_service.ts";
import { withDeadline } from "./lib/deadline.ts";
import { isSameRegistry, parseBrokeredCredentials } from "./registries/mod.ts";
import { createApp } from "./server/app.ts";

export type { DaemonParts } from "./daemon_parts.ts";

/**
 * Starts the daemon and resolves when it listens.
 *
 * @throws {OutpostError} CONFIG_INVALID when the port is taken or a setting cannot be used.
 */
export async function startDaemon(parts: DaemonParts): Promise<Daemon> {
  const rules = parts.config.role === "agent" ? undefined : await loadRules(parts);
  const push = await startPush(parts);
  try {
    return await new RunningDaemon(parts, rules, push).start();
  } catch (error) {
    await push?.stop();
    throw error;
  }
}

/** The metrics of the broker client; their code stays out of memory where they are not pushed. */
async function startPush({ config, fetch, clock, logger }: DaemonParts): Promise<MetricsPush | undefined> {
  const { metricsPush: target, role } = config;
  if (target === undefined || role === "agent") return undefined;
  const { pushMetrics } = await import("./daemon_metrics.ts");
  return pushMetrics({ target, fetch, clock, logger: logger.child("metrics"), instanceId: crypto.randomUUID() });
}

class RunningDaemon implements Daemon {
  readonly #parts: DaemonParts;
  readonly #broker: BrokerClient | undefined;
  readonly #preflight: Preflight;
  readonly #jobs: JobService;
  readonly #app: ReturnType<typeof createApp>;
  readonly #push: MetricsPush | undefined;
  #server: Deno.HttpServer<Deno.NetAddr> | undefined;
  #stopping: Promise<void> | undefined;
  #uncaught: Disposable | undefined;

  constructor(parts: DaemonParts, rules: LoadedRules | undefined, push: MetricsPush | undefined) {
    this.#parts = parts;
    this.#push = push;
    const { config } = parts;
    this.#preflight = createPreflight(parts, () => this.#broker);
    this.#broker = config.role === "agent" ? undefined : createBroker(parts, {
      rules,
      ask: async (request, arrival) => await this.#app.fetch(request, arrival),
      preflight: (signal) => this.#checkAndPrint(signal),
      onEvent: (event) => {
        push?.onEvent(event);
        // Callbacks that are another daemon's to send as long as this one cannot.
        if (event.kind === "connected") this.#jobs.wake();
      },
    });
    this.#jobs = createJobs(parts, {
      transport: this.#broker === undefined ? directCallbacks(parts) : brokerCallbacks(this.#broker),
      own: (connection) => this.#ownCredentials(connection),
    });
    this.#app = this.#createApp();
  }

  get url(): string {
    const { config } = this.#parts;
    const scheme = config.tls.server === undefined ? "http" : "https";
    const host = config.host === "0.0.0.0" || config.host === "::" ? "127.0.0.1" : config.host;
    return `${scheme}://${host}:${this.#server?.addr.port ?? config.port}`;
  }

  async start(): Promise<this> {
    const { config, logger } = this.#parts;
    for (const { message, hint } of startupNotices(config)) logger.warn(message, { hint });
    // Before anybody asks, who would wait for it. Whatever is wrong with it, the first scan says so.
    if (config.role !== "broker") await this.#parts.prepareScans?.().catch(() => {});
    this.#server = this.#listen();
    try {
      await this.#broker?.prepare(this.#parts.signal ?? new AbortController().signal);
    } catch (error) {
      await this.#server.shutdown();
      throw error;
    }
    this.#broker?.start();
    this.#jobs.start();
    this.#uncaught = this.#parts.onUncaught?.((error) => void this.#crash(error));
    logger.info("Outpost started", {
      version: VERSION,
      role: config.role,
      url: this.url,
      server: config.brokerServerUrl.origin,
    });
    return this;
  }

  async ready(signal: AbortSignal): Promise<void> {
    await this.#broker?.ready(signal);
  }

  /** Order: the server is told, no new work, running scans with their callbacks, broker requests, sockets, listener. */
  stop(): Promise<void> {
    return this.#stopping ??= this.#stop();
  }

  /** Whatever hangs, LIMITS.shutdownMs is the end. */
  async #stop(): Promise<void> {
    const { clock, logger } = this.#parts;
    const last = expiring(clock, LIMITS.shutdownMs);
    const late = last.expired.then(() => logger.error("Stopped before everything had ended: the time is over"));
    try {
      await Promise.race([this.#stopInOrder(), late]);
    } finally {
      await last.cancel();
      this.#uncaught?.[Symbol.dispose]();
    }
  }

  async #stopInOrder(): Promise<void> {
    const { clock } = this.#parts;
    const scans = expiring(clock, LIMITS.shutdownScansMs);
    const rest = expiring(clock, LIMITS.shutdownAnswersMs);
    try {
      this.#broker?.announceStop();
      await this.#jobs.close(scans.signal);
      await this.#broker?.close(rest.signal);
      await Promise.race([this.#server?.shutdown(), rest.expired]);
      await this.#push?.stop();
    } finally {
      await Promise.all([scans.cancel(), rest.cancel()]);
    }
  }

  /** A defect: nothing can be relied on, so the process ends, but not without a word that hides no secret. */
  async #crash(error: unknown): Promise<void> {
    const { logger, clock, exit } = this.#parts;
    logger.error("Ending because of an exception that nobody caught", { error });
    this.#broker?.announceCrash(error);
    void this.#push?.crashed(error);
    await clock.sleep(LIMITS.crashNoticeMs);
    exit?.(1);
  }

  /** Credentials that a request without any of its own gets. */
  #ownCredentials(connection: string | undefined): RegistryCredentials | undefined {
    if (connection === undefined) return this.#parts.credentials;
    const found = this.#broker?.connections().find(({ name }) => name === connection)?.credentials;
    return found === undefined ? undefined : parseBrokeredCredentials(found);
  }

  #createApp(): ReturnType<typeof createApp> {
    const { config, clock, logger, redactor, metrics, registries, credentials, record } = this.#parts;
    const broker = this.#broker;
    return createApp({
      config,
      version: VERSION,
      protocolVersion: BROKER_PROTOCOL_VERSION,
      registries,
      credentials,
      parseCredentials: (text, own) => ownRegistry(parseBrokeredCredentials(text), own ?? credentials),
      validate: config.role === "agent" ? undefined : createValidation(this.#parts),
      jobs: this.#jobs,
      broker: broker === undefined ? undefined : {
        states: () => broker.states(),
        connections: config.broker.universal === undefined
          ? undefined
          : () =>
            broker.connections().map(({ name, credentials, problem }) => ({
              name,
              problem,
              credentials: credentials === undefined ? undefined : parseBrokeredCredentials(credentials),
            })),
        rules: () => broker.rules(),
        reloadRules: () => broker.reloadRules(),
        checks: (signal) => this.#preflight.network(signal),
        check: (id, signal) => this.#preflight.one(id, signal),
        forward: (request, signal) => broker.callback(request, signal),
      },
      metrics,
      redactor,
      logger: logger.child("http"),
      clock,
      newId: () => crypto.randomUUID(),
      stopping: () => this.#stopping !== undefined,
      record,
    });
  }

  async #checkAndPrint(signal: AbortSignal): Promise<readonly PreflightCheck[]> {
    const checks = await this.#preflight.all(signal);
    this.#parts.print(preflightTable(checks));
    return checks;
  }

  #listen(): Deno.HttpServer<Deno.NetAddr> {
    const { config, logger } = this.#parts;
    const { host: hostname, port, tls } = config;
    const options = { hostname, port, onListen: (): void => {}, ...(tls.server ?? {}) };
    try {
      return Deno.serve({
        ...options,
        onError: (error) => {
          logger.error("Request failed outside the application", { error });
          return new Response(null, { status: 500 });
        },
      }, async (request, info) => await this.#app.fetch(request, { remoteAddress: info.remoteAddr.hostname }));
    } catch (cause) {
      throw cannotListen(config, cause);
    }
  }
}

/**
 * Credentials that a request brings are taken for the configured registry alone, when there is one: a broker server could
 * otherwise have `${CR_PASSWORD}` sent to an address of its own.
 *
 * @throws {OutpostError} CREDENTIALS_INVALID for another registry.
 */
function ownRegistry(given: RegistryCredentials, own: RegistryCredentials | undefined): RegistryCredentials {
  if (own === undefined || isSameRegistry(given, own)) return given;
  throw new OutpostError("CREDENTIALS_INVALID", "Cannot use the request's credentials: they are for another registry", {
    hint: "This process serves the registry of CR_BASE; for others run OUTPOST_ROLE=agent without CR_BASE.",
    status: 403,
  });
}

/** Whatever keeps the port closed is in the configuration. */
function cannotListen({ role, host, port, tls }: Config, cause: unknown): OutpostError {
  const why = (cause instanceof Error ? cause.message : String(cause)).replace(/ \(os error \d+\)/, "");
  const taken = cause instanceof Deno.errors.AddrInUse || cause instanceof Deno.errors.PermissionDenied;
  const portName = role === "agent" ? "SNYK_PORT or PORT" : "PORT";
  const hint = taken
    ? `Set ${portName} to a free port above 1023.`
    : `Check OUTPOST_HOST${tls.server === undefined ? "" : ", HTTPS_CERT and HTTPS_KEY"}.`;
  return new OutpostError("CONFIG_INVALID", `Cannot listen on ${host}:${port}: ${why}`, { hint, cause });
}

/** Callbacks through the broker's websocket, as soon as one is open. */
function brokerCallbacks(broker: BrokerClient): CallbackTransport {
  return {
    send: (request, signal) => broker.send(request, signal),
    canSend: () => broker.states().some(({ open }) => open),
  };
}

/** Callbacks of the agent alone: a POST to the broker client, like Snyk's agent (DESIGN, "The agent's messages"). */
function directCallbacks({ config, fetch, clock }: DaemonParts): CallbackTransport {
  return {
    async send({ path, body, headers, origin }, signal) {
      const target = origin ?? config.brokerClientUrl?.origin;
      if (target === undefined) {
        throw new OutpostError("CONFIG_INVALID", "Cannot deliver a callback: BROKER_CLIENT_URL is not set", {
          hint: "Set it to the URL of the broker client.",
        });
      }
      const deadline = { clock, signal, ms: LIMITS.brokerAckTimeoutMs, what: `The callback to ${target}` };
      return await withDeadline(deadline, async (limited) => {
        const request = new Request(target + path, {
          method: "POST",
          headers,
          body,
          signal: limited,
          redirect: "manual",
        });
        const response = await fetch(request).catch((cause: unknown) => {
          throw new OutpostError("CONNECTION_FAILED", `Cannot deliver a callback to ${target}`, { cause });
        });
        await response.body?.cancel();
        return { status: response.status };
      });
    },
  };
}

interface Expiring {
  readonly signal: AbortSignal;
  readonly expired: Promise<void>;
  cancel(): Promise<void>;
}

function expiring(clock: Clock, ms: number): Expiring {
  const stop = new AbortController();
  const done = new AbortController();
  const expired = clock.sleep(ms, stop.signal).then(() =>
    done.abort(new OutpostError("CANCELLED", "The process is stopping"))
  );
  const settled = expired.catch(() => {});
  return {
    signal: done.signal,
    expired: expired.catch(() => new Promise<void>(() => {})),
    cancel: async () => {
      stop.abort();
      await settled;
    },
  };
}
