/** The daemon with the broker client in it, against Snyk's real broker server: what it does on its own port. */
import { Buffer } from "node:buffer";
import type { IncomingHttpHeaders } from "node:http";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Daemon, Toolbox } from "../../src/cli/context.ts";
import { createToolbox } from "../../src/main.ts";
import { recordingWorld } from "../fakes/world.ts";
import { type BrokerServer, startBrokerServer } from "../peers/broker_server.ts";
import { peer } from "../peers/mod.ts";
import { freePort } from "../peers/process.ts";

const TOKEN = "33333333-2222-4333-8444-555555555555";
const soon = (): AbortSignal => AbortSignal.timeout(20_000);

const RULES = `
private:
  - {method: GET, path: "/list", origin: "\${CR_AGENT_URL}"}
public:
  - {method: POST, path: /v2/import/done}
`;

describe.skipIf(!peer("snyk-broker").available)("the daemon in front of an agent", () => {
  let server: BrokerServer;
  let agent: Deno.HttpServer<Deno.NetAddr>;
  let toolbox: Toolbox;
  let daemon: Daemon;
  let directory: string;
  let rules: string;
  const recorded = recordingWorld();

  beforeAll(async () => {
    server = await startBrokerServer();
    agent = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, serveAgent);
    directory = await Deno.makeTempDir({ prefix: "outpost-rules-" });
    rules = `${directory}/accept.yml`;
    await Deno.writeTextFile(rules, RULES);
    toolbox = await createToolbox(recorded.world, {
      OUTPOST_ROLE: "broker",
      OUTPOST_HOST: "127.0.0.1",
      PORT: "0",
      BROKER_TOKEN: TOKEN,
      BROKER_SERVER_URL: server.url,
      CR_AGENT_URL: `http://127.0.0.1:${agent.addr.port}`,
      ACCEPT: rules,
      RES_BODY_URL_SUB: `http://127.0.0.1:${agent.addr.port}`,
      BROKER_CLIENT_VALIDATION_URL: `http://127.0.0.1:${agent.addr.port}/systemcheck`,
      BROKER_CLIENT_VALIDATION_AUTHORIZATION_HEADER: "Bearer aGVsbG8=",
    }, { isolated: true });
    daemon = await toolbox.startDaemon();
    await daemon.ready(soon());
    await server.connected(TOKEN, soon(), 2);
  });
  afterAll(async () => {
    await daemon.stop();
    await toolbox.close();
    await agent.shutdown();
    await server.stop();
    await Deno.remove(directory, { recursive: true });
  });

  const call = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(server.brokerUrl(TOKEN, path), { signal: soon(), ...init });
  const local = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(daemon.url + path, { signal: soon(), ...init });

  it("reloads its rules on POST /filters, and keeps the old ones when the new are bad", async () => {
    expect(await (await call("/list")).text()).toBe("agent");
    expect(await refused("/list/more")).toBe(401);
    await Deno.writeTextFile(rules, RULES.replace('path: "/list"', 'path: "/list/*"'));
    const reloaded = await local("/filters", { method: "POST" });
    expect(reloaded.status).toBe(200);
    const shown = await reloaded.json();
    expect(shown.private).toEqual([{ method: "GET", path: "/list/*", origin: "${CR_AGENT_URL}" }]);
    expect(await (await local("/filters")).json()).toEqual(shown);
    expect(await (await call("/list/more")).text()).toBe("agent");
    expect(await refused("/list")).toBe(401);
    await Deno.writeTextFile(rules, "private: [{path: 7}]");
    const bad = await local("/filters", { method: "POST" });
    expect(bad.status).toBe(500);
    expect((await bad.json()).message).toContain("ACCEPT: private.0.path");
    expect(await (await local("/filters")).json()).toEqual(shown);
    expect(await (await call("/list/more")).text()).toBe("agent");
  });

  it("passes a compressed answer on as it is", async () => {
    const { get } = await import("node:http");
    const { promise, resolve, reject } = Promise.withResolvers<{ headers: IncomingHttpHeaders; body: Uint8Array }>();
    get(server.brokerUrl(TOKEN, "/list/packed"), { agent: false }, (response) => {
      const chunks: Uint8Array[] = [];
      response.on("data", (chunk: Uint8Array) => chunks.push(chunk));
      response.on("end", () => resolve({ headers: response.headers, body: Buffer.concat(chunks) }));
    }).on("error", reject);
    const { headers, body } = await promise;
    expect(headers["content-encoding"]).toBe("gzip");
    expect(new Uint8Array(body)).toEqual(PACKED);
  });

  it("keeps several fields of one name, and labels the status", async () => {
    const response = await call("/list/several");
    expect(response.status).toBe(401);
    expect(await response.text()).toBe("several");
    expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    expect(response.headers.get("www-authenticate")).toBe('Basic realm="a, b", Bearer');
  });

  it("rewrites its agent's URL in JSON (RES_BODY_URL_SUB)", async () => {
    expect(await (await call("/list/url")).json()).toEqual({
      next: `http://internal-broker-server-next/broker/${TOKEN}/list?page=2`,
    });
  });

  it("prints its preflight checks as a table", () => {
    expect(recorded.stdout()).toMatch(/broker-server-status +passing/);
    expect(recorded.stdout()).toMatch(/broker-token-validation +passing/);
    expect(recorded.stdout()).not.toContain(TOKEN);
  });

  it("runs the checks of the network again", async () => {
    const checks = await (await local("/health/checks")).json();
    expect(checks.map(({ id }: { id: string }) => id)).toEqual(["broker-server-status", "rest-api-status"]);
    expect(checks[0]).toMatchObject({ name: "Broker Server Healthcheck", status: "passing" });
    expect(await (await local("/health/checks/broker-server-status")).json()).toMatchObject({ status: "passing" });
    const unknown = await local("/health/checks/none");
    expect([unknown.status, await unknown.text()]).toEqual([404, "Not Found"]);
  });

  it("checks the system with the configured URL", async () => {
    const response = await local("/systemcheck");
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual([{
      brokerClientValidationUrl: `http://127.0.0.1:${agent.addr.port}/systemcheck`,
      brokerClientValidationMethod: "GET",
      brokerClientValidationTimeoutMs: 5000,
      brokerClientValidationUrlStatusCode: 200,
      ok: true,
      maskedCredentials: "aGV***G8=",
    }]);
  });

  it("refuses a callback that is too large once it is inflated", async () => {
    const body = new Uint8Array(gzipSync(new Uint8Array(11 * 1024 * 1024)));
    const response = await local("/v2/import/done", { method: "POST", body, headers: { "content-encoding": "gzip" } });
    expect(response.status).toBe(413);
    expect(await response.json()).toMatchObject({ code: "BODY_TOO_LARGE" });
  });

  async function refused(path: string): Promise<number> {
    const response = await call(path);
    await response.body?.cancel();
    return response.status;
  }
});

