/**
 * The one schema that reads the environment: names, defaults and meaning of every variable.
 *
 * @module
 */
import { z } from "zod";
import { LIMITS } from "../core/limits.ts";

/** Type names of Snyk's older releases, with today's. */
export const CR_TYPE_ALIASES: Readonly<Record<string, string>> = {
  DockerHub: "docker-hub",
  ElasticCR: "ecr",
  AzureCR: "acr",
  GoogleCR: "gcr",
  ArtifactoryCR: "artifactory-cr",
  HarborCR: "harbor-cr",
  QuayCR: "quay-cr",
  GitHubCR: "github-cr",
  NexusCR: "nexus-cr",
  DigitalOceanCR: "digitalocean-cr",
  GitLabCR: "gitlab-cr",
  GoogleArtifactCR: "google-artifact-cr",
};

/** CR_TYPE's values. `oci` and `docker-registry` are any registry that speaks the distribution protocol. */
export const CR_TYPES = [
  "artifactory-cr",
  "harbor-cr",
  "acr",
  "gcr",
  "google-artifact-cr",
  "docker-hub",
  "quay-cr",
  "nexus-cr",
  "github-cr",
  "digitalocean-cr",
  "gitlab-cr",
  "ecr",
  "docker-registry",
  "oci",
] as const;

/** OUTPOST_ENGINE's values: the decoders of layers/inflaters.ts, and the choice of the best of them. */
export const ENGINES = ["auto", "wasm", "fflate", "native"] as const;

/** One of {@link ENGINES}. */
export type EngineName = typeof ENGINES[number];

const text = z.string();
const optional = text.optional();

function flag(fallback: boolean): z.ZodType<boolean, z.ZodTypeDef, string | undefined> {
  return z.string().optional().transform((value, context) => {
    if (value === undefined) return fallback;
    if (/^(true|yes|1|on)$/i.test(value)) return true;
    if (/^(false|no|0|off)$/i.test(value)) return false;
    context.addIssue({ code: "custom", message: "must be true or false" });
    return z.NEVER;
  });
}

function integer(fallback: number, min: number, max: number): z.ZodType<number, z.ZodTypeDef, string | undefined> {
  return z.string().optional().transform((value, context) => {
    if (value === undefined) return fallback;
    const number = Number(value);
    if (/^\d+$/.test(value) && Number.isSafeInteger(number) && number >= min && number <= max) return number;
    context.addIssue({ code: "custom", message: `must be a whole number from ${min} to ${max}` });
    return z.NEVER;
  });
}

const httpUrl = z.string().transform((value, context) => {
  if (URL.canParse(value) && /^https?:$/.test(new URL(value).protocol)) return new URL(value);
  context.addIssue({ code: "custom", message: "must be a URL that starts with https:// or http://" });
  return z.NEVER;
});

const list = z.string().optional().transform((value) =>
  (value ?? "").split(",").map((part) => part.trim()).filter((part) => part !== "")
);

const crType = z.string().optional().transform((value, context) => {
  if (value === undefined) return undefined;
  const known = CR_TYPES.find((type) => type === (CR_TYPE_ALIASES[value] ?? value.toLowerCase()));
  if (known !== undefined) return known;
  context.addIssue({ code: "custom", message: `must be one of ${CR_TYPES.join(", ")}` });
  return z.NEVER;
});

