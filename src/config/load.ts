/**
 * Environment and secret files → one frozen {@link Config}. Reports every problem at once.
 *
 * @module
 */
import { ConfigError } from "../core/errors.ts";
import { Secret } from "../lib/secret.ts";
import { type BrokerConfig, brokerConfig, checkUniversal } from "./broker_config.ts";
import {
  expandReferences,
  type MemberOverride,
  memberOverrides,
  withPrefixedNames,
  withUpperCaseNames,
} from "./environment.ts";
import { type QueueConfig, queueConfig, type QueueFiles, queueSecrets } from "./queue_config.ts";
import { type EngineName, ENVIRONMENT, type Environment, type EnvironmentName, SECRETS } from "./schema.ts";

export { overrideMembers } from "./environment.ts";
export type { QueueConfig } from "./queue_config.ts";
export type { BrokerConfig, DispatcherConfig, UniversalConfig, ValidationConfig } from "./broker_config.ts";

/** Shorter user names ("admin", "snyk") are ordinary words: masking them would garble every log line. */
const MIN_SECRET_USERNAME = 8;

/** The registry that requests without credentials of their own use; CR_CREDENTIALS goes before the others. */
export interface RegistryConfig {
  readonly type: string | undefined;
  readonly base: string | undefined;
  readonly username: Secret | undefined;
  readonly password: Secret | undefined;
  readonly token: Secret | undefined;
  readonly credentials: Secret | undefined;
  readonly roleArn: string | undefined;
  readonly region: string | undefined;
  readonly externalId: Secret | undefined;
}

/** PEM texts, read once at start. */
export interface TlsConfig {
  /** Authorities besides the built-in ones, for every outbound connection. */
  readonly caCerts: readonly string[];
  readonly registryCaCerts: readonly string[];
  readonly registryClientCert: { readonly cert: string; readonly key: string } | undefined;
  readonly server: { readonly cert: string; readonly key: string } | undefined;
}

/** What outlives the process. */
export interface DataConfig {
  /** Undefined when nothing does. */
  readonly directory: string | undefined;
  /** Bytes of the facts of layers. */
  readonly cacheBytes: number;
  /** Milliseconds for which jobs and results are kept after their end, and bytes of results. */
  readonly retentionMs: number;
  readonly retentionBytes: number;
}

/** Everything that the operator decided. */
export interface Config {
  readonly role: "all" | "agent" | "broker";
  readonly host: string;
  readonly port: number;
  readonly brokerToken: Secret | undefined;
  readonly brokerServerUrl: URL;
  readonly brokerClientUrl: URL | undefined;
  readonly agentUrl: URL | undefined;
  /** ACCEPT: path or URL of the accept rules, undefined for the built-in ones. */
  readonly accept: string | undefined;
  readonly healthcheckPath: string;
  readonly systemcheckPath: string;
  readonly removeForwardedHeaders: boolean;
  readonly substituteBodies: boolean;
  readonly substituteHeaders: boolean;
  readonly broker: BrokerConfig;
  readonly registry: RegistryConfig | undefined;
  readonly authHosts: readonly string[];
  readonly namespaces: readonly string[];
  readonly listRepositories: boolean;
  readonly tls: TlsConfig;
  readonly maxImageBytes: number;
  readonly maxActiveOperations: number;
  /** Times that one image is begun when it fails for a reason that may pass. */
  readonly scanAttempts: number;
  readonly engine: EngineName;
  readonly data: DataConfig;
  /** What daemons share their work on; undefined where this one works alone. */
  readonly queue: QueueConfig | undefined;
  readonly callbackOrigins: readonly string[];
  /** Where metrics are pushed by OTLP/HTTP, with the path; undefined when they are not. */
  readonly metricsPush: { readonly url: URL; readonly intervalMs: number } | undefined;
  readonly recordDir: string | undefined;
  readonly logLevel: "debug" | "info" | "warn" | "error";
  readonly debug: readonly string[];
  /** The value of a variable, from its file where it was given so: what `${NAME}` in brokered requests means. */
  readonly variable: (name: string) => string | undefined;
  /** Every secret value, for the redactor. */
  readonly secrets: readonly string[];
}

