/**
 * The daemon: queue, broker client and HTTP surface joined, and the order in which they start and stop.
 *
 * @module
 */
import {
  type BrokerClient,
  type BrokerEvent,
  type ClientSettings,
  createBrokerClient,
  type Dispatch,
  Preflight,
  type PreflightCheck,
  preflightTable,
  type RuleSource,
  ruleSource,
} from "./broker/mod.ts";
import type { Daemon } from "./cli/context.ts";
import type { Config } from "./config/load.ts";
import { OutpostError } from "./core/errors.ts";
import { LIMITS } from "./core/limits.ts";
import type { CallbackTransport, Clock, Fetch, Logger, RegistryCredentials, RegistryProvider } from "./core/ports.ts";
import { BROKER_PROTOCOL_VERSION, VERSION } from "./core/version.ts";
import { ScanQueue } from "./jobs/queue.ts";
import type { ScanFunction } from "./jobs/scan_image.ts";
import { createScanRunner, type ScanJob } from "./jobs/scan_job.ts";
import { withDeadline } from "./lib/deadline.ts";
import type { Redactor } from "./lib/redact.ts";
import { isSameRegistry, parseBrokeredCredentials } from "./registries/mod.ts";
import { createApp } from "./server/app.ts";
import type { AppDeps } from "./server/deps.ts";
import { validate } from "./server/validation.ts";
import type { Metrics } from "./telemetry/metrics.ts";

/**
 * Variables that a brokered request may name: those of the broker and of the registry. Rules, which the operator wrote,
 * may name any; the server is no reader of this process's environment.
 */
const REQUEST_VARIABLES = /^(?:CR|BROKER)_[A-Z0-9_]+$/;

/** ACCEPT's value in Snyk's image, relative to a directory of its own. */
const SHIPPED_RULES = "accept.json";

/** What main.ts hands over. */
export interface DaemonParts {
  readonly config: Config;
  readonly credentials: RegistryCredentials | undefined;
  readonly registries: RegistryProvider;
  readonly scan: ScanFunction;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly redactor: Redactor;
  readonly metrics: Metrics;
  /** Outbound requests with the operator's authorities: to the broker server, an external agent, callbacks. */
  readonly fetch: Fetch;
  readonly webSocket: (url: string, options: { readonly headers: Readonly<Record<string, string>> }) => WebSocket;
  /** Value of a variable for `${NAME}`. */
  readonly variable: (name: string) => string | undefined;
  readonly record: AppDeps["record"];
  readonly readFile: (path: string) => Promise<string>;
  /** Prints text for people, beside the log. */
  readonly print: (text: string) => void;
}

/** The accept rules of ACCEPT: where they are read anew, and as they were at the start. */
interface LoadedRules {
  readonly source: RuleSource;
  readonly rules: unknown;
}

/**
 * Starts the daemon and resolves when it listens.
 *
 * @throws {OutpostError} CONFIG_INVALID when the port is taken or a setting cannot be used.
 */
export async function startDaemon(parts: DaemonParts): Promise<Daemon> {
  const rules = parts.config.role === "agent" ? undefined : await loadRules(parts);
  return await new RunningDaemon(parts, rules).start();
}

class RunningDaemon implements Daemon {
  readonly #parts: DaemonParts;
  readonly #broker: BrokerClient | undefined;
  readonly #preflight: Preflight;
  readonly #queue: ScanQueue<ScanJob>;
  readonly #app: ReturnType<typeof createApp>;
  #server: Deno.HttpServer<Deno.NetAddr> | undefined;
  #stopping: Promise<void> | undefined;

