/**
 * The broker client's part of the configuration.
 *
 * @module
 */
import { Secret } from "../lib/secret.ts";
import type { MemberOverride } from "./environment.ts";
import type { Environment } from "./schema.ts";

/** Settings of the broker client that have no other home. */
export interface BrokerConfig {
  /** Snyk's API. */
  readonly apiUrl: URL;
  /** High availability mode; undefined when it is off. */
  readonly dispatcher: DispatcherConfig | undefined;
  readonly preflight: boolean;
  /** TLS for BROKER_CLIENT_URL is taken care of: by HTTPS_CERT and HTTPS_KEY, or in front of this process. */
  readonly clientUrlTls: boolean;
  /** What /systemcheck requests; undefined for the registry itself. */
  readonly validation: ValidationConfig | undefined;
  readonly pingIntervalMs: number;
  readonly pongTimeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly maxResponseBytes: number;
  readonly uploadIdleMs: number;
  /** For receiving a request on PORT. */
  readonly requestTimeoutMs: number;
  readonly agentRetries: number;
  /** URL in JSON answers that becomes the broker's. */
  readonly responseUrl: string | undefined;
  readonly insecureDownstream: boolean;
  /** ACCEPT_… variables that are set. */
  readonly ruleFlags: readonly string[];
  /** Whether any …_POOL variable is set. */
  readonly pools: boolean;
  /** Snyk's deprecated code agent is configured, and its preflight check not disabled. */
  readonly codeAgent: "used" | "unused" | "unchecked";
  /** Connections of a deployment instead of one token; undefined when that mode is off. */
  readonly universal: UniversalConfig | undefined;
}

/** UNIVERSAL_BROKER_… and what belongs to it. */
export interface UniversalConfig {
  /** UNIVERSAL_BROKER_GA: handshakes and answers are authorized. */
  readonly authorizedSockets: boolean;
  readonly deploymentId: string | undefined;
  /** CLIENT_ID and CLIENT_SECRET; undefined when the connections stand in a file. */
  readonly oauth: { readonly clientId: string; readonly clientSecret: Secret } | undefined;
  /** File of the connections, relative to the working directory. */
  readonly file: string;
  /** What `SNYK_CONNECTIONS__…` variables change in it. */
  readonly overrides: readonly MemberOverride[];
  /** AUTH_EXPIRATION_OVERRIDE. */
  readonly renewalMs: number;
  /** Whether the connections are read again and again instead of when the server says so. */
  readonly polls: boolean;
}

/** Where the dispatcher is, and what it is told. */
export interface DispatcherConfig {
  readonly apiUrl: string;
  readonly pathPrefix: string;
  readonly location: string;
}

/** BROKER_CLIENT_VALIDATION_… */
export interface ValidationConfig {
  readonly url: URL;
  readonly method: string;
  readonly timeoutMs: number;
  /** Values of Authorization, one check for each; empty when none is given. */
  readonly authorizations: readonly Secret[];
  /** `user:password`, likewise; the others go first. */
  readonly basic: readonly Secret[];
}