/** What {@link loadConfig} reads from. */
export interface ConfigSource {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads a text file; rejects when it cannot. */
  readonly readFile: (path: string) => Promise<string>;
}

/**
 * Reads the configuration. An empty variable counts as unset; `NAME_FILE` gives a secret by file. Names are taken in any
 * case; `$NAME` in values means another variable, except in BROKER_TOKEN and `CR_…`.
 *
 * @throws {ConfigError} with every problem, each naming its variable, none showing a secret.
 */
export async function loadConfig({ env: given, readFile }: ConfigSource): Promise<Config> {
  const problems: string[] = [];
  const named = withPrefixedNames(withUpperCaseNames(given), Object.keys(ENVIRONMENT.shape));
  const source = { env: expandReferences(named, isLiteral), readFile };
  const raw = await readRaw(source, problems);
  const parsed = ENVIRONMENT.safeParse(raw);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) problems.push(`${String(issue.path[0])} ${issue.message}`);
    throw new ConfigError(problems);
  }
  const env = parsed.data;
  checkTogether(env, raw, problems);
  checkUniversal(env, problems);
  const files = await readFiles(env, source, problems);
  const registry = registryConfig(env, problems);
  const queue = queueConfig(env, files.queue, problems);
  if (problems.length > 0) throw new ConfigError(problems);
  return freeze(env, source.env, files, { registry, queue }, memberOverrides(given));
}

/** Logins mean what they say: Snyk's image encodes the registry's before anything is expanded. */
function isLiteral(name: string): boolean {
  return name.startsWith("CR_") || name === "BROKER_TOKEN" || name === "CLIENT_SECRET" ||
    name.startsWith("OUTPOST_QUEUE");
}

async function readRaw(source: ConfigSource, problems: string[]): Promise<Record<string, string>> {
  const raw: Record<string, string> = {};
  const names = Object.keys(ENVIRONMENT.shape);
  for (const name of names) {
    const value = source.env[name];
    if (value !== undefined && value !== "") raw[name] = value;
  }
  for (const name of SECRETS) {
    const path = source.env[`${name}_FILE`];
    if (path === undefined || path === "") continue;
    if (raw[name] !== undefined) {
      problems.push(`${name} and ${name}_FILE are both set: keep one`);
      continue;
    }
    try {
      raw[name] = (await source.readFile(path)).replace(/\r?\n$/, "");
    } catch {
      problems.push(`${name}_FILE names a file that cannot be read: ${path}`);
    }
  }
  const files: readonly string[] = SECRETS.map((name) => `${name}_FILE`);
  for (const name of Object.keys(source.env)) {
    if (!name.startsWith("OUTPOST_") || names.includes(name) || files.includes(name)) continue;
    const near = nearest(name, names);
    problems.push(`${name} is not a setting${near === undefined ? "" : `: did you mean ${near}?`}`);
  }
  return raw;
}

