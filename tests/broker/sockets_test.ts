/**
 * Which of several sockets gets the traffic (broker-protocol.md §1.6), against Snyk's broker server.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FakeClock } from "../fakes/clock.ts";
import { startTestClient, systemClock, type TestClient } from "../fakes/fake_broker.ts";
import { startTcpProxy, type TcpProxy } from "../fakes/tcp_proxy.ts";
import { type BrokerServer, startBrokerServer } from "../peers/broker_server.ts";
import { peer } from "../peers/mod.ts";

const WEBSOCKET = /^GET \/primus\//;
const soon = (): AbortSignal => AbortSignal.timeout(20_000);

describe.skipIf(!peer("snyk-broker").available)("sockets at the broker server", () => {
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

  const list = async (token: string): Promise<readonly [number, string]> => {
    const response = await fetch(server.brokerUrl(token, "/list"), { signal: soon() });
    return [response.status, await response.text()];
  };

  /** Ends the websocket of a role from the middle. */
  function cut(role: string): void {
    for (const one of proxy.connections) {
      if (WEBSOCKET.test(one.requestLine) && one.requestLine.includes(`connection_role=${role}`)) one.end("reset");
    }
  }

  it.each([["primary", "secondary"], ["secondary", "primary"]] as const)(
    "§1.6 the spare takes over at once when the %s goes, and nobody has to reconnect for it",
    async (gone, spare) => {
      // On a clock that stands still nothing reconnects.
      const clock = new FakeClock();
      const token = crypto.randomUUID();
      await using made = startTestClient({
        serverUrl: proxy.url,
        token,
        clock,
        dispatch: () => Promise.resolve(new Response("spare")),
      });
      await server.connected(token, soon(), 2);
      expect(await list(token)).toEqual([200, "spare"]);
      cut(gone);
      while (made.client.states().filter(({ open }) => open).length > 1) await systemClock.sleep(5);
      // A request that reaches a socket just as it goes stays unanswered.
      await server.left(token, soon(), 1);
      expect(await list(token)).toEqual([200, "spare"]);
      expect(made.client.states().filter(({ open }) => open).map(({ role }) => role)).toEqual([spare]);
      const callback = { path: "/v2/import/done", headers: {}, body: new Uint8Array(2) };
      expect((await made.client.send(callback, soon())).status).toBe(200);
      // The heartbeat of the loopback interface may find out later than the test is over.
      const closing = made.client.close(AbortSignal.abort());
      await clock.advance(60_000);
      await closing;
    },
  );

  it("§1.6 the newest of two clients with one token is asked", async () => {
    const token = crypto.randomUUID();
    const start = (name: string): TestClient =>
      startTestClient({
        serverUrl: server.url,
        token,
        roles: ["primary"],
        dispatch: () => Promise.resolve(new Response(name)),
      });
    await using _first = start("first");
    await server.connected(token, soon(), 1);
    expect(await list(token)).toEqual([200, "first"]);
    {
      await using _second = start("second");
      await server.connected(token, soon(), 2);
      expect(await list(token)).toEqual([200, "second"]);
    }
    await server.left(token, soon(), 1);
    expect(await list(token)).toEqual([200, "first"]);
  });
});
