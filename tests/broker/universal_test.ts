/**
 * The universal client against Snyk's own broker server in mandatory-auth mode, with a stand-in for Snyk's API that checks
 * every request and hands renewals to the server (broker-protocol.md §1, §9, §10, §11).
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { remoteSource, startUniversalClient, type TestUniversalClient } from "../fakes/universal_client.ts";
import { apiConnection, type SnykApi, startSnykApi } from "../fakes/snyk_api.ts";
import { startTcpProxy, type TcpProxy } from "../fakes/tcp_proxy.ts";
import { type BrokerServer, startBrokerServer } from "../peers/broker_server.ts";
import { peer } from "../peers/mod.ts";

const soon = (): AbortSignal => AbortSignal.timeout(20_000);
const CONTEXT = "33333333-3333-4333-8333-333333333333";
/** Reads the credentials of the request, as Snyk asks for them. */
const AS_SNYK = { authorization: "${CR_CREDENTIALS}", "x-broker-var-sub": "authorization" };

/** Looks again until it holds. */
async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  const signal = soon();
  while (!await what()) {
    signal.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe.skipIf(!peer("snyk-broker").available)("universal client in mandatory-auth mode", () => {
  let api: SnykApi;
  let server: BrokerServer;
  let proxy: TcpProxy;

  beforeAll(async () => {
    api = startSnykApi({ brokerServer: () => server.url });
    server = await startBrokerServer({ mandatoryAuth: true, acceptsToken: (bearer) => api.accepts(bearer) });
    proxy = await startTcpProxy(server.port);
  });
  afterAll(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await server?.stop();
    expect(api.problems).toEqual([]);
    await api?.[Symbol.asyncDispose]();
  });

  async function start(source: Parameters<typeof remoteSource>[1] = {}): Promise<TestUniversalClient> {
    return await startUniversalClient({ serverUrl: proxy.url, source: remoteSource(api, source) });
  }

  async function ask(identifier: string, path = "/list"): Promise<{ status: number; json: unknown }> {
    const response = await fetch(server.brokerUrl(identifier, path), { headers: AS_SNYK, signal: soon() });
    return { status: response.status, json: await response.json() };
  }

  /** What the server knows of the token's sockets. */
  // deno-lint-ignore no-explicit-any
  async function clients(identifier: string): Promise<any[]> {
    const response = await fetch(`${server.url}/connection-status/${identifier}`, { signal: soon() });
    return (await response.json()).clients ?? [];
  }

  async function reload(identifier: string): Promise<unknown> {
    const response = await fetch(`${server.url}/service/${identifier}/config/reload`, { signal: soon() });
    return { status: response.status, json: await response.json() };
  }

  it("connects every connection by both roles with a bearer, and answers with the connection's own credentials", async () => {
    const [one, two] = [crypto.randomUUID(), crypto.randomUUID()];
    api.connections = [
      apiConnection("hub", one, { cr_username: "hub-user" }, { [CONTEXT]: { cr_username: "context-user" } }),
      apiConnection("other", two, { cr_password: "${OTHER_PASSWORD}" }),
      apiConnection("unused", null),
    ];
    await using made = await startUniversalClient({
      serverUrl: server.url,
      source: remoteSource(api),
      environment: (name) => name === "OTHER_PASSWORD" ? "from-environment" : undefined,
    });
    await Promise.all([one, two].map((id) => server.connected(id, soon(), 2)));
    expect(await ask(one)).toEqual({ status: 200, json: { authorization: "docker-hub:hub-user:canary-pass" } });
    expect(await ask(two)).toEqual({
      status: 200,
      json: { authorization: "docker-hub:canary-user:from-environment" },
    });
    expect(await ask(one, `/ctx/${CONTEXT}/list`)).toEqual({
      status: 200,
      json: { authorization: "docker-hub:context-user:canary-pass" },
    });
    expect((await ask(one, `/ctx/${crypto.randomUUID()}/list`)).status).toBe(400);
    expect(made.agent.map(({ path, connection }) => [path, connection.name, connection.credentials])).toEqual([
      ["/list", "hub", "docker-hub:hub-user:canary-pass"],
      ["/list", "other", "docker-hub:canary-user:from-environment"],
      ["/list", "hub", "docker-hub:context-user:canary-pass"],
    ]);
    expect(made.client.states().map(({ role, open, connection }) => [connection?.name, role, open])).toEqual([
      ["hub", "primary", true],
      ["hub", "secondary", true],
      ["other", "primary", true],
      ["other", "secondary", true],
    ]);
    for (const metadata of await clients(one)) {
      expect(metadata).toMatchObject({ version: "5.22.14" });
      expect(JSON.stringify(metadata.filters ?? {})).toBe("{}");
    }
    expect(made.client.connections().map(({ name, problem }) => [name, problem])).toEqual([
      ["hub", undefined],
      ["other", undefined],
      ["unused", "no organization uses it yet"],
    ]);
    const log = JSON.stringify(made.logger.lines);
    for (const secret of [one, two, "canary-pass", "from-environment", api.tokens.at(-1)]) {
      expect(log).not.toContain(secret);
      expect(made.secrets).toContain(secret);
    }
  });

  it("is refused without a bearer, and shows the reason", async () => {
    const identifier = crypto.randomUUID();
    api.connections = [apiConnection("hub", identifier)];
    await using made = await start({ authorizedSockets: false });
    await until(() => made.events.some((event) => event.kind === "disconnected" && event.reason === "connect-failed"));
    expect(made.client.states().some(({ open }) => open)).toBe(false);
    const details = made.logger.lines.map(({ fields }) => String(fields["detail"]));
    expect(details).toContainEqual(expect.stringContaining("401"));
  });

  it("renews each socket's authorization with the server, and gets a new token when the old one is refused", async () => {
    const identifier = crypto.randomUUID();
    api.connections = [apiConnection("hub", identifier)];
    await using made = await start({ renewalMs: 200 });
    await server.connected(identifier, soon(), 2);
    const own = (): typeof api.renewals => api.renewals.filter((one) => one.identifier === identifier);
    await until(() => new Set(own().map(({ role }) => role)).size === 2);
    expect(own().every(({ status }) => status === 201)).toBe(true);
    const before = api.tokens.at(-1);
    api.revoke();
    await until(() => own().some(({ bearer, status }) => bearer !== before && status === 201));
    expect(own().find(({ bearer, status }) => bearer === before && status === 401)).toBeDefined();
    expect(await ask(identifier)).toMatchObject({ status: 200 });
    expect(made.events.filter(({ kind }) => kind === "disconnected")).toEqual([]);
    expect(made.events.filter(({ kind }) => kind === "authorization-failure")).toEqual([]);
  });

  it("comes back with a new bearer when the server does not take the old one any more", async () => {
    const identifier = crypto.randomUUID();
    api.connections = [apiConnection("hub", identifier)];
    await using made = await start();
    await server.connected(identifier, soon(), 2);
    const known = api.tokens.length;
    api.revoke();
    const own = proxy.connections.filter(({ requestLine }) => requestLine.includes(identifier));
    for (const connection of own) connection.end("reset");
    await until(() => made.events.some((event) => event.kind === "disconnected" && event.reason === "connect-failed"));
    await until(async () => (await clients(identifier)).length >= 1 && made.client.states().every(({ open }) => open));
    expect(api.tokens.length).toBeGreaterThan(known);
    expect(await ask(identifier)).toMatchObject({ status: 200 });
  });

  it("comes back when the server ends a socket whose authorization is stale", async () => {
    const identifier = crypto.randomUUID();
    api.connections = [apiConnection("hub", identifier)];
    await using made = await start({ renewalMs: 200 });
    await server.connected(identifier, soon(), 2);
    await until(() => api.renewals.some((one) => one.identifier === identifier));
    const clientId = api.renewals.find((one) => one.identifier === identifier)?.clientId;
    const stale = await fetch(
      `${server.url}/hidden/brokers/connections/${identifier}/auth/refresh?connection_role=primary`,
      {
        method: "POST",
        headers: { authorization: "bearer stale", "content-type": "application/vnd.api+json" },
        body: JSON.stringify({ data: { attributes: { broker_client_id: clientId } } }),
        signal: soon(),
      },
    );
    expect([stale.status, await stale.text()]).toEqual([401, "Invalid credentials."]);
    const lost = { kind: "disconnected", role: "primary", reason: "server-close" };
    await until(() => made.events.some((event) => expect.objectContaining(lost).asymmetricMatch(event)));
    await until(() => made.client.states().every(({ open }) => open));
    expect(made.events.filter(({ kind }) => kind === "connected")).toHaveLength(3);
  });

  it("goes on after failed renewals, which it reports", async () => {
    const identifier = crypto.randomUUID();
    api.connections = [apiConnection("hub", identifier)];
    await using made = await start({ renewalMs: 300 });
    await server.connected(identifier, soon(), 2);
    api.instead.renewal = () => new Response(null, { status: 500 });
    await until(() => made.events.filter(({ kind }) => kind === "authorization-failure").length >= 6);
    delete api.instead.renewal;
    const failed = made.events.filter((event) => event.kind === "authorization-failure");
    expect(failed[0]).toEqual({ kind: "authorization-failure", what: "renewal", status: 500 });
    const lines = made.logger.lines.filter(({ message }) => message === "Cannot renew the authorization");
    expect(lines.map(({ level, fields }) => `${fields["failures"]} ${level}`)).toEqual(
      expect.arrayContaining(["1 warn", "2 warn", "3 error"]),
    );
    expect(server.log()).toContain("AUTH_RENEWAL_FAILED");
    await until(() => api.renewals.at(-1)?.status === 201);
    expect(await ask(identifier)).toMatchObject({ status: 200 });
  });

  it("follows the deployment when the server says so: new, other values, another identifier, gone", async () => {
    const [one, two, three] = [crypto.randomUUID(), crypto.randomUUID(), crypto.randomUUID()];
    api.connections = [apiConnection("one", one)];
    await using made = await start();
    await server.connected(one, soon(), 2);
    const first = made.client.states();
    api.connections = [apiConnection("one", one, { cr_password: "changed" }), apiConnection("two", two)];
    expect(await reload(one)).toEqual({ status: 200, json: { ok: true, msg: "Synchronizing Config." } });
    await server.connected(two, soon(), 2);
    expect(await ask(one)).toMatchObject({ json: { authorization: "docker-hub:canary-user:changed" } });
    expect(made.events.filter(({ kind }) => kind === "disconnected")).toEqual([]);
    expect(made.client.states().slice(0, 2)).toEqual(first);
    api.connections = [apiConnection("two", three)];
    await reload(two);
    await server.connected(three, soon(), 2);
    await until(async () => (await clients(one)).length + (await clients(two)).length === 0);
    expect(made.client.states().map(({ connection }) => connection?.name)).toEqual(["two", "two"]);
  });

  it("sends a callback by the connection that it belongs to", async () => {
    const [one, two] = [crypto.randomUUID(), crypto.randomUUID()];
    api.connections = [apiConnection("one", one), apiConnection("two", two)];
    await using made = await start();
    await Promise.all([one, two].map((id) => server.connected(id, soon(), 2)));
    const send = (path: string, connection?: string): Promise<{ readonly status: number }> => {
      const headers = { "content-type": "application/json" };
      return made.client.send({ path, headers, body: new TextEncoder().encode("{}"), connection }, soon());
    };
    expect((await send("/api/v2/import/result", "two")).status).toBe(200);
    expect((await send("/api/v2/import/done")).status).toBe(200);
    const tokens = server.upstream.requests.slice(-2).map(({ path, headers }) => [path, headers["x-broker-token"]]);
    expect(tokens).toEqual([["/api/v2/import/result", two], ["/api/v2/import/done", one]]);
    await expect(send("/api/v2/import/done", "gone")).rejects.toMatchObject({ code: "BROKER_DISCONNECTED" });
  });

  it("tells the server of its end once, whatever it is connected to", async () => {
    const [one, two] = [crypto.randomUUID(), crypto.randomUUID()];
    api.connections = [apiConnection("one", one), apiConnection("two", two)];
    await using made = await start();
    await Promise.all([one, two].map((id) => server.connected(id, soon(), 2)));
    const ends = (): number => server.log().split("client-shutdown").length - 1;
    const before = ends();
    made.client.announceStop();
    made.client.announceStop();
    await until(() => ends() > before);
    expect(await ask(two)).toMatchObject({ status: 200 });
    expect(ends()).toBe(before + 1);
  });

  it("names the dispatcher's server in handshakes, answers and renewals, with bearers that are refreshed", async () => {
    const identifier = crypto.randomUUID();
    api.connections = [apiConnection("hub", identifier)];
    const known = api.dispatched.length;
    await using _ = await startUniversalClient({
      serverUrl: proxy.url,
      source: remoteSource(api, { renewalMs: 300 }),
      dispatcher: { apiUrl: api.url, pathPrefix: "/hidden/brokers", location: "rack 7" },
    });
    await server.connected(identifier, soon(), 2);
    await ask(identifier);
    expect(api.dispatched.slice(known)).toEqual([api.tokens.at(-1)]);
    const paths = proxy.connections.map(({ requestLine }) => requestLine.split(" ")[1] ?? "");
    const own = paths.filter((path) => path.includes(identifier)).map((path) => path.replaceAll(/[0-9a-f-]{36}/g, "*"));
    expect(own.toSorted()).toEqual([
      expect.stringMatching(
        /^\/hidden\/brokers\/response-data\/\*\/\*\?server_id=7&connection_role=(primary|secondary)$/,
      ),
      "/primus/*/?server_id=7&connection_role=primary&EIO=4&transport=websocket",
      "/primus/*/?server_id=7&connection_role=secondary&EIO=4&transport=websocket",
    ]);
    api.revoke();
    await until(() => api.renewals.some((one) => one.identifier === identifier && api.accepts(one.bearer)));
    const renewed = api.renewals.filter((one) => one.identifier === identifier);
    expect(renewed.every(({ serverId }) => serverId === "7")).toBe(true);
    expect(new Set(renewed.map(({ bearer }) => bearer)).size).toBe(2);
  });
});