function checkTogether(env: Environment, raw: Readonly<Record<string, string>>, problems: string[]): void {
  const pairs = [
    ["HTTPS_CERT", "HTTPS_KEY"],
    ["CR_CLIENT_CERT", "CR_CLIENT_KEY"],
    ["OUTPOST_QUEUE_CLIENT_CERT", "OUTPOST_QUEUE_CLIENT_KEY"],
  ] as const;
  for (const [one, other] of pairs) {
    if ((env[one] === undefined) !== (env[other] === undefined)) problems.push(`${one} and ${other} go together`);
  }
  if (env.BROKER_TOKEN !== undefined && /\s|[/?#]/.test(env.BROKER_TOKEN)) {
    problems.push("BROKER_TOKEN holds a character that a token cannot have (blank, /, ? or #)");
  }
  if (env.CR_PASSWORD !== undefined && env.CR_USERNAME === undefined && raw["CR_CREDENTIALS"] === undefined) {
    problems.push("CR_PASSWORD is set without CR_USERNAME");
  }
  for (const origin of env.OUTPOST_CALLBACK_ORIGINS) {
    if (!URL.canParse(origin) || new URL(origin).origin !== origin.replace(/\/$/, "")) {
      problems.push("OUTPOST_CALLBACK_ORIGINS must list origins such as https://host:port");
    }
  }
}

interface Files {
  readonly caCerts: readonly string[];
  readonly registryCa: readonly string[];
  readonly clientCert: { readonly cert: string; readonly key: string } | undefined;
  readonly server: { readonly cert: string; readonly key: string } | undefined;
  readonly queue: QueueFiles;
}

async function readFiles(env: Environment, source: ConfigSource, problems: string[]): Promise<Files> {
  const read = async (name: EnvironmentName): Promise<string | undefined> => {
    const path = env[name];
    if (typeof path !== "string") return undefined;
    const content = await source.readFile(path).catch(() => undefined);
    if (content === undefined) problems.push(`${name} names a file that cannot be read: ${path}`);
    else if (!content.includes("-----BEGIN ")) problems.push(`${name} names a file that is not PEM: ${path}`);
    else return content;
    return undefined;
  };
  const pair = (cert: string | undefined, key: string | undefined): { cert: string; key: string } | undefined =>
    cert === undefined || key === undefined ? undefined : { cert, key };
  const present = (texts: readonly (string | undefined)[]): string[] => texts.filter((one) => one !== undefined);
  return {
    caCerts: present([await read("CA_CERT"), await read("NODE_EXTRA_CA_CERTS")]),
    registryCa: present([await read("CR_CA_FILE")]),
    clientCert: pair(await read("CR_CLIENT_CERT"), await read("CR_CLIENT_KEY")),
    server: pair(await read("HTTPS_CERT"), await read("HTTPS_KEY")),
    queue: {
      credentials: await read("OUTPOST_QUEUE_CREDS"),
      ca: await read("OUTPOST_QUEUE_CA"),
      clientCert: pair(await read("OUTPOST_QUEUE_CLIENT_CERT"), await read("OUTPOST_QUEUE_CLIENT_KEY")),
    },
  };
}

function registryConfig(env: Environment, problems: string[]): RegistryConfig | undefined {
  const { CR_TYPE: type, CR_BASE: base, CR_CREDENTIALS: credentials } = env;
  if (type === undefined && base === undefined && credentials === undefined && env.CR_USERNAME === undefined) {
    return undefined;
  }
  if (type === "ecr" && env.CR_ROLE_ARN === undefined && credentials === undefined) {
    problems.push("CR_ROLE_ARN is needed with CR_TYPE=ecr");
  }
  if (type === "ecr" && env.CR_REGION === undefined && credentials === undefined) {
    problems.push("CR_REGION is needed with CR_TYPE=ecr");
  }
  if (type !== "ecr" && type !== "docker-hub" && base === undefined && credentials === undefined) {
    problems.push("CR_BASE is needed: the registry's host name or URL");
  }
  const secret = (value: string | undefined): Secret | undefined => value === undefined ? undefined : new Secret(value);
  return {
    type,
    base,
    username: secret(env.CR_USERNAME),
    password: secret(env.CR_PASSWORD),
    token: secret(env.CR_TOKEN),
    credentials: secret(credentials),
    roleArn: env.CR_ROLE_ARN,
    region: env.CR_REGION,
    externalId: secret(env.CR_EXTERNAL_ID),
  };
}

function freeze(
  env: Environment,
  raw: Readonly<Record<string, string | undefined>>,
  files: Files,
  { registry, queue }: Pick<Config, "registry" | "queue">,
  overrides: readonly MemberOverride[],
): Config {
  const secretValues: Record<string, string | undefined> = {
    BROKER_TOKEN: env.BROKER_TOKEN,
    CR_USERNAME: env.CR_USERNAME,
    CR_PASSWORD: env.CR_PASSWORD,
    CR_TOKEN: env.CR_TOKEN,
    CR_EXTERNAL_ID: env.CR_EXTERNAL_ID,
    CR_CREDENTIALS: env.CR_CREDENTIALS,
    CLIENT_SECRET: env.CLIENT_SECRET,
    BROKER_CLIENT_VALIDATION_AUTHORIZATION_HEADER: env.BROKER_CLIENT_VALIDATION_AUTHORIZATION_HEADER,
    BROKER_CLIENT_VALIDATION_BASIC_AUTH: env.BROKER_CLIENT_VALIDATION_BASIC_AUTH,
  };
  const queueValues: Record<string, string | undefined> = {
    OUTPOST_QUEUE: env.OUTPOST_QUEUE,
    OUTPOST_QUEUE_KEY: env.OUTPOST_QUEUE_KEY,
  };
  const pooled = [
    ...env.BROKER_CLIENT_VALIDATION_AUTHORIZATION_HEADER_POOL,
    ...env.BROKER_CLIENT_VALIDATION_BASIC_AUTH_POOL,
  ];
  return Object.freeze<Config>({
    role: env.OUTPOST_ROLE,
    host: env.OUTPOST_HOST,
    port: env.OUTPOST_ROLE === "agent" && raw["PORT"] === undefined ? env.SNYK_PORT : env.PORT,
    brokerToken: env.BROKER_TOKEN === undefined ? undefined : new Secret(env.BROKER_TOKEN),
    brokerServerUrl: env.BROKER_SERVER_URL,
    brokerClientUrl: env.BROKER_CLIENT_URL,
    agentUrl: env.CR_AGENT_URL,
    accept: env.ACCEPT,
    healthcheckPath: env.BROKER_HEALTHCHECK_PATH,
    systemcheckPath: env.BROKER_SYSTEMCHECK_PATH,
    removeForwardedHeaders: env.REMOVE_X_FORWARDED_HEADERS,
    substituteBodies: !env.DISABLE_BODY_VARS_SUBSTITUTION,
    substituteHeaders: !env.DISABLE_HEADER_VARS_SUBSTITUTION,
    broker: brokerConfig(env, raw, overrides),
    registry,
    authHosts: env.CR_AUTH_HOSTS,
    namespaces: env.CR_NAMESPACES,
    listRepositories: !env.SNYK_DISABLE_LIST_REPOS,
    tls: {
      caCerts: files.caCerts,
      registryCaCerts: files.registryCa,
      registryClientCert: files.clientCert,
      server: files.server,
    },
    maxImageBytes: env.SNYK_MAX_IMAGE_SIZE_IN_BYTES,
    maxActiveOperations: env.MAX_ACTIVE_OPERATIONS,
    scanAttempts: env.OUTPOST_SCAN_ATTEMPTS,
    engine: env.OUTPOST_ENGINE,
    data: {
      directory: env.OUTPOST_DATA_DIR?.replace(/(?<=.)\/+$/, ""),
      cacheBytes: env.OUTPOST_CACHE_MAX_BYTES,
      retentionMs: env.OUTPOST_RETENTION_DAYS * 24 * 60 * 60_000,
      retentionBytes: env.OUTPOST_RETENTION_BYTES,
    },
    queue,
    callbackOrigins: env.OUTPOST_CALLBACK_ORIGINS.map((origin) => new URL(origin).origin),
    metricsPush: metricsPush(env),
    recordDir: env.OUTPOST_RECORD_DIR,
    logLevel: env.LOG_LEVEL,
    debug: env.DEBUG,
    variable: (name) => name in secretValues ? secretValues[name] : name in queueValues ? queueValues[name] : raw[name],
    secrets: [
      ...Object.entries(secretValues).flatMap(([name, value]) =>
        value === undefined || (name === "CR_USERNAME" && value.length < MIN_SECRET_USERNAME) ? [] : [value]
      ),
      ...pooled,
      ...queueSecrets(env, files.queue),
      ...(env.METRICS_OTEL_ENDPOINT?.password ? [decodeURIComponent(env.METRICS_OTEL_ENDPOINT.password)] : []),
    ],
  });
}

/** A URL without a path is a base, to which the path of metrics is added (OTLP exporters' OTEL_EXPORTER_OTLP_ENDPOINT). */
function metricsPush(env: Environment): Config["metricsPush"] {
  const given = env.METRICS_OTEL_ENDPOINT;
  if (given === undefined) return undefined;
  const url = new URL(given);
  if (url.pathname === "/") url.pathname = "/v1/metrics";
  return { url, intervalMs: env.METRICS_OTEL_EXPORT_INTERVAL_MS };
}

/** The name with the fewest edits, when that is close enough to be meant. */
function nearest(name: string, names: readonly string[]): string | undefined {
  const scored = names.map((one) => [distance(name, one), one] as const).toSorted((a, b) => a[0] - b[0]);
  const best = scored[0];
  return best !== undefined && best[0] <= 4 ? best[1] : undefined;
}

/** Levenshtein's distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitution, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
