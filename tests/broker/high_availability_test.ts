/**
 * High availability mode against Snyk's broker server, with a dispatcher that answers only to the reference's request: the
 * server it names is named in every handshake and every answer (broker-protocol.md §9).
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startFakeDispatcher } from "../fakes/dispatcher.ts";
import { startTestClient, type TestClient } from "../fakes/fake_broker.ts";
import { startTcpProxy, type TcpProxy } from "../fakes/tcp_proxy.ts";
import { type BrokerServer, startBrokerServer } from "../peers/broker_server.ts";
import { startDaemonProcess } from "../e2e/daemon.ts";
import { peer } from "../peers/mod.ts";

const soon = (): AbortSignal => AbortSignal.timeout(20_000);

describe.skipIf(!peer("snyk-broker").available)("broker client in high availability mode", () => {
  let server: BrokerServer;
  let proxy: TcpProxy;

  beforeAll(async () => {
    server = await startBrokerServer();
    proxy = await startTcpProxy(server.port);
  });
  afterAll(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await server?.stop();
  });

  function start(token: string, apiUrl: string, pathPrefix = "/hidden/broker"): TestClient {
    return startTestClient({
      serverUrl: proxy.url,
      token,
      dispatch: () => Promise.resolve(Response.json(["team/app"])),
      dispatcher: { apiUrl, pathPrefix, location: "snyk-broker-client" },
    });
  }

  /** Asks for an answer. */
  async function ask(token: string): Promise<void> {
    const response = await fetch(server.brokerUrl(token, "/list"), { signal: soon() });
    expect([response.status, await response.json()]).toEqual([200, ["team/app"]]);
  }

  /** Method, server and role of each address that was used with the token. */
  function used(token: string): readonly string[] {
    const lines = proxy.connections.map(({ requestLine }) => requestLine.split(" "));
    return lines.filter(([, target = ""]) => target.includes(token)).map(([method, target = ""]) => {
      const { searchParams } = new URL(target, proxy.url);
      return `${method} ${searchParams.get("server_id")} ${searchParams.get("connection_role")}`;
    }).toSorted();
  }

  it("names the server in both handshakes and in the answer", async () => {
    const token = crypto.randomUUID();
    await using dispatcher = startFakeDispatcher({ token, serverId: 42 });
    await using _ = start(token, `${dispatcher.url}/ignored`);
    await server.connected(token, soon(), 2);
    await ask(token);
    expect(used(token)).toEqual([
      "GET 42 primary",
      "GET 42 secondary",
      expect.stringMatching(/^POST 42 (primary|secondary)$/),
    ]);
    expect(dispatcher.problems).toEqual([]);
    expect(dispatcher.clients).toHaveLength(1);
  });

  it("uses another prefix when it is told to", async () => {
    const token = crypto.randomUUID();
    await using dispatcher = startFakeDispatcher({ token, serverId: "9", pathPrefix: "/hidden/brokers" });
    await using _ = start(token, dispatcher.url, "/hidden/brokers");
    await server.connected(token, soon(), 2);
    expect(dispatcher.problems).toEqual([]);
    expect(used(token)).toEqual(["GET 9 primary", "GET 9 secondary"]);
  });

  it("is what the daemon does when its environment says so", async () => {
    const location = "rack 7";
    const token = crypto.randomUUID();
    await using dispatcher = startFakeDispatcher({ token, serverId: 3, pathPrefix: "/other", location });
    await using _ = await startDaemonProcess({
      BROKER_TOKEN: token,
      BROKER_SERVER_URL: proxy.url,
      BROKER_HA_MODE_ENABLED: "true",
      BROKER_CLIENT_LOCATION: location,
      SNYK_DISPATCHER_URL_PREFIX: "/other",
      API_BASE_URL: dispatcher.url,
      PREFLIGHT_CHECKS_ENABLED: "false",
    });
    await server.connected(token, soon(), 2);
    expect(dispatcher.problems).toEqual([]);
    expect(used(token)).toEqual(["GET 3 primary", "GET 3 secondary"]);
  });

  it("connects and serves without a server's id while the dispatcher fails", async () => {
    const token = crypto.randomUUID();
    await using dispatcher = startFakeDispatcher({ token, serverId: 42 });
    dispatcher.answer = () => new Response(null, { status: 503 });
    await using made = start(token, dispatcher.url);
    await server.connected(token, soon(), 2);
    await ask(token);
    expect(used(token)).toEqual([
      "GET null primary",
      "GET null secondary",
      expect.stringMatching(/^POST null (primary|secondary)$/),
    ]);
    expect(made.logger.lines.some(({ message }) => message.startsWith("Connecting without high"))).toBe(true);
  });
});