  constructor(parts: DaemonParts, rules: LoadedRules | undefined) {
    this.#parts = parts;
    const { config, metrics } = parts;
    this.#preflight = createPreflight(parts);
    this.#broker = config.role === "agent" ? undefined : this.#createBroker(rules);
    const run = createScanRunner({
      registries: parts.registries,
      scan: parts.scan,
      transport: this.#broker ?? directCallbacks(parts),
      clock: parts.clock,
      logger: parts.logger.child("scans"),
      maxImageBytes: config.maxImageBytes,
      redact: (text) => parts.redactor.text(text),
      onScan: (outcome, milliseconds) => {
        metrics.scans.inc({ outcome });
        metrics.scanSeconds.observe(milliseconds / 1000);
      },
      onCallback: (outcome) => metrics.callbacks.inc({ outcome }),
    });
    const onDepth = (depth: number): void => metrics.scanQueueDepth.set({}, depth);
    this.#queue = new ScanQueue({ concurrency: config.maxActiveOperations, run, onDepth });
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
    this.#server = this.#listen();
    this.#broker?.start();
    logger.info("Outpost started", {
      version: VERSION,
      role: config.role,
      url: this.url,
      server: config.brokerServerUrl.origin,
    });
    return await Promise.resolve(this);
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
    }
  }

  async #stopInOrder(): Promise<void> {
    const { clock, logger } = this.#parts;
    const scans = expiring(clock, LIMITS.shutdownScansMs);
    const rest = expiring(clock, LIMITS.shutdownAnswersMs);
    try {
      this.#broker?.announceStop();
      const dropped = await this.#queue.close(scans.signal);
      for (const { id, requestId } of dropped) {
        logger.error("Scan request dropped: the process is stopping", { id, requestId });
      }
      await this.#broker?.close(rest.signal);
      await Promise.race([this.#server?.shutdown(), rest.expired]);
    } finally {
      await Promise.all([scans.cancel(), rest.cancel()]);
    }
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
      parseCredentials: (text) => ownRegistry(parseBrokeredCredentials(text), credentials),
      validate: config.role === "agent" ? undefined : createValidation(this.#parts),
      queue: this.#queue,
      broker: broker === undefined ? undefined : {
        states: () => broker.states(),
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

  #createBroker(rules: LoadedRules | undefined): BrokerClient {
    const { config, clock, logger, fetch, webSocket, variable, metrics } = this.#parts;
    const dispatch: Dispatch = async (request, { internal, substituted }) =>
      internal
        ? await this.#app.fetch(request, { internal: true, substitutedFields: substituted.fields })
        : await fetch(request);
    return createBrokerClient({
      serverUrl: config.brokerServerUrl.href,
      token: config.brokerToken?.reveal() ?? "",
      protocolVersion: BROKER_PROTOCOL_VERSION,
      ...(rules === undefined ? {} : { rules: rules.rules, ruleSource: rules.source }),
      clock,
      logger,
      randomId: () => crypto.randomUUID(),
      webSocket,
      fetch,
      dispatch,
      variables: variable,
      requestVariables: (name) => REQUEST_VARIABLES.test(name) ? variable(name) : undefined,
      substituteHeaders: config.substituteHeaders,
      substituteBodies: config.substituteBodies,
      removeForwardedHeaders: config.removeForwardedHeaders,
      dispatcher: config.broker.dispatcher,
      insecureDownstream: config.broker.insecureDownstream,
      agentRetries: config.broker.agentRetries,
      responseUrl: config.broker.responseUrl,
      times: config.broker,
      maxResponseBytes: config.broker.maxResponseBytes,
      uploadIdleMs: config.broker.uploadIdleMs,
      settings: clientSettings(this.#parts),
      preflight: config.broker.preflight ? (signal) => this.#checkAndPrint(signal) : undefined,
      onEvent: (event) => count(metrics, event),
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

function createPreflight({ config, fetch, clock }: DaemonParts): Preflight {
  return new Preflight({
    fetch,
    clock,
    serverUrl: config.brokerServerUrl,
    apiUrl: config.broker.apiUrl,
    token: config.brokerToken?.reveal() ?? "",
    protocolVersion: BROKER_PROTOCOL_VERSION,
    clientUrl: config.brokerClientUrl,
    servesTls: config.broker.clientUrlTls,
    customRules: config.accept !== undefined && config.accept !== SHIPPED_RULES,
    ruleFlags: config.broker.ruleFlags,
  });
}

function createValidation({ config, variable, fetch, clock }: DaemonParts): AppDeps["validate"] {
  const target = config.broker.validation;
  if (target === undefined) return undefined;
  const userAgent = `Snyk Broker Client ${BROKER_PROTOCOL_VERSION}`;
  return (signal) => validate({ target, fallback: variable("CR_CREDENTIALS"), fetch, clock, userAgent }, signal);
}

/** What `identify` says of the configuration. */
function clientSettings({ config, variable }: DaemonParts): ClientSettings {
  const set = (name: string): boolean => (variable(name) ?? "") !== "";
  return {
    debugMode: config.logLevel === "debug",
    credPooling: config.broker.pools,
    privateCa: set("NODE_EXTRA_CA_CERTS"),
    tlsReject: variable("NODE_TLS_REJECT_UNAUTHORIZED") === "0",
    proxy: set("HTTP_PROXY") || set("HTTPS_PROXY"),
    customAccept: config.accept !== undefined && config.accept !== SHIPPED_RULES,
    insecureDownstream: config.broker.insecureDownstream,
  };
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

/**
 * Reads the rules that ACCEPT names. `accept.json`, which Snyk's image sets for the rules that it ships, means the
 * built-in ones when there is no such file.
 *
 * @throws {ConfigError} when they cannot be read.
 */
async function loadRules({ config, fetch, clock, readFile, logger }: DaemonParts): Promise<LoadedRules | undefined> {
  const location = config.accept;
  if (location === undefined) return undefined;
  if (location === SHIPPED_RULES && await readFile(location).then(() => false, () => true)) {
    logger.info("Using the built-in accept rules: there is no file accept.json");
    return undefined;
  }
  const source = ruleSource({ location, readFile, fetch, clock });
  return { source, rules: await source(new AbortController().signal) };
}

function count(metrics: Metrics, event: BrokerEvent): void {
  if (event.kind === "disconnected") metrics.brokerReconnects.inc({ role: event.role });
  if (event.kind !== "request") return;
  metrics.brokerRequests.inc({ outcome: event.allowed ? event.outcome : "blocked" });
  metrics.brokerRequestSeconds.observe(event.ms / 1000);
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
