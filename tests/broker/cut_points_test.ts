/**
 * One request with its callback, the connection cut at each boundary of its frames and inside each of them, in both
 * directions (reliability.md B1): the client comes back within two seconds, the agent is asked at most once for each
 * request, the caller gets an answer or is told that there is none, and the next request works.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Clock } from "../../src/core/ports.ts";
import { startTestClient, systemClock, type TestClient } from "../fakes/fake_broker.ts";
import { type Direction, startTcpProxy, type TcpProxy } from "../fakes/tcp_proxy.ts";
import { FrameScanner } from "../fakes/frame_scanner.ts";
import { type BrokerServer, startBrokerServer } from "../peers/broker_server.ts";
import { peer } from "../peers/mod.ts";

const WEBSOCKET = /^GET \/primus\//;
const soon = (): AbortSignal => AbortSignal.timeout(20_000);
/** Reconnects without waiting. */
const impatient: Clock = { ...systemClock, random: () => 0 };

interface Exchange extends AsyncDisposable {
  readonly made: TestClient;
  readonly token: string;
  /** Names of the requests that reached the agent, in order. */
  readonly asked: readonly string[];
}

describe.skipIf(!peer("snyk-broker").available)("a connection that is cut at every frame", () => {
  let server: BrokerServer;
  let proxy: TcpProxy;
  const scanners: Record<Direction, FrameScanner> = { up: new FrameScanner(), down: new FrameScanner() };

  beforeAll(async () => {
    server = await startBrokerServer();
    proxy = await startTcpProxy(server.port, (direction, bytes, connection) => {
      if (WEBSOCKET.test(connection.requestLine)) scanners[direction].push(bytes);
    });
  });
  afterAll(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await server?.stop();
  });

  function start(): Exchange {
    const asked: string[] = [];
    const token = crypto.randomUUID();
    const made = startTestClient({
      serverUrl: proxy.url,
      token,
      clock: impatient,
      roles: ["primary"],
      dispatch: async (request) => {
        const name = await request.text();
        asked.push(name);
        // The callback may be lost with the connection: that is told at once, and not what is waited for.
        await made.client.send({ path: "/v2/import/done", headers: {}, body: new TextEncoder().encode(name) }, soon())
          .catch(() => {});
        return Response.json(name);
      },
    });
    return { made, token, asked, [Symbol.asyncDispose]: () => made[Symbol.asyncDispose]() };
  }

  /** Asks by stream or by acknowledgement; undefined when the caller was told that there is no answer. */
  async function ask(token: string, name: string, inside: boolean, ms = 10_000): Promise<string | undefined> {
    const headers: Record<string, string> = inside ? { "x-broker-ws-response": "true" } : {};
    try {
      const response = await fetch(server.brokerUrl(token, "/scan"), {
        method: "POST",
        body: name,
        headers,
        signal: AbortSignal.timeout(ms),
      });
      const text = await response.text();
      return response.ok ? text : undefined;
    } catch {
      return undefined;
    }
  }

  /** Positions of the ends of frames, as bytes of a connection that does the exchange once. */
  async function boundaries(inside: boolean): Promise<Readonly<Record<Direction, readonly number[]>>> {
    scanners.up.reset();
    scanners.down.reset();
    await using exchange = start();
    await server.connected(exchange.token, soon());
    expect(await ask(exchange.token, "probe", inside)).toBe('"probe"');
    return { up: [...scanners.up.ends], down: [...scanners.down.ends] };
  }

  it.each([["a stream", false], ["an acknowledgement", true]] as const)(
    "B1 works again after each cut, with answers by %s",
    async (_name, inside) => {
      const ends = await boundaries(inside);
      // Handshake and identify go up, open packet and identify come down; then request, callback, and their answers.
      expect(ends.up.length).toBeGreaterThanOrEqual(inside ? 4 : 3);
      expect(ends.down.length).toBeGreaterThanOrEqual(5);
      let cuts = 0;
      for (const direction of ["up", "down"] as const) {
        let start = 0;
        for (const end of ends[direction]) {
          const points = new Set([start + 1, end - 1, end]);
          start = end;
          for (const after of points) {
            const label = `${direction} after ${after} of ${ends[direction]}`;
            await cutAt(direction, after, inside, label);
            cuts++;
          }
        }
      }
      expect(cuts).toBeGreaterThan(20);
    },
  );

  async function cutAt(direction: Direction, after: number, inside: boolean, label: string): Promise<void> {
    const ended = proxy.ended;
    proxy.setFault({ kind: "cut", direction, after }, WEBSOCKET);
    await using exchange = start();
    const { made, token, asked } = exchange;
    await made.client.ready(soon());
    await server.connected(token, soon());
    // The server cannot tell its caller of a request that the network has lost.
    const first = await ask(token, "first", inside, 300);
    expect([undefined, '"first"'], label).toContain(first);
    const lostAt = performance.now();
    await made.client.ready(soon());
    await server.connected(token, soon());
    expect(performance.now() - lostAt, label).toBeLessThan(2_000);
    expect(await ask(token, "second", inside), label).toBe('"second"');
    expect(asked.filter((name) => name === "first").length, label).toBeLessThanOrEqual(1);
    expect(asked.at(-1), label).toBe("second");
    // The last byte of an exchange may never be sent on this connection: then nothing was cut.
    expect(proxy.ended - ended, label).toBeLessThanOrEqual(1);
    proxy.setFault(undefined);
  }
});