/** Every variable that Outpost reads, by its name in the environment. Values that are secret stand in {@link SECRETS}. */
export const ENVIRONMENT = z.object({
  /** Which half runs here: both (default), the agent alone, or the broker client alone. */
  OUTPOST_ROLE: z.enum(["all", "agent", "broker"], { errorMap: () => ({ message: "must be all, agent or broker" }) })
    .default("all"),

  /** Token of the broker connection. */
  BROKER_TOKEN: optional,
  /** Snyk's broker server. */
  BROKER_SERVER_URL: httpUrl.default("https://broker.snyk.io"),
  /** Where this process is reached by an agent or a server; `${BROKER_CLIENT_URL}` in requests. */
  BROKER_CLIENT_URL: httpUrl.optional(),
  /** External agent; when unset the agent in this process answers. */
  CR_AGENT_URL: httpUrl.optional(),
  /** Accept rules instead of the built-in ones: a file or an http(s) URL, JSON or YAML. */
  ACCEPT: optional,
  BROKER_HEALTHCHECK_PATH: z.string().startsWith("/", "must start with /").default("/healthcheck"),
  BROKER_SYSTEMCHECK_PATH: z.string().startsWith("/", "must start with /").default("/systemcheck"),
  REMOVE_X_FORWARDED_HEADERS: flag(false),
  DISABLE_BODY_VARS_SUBSTITUTION: flag(false),
  DISABLE_HEADER_VARS_SUBSTITUTION: flag(false),
  /** Snyk's API; derived from BROKER_SERVER_URL when unset. */
  API_BASE_URL: httpUrl.optional(),
  BROKER_DISPATCHER_BASE_URL: httpUrl.optional(),
  /** Asks Snyk's dispatcher which broker server to connect to. */
  BROKER_HA_MODE_ENABLED: flag(false),
  /** What the dispatcher is told of where this client runs. */
  BROKER_CLIENT_LOCATION: text.default("snyk-broker-client"),
  /** By default `/hidden/broker`, in universal mode with OAuth `/hidden/brokers`. */
  SNYK_DISPATCHER_URL_PREFIX: z.string().startsWith("/", "must start with /").optional(),
  /** The connections of a deployment instead of one BROKER_TOKEN, and OAuth for them. */
  UNIVERSAL_BROKER_ENABLED: flag(false),
  UNIVERSAL_BROKER_GA: flag(false),
  CLIENT_ID: optional,
  CLIENT_SECRET: optional,
  DEPLOYMENT_ID: optional,
  /** Takes the connections from `config.<SERVICE_ENV>.json` in the working directory. */
  SKIP_REMOTE_CONFIG: flag(false),
  SERVICE_ENV: z.string().regex(/^[\w-]{1,64}$/, "must be a word").default("universal"),
  /** Asks for the connections every minute, whatever the server says. */
  REMOTE_CONFIG_POLLING_MODE: flag(false),
  /** How often each socket's authorization is renewed; the server closes it after 65 minutes. */
  AUTH_EXPIRATION_OVERRIDE: integer(LIMITS.brokerRenewalMs, 1_000, 60 * 60_000),
  /** Snyk's deprecated code agent: only a preflight check looks at it. */
  GIT_CLIENT_URL: optional,
  DISABLE_CODE_AGENT_PREFLIGHT_CHECK: flag(false),
  /** What /systemcheck requests, and how; without a URL it checks the registry. */
  BROKER_CLIENT_VALIDATION_URL: httpUrl.optional(),
  BROKER_CLIENT_VALIDATION_METHOD: z.string().regex(/^[A-Za-z]+$/, "must be an HTTP method").default("GET"),
  BROKER_CLIENT_VALIDATION_TIMEOUT_MS: integer(5_000, 1, 600_000),
  BROKER_CLIENT_VALIDATION_AUTHORIZATION_HEADER: optional,
  BROKER_CLIENT_VALIDATION_AUTHORIZATION_HEADER_POOL: list,
  BROKER_CLIENT_VALIDATION_BASIC_AUTH: optional,
  BROKER_CLIENT_VALIDATION_BASIC_AUTH_POOL: list,
  /** Something in front of this process terminates TLS for BROKER_CLIENT_URL. */
  BROKER_CLIENT_URL_TLS_TERMINATED: optional,
  PREFLIGHT_CHECKS_ENABLED: flag(true),
  /** The server drops a socket from which it hears nothing for 35 s. */
  SOCKET_PING_INTERVAL: integer(LIMITS.brokerPingIntervalMs, 1_000, 34_000),
  SOCKET_PONG_TIMEOUT: integer(LIMITS.brokerPongTimeoutMs, 100, 600_000),
  SOCKET_CONNECT_TIMEOUT: integer(LIMITS.brokerConnectTimeoutMs, 100, 600_000),
  /** A frame has to hold the body and its JSON escapes. */
  SOCKET_MAX_RESPONSE_LENGTH: integer(LIMITS.brokerSocketResponseBytes, 1, LIMITS.brokerSocketResponseBytes),
  BROKER_CLIENT_POST_TIMEOUT: integer(LIMITS.brokerUploadIdleMs, 1_000, 24 * 60 * 60_000),
  BROKER_WEBSERVER_REQUEST_TIMEOUT: integer(600_000, 1, 24 * 60 * 60_000),
  /** Further attempts at an agent that cannot be reached. */
  MAX_RETRY: integer(3, 0, 100),
  /** URL that JSON answers hold and that Snyk cannot reach. */
  RES_BODY_URL_SUB: optional,
  INSECURE_DOWNSTREAM: flag(false),
  /** OTLP/HTTP endpoint that metrics are pushed to, and how often. `host:port`, as gRPC's clients take it, means http. */
  METRICS_OTEL_ENDPOINT: z.preprocess(
    (value) => typeof value === "string" && /^[\w.-]+:\d+$/.test(value) ? `http://${value}` : value,
    httpUrl.optional(),
  ),
  METRICS_OTEL_EXPORT_INTERVAL_MS: integer(10_000, 100, 24 * 60 * 60_000),

  /** Registry that this daemon serves when a request brings no credentials of its own. */
  CR_TYPE: crType,
  CR_BASE: optional,
  CR_USERNAME: optional,
  CR_PASSWORD: optional,
  CR_TOKEN: optional,
  CR_ROLE_ARN: optional,
  CR_REGION: optional,
  CR_EXTERNAL_ID: optional,
  /** Base64 of the credentials' JSON; built from the others when unset. */
  CR_CREDENTIALS: optional,
  /** Hosts besides the registry's own that may receive its logins. */
  CR_AUTH_HOSTS: list,
  CR_NAMESPACES: list,
  /** PEM file with further authorities for the registry. */
  CR_CA_FILE: optional,
  /** PEM files with a client certificate and its key for the registry. */
  CR_CLIENT_CERT: optional,
  CR_CLIENT_KEY: optional,
  /** Takes the certificates of hosts as they come: done by the launcher (bin/outpost), since Deno knows it as a flag only. */
  CR_TLS_INSECURE: flag(false),
  CR_TLS_INSECURE_HOSTS: list,
  /** What the launcher has done about them. */
  OUTPOST_UNVERIFIED_HOSTS: list,
  SNYK_DISABLE_LIST_REPOS: flag(false),

  /** Port of the HTTP surface; 0 takes a free one. */
  PORT: integer(7341, 0, 65535),
  /** Port when OUTPOST_ROLE=agent. */
  SNYK_PORT: integer(17500, 0, 65535),
  /** Address to listen on. */
  OUTPOST_HOST: text.default("0.0.0.0"),
  HTTPS_CERT: optional,
  HTTPS_KEY: optional,
  CA_CERT: optional,
  NODE_EXTRA_CA_CERTS: optional,

  SNYK_MAX_IMAGE_SIZE_IN_BYTES: integer(2_147_483_648, 1, Number.MAX_SAFE_INTEGER),
  MAX_ACTIVE_OPERATIONS: integer(1, 1, 16),
  /** Times that one image is begun when it fails for a reason that may pass. */
  OUTPOST_SCAN_ATTEMPTS: integer(LIMITS.scanAttempts, 1, 10),
  /** What decompresses gzip layers; auto takes the fastest that this process can run. */
  OUTPOST_ENGINE: z.enum(ENGINES, { errorMap: () => ({ message: `must be one of ${ENGINES.join(", ")}` }) })
    .default("auto"),
  /** Directory for accepted scans, their callbacks and results, and the facts of layers; without it all is in memory. */
  OUTPOST_DATA_DIR: optional,
  /** Bytes of the facts of layers there; what was used longest ago goes first. */
  OUTPOST_CACHE_MAX_BYTES: integer(536_870_912, 0, Number.MAX_SAFE_INTEGER),
  /** Days for which jobs and results are kept after their end, and the bytes of results. */
  OUTPOST_RETENTION_DAYS: integer(7, 0, 3650),
  OUTPOST_RETENTION_BYTES: integer(268_435_456, 0, Number.MAX_SAFE_INTEGER),
  /**
   * NATS servers that daemons share their accepted scans on, `nats://` or `tls://`, separated by commas, with
   * `user:password@` or `token@` where they ask for it; OUTPOST_DATA_DIR then holds facts of layers alone.
   */
  OUTPOST_QUEUE: optional,
  /** A .creds file, instead of a login in the URL. */
  OUTPOST_QUEUE_CREDS: optional,
  /** PEM file with further authorities for NATS. */
  OUTPOST_QUEUE_CA: optional,
  /** PEM files: the certificate that NATS knows this daemon by, and its key. */
  OUTPOST_QUEUE_CLIENT_CERT: optional,
  OUTPOST_QUEUE_CLIENT_KEY: optional,
  /** Servers of the cluster that keep each message; by default one, or what the streams have already. */
  OUTPOST_QUEUE_REPLICAS: z.string().optional().transform((value, context) => {
    if (value === undefined) return undefined;
    if (/^[1-5]$/.test(value)) return Number(value);
    context.addIssue({ code: "custom", message: "must be a whole number from 1 to 5" });
    return z.NEVER;
  }),
  /** Seals credentials that come with requests, the same for all daemons; by default it is made of BROKER_TOKEN. */
  OUTPOST_QUEUE_KEY: optional,
  /** Other origins than BROKER_CLIENT_URL's that may receive callbacks when OUTPOST_ROLE=agent. */
  OUTPOST_CALLBACK_ORIGINS: list,
  /** Directory for redacted copies of exchanges with Snyk. */
  OUTPOST_RECORD_DIR: optional,

  LOG_LEVEL: z.string().optional().transform((value, context) => {
    const level = (value ?? "info").toLowerCase();
    if (level === "debug" || level === "info" || level === "warn" || level === "error") return level;
    if (level === "trace") return "debug" as const;
    if (level === "fatal") return "error" as const;
    context.addIssue({ code: "custom", message: "must be debug, info, warn or error" });
    return z.NEVER;
  }),
  /** Components that log at debug level whatever LOG_LEVEL says, `broker,registry*` for instance. */
  DEBUG: list,
});

/** The environment after parsing. */
export type Environment = z.output<typeof ENVIRONMENT>;

/** Name of a variable. */
export type EnvironmentName = keyof typeof ENVIRONMENT.shape;

/** Variables whose value is secret: each may be given by `NAME_FILE` instead, and no message ever shows one. */
export const SECRETS = [
  "BROKER_TOKEN",
  "CLIENT_SECRET",
  "CR_USERNAME",
  "CR_PASSWORD",
  "CR_TOKEN",
  "CR_EXTERNAL_ID",
  "CR_CREDENTIALS",
  "BROKER_CLIENT_VALIDATION_AUTHORIZATION_HEADER",
  "BROKER_CLIENT_VALIDATION_BASIC_AUTH",
  "OUTPOST_QUEUE",
  "OUTPOST_QUEUE_KEY",
] as const satisfies readonly EnvironmentName[];
