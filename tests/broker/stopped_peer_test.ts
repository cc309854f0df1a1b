/**
 * A peer that stands still (reliability.md B2): the connections stay, and nobody is behind them. Each side finds out by
 * its heartbeat, and the client comes back by itself.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Clock } from "../../src/core/ports.ts";
import { startDaemonProcess } from "../e2e/daemon.ts";
import { FakeClock } from "../fakes/clock.ts";
import { startFakeBroker, startTestClient, systemClock } from "../fakes/fake_broker.ts";
import { startTcpProxy } from "../fakes/tcp_proxy.ts";
import { type BrokerServer, startBrokerServer } from "../peers/broker_server.ts";
import { peer } from "../peers/mod.ts";

const TOKEN = "55555555-2222-4333-8444-555555555555";
const soon = (): AbortSignal => AbortSignal.timeout(30_000);
/** Reconnects without waiting. */
const impatient: Clock = { ...systemClock, random: () => 0 };
const times = { pingIntervalMs: 200, pongTimeoutMs: 1_000, connectTimeoutMs: 1_000 };

describe.skipIf(!peer("snyk-broker").available)("a broker server that stands still", () => {
  let server: BrokerServer;

  beforeAll(async () => {
    server = await startBrokerServer();
  });
  afterAll(async () => {
    server?.resume();
    await server?.stop();
  });

  const list = async (): Promise<number> => {
    const response = await fetch(server.brokerUrl(TOKEN, "/list"), { signal: soon() });
    await response.body?.cancel();
    return response.status;
  };

  it("B2 §1.2 §8 is found by the pong that stays out, and served again when it goes on", async () => {
    const lost = Promise.withResolvers<void>();
    const refused = Promise.withResolvers<void>();
    const reasons: string[] = [];
    await using made = startTestClient({
      serverUrl: server.url,
      token: TOKEN,
      clock: impatient,
      times,
      dispatch: () => Promise.resolve(Response.json([])),
      onEvent: (event) => {
        if (event.kind !== "disconnected") return;
        reasons.push(event.reason);
        if (reasons.filter((reason) => reason === "pong-timeout").length === 2) lost.resolve();
        if (reasons.includes("connect-timeout")) refused.resolve();
      },
    });
    await server.connected(TOKEN, soon(), 2);
    expect(await list()).toBe(200);
    server.pause();
    const stoppedAt = performance.now();
    await lost.promise;
    expect(performance.now() - stoppedAt).toBeLessThan(5_000);
    expect(made.client.states().every(({ open }) => !open)).toBe(true);
    const callback = { path: "/v2/import/done", headers: {}, body: new Uint8Array(2) };
    await expect(made.client.send(callback, soon())).rejects.toMatchObject({ code: "BROKER_DISCONNECTED" });
    await refused.promise;
    server.resume();
    await made.client.ready(soon());
    await server.connected(TOKEN, soon(), 2);
    expect(await list()).toBe(200);
    expect((await made.client.send(callback, soon())).status).toBe(200);
  });

  it("§1.1 §1.2 is no reason to hang up when it only is slow", async () => {
    await using proxy = await startTcpProxy(server.port);
    proxy.setFault({ kind: "slow", bytesPerSecond: 20_000 });
    const token = crypto.randomUUID();
    await using made = startTestClient({
      serverUrl: proxy.url,
      token,
      times: { pingIntervalMs: 200, pongTimeoutMs: 5_000, connectTimeoutMs: 10_000 },
      dispatch: () => Promise.resolve(Response.json([])),
    });
    await made.client.ready(soon());
    const pongs = (): number => made.events.filter(({ kind }) => kind === "pong").length;
    while (pongs() < 6) await systemClock.sleep(20);
    expect(made.events.filter(({ kind }) => kind === "disconnected")).toEqual([]);
    expect(made.client.states().every(({ open }) => open)).toBe(true);
    proxy.setFault(undefined);
  });
});

describe("a client that stands still", () => {
  it("B2 §8 is dropped by the server, and comes back when it goes on", async () => {
    const clock = new FakeClock();
    await using server = startFakeBroker(TOKEN, { clock });
    await using daemon = await startDaemonProcess({
      BROKER_TOKEN: TOKEN,
      BROKER_SERVER_URL: server.url,
      API_BASE_URL: server.url,
      PREFLIGHT_CHECKS_ENABLED: "false",
    });
    const { pid } = daemon.process;
    await server.broker.connected(2, soon());
    Deno.kill(pid, "SIGSTOP");
    try {
      await clock.advance(35_000);
      expect(server.broker.sockets).toEqual([]);
    } finally {
      Deno.kill(pid, "SIGCONT");
    }
    await server.broker.connected(2, soon());
    const response = await server.broker.call(new Request("http://loopback/healthcheck"));
    expect(response.status).toBe(200);
    await response.body?.cancel();
    expect(daemon.process.ended).toBe(false);
  });
});
