/**
 * High availability mode against Snyk's broker server, with a dispatcher that answers only to the reference's request: the
 * server it names is named in every handshake and every answer (broker-protocol.md §9).
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startFakeDispatcher } from "../fakes/dispatcher.ts";
import { startTestClient, type TestClient } from "../fakes/fake_broker.ts";
import { startTcpProxy, type TcpProxy } from "../fakes/tcp_proxy.ts";
import { type BrokerServer, startBrokerServer } from "../peers/broker_server.ts";
import { peer } from "../peers/mod.ts";

const TOKEN = "7a11a7e0-2222-4333-8444-555555555555";
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

  function start(apiUrl: string, pathPrefix = "/hidden/broker"): TestClient {
    return startTestClient({
      serverUrl: proxy.url,
      token: TOKEN,
      dispatch: () => Promise.resolve(Response.json(["team/app"])),
      dispatcher: { apiUrl, pathPrefix, location: "snyk-broker-client" },
    });
  }

  /** Asks for an answer, and gives the query of each address that was used. */
  async function queries(): Promise<readonly string[]> {
    const response = await fetch(server.brokerUrl(TOKEN, "/list"), { signal: soon() });
    expect([response.status, await response.json()]).toEqual([200, ["team/app"]]);
    return proxy.connections.map(({ requestLine }) => {
      const [method, target = ""] = requestLine.split(" ");
      const { searchParams } = new URL(target, proxy.url);
      return `${method} ${searchParams.get("server_id")} ${searchParams.get("connection_role")}`;
    }).toSorted();
  }

  it("names the server in both handshakes and in the answer", async () => {
    await using dispatcher = startFakeDispatcher({ token: TOKEN, serverId: 42 });
    await using _ = start(`${dispatcher.url}/ignored`);
    await server.connected(TOKEN, soon(), 2);
    expect(await queries()).toEqual([
      "GET 42 primary",
      "GET 42 secondary",
      expect.stringMatching(/^POST 42 (primary|secondary)$/),
    ]);
    expect(dispatcher.problems).toEqual([]);
    expect(dispatcher.clients).toHaveLength(1);
  });

  it("uses another prefix when it is told to", async () => {
    await using dispatcher = startFakeDispatcher({ token: TOKEN, serverId: "9", pathPrefix: "/hidden/brokers" });
    await using _ = start(dispatcher.url, "/hidden/brokers");
    await server.connected(TOKEN, soon(), 2);
    expect(dispatcher.problems).toEqual([]);
    expect((await queries()).slice(0, 2)).toEqual(["GET 9 primary", "GET 9 secondary"]);
  });

  it("connects and serves without a server's id while the dispatcher fails", async () => {
    await using dispatcher = startFakeDispatcher({ token: TOKEN, serverId: 42 });
    dispatcher.answer = () => new Response(null, { status: 503 });
    await using made = start(dispatcher.url);
    await server.connected(TOKEN, soon(), 2);
    expect(await queries()).toEqual([
      "GET null primary",
      "GET null secondary",
      expect.stringMatching(/^POST null (primary|secondary)$/),
    ]);
    expect(made.logger.lines.some(({ message }) => message.startsWith("Connecting without high"))).toBe(true);
  });
});
