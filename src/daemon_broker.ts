/**
 * The daemon's broker client: made of the configuration, with one token or with the connections of a deployment.
 *
 * @module
 */
import {
  type BrokerClient,
  type BrokerEvent,
  type BrokerEventSink,
  type ClientSettings,
  type ConnectionSource,
  type ConnectionValues,
  createBrokerClient,
  createUniversalClient,
  type Dispatch,
  type DispatchInfo,
  Preflight,
  type PreflightCheck,
  type RuleSource,
  ruleSource,
} from "./broker/mod.ts";
import { overrideMembers, type UniversalConfig } from "./config/load.ts";
import { OutpostError } from "./core/errors.ts";
import { BROKER_PROTOCOL_VERSION } from "./core/version.ts";
import type { DaemonParts } from "./daemon_parts.ts";
import { configuredCredentials, encodeCredentials, parseBrokeredCredentials, resolveType } from "./registries/mod.ts";
import type { AppDeps, Arrival } from "./server/deps.ts";
import { validate } from "./server/validation.ts";
import type { Metrics } from "./telemetry/metrics.ts";

/**
 * Variables that a brokered request may name: those of the broker and of the registry. Rules, which the operator wrote,
 * may name any; the server is no reader of this process's environment.
 */
const REQUEST_VARIABLES = /^(?:CR|BROKER)_[A-Z0-9_]+$/;

/** ACCEPT's value in Snyk's image, relative to a directory of its own. */
const SHIPPED_RULES = "accept.json";

/** What the reference's image sets: the handlers of its own package. */
const WORKLOADS = {
  REMOTE_WORKLOAD_NAME: "BrokerWorkload",
  REMOTE_WORKLOAD_MODULE_PATH: "../broker-workload/websocketRequests",
  CLIENT_WORKLOAD_NAME: "BrokerClientRequestWorkload",
  CLIENT_WORKLOAD_MODULE_PATH: "../broker-workload/clientLocalRequests",
};

/** The accept rules of ACCEPT: where they are read anew, and as they were at the start. */
export interface LoadedRules {
  readonly source: RuleSource;
  readonly rules: unknown;
}

/** What the daemon itself does for the client. */
export interface BrokerHooks {
  readonly rules: LoadedRules | undefined;
  /** Asks the agent in this process. */
  readonly ask: (request: Request, arrival: Arrival) => Response | Promise<Response>;
  /** Runs and prints the checks. */
  readonly preflight: (signal: AbortSignal) => Promise<readonly PreflightCheck[]>;
  /** Takes the client's events, beside the metrics that are scraped. */
  readonly onEvent?: BrokerEventSink | undefined;
}

/** Makes the broker client; nothing is connected yet. */
export function createBroker(parts: DaemonParts, hooks: BrokerHooks): BrokerClient {
  const { config, fetch, variable } = parts;
  const { universal } = config.broker;
  const shared = sharedOptions(parts, hooks);
  if (universal !== undefined) {
    return createUniversalClient({
      ...shared,
      source: connectionSource(parts, universal),
      environment: variable,
      isRequestVariable: (name) => REQUEST_VARIABLES.test(name),
      // An agent elsewhere is the operator's decision: by CR_AGENT_URL, or by having none in this process.
      remoteAgents: config.role === "broker",
      encodeCredentials: encodeConnection,
      onSecret: (secret) => parts.redactor.add(secret),
      // One an hour, for years: those that are long out of use are forgotten.
      onToken: (token) => parts.redactor.addTransient(token),
      dispatch: async (request, info) => {
        if (!info.internal) return await fetch(request);
        const { name, credentials } = info.connection;
        const own = credentials === undefined ? undefined : parseBrokeredCredentials(credentials);
        return await hooks.ask(request, { ...arrivalOf(info), connection: { name, credentials: own } });
      },
    });
  }
  const dispatch: Dispatch = async (request, info) =>
    info.internal ? await hooks.ask(request, arrivalOf(info)) : await fetch(request);
  return createBrokerClient({
    ...shared,
    token: config.brokerToken?.reveal() ?? "",
    dispatch,
    variables: variable,
    requestVariables: (name) => REQUEST_VARIABLES.test(name) ? variable(name) : undefined,
  });
}

function arrivalOf({ substituted }: DispatchInfo): Arrival {
  return { internal: true, substitutedFields: substituted.fields };
}