/** The broker client's part of the configuration. `raw` is the environment with upper-case names. */
export function brokerConfig(
  env: Environment,
  raw: Readonly<Record<string, string | undefined>>,
  overrides: readonly MemberOverride[],
): BrokerConfig {
  const names = Object.keys(raw).filter((name) => (raw[name] ?? "") !== "");
  const derived = env.BROKER_SERVER_URL.href.replace(/\/\/broker2?\./, "//api.");
  const apiUrl = env.API_BASE_URL ?? env.BROKER_DISPATCHER_BASE_URL ?? new URL(derived);
  const { BROKER_CLIENT_LOCATION: location } = env;
  const pathPrefix = env.SNYK_DISPATCHER_URL_PREFIX ??
    (env.UNIVERSAL_BROKER_ENABLED && env.UNIVERSAL_BROKER_GA ? "/hidden/brokers" : "/hidden/broker");
  return {
    apiUrl,
    dispatcher: env.BROKER_HA_MODE_ENABLED ? { apiUrl: apiUrl.href, pathPrefix, location } : undefined,
    preflight: env.PREFLIGHT_CHECKS_ENABLED,
    clientUrlTls: env.HTTPS_CERT !== undefined || env.BROKER_CLIENT_URL_TLS_TERMINATED !== undefined,
    validation: validationConfig(env),
    pingIntervalMs: env.SOCKET_PING_INTERVAL,
    pongTimeoutMs: env.SOCKET_PONG_TIMEOUT,
    connectTimeoutMs: env.SOCKET_CONNECT_TIMEOUT,
    maxResponseBytes: env.SOCKET_MAX_RESPONSE_LENGTH,
    uploadIdleMs: env.BROKER_CLIENT_POST_TIMEOUT,
    requestTimeoutMs: env.BROKER_WEBSERVER_REQUEST_TIMEOUT,
    agentRetries: env.MAX_RETRY,
    responseUrl: env.RES_BODY_URL_SUB,
    insecureDownstream: env.INSECURE_DOWNSTREAM,
    ruleFlags: names.filter((name) => name.startsWith("ACCEPT_")),
    pools: names.some((name) => name.endsWith("_POOL")),
    codeAgent: env.DISABLE_CODE_AGENT_PREFLIGHT_CHECK
      ? "unchecked"
      : env.GIT_CLIENT_URL === undefined
      ? "unused"
      : "used",
    universal: env.UNIVERSAL_BROKER_ENABLED ? universalConfig(env, overrides) : undefined,
  };
}

function validationConfig(env: Environment): ValidationConfig | undefined {
  const url = env.BROKER_CLIENT_VALIDATION_URL;
  if (url === undefined) return undefined;
  const secrets = (pool: readonly string[], one: string | undefined): readonly Secret[] =>
    (pool.length > 0 ? pool : one === undefined ? [] : [one]).map((value) => new Secret(value));
  const headers = secrets(env.BROKER_CLIENT_VALIDATION_AUTHORIZATION_HEADER_POOL, undefined);
  const users = secrets(env.BROKER_CLIENT_VALIDATION_BASIC_AUTH_POOL, undefined);
  const header = secrets([], env.BROKER_CLIENT_VALIDATION_AUTHORIZATION_HEADER);
  return {
    url,
    method: env.BROKER_CLIENT_VALIDATION_METHOD.toUpperCase(),
    timeoutMs: env.BROKER_CLIENT_VALIDATION_TIMEOUT_MS,
    // The reference's order: pools before single values, headers before users.
    authorizations: headers.length > 0 ? headers : users.length > 0 ? [] : header,
    basic: users.length > 0 ? users : secrets([], env.BROKER_CLIENT_VALIDATION_BASIC_AUTH),
  };
}

function universalConfig(env: Environment, overrides: readonly MemberOverride[]): UniversalConfig {
  const { CLIENT_ID: clientId, CLIENT_SECRET: clientSecret } = env;
  const remote = !env.SKIP_REMOTE_CONFIG && clientId !== undefined && clientSecret !== undefined;
  return {
    authorizedSockets: env.UNIVERSAL_BROKER_GA,
    deploymentId: env.DEPLOYMENT_ID,
    oauth: remote ? { clientId, clientSecret: new Secret(clientSecret) } : undefined,
    overrides,
    file: `config.${env.SERVICE_ENV}.json`,
    renewalMs: env.AUTH_EXPIRATION_OVERRIDE,
    polls: env.REMOTE_CONFIG_POLLING_MODE || !env.UNIVERSAL_BROKER_GA,
  };
}

/** What a universal client cannot do without. */
export function checkUniversal(env: Environment, problems: string[]): void {
  if (!env.UNIVERSAL_BROKER_ENABLED || env.SKIP_REMOTE_CONFIG || env.OUTPOST_ROLE === "agent") return;
  for (const name of ["CLIENT_ID", "CLIENT_SECRET", "DEPLOYMENT_ID"] as const) {
    if (env[name] === undefined) problems.push(`${name} is needed with UNIVERSAL_BROKER_ENABLED`);
  }
}
