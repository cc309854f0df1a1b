/**
 * The environment of a container with Snyk's broker client for registries, as an operator has it (broker-protocol.md §12): what
 * the image's own `.env` sets, what its entrypoint adds, and every variable of the table that an operator may have set. It is
 * handed to Outpost as it is.
 */
import { describe, expect, it } from "vitest";
import { startDaemonProcess } from "../e2e/daemon.ts";
import { startCanary } from "../fakes/canary.ts";
import { startHostileBroker } from "../fakes/hostile_broker.ts";
import { pointsOf, startOtlpCollector } from "../fakes/otlp_collector.ts";

const TOKEN = "0a0b0c0d-1111-4222-8333-444455556666";
const soon = (): AbortSignal => AbortSignal.timeout(30_000);
/** As the entrypoint makes it (§5), blanks and line end included. */
const JSON_LINE = '{"type":"harbor-cr", "username":"robot$ci", "password":"p$HOME", "registryBase":"harbor.lan"}\n';

/** What Snyk's image sets by itself. */
const IMAGE = {
  ACCEPT: "accept.json",
  ACCEPT_ESSENTIALS: "false",
  ACCEPT_APPRISK: "false",
  ACCEPT_GIT: "false",
  ACCEPT_CODE: "false",
  ACCEPT_IAC: "false",
  ACCEPT_LARGE_MANIFESTS: "false",
  ACCEPT_CUSTOM_PR_TEMPLATES: "false",
  DISABLE_SNIPPETS: "false",
  BROKER_DOWNSTREAM_TYPE_CONTAINER_REGISTRY_AGENT: "true",
  BROKER_TYPE: "client",
  NODE_ENV: "production",
  REMOTE_WORKLOAD_NAME: "BrokerWorkload",
  REMOTE_WORKLOAD_MODULE_PATH: "../broker-workload/websocketRequests",
  CLIENT_WORKLOAD_NAME: "BrokerClientRequestWorkload",
  CLIENT_WORKLOAD_MODULE_PATH: "../broker-workload/clientLocalRequests",
};

/** What an operator sets beside the addresses. */
const OPERATOR = {
  BROKER_TOKEN: TOKEN,
  CR_TYPE: "harbor-cr",
  CR_BASE: "harbor.lan",
  CR_USERNAME: "robot$ci",
  CR_PASSWORD: "p$HOME",
  CR_CREDENTIALS: btoa(JSON_LINE),
  BROKER_CLIENT_VALIDATION_METHOD: "GET",
  BROKER_CLIENT_VALIDATION_TIMEOUT_MS: "4000",
  BROKER_HEALTHCHECK_PATH: "/broker/health",
  BROKER_SYSTEMCHECK_PATH: "/broker/system",
  BROKER_CLIENT_URL_TLS_TERMINATED: "true",
  LOG_LEVEL: "info",
  LOG_ENABLE_BODY: "false",
  LOG_INFO_VERBOSE: "true",
  PREFLIGHT_CHECKS_ENABLED: "true",
  DISABLE_CODE_AGENT_PREFLIGHT_CHECK: "true",
  IPV6_CONNECTIVITY_CHECK_ENABLED: "false",
  BROKER_HA_MODE_ENABLED: "false",
  BROKER_CLIENT_LOCATION: "rack 7",
  SOCKET_PING_INTERVAL: "20000",
  SOCKET_PONG_TIMEOUT: "9000",
  SOCKET_CONNECT_TIMEOUT: "8000",
  SOCKET_MAX_RESPONSE_LENGTH: "20971520",
  BROKER_CLIENT_POST_TIMEOUT: "1200000",
  BROKER_WEBSERVER_REQUEST_TIMEOUT: "600000",
  MAX_RETRY: "3",
  REMOVE_X_FORWARDED_HEADERS: "true",
  DISABLE_BODY_VARS_SUBSTITUTION: "false",
  DISABLE_HEADER_VARS_SUBSTITUTION: "false",
  METRICS_OTEL_EXPORT_INTERVAL_MS: "200",
  UNIVERSAL_BROKER_ENABLED: "false",
  UNIVERSAL_BROKER_GA: "false",
  CR_TEAM_POOL: "first,second",
  SNYK_ANYTHING: "ignored",
};

