/**
 * The daemon with the connections of a deployment: Snyk's broker server in mandatory-auth mode, a stand-in for Snyk's API,
 * and a registry behind each connection (broker-protocol.md §10).
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { debianSample } from "../../src/lib/sample_images.ts";
import { apiConnection, type SnykApi, startSnykApi } from "../fakes/snyk_api.ts";
import { type BrokerServer, startBrokerServer } from "../peers/broker_server.ts";
import { type DockerRegistry, startDockerRegistry } from "../peers/docker_registry.ts";
import { writeOciLayout } from "../peers/images.ts";
import { peersAvailable } from "../peers/mod.ts";
import { pushImage } from "../peers/skopeo.ts";
import { outpost } from "./command.ts";
import { type DaemonProcess, startDaemonProcess } from "./daemon.ts";

const soon = (): AbortSignal => AbortSignal.timeout(30_000);
const PASSWORDS = ["canary-pass-one", "canary-pass-two"] as const;

describe.skipIf(!peersAvailable("snyk-broker", "docker-registry", "skopeo"))("the daemon in universal mode", () => {
  const identifiers = [crypto.randomUUID(), crypto.randomUUID()] as const;
  let api: SnykApi;
  let server: BrokerServer;
  let registries: DockerRegistry[];
  let daemon: DaemonProcess;
  let clientEnv: Record<string, string>;

  beforeAll(async () => {
    registries = await Promise.all(
      PASSWORDS.map((password, i) => startDockerRegistry({ mode: "htpasswd", username: `canary-user-${i}`, password })),
    );
    const dir = await Deno.makeTempDir({ prefix: "outpost-universal-" });
    await writeOciLayout(`${dir}/debian`, debianSample(), "12");
    for (const [i, registry] of registries.entries()) {
      await pushImage(registry, `oci:${dir}/debian:12`, `team/app${i}`, "12");
    }
    await Deno.remove(dir, { recursive: true });
    api = startSnykApi({ brokerServer: () => server.url });
    server = await startBrokerServer({ mandatoryAuth: true, acceptsToken: (bearer) => api.accepts(bearer) });
    api.connections = registries.map((registry, i) =>
      apiConnection(`registry-${i}`, identifiers[i] ?? null, {
        cr_base: registry.url,
        cr_username: `canary-user-${i}`,
        cr_password: i === 0 ? "${FIRST_PASSWORD}" : PASSWORDS[1],
        // Where Snyk's own agent was; the agent in this process is asked instead.
        cr_agent_url: "http://agent.invalid:8081",
      })
    ).map((one) => ({
      ...one,
      attributes: { ...one.attributes, configuration: { ...one.attributes.configuration, type: "docker-registry" } },
    }));
    const { clientId, clientSecret, deploymentId } = api.credentials;
    clientEnv = {
      UNIVERSAL_BROKER_ENABLED: "true",
      UNIVERSAL_BROKER_GA: "true",
      CLIENT_ID: clientId,
      CLIENT_SECRET: clientSecret,
      DEPLOYMENT_ID: deploymentId,
      API_BASE_URL: api.url,
      BROKER_SERVER_URL: server.url,
      FIRST_PASSWORD: PASSWORDS[0],
      LOG_LEVEL: "debug",
    };
    daemon = await startDaemonProcess(clientEnv);
    await Promise.all(identifiers.map((id) => server.connected(id, soon(), 2)));
  });
  afterAll(async () => {
    await daemon?.[Symbol.asyncDispose]();
    await server?.stop();
    await Promise.all((registries ?? []).map((registry) => registry.stop()));
    expect(api.problems).toEqual([]);
    await api?.[Symbol.asyncDispose]();
  });

  // deno-lint-ignore no-explicit-any
  async function ask(i: number, path: string, init: RequestInit = {}): Promise<{ status: number; json: any }> {
    const url = server.brokerUrl(identifiers[i] ?? "", path);
    const response = await fetch(url, { ...init, signal: soon() });
    return { status: response.status, json: await response.json() };
  }
  const named = { authorization: "${CR_CREDENTIALS}", "x-broker-var-sub": "authorization" };

  it("asks each connection's registry with its own credentials, named or not", async () => {
    expect(await ask(0, "/list", { headers: named })).toEqual({ status: 200, json: ["team/app0"] });
    expect(await ask(1, "/list", { headers: named })).toEqual({ status: 200, json: ["team/app1"] });
    expect(await ask(0, "/list")).toEqual({ status: 200, json: ["team/app0"] });
    expect(await ask(1, "/validate-credentials")).toEqual({ status: 200, json: { ok: true } });
  });

  it("takes no other connection's credentials", async () => {
    const other = { type: "docker-registry", username: "x", password: "y", registryBase: registries[1]?.url };
    const authorization = new TextEncoder().encode(JSON.stringify(other)).toBase64();
    expect(await ask(0, "/list", { headers: { authorization } })).toMatchObject({
      status: 403,
      json: { code: "CREDENTIALS_INVALID" },
    });
  });

  it("scans, and calls back by the connection that the request came by", async () => {
    for (const i of [1, 0]) {
      const accepted = await ask(i, "/scan", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ images: [{ name: `team/app${i}:12` }] }),
      });
      expect(accepted.status).toBe(202);
      const done = await server.upstream.waitFor(
        // deno-lint-ignore no-explicit-any
        ({ path, json }) => path === "/api/v2/import/done" && (json as any).id === accepted.json.id,
        soon(),
      );
      expect(done.json).toMatchObject({ total: 1, succeeded: 1 });
      expect(done.headers["x-broker-token"]).toBe(identifiers[i]);
    }
  });

  it("shows each connection on its own port, and checks each registry", async () => {
    const health = await fetch(`${daemon.url}/healthcheck`, { signal: soon() });
    const sockets = await health.json();
    expect(health.status).toBe(200);
    expect(sockets).toHaveLength(4);
    const [first] = identifiers;
    expect(sockets[0]).toMatchObject({
      ok: true,
      friendlyName: "registry-0",
      identifier: `${first.slice(0, 4)}-...-${first.slice(-4)}`,
    });
    const check = async (): Promise<{ status: number; json: { connectionName: string; validated: boolean }[] }> => {
      const response = await fetch(`${daemon.url}/systemcheck`, { signal: soon() });
      return { status: response.status, json: await response.json() };
    };
    expect(await check()).toMatchObject({
      status: 200,
      json: [{ connectionName: "registry-0", validated: true }, { connectionName: "registry-1", validated: true }],
    });
    await registries[1]?.pause();
    const { status, json } = await check();
    expect([status, json.map(({ validated }) => validated)]).toEqual([500, [true, false]]);
    await registries[1]?.restart();
  });

  it("comes back with a new token when the server restarts and refuses the old one", async () => {
    const known = api.tokens.length;
    api.revoke();
    await server.restart();
    await Promise.all(identifiers.map((id) => server.connected(id, soon())));
    expect(api.tokens.length).toBeGreaterThan(known);
    expect((await ask(0, "/list", { headers: named })).status).toBe(200);
  });

  it.each([
    [
      { DEPLOYMENT_ID: crypto.randomUUID() },
      "Cannot read the connections of this deployment: the API answered 404",
      "Create",
    ],
    [{ SKIP_REMOTE_CONFIG: "true", SERVICE_ENV: "none" }, "config.none.json cannot be read", "SKIP_REMOTE_CONFIG"],
    [{ CLIENT_SECRET: "" }, "CLIENT_SECRET is needed", "UNIVERSAL_BROKER_ENABLED"],
  ])("says at the start why it cannot work, and ends with exit code 1: %j", async (wrong, reason, hint) => {
    const { code, stderr } = await outpost(["start"], {
      env: { ...clientEnv, PORT: "0", OUTPOST_HOST: "127.0.0.1", ...wrong },
      permissions: "daemon",
    });
    expect(code).toBe(1);
    expect(stderr).toContain(reason);
    expect(stderr).toContain(hint);
    // The API saw a deployment that it does not know; that is what it complains about.
    api.problems.length = 0;
  });

  it("shows no secret in its log", () => {
    const log = daemon.process.log();
    expect(log).toContain('"level":"debug"');
    for (const secret of [...PASSWORDS, ...identifiers, api.credentials.clientSecret, ...api.tokens]) {
      expect(log).not.toContain(secret);
    }
  });
});
