import { describe, expect, it } from "vitest";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { FakeWebSocket } from "../../tests/fakes/web_socket.ts";
import { LIMITS } from "../core/limits.ts";
import { BrokerConnection, reconnectWait } from "./connection.ts";
import type { BrokerEvent } from "./events.ts";
import { BrokerEndpoints, TokenMask } from "./handshake.ts";
import { DEFAULT_RULES } from "./rules.ts";

const TOKEN = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";

function bench() {
  const clock = new FakeClock();
  clock.chance = 1;
  const logger = new RecordingLogger();
  const sockets: FakeWebSocket[] = [];
  const events: BrokerEvent[] = [];
  let ids = 0;
  const broken = { value: false };
  const connection = new BrokerConnection({
    role: "secondary",
    identity: { token: TOKEN, clientId: "client", protocolVersion: "5.22.14" },
    endpoints: new BrokerEndpoints("https://user:pass@broker.example/some/path", TOKEN),
    mask: new TokenMask(TOKEN),
    clock,
    logger,
    randomId: () => `id-${++ids}`,
    webSocket: (url, options) => {
      if (broken.value) throw new SyntaxError(`Wrong url: '${url}'`);
      const socket = new FakeWebSocket(url, options);
      sockets.push(socket);
      return socket;
    },
    onEvent: (event) => events.push(event),
    describe: () => ({ filters: DEFAULT_RULES, preflightChecks: [], settings: {} }),
    times: { pingIntervalMs: 25_000, pongTimeoutMs: 10_000, connectTimeoutMs: 10_000 },
    onMessage: () => {},
    onChange: () => {},
  });
  const life = new AbortController();
  const running = connection.run(life.signal);
  const last = (): FakeWebSocket => sockets.at(-1) ?? expect.unreachable();
  const stop = async (): Promise<void> => {
    life.abort();
    await running;
  };
  return { clock, logger, sockets, events, connection, broken, last, stop, life, running };
}

const waits = (events: readonly BrokerEvent[]): readonly number[] =>
  events.flatMap((event) => event.kind === "disconnected" ? [event.waitMs] : []);

describe("BrokerConnection", () => {
  it("connects to the documented address with the documented headers", async () => {
    const { last, stop, connection } = bench();
    expect(last().url).toBe(
      `wss://broker.example/primus/${TOKEN}/?connection_role=secondary&EIO=4&transport=websocket`,
    );
    expect(last().headers).toEqual({
      "x-snyk-broker-client-id": "client",
      "x-snyk-broker-client-role": "secondary",
      "x-broker-client-version": "5.22.14",
      "snyk-request-id": "id-1",
    });
    last().accept();
    const [identify] = last().sentOf("event");
    expect(identify).toMatchObject({
      name: "identify",
      args: [{ token: TOKEN, metadata: { capabilities: ["post-streams"], version: "5.22.14", role: "secondary" } }],
    });
    expect(connection.state()).toEqual({
      role: "secondary",
      open: true,
      url: "https://broker.example/?connection_role=secondary",
    });
    await stop();
    expect(connection.state().open).toBe(false);
  });

  it("waits longer after every failure, up to brokerReconnectMaxMs, and never gives up", async () => {
    const { clock, events, last, sockets, stop } = bench();
    for (let n = 0; n < 40; n++) {
      last().fail("Connection refused");
      await clock.next();
    }
    expect(sockets).toHaveLength(41);
    expect(waits(events).slice(0, 8)).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    expect(waits(events).at(-1)).toBe(LIMITS.brokerReconnectMaxMs);
    expect(new Set(sockets.map((socket) => socket.headers["snyk-request-id"])).size).toBe(41);
    await stop();
  });

  it("comes back within brokerReconnectMinMs after a session that was stable", async () => {
    const { clock, events, last, sockets, stop } = bench();
    last().fail("refused");
    await clock.next();
    last().accept();
    await clock.advance(LIMITS.brokerStableMs);
    last().shut();
    await clock.advance(LIMITS.brokerReconnectMinMs);
    expect(waits(events)).toEqual([1_000, LIMITS.brokerReconnectMinMs]);
    expect(sockets).toHaveLength(3);
    await stop();
  });

  it("reconnects after primus::server::close, ever more slowly when the server insists", async () => {
    const { clock, events, last, stop } = bench();
    for (let n = 0; n < 3; n++) {
      last().accept();
      last().receive({ kind: "server-close" });
      await clock.next();
    }
    expect(waits(events)).toEqual([1_000, 2_000, 4_000]);
    expect(events.filter((event) => event.kind === "disconnected").every((e) => e.reason === "server-close")).toBe(
      true,
    );
    await stop();
  });

  it("reconnects when the websocket cannot even be made", async () => {
    const { broken, clock, last, sockets, stop } = bench();
    broken.value = true;
    last().fail("refused");
    await clock.next();
    await clock.next();
    broken.value = false;
    await clock.next();
    expect(sockets).toHaveLength(2);
    await stop();
  });

  it("never logs the token", async () => {
    const { broken, clock, last, logger, stop } = bench();
    last().fail(`Cannot connect to wss://broker.example/primus/${TOKEN.toUpperCase()}/`);
    broken.value = true;
    await clock.next();
    await clock.next();
    const text = JSON.stringify(logger.lines);
    expect(text.toLowerCase()).not.toContain(TOKEN);
    expect(text).toContain("aaaa-...-eeee");
    expect(text).not.toContain("pass");
    await stop();
  });

  it("closes at once, but waits for a dead peer no longer than brokerCloseMs", async () => {
    const { clock, last, life, running } = bench();
    last().accept();
    last().dead = true;
    life.abort();
    await clock.advance(LIMITS.brokerCloseMs);
    await running;
    expect(last().closed).toBe(true);
    expect(clock.pending).toBe(0);
  });

  it("stops while it waits", async () => {
    const { clock, last, sockets, stop } = bench();
    last().fail("refused");
    await clock.advance(10);
    await stop();
    expect(sockets).toHaveLength(1);
    expect(clock.pending).toBe(0);
  });
});

describe("reconnectWait()", () => {
  it.each([[0, 0, 0], [0, 0.5, 250], [3, 1, 4_000], [1_000, 1, 60_000]] as const)(
    "after %d failures with chance %d: %d ms",
    (failures, chance, expected) => expect(reconnectWait(failures, chance)).toBe(expected),
  );
});