/** The options that both kinds of client have. */
function sharedOptions(parts: DaemonParts, { rules, preflight, onEvent }: BrokerHooks) {
  const { config, clock, logger, fetch, exchange, webSocket, metrics } = parts;
  const { broker } = config;
  return {
    serverUrl: config.brokerServerUrl.href,
    apiUrl: broker.apiUrl.href,
    protocolVersion: BROKER_PROTOCOL_VERSION,
    ...(rules === undefined ? {} : { rules: rules.rules, ruleSource: rules.source }),
    clock,
    logger,
    randomId: () => crypto.randomUUID(),
    webSocket,
    fetch,
    exchange,
    substituteHeaders: config.substituteHeaders,
    substituteBodies: config.substituteBodies,
    removeForwardedHeaders: config.removeForwardedHeaders,
    dispatcher: broker.dispatcher,
    insecureDownstream: broker.insecureDownstream,
    agentRetries: broker.agentRetries,
    responseUrl: broker.responseUrl,
    times: broker,
    maxResponseBytes: broker.maxResponseBytes,
    uploadIdleMs: broker.uploadIdleMs,
    settings: clientSettings(parts),
    preflight: broker.preflight ? preflight : undefined,
    onEvent: (event: BrokerEvent) => {
      count(metrics, event);
      onEvent?.(event);
    },
  };
}

function connectionSource({ config, readFile }: DaemonParts, universal: UniversalConfig): ConnectionSource {
  const { oauth, deploymentId, authorizedSockets, renewalMs, polls, overrides, file } = universal;
  if (oauth !== undefined) {
    return {
      kind: "remote",
      apiUrl: config.broker.apiUrl.href,
      clientId: oauth.clientId,
      clientSecret: oauth.clientSecret.reveal(),
      deploymentId: deploymentId ?? "",
      authorizedSockets,
      renewalMs,
      polls,
    };
  }
  const read = async (): Promise<unknown> => {
    const text = await readFile(file).catch((cause: unknown) => {
      if (overrides.length > 0) return "{}";
      throw new OutpostError("CONFIG_INVALID", `Cannot read the connections: ${file} cannot be read`, {
        hint: "SKIP_REMOTE_CONFIG takes the connections from this file in the working directory.",
        cause,
      });
    });
    try {
      return overrideMembers(JSON.parse(text), overrides);
    } catch {
      throw new OutpostError("CONFIG_INVALID", `Cannot read the connections: ${file} is not JSON`);
    }
  };
  return { kind: "local", deploymentId, read };
}

/** CR_CREDENTIALS of a connection, in the form that Snyk's client gives them. */
function encodeConnection(type: string, values: ConnectionValues): string {
  if (resolveType(type) === undefined) {
    throw new OutpostError("CONFIG_INVALID", `Cannot use the connection: ${type} is no container registry`);
  }
  const credentials = configuredCredentials({
    type,
    base: values["CR_BASE"],
    username: values["CR_USERNAME"],
    password: values["CR_PASSWORD"],
    token: values["CR_TOKEN"],
    roleArn: values["CR_ROLE_ARN"],
    region: values["CR_REGION"],
    externalId: values["CR_EXTERNAL_ID"],
    credentials: values["CR_CREDENTIALS"],
  });
  if (credentials !== undefined) return encodeCredentials(credentials);
  throw new OutpostError("CONFIG_INVALID", "Cannot use the connection: it names no registry");
}

/** The checks before connecting. */
export function createPreflight(parts: DaemonParts, broker: () => BrokerClient | undefined): Preflight {
  const { config, fetch, clock, variable } = parts;
  const { universal, codeAgent } = config.broker;
  return new Preflight({
    fetch,
    clock,
    serverUrl: config.brokerServerUrl,
    apiUrl: config.broker.apiUrl,
    token: universal === undefined ? config.brokerToken?.reveal() ?? "" : undefined,
    protocolVersion: BROKER_PROTOCOL_VERSION,
    clientUrl: config.brokerClientUrl,
    servesTls: config.broker.clientUrlTls,
    customRules: config.accept !== undefined && config.accept !== SHIPPED_RULES,
    ruleFlags: config.broker.ruleFlags,
    codeAgent,
    workloads: Object.entries(WORKLOADS).filter(([name, own]) => (variable(name) ?? own) !== own).map(([name]) => name),
    localConnections: universal === undefined || universal.oauth !== undefined
      ? undefined
      : () => broker()?.connections() ?? [],
  });
}

/** What `/systemcheck` asks; undefined when it is the registry itself. */
export function createValidation({ config, variable, fetch, clock }: DaemonParts): AppDeps["validate"] {
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

/**
 * Reads the rules that ACCEPT names. `accept.json`, which Snyk's image sets for the rules that it ships, means the
 * built-in ones when there is no such file.
 *
 * @throws {ConfigError} when they cannot be read.
 */
export async function loadRules(
  { config, fetch, clock, readFile, logger }: DaemonParts,
): Promise<LoadedRules | undefined> {
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
  if (event.kind === "authorization-failure") metrics.brokerAuthorizationFailures.inc({ what: event.what });
  if (event.kind !== "request") return;
  metrics.brokerRequests.inc({ outcome: event.allowed ? event.outcome : "blocked" });
  metrics.brokerRequestSeconds.observe(event.ms / 1000);
}