describe("the environment of Snyk's container", () => {
  it("§12 starts Outpost, and each variable means what it means there", async () => {
    await using broker = startHostileBroker();
    await using agent = startCanary();
    await using collector = startOtlpCollector();
    await using daemon = await startDaemonProcess({
      ...IMAGE,
      ...OPERATOR,
      BROKER_SERVER_URL: broker.url,
      API_BASE_URL: broker.url,
      BROKER_CLIENT_URL: "http://broker-client.lan:7341",
      CR_AGENT_URL: agent.url,
      BROKER_CLIENT_VALIDATION_URL: `${agent.url}/systemcheck`,
      METRICS_OTEL_ENDPOINT: collector.url,
    });
    await broker.until(
      () => broker.frames.filter((f) => f.kind === "event" && f.name === "identify").length === 2,
      soon(),
    );
    const [identify] = broker.frames.flatMap((f) => f.kind === "event" && f.name === "identify" ? f.args : []);
    expect(identify).toMatchObject({
      token: TOKEN,
      metadata: { clientConfig: { haMode: false, customAccept: false, credPooling: true, insecureDownstream: false } },
    });

    const ask = async (streamingID: string, argument: Readonly<Record<string, unknown>>) => {
      broker.sockets.at(-1)?.ask({ streamingID, ...argument });
      await broker.upload(streamingID, soon());
      return agent.requests.at(-1);
    };
    const headers = {
      authorization: "${CR_CREDENTIALS}",
      "x-team": "${CR_TEAM}",
      "x-broker-var-sub": "authorization, x-team",
      "x-forwarded-server": "inner.lan",
    };
    const first = await ask("one", { url: "/list?x=1", headers });
    expect(new URL(first?.url ?? "").pathname).toBe("/list");
    expect(atob(first?.headers.get("authorization") ?? "")).toBe(JSON_LINE);
    expect([first?.headers.get("x-team"), first?.headers.get("x-forwarded-server")]).toEqual(["first", null]);
    expect((await ask("two", { headers }))?.headers.get("x-team")).toBe("second");
    const body = new TextEncoder().encode('{"BROKER_VAR_SUB":["callbackUrl"],"callbackUrl":"${BROKER_CLIENT_URL}/x"}');
    const scan = await ask("three", { url: "/scan", method: "POST", body });
    expect(JSON.parse(scan?.body ?? "")).toEqual({ callbackUrl: "http://broker-client.lan:7341/x" });
    await ask("four", { url: "/elsewhere" });
    expect(broker.uploads.find(({ id }) => id === "four")?.status).toBe(401);

    const get = (path: string): Promise<Response> => fetch(daemon.url + path, { signal: soon() });
    const health = await get("/broker/health");
    expect([health.status, (await health.json()).length]).toEqual([200, 2]);
    const system = await get("/broker/system");
    expect(await system.json()).toMatchObject([{
      brokerClientValidationUrl: `${agent.url}/systemcheck`,
      brokerClientValidationTimeoutMs: 4000,
      ok: true,
    }]);
    expect(agent.requests.at(-1)?.headers.get("authorization")).toBe(OPERATOR.CR_CREDENTIALS);

    await collector.taken(1, soon());
    expect(pointsOf(collector.exports[0], "broker.client.initialized")).toMatchObject([{ value: 1 }]);
    const log = daemon.process.log();
    expect(log).not.toMatch(/"level":"(warn|error)".*(ACCEPT|METRICS|CR_|SOCKET|variable)/);
    for (const secret of [TOKEN, OPERATOR.CR_PASSWORD, OPERATOR.CR_CREDENTIALS]) expect(log).not.toContain(secret);
    Deno.kill(daemon.process.pid, "SIGTERM");
    expect(await daemon.process.status).toMatchObject({ code: 0 });
  });
});
