import { describe, expect, it } from "vitest";
import { ConfigError } from "../core/errors.ts";
import { loadConfig } from "./load.ts";

const FILES: Readonly<Record<string, string>> = {
  "/run/token": "from-a-file\n",
  "/run/ca.pem": "-----BEGIN CERTIFICATE-----\n",
  "/run/junk": "junk",
  "/run/nats.creds": `-----BEGIN NATS USER JWT-----\n-----BEGIN USER NKEY SEED-----\nSU${"A".repeat(56)}\n`,
  "/run/queue": "tls://outpost:from%20a%20file@nats:4333\n",
};

function load(env: Record<string, string>) {
  const readFile = (path: string): Promise<string> => {
    const content = FILES[path];
    return content === undefined ? Promise.reject(new Error("missing")) : Promise.resolve(content);
  };
  return loadConfig({ env, readFile });
}

async function problemsOf(env: Record<string, string>): Promise<readonly string[]> {
  try {
    await load(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return expect.unreachable("the configuration was accepted") as never;
}

describe("loadConfig()", () => {
  it("has documented defaults for an empty environment", async () => {
    const config = await load({});
    expect(config).toMatchObject({
      role: "all",
      port: 7341,
      logLevel: "info",
      maxImageBytes: 2147483648,
      maxActiveOperations: 1,
      engine: "auto",
      data: { directory: undefined, cacheBytes: 536870912, retentionMs: 604800000, retentionBytes: 268435456 },
      registry: undefined,
    });
    expect(config.brokerServerUrl.href).toBe("https://broker.snyk.io/");
    expect(Object.isFrozen(config)).toBe(true);
  });

  it("asks the dispatcher in high availability mode only", async () => {
    expect((await load({ BROKER_CLIENT_LOCATION: "rack 7" })).broker.dispatcher).toBe(undefined);
    const server = { BROKER_SERVER_URL: "https://broker2.eu.snyk.io" };
    expect((await load({ ...server, BROKER_HA_MODE_ENABLED: "yes" })).broker.dispatcher).toEqual({
      apiUrl: "https://api.eu.snyk.io/",
      pathPrefix: "/hidden/broker",
      location: "snyk-broker-client",
    });
    const own = { BROKER_CLIENT_LOCATION: "rack 7", SNYK_DISPATCHER_URL_PREFIX: "/other", API_BASE_URL: "https://x/" };
    expect((await load({ ...own, BROKER_HA_MODE_ENABLED: "true" })).broker.dispatcher).toEqual({
      apiUrl: "https://x/",
      pathPrefix: "/other",
      location: "rack 7",
    });
    expect(await problemsOf({ SNYK_DISPATCHER_URL_PREFIX: "other" })).toEqual([
      "SNYK_DISPATCHER_URL_PREFIX must start with /",
    ]);
  });

  it("listens on SNYK_PORT's default when it is the agent alone, and PORT still wins", async () => {
    expect((await load({ OUTPOST_ROLE: "agent" })).port).toBe(17500);
    expect((await load({ OUTPOST_ROLE: "agent", PORT: "8081" })).port).toBe(8081);
  });

  it("takes the engines that there are, and names them when it is given another", async () => {
    for (const engine of ["auto", "wasm", "fflate", "native"]) {
      expect((await load({ OUTPOST_ENGINE: engine })).engine).toBe(engine);
    }
    expect(await problemsOf({ OUTPOST_ENGINE: "zlib" })).toEqual([
      "OUTPOST_ENGINE must be one of auto, wasm, fflate, native",
    ]);
  });

  it("reports every problem at once and shows no secret", async () => {
    const problems = await problemsOf({
      PORT: "99999",
      BROKER_SERVER_URL: "ftp://hunter22@x",
      LOG_LEVEL: "loud",
      CR_TYPE: "harbour",
      MAX_ACTIVE_OPERATIONS: "many",
      CR_PASSWORD: "hunter22",
      OUTPOST_ROL: "all",
    });
    for (const name of ["PORT", "BROKER_SERVER_URL", "LOG_LEVEL", "CR_TYPE", "MAX_ACTIVE_OPERATIONS", "OUTPOST_ROL"]) {
      expect(problems.some((p) => p.startsWith(name))).toBe(true);
    }
    expect(problems.join()).toContain("did you mean OUTPOST_ROLE?");
    expect(problems.join()).not.toContain("hunter22");
  });

  it("names settings that belong together", async () => {
    const problems = await problemsOf({ HTTPS_CERT: "/run/ca.pem", CR_TYPE: "ecr", CR_PASSWORD: "x" });
    expect(problems).toEqual([
      "HTTPS_CERT and HTTPS_KEY go together",
      "CR_PASSWORD is set without CR_USERNAME",
      "CR_ROLE_ARN is needed with CR_TYPE=ecr",
      "CR_REGION is needed with CR_TYPE=ecr",
    ]);
  });

  it("reads secrets from files, and refuses two sources for one", async () => {
    expect((await load({ BROKER_TOKEN_FILE: "/run/token" })).brokerToken?.reveal()).toBe("from-a-file");
    expect(await problemsOf({ BROKER_TOKEN: "x", BROKER_TOKEN_FILE: "/run/token" })).toEqual([
      "BROKER_TOKEN and BROKER_TOKEN_FILE are both set: keep one",
    ]);
    expect(await problemsOf({ BROKER_TOKEN_FILE: "/nowhere" })).toEqual([
      "BROKER_TOKEN_FILE names a file that cannot be read: /nowhere",
    ]);
  });

  it("reads authorities and refuses what is not PEM", async () => {
    const config = await load({ NODE_EXTRA_CA_CERTS: "/run/ca.pem", CR_CA_FILE: "/run/ca.pem" });
    expect(config.tls.caCerts).toHaveLength(1);
    expect(config.tls.registryCaCerts).toHaveLength(1);
    expect(await problemsOf({ CR_CA_FILE: "/run/junk" })).toEqual([
      "CR_CA_FILE names a file that is not PEM: /run/junk",
    ]);
  });

  it.each([["DockerHub", "docker-hub"], ["ElasticCR", "ecr"], ["harbor-cr", "harbor-cr"]])(
    "takes CR_TYPE=%s as %s",
    async (given, type) => {
      const role = { CR_ROLE_ARN: "arn:aws:iam::1:role/x", CR_REGION: "eu-central-1" };
      const config = await load({ CR_TYPE: given, CR_BASE: "r.io", ...role });
      expect(config.registry?.type).toBe(type);
    },
  );

  it("reads what concerns the broker client", async () => {
    const { broker } = await load({
      BROKER_SERVER_URL: "https://broker2.eu.snyk.io",
      SOCKET_PING_INTERVAL: "1000",
      MAX_RETRY: "0",
      accept_git: "false",
      BROKER_CLIENT_VALIDATION_URL: "http://agent:17500/systemcheck",
      BROKER_CLIENT_VALIDATION_AUTHORIZATION_HEADER_POOL: "token a, token b",
      BROKER_CLIENT_VALIDATION_BASIC_AUTH: "u:p",
    });
    expect(broker).toMatchObject({
      preflight: true,
      pingIntervalMs: 1000,
      pongTimeoutMs: 10_000,
      connectTimeoutMs: 10_000,
      maxResponseBytes: 20_971_520,
      uploadIdleMs: 1_200_000,
      requestTimeoutMs: 600_000,
      agentRetries: 0,
      ruleFlags: ["ACCEPT_GIT"],
      pools: true,
    });
    expect(broker.apiUrl.href).toBe("https://api.eu.snyk.io/");
    expect(broker.validation).toMatchObject({ method: "GET", timeoutMs: 5000 });
    expect(broker.validation?.authorizations.map((secret) => secret.reveal())).toEqual(["token a", "token b"]);
    expect((await load({ API_BASE_URL: "https://x/" })).broker.apiUrl.href).toBe("https://x/");
  });

  it("reads where metrics are pushed to", async () => {
    const read = async (env: Record<string, string>) => (await load(env)).metricsPush;
    expect(await read({})).toBeUndefined();
    expect(await read({ METRICS_OTEL_ENDPOINT: "" })).toBeUndefined();
    const url = (text: string): unknown => ({ url: new URL(text), intervalMs: 10_000 });
    expect(await read({ METRICS_OTEL_ENDPOINT: "http://c:4318" })).toEqual(url("http://c:4318/v1/metrics"));
    expect(await read({ METRICS_OTEL_ENDPOINT: "https://c/otlp?x=1" })).toEqual(url("https://c/otlp?x=1"));
    expect(await read({ METRICS_OTEL_ENDPOINT: "c.lan:4317" })).toEqual(url("http://c.lan:4317/v1/metrics"));
    const METRICS_OTEL_ENDPOINT = "http://user:hunter2@c";
    expect((await load({ METRICS_OTEL_ENDPOINT })).secrets).toContain("hunter2");
    await expect(load({ METRICS_OTEL_ENDPOINT: "grpc://collector:4317", METRICS_OTEL_EXPORT_INTERVAL_MS: "0" })).rejects
      .toThrow(
        /METRICS_OTEL_ENDPOINT must be a URL.*METRICS_OTEL_EXPORT_INTERVAL_MS must be a whole number/,
      );
  });

  it("reads where the shared queue is, and hides its logins", async () => {
    expect((await load({})).queue).toBeUndefined();
    const url = "nats://me:p$%40ss@one:4223, nats://two";
    const config = await load({ OUTPOST_QUEUE: url, OUTPOST_QUEUE_REPLICAS: "3", OUTPOST_QUEUE_CA: "/run/ca.pem" });
    expect(config.queue).toMatchObject({
      servers: ["nats://one:4223", "nats://two:4222"],
      user: "me",
      token: undefined,
      replicas: 3,
      caCerts: ["-----BEGIN CERTIFICATE-----\n"],
    });
    expect(config.queue?.password?.reveal()).toBe("p$@ss");
    expect(config.secrets).toEqual(expect.arrayContaining(["p$@ss", "p$%40ss"]));
    expect(JSON.stringify(config.queue)).not.toContain("p$");
    expect((await load({ OUTPOST_QUEUE: "tls://s3cr3t-token@one" })).queue?.token?.reveal()).toBe("s3cr3t-token");
    const files = { OUTPOST_QUEUE_FILE: "/run/queue", OUTPOST_QUEUE_KEY_FILE: "/run/ca.pem" };
    const read = (await load(files)).queue;
    expect(read?.password?.reveal()).toBe("from a file");
    expect(read?.key?.reveal()).toContain("BEGIN CERTIFICATE");
    const creds = await load({ OUTPOST_QUEUE: "tls://one", OUTPOST_QUEUE_CREDS: "/run/nats.creds" });
    expect(creds.queue?.credentials?.reveal()).toContain("JWT");
    expect(creds.secrets).toContain(`SU${"A".repeat(56)}`);
    const certificate = { OUTPOST_QUEUE_CLIENT_CERT: "/run/ca.pem", OUTPOST_QUEUE_CLIENT_KEY: "/run/ca.pem" };
    expect((await load({ OUTPOST_QUEUE: "tls://one", ...certificate })).queue?.clientCert).toEqual({
      cert: "-----BEGIN CERTIFICATE-----\n",
      key: "-----BEGIN CERTIFICATE-----\n",
    });
  });

  it("names what is wrong with the shared queue's settings", async () => {
    const wrong = {
      OUTPOST_QUEUE: "nats://one/queue,http://two",
      OUTPOST_QUEUE_REPLICAS: "2",
      OUTPOST_QUEUE_KEY: "short",
    };
    expect(await problemsOf(wrong)).toEqual([
      expect.stringMatching(/^OUTPOST_QUEUE must list URLs/),
      expect.stringMatching(/^OUTPOST_QUEUE_KEY must have at least 16/),
    ]);
    expect(await problemsOf({ OUTPOST_QUEUE: "nats://one", OUTPOST_QUEUE_REPLICAS: "6" })).toEqual([
      "OUTPOST_QUEUE_REPLICAS must be a whole number from 1 to 5",
    ]);
    expect(await problemsOf({ OUTPOST_QUEUE_CA: "/run/ca.pem", OUTPOST_QUEUE_REPLICAS: "1" })).toEqual([
      "OUTPOST_QUEUE_CA is set without OUTPOST_QUEUE",
      "OUTPOST_QUEUE_REPLICAS is set without OUTPOST_QUEUE",
    ]);
    expect(await problemsOf({ OUTPOST_QUEUE: "nats://one", OUTPOST_QUEUE_CLIENT_CERT: "/run/ca.pem" })).toEqual([
      "OUTPOST_QUEUE_CLIENT_CERT and OUTPOST_QUEUE_CLIENT_KEY go together",
    ]);
    const logins = { OUTPOST_QUEUE: "nats://a:b@one,nats://c:d@two", OUTPOST_QUEUE_CREDS: "/run/ca.pem" };
    expect((await problemsOf(logins)).join()).toMatch(/different logins.*keep one.*no credentials file/);
  });

  it("reads the universal client's variables", async () => {
    const env = {
      UNIVERSAL_BROKER_ENABLED: "true",
      UNIVERSAL_BROKER_GA: "true",
      CLIENT_ID: "the-client",
      CLIENT_SECRET: "the$ecret",
      ecret: "x",
      DEPLOYMENT_ID: "the-deployment",
      BROKER_HA_MODE_ENABLED: "yes",
      SNYK_CONNECTIONS__hub__CR_BASE: "b",
    };
    const config = await load(env);
    const { universal } = config.broker;
    expect(universal).toMatchObject({
      authorizedSockets: true,
      deploymentId: "the-deployment",
      file: "config.universal.json",
      overrides: [{ path: ["CONNECTIONS", "hub", "CR_BASE"], value: "b" }],
      renewalMs: 600_000,
      polls: false,
    });
    expect(universal?.oauth?.clientSecret.reveal()).toBe("the$ecret");
    expect(config.secrets).toContain("the$ecret");
    expect(config.broker.dispatcher?.pathPrefix).toBe("/hidden/brokers");
    const other = await load({
      ...env,
      UNIVERSAL_BROKER_GA: "false",
      SNYK_DISPATCHER_URL_PREFIX: "/x",
      SERVICE_ENV: "lab",
    });
    expect(other.broker.universal).toMatchObject({ authorizedSockets: false, polls: true, file: "config.lab.json" });
    expect(other.broker.dispatcher?.pathPrefix).toBe("/x");
    const local = await load({ UNIVERSAL_BROKER_ENABLED: "true", SKIP_REMOTE_CONFIG: "true" });
    expect(local.broker.universal?.oauth).toBeUndefined();
    expect((await load({})).broker.universal).toBeUndefined();
  });

  it("names what the universal client lacks, at once", async () => {
    expect(await problemsOf({ UNIVERSAL_BROKER_ENABLED: "true", CLIENT_ID: "c" })).toEqual([
      "CLIENT_SECRET is needed with UNIVERSAL_BROKER_ENABLED",
      "DEPLOYMENT_ID is needed with UNIVERSAL_BROKER_ENABLED",
    ]);
  });

  it("takes SNYK_ before a name for the name itself, where that is not set", async () => {
    const config = await load({
      SNYK_BROKER_TOKEN: "t-1",
      SNYK_LOG_LEVEL: "debug",
      LOG_LEVEL: "error",
      SNYK_PORT: "1",
    });
    expect(config.brokerToken?.reveal()).toBe("t-1");
    expect([config.logLevel, config.port]).toEqual(["error", 7341]);
  });

  it("refuses a ping interval at which the server would hang up", async () => {
    expect((await problemsOf({ SOCKET_PING_INTERVAL: "35000" }))[0]).toContain("SOCKET_PING_INTERVAL");
  });

  it("takes names in any case and $NAME in values, but a password as it is", async () => {
    const config = await load({
      HOST: "broker.example",
      broker_server_url: "https://$HOST",
      CR_BASE: "r.io",
      CR_USERNAME: "robot$HOST",
      CR_PASSWORD: "a$HOST",
    });
    expect(config.brokerServerUrl.host).toBe("broker.example");
    expect(config.registry?.username?.reveal()).toBe("robot$HOST");
    expect(config.registry?.password?.reveal()).toBe("a$HOST");
    expect(config.variable("BROKER_SERVER_URL")).toBe("https://broker.example");
  });

  it("keeps a preset CR_CREDENTIALS and lists it among the secrets", async () => {
    const config = await load({ CR_CREDENTIALS: "cHJlc2V0" });
    expect(config.variable("CR_CREDENTIALS")).toBe("cHJlc2V0");
    expect(config.secrets).toContain("cHJlc2V0");
  });
});