describe("the daemon without a broker server", () => {
  it("tells who calls back to come again", async () => {
    const toolbox = await createToolbox(recordingWorld().world, {
      OUTPOST_ROLE: "broker",
      OUTPOST_HOST: "127.0.0.1",
      PORT: "0",
      BROKER_TOKEN: TOKEN,
      BROKER_SERVER_URL: `http://127.0.0.1:${freePort()}`,
      PREFLIGHT_CHECKS_ENABLED: "false",
    }, { isolated: true });
    const daemon = await toolbox.startDaemon();
    const response = await fetch(`${daemon.url}/v2/import/done`, { method: "POST", body: "{}" });
    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe("5");
    expect(await response.json()).toMatchObject({ code: "BROKER_DISCONNECTED" });
    await daemon.stop();
    await toolbox.close();
  });
});

const PACKED = new Uint8Array(gzipSync("agent in gzip"));

/** Answers in gzip whatever it is asked for, on a path that says so. */
function serveAgent(request: Request): Response {
  const { pathname, origin } = new URL(request.url);
  if (pathname === "/list/packed") {
    return new Response(PACKED, { headers: { "content-encoding": "gzip", "content-type": "text/plain" } });
  }
  if (pathname === "/list/several") {
    const headers = new Headers({ "x-one": "1" });
    for (const value of ["a=1", "b=2"]) headers.append("set-cookie", value);
    for (const value of ['Basic realm="a, b"', "Bearer"]) headers.append("www-authenticate", value);
    return new Response("several", { status: 401, headers });
  }
  if (pathname === "/list/url") return Response.json({ next: `${origin}/list?page=2` });
  if (pathname === "/systemcheck") {
    return new Response(null, { status: request.headers.has("authorization") ? 200 : 401 });
  }
  return new Response("agent");
}
