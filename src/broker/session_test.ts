import { describe, expect, it } from "vitest";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { FakeWebSocket } from "../../tests/fakes/web_socket.ts";
import { LIMITS } from "../core/limits.ts";
import type { BrokerEvent } from "./events.ts";
import { BrokerSession, type ServerMessage } from "./session.ts";

interface Bench {
  readonly clock: FakeClock;
  readonly socket: FakeWebSocket;
  readonly session: BrokerSession;
  readonly events: BrokerEvent[];
  readonly messages: ServerMessage[];
  opened: number;
}

function bench(): Bench {
  const clock = new FakeClock();
  const socket = new FakeWebSocket();
  const events: BrokerEvent[] = [];
  const messages: ServerMessage[] = [];
  const session = new BrokerSession({
    role: "primary",
    socket,
    clock,
    logger: new RecordingLogger(),
    onEvent: (event) => events.push(event),
    identify: { token: "t" },
    times: { pingIntervalMs: 25_000, pongTimeoutMs: 10_000, connectTimeoutMs: 10_000 },
    onMessage: (_session, message) => messages.push(message),
    onOpen: () => void made.opened++,
  });
  const made: Bench = { clock, socket, session, events, messages, opened: 0 };
  return made;
}

/** Lets the server's engine.io heartbeat go on while time passes. */
async function live(made: Bench, ms: number, options: { readonly pongs: boolean }): Promise<void> {
  for (let passed = 0; passed < ms; passed += 1_000) {
    await made.clock.advance(1_000);
    made.socket.receive({ kind: "ping", data: "" });
    const ping = made.socket.sentOf("primus-ping").at(-1);
    if (options.pongs && ping !== undefined) made.socket.receive({ kind: "primus-pong", value: ping.value });
  }
}

const signal = (): AbortSignal => new AbortController().signal;

describe("BrokerSession", () => {
  it("pings and identifies itself before anything else, once the open packet is there", () => {
    const { socket, session } = bench();
    socket.readyState = WebSocket.OPEN;
    socket.dispatchEvent(new Event("open"));
    expect(session.emit("early")).toBe(false);
    expect(socket.sent).toEqual([]);
    socket.accept();
    expect(socket.sent).toEqual([
      { kind: "primus-ping", value: expect.stringMatching(/^\d+$/) },
      { kind: "event", name: "identify", args: [{ token: "t" }] },
    ]);
    expect(session.open).toBe(true);
    expect(session.can("receive-post-streams")).toBe(true);
    expect(session.can("fly")).toBe(false);
    session.close();
  });

  it("closes a socket that does not connect within brokerConnectTimeoutMs", async () => {
    const { clock, socket, session } = bench();
    await clock.advance(LIMITS.brokerConnectTimeoutMs - 1);
    expect(socket.closed).toBe(false);
    await clock.advance(1);
    expect(socket.closed).toBe(true);
    expect((await session.ended).reason).toBe("connect-timeout");
    expect(clock.pending).toBe(0);
  });

  it("closes a socket that opens, but whose engine.io does not", async () => {
    const { clock, socket, session } = bench();
    socket.readyState = WebSocket.OPEN;
    socket.dispatchEvent(new Event("open"));
    await clock.advance(LIMITS.brokerConnectTimeoutMs);
    expect((await session.ended).reason).toBe("connect-timeout");
  });

  it("reports why a connection was refused", async () => {
    const { socket, session } = bench();
    socket.fail("Invalid status code: 401");
    expect(await session.ended).toEqual({ reason: "connect-failed", detail: "Invalid status code: 401" });
  });

  it("answers engine.io's heartbeat with the same data", () => {
    const { socket, session } = bench();
    socket.accept();
    socket.receive({ kind: "ping", data: "probe" });
    expect(socket.sentOf("pong")).toEqual([{ kind: "pong", data: "probe" }]);
    session.close();
  });

  it("ends when engine.io's heartbeat stays out for pingInterval + pingTimeout", async () => {
    const made = bench();
    made.socket.accept();
    await made.clock.advance(20_000);
    made.socket.receive({ kind: "ping", data: "" });
    for (let passed = 0; passed < 45_000; passed += 1_000) {
      expect(made.session.open).toBe(true);
      await made.clock.advance(1_000);
      const ping = made.socket.sentOf("primus-ping").at(-1);
      if (ping !== undefined) made.socket.receive({ kind: "primus-pong", value: ping.value });
    }
    expect((await made.session.ended).reason).toBe("silence");
    expect(made.clock.pending).toBe(0);
  });

  it("sends a Primus ping 25 s after opening and after every pong", async () => {
    const made = bench();
    made.socket.accept();
    await live(made, 24_000, { pongs: true });
    expect(made.socket.sentOf("primus-ping")).toHaveLength(1);
    await live(made, 27_000, { pongs: true });
    expect(made.socket.sentOf("primus-ping")).toHaveLength(3);
    expect(made.events.filter((event) => event.kind === "pong")).toHaveLength(2);
    expect(made.session.open).toBe(true);
    made.session.close();
    await made.clock.advance(0);
    expect(made.clock.pending).toBe(0);
  });

  it("ends when a pong stays out for 10 s; another ping's pong does not count", async () => {
    const made = bench();
    made.socket.accept();
    await live(made, 34_000, { pongs: false });
    made.socket.receive({ kind: "primus-pong", value: "0" });
    expect(made.session.open).toBe(true);
    await live(made, 1_000, { pongs: false });
    expect((await made.session.ended).reason).toBe("pong-timeout");
  });

  it.each(
    [
      [{ kind: "server-close" }, "server-close"],
      [{ kind: "close" }, "closed-by-server"],
    ] as const,
  )("ends on %j", async (frame, reason) => {
    const { socket, session } = bench();
    socket.accept();
    socket.receive(frame);
    expect((await session.ended).reason).toBe(reason);
    expect(socket.closed).toBe(true);
  });

  it("hands events on and acknowledges them", () => {
    const { socket, session, messages } = bench();
    socket.accept();
    socket.receive({ kind: "event", name: "request", args: [{ url: "/" }], id: 7 });
    expect(messages).toEqual([{ name: "request", args: [{ url: "/" }], id: 7 }]);
    expect(session.acknowledge(7, { status: 200 })).toBe(true);
    expect(socket.sentOf("ack")).toEqual([{ kind: "ack", id: 7, args: [{ status: 200 }] }]);
    session.close();
    expect(session.acknowledge(7, {})).toBe(false);
  });

  it("matches acknowledgements to requests, each once", async () => {
    const { socket, session } = bench();
    socket.accept();
    const [first, second] = [session.request("request", 1, signal()), session.request("request", 2, signal())];
    socket.receive({ kind: "ack", id: 2, args: ["two"] });
    socket.receive({ kind: "ack", id: 99, args: ["nobody"] });
    socket.receive({ kind: "ack", id: 1, args: ["one"] });
    socket.receive({ kind: "ack", id: 1, args: ["again"] });
    expect(await first).toEqual(["one"]);
    expect(await second).toEqual(["two"]);
    expect(socket.sentOf("event").slice(1).map((event) => event.id)).toEqual([1, 2]);
    session.close();
  });

  it("rejects what waits for an acknowledgement when the connection goes", async () => {
    const { socket, session } = bench();
    socket.accept();
    const waiting = session.request("request", 1, signal());
    socket.shut();
    await expect(waiting).rejects.toMatchObject({ code: "BROKER_DISCONNECTED" });
    await expect(session.request("request", 1, signal())).rejects.toMatchObject({ code: "BROKER_DISCONNECTED" });
  });

  it("stops waiting when the caller's signal aborts", async () => {
    const { socket, session } = bench();
    socket.accept();
    const caller = new AbortController();
    const waiting = session.request("request", 1, caller.signal);
    caller.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    await expect(session.request("request", 1, caller.signal)).rejects.toThrow("enough");
    session.close();
  });

  it("counts frames that it cannot use, and lives on", () => {
    const { socket, session, events } = bench();
    socket.receiveRaw("3");
    socket.accept();
    for (const frame of ["x", "4{", new Uint8Array(3), "4null", `0{"sid":"b","pingInterval":1,"pingTimeout":1}`]) {
      socket.receiveRaw(frame);
    }
    socket.receiveRaw(`4{"type":0,"data":["identify",null]}`);
    expect(session.open).toBe(true);
    expect(events.map((event) => event.kind === "frame" && event.outcome)).toEqual([
      "ignored",
      "malformed",
      "malformed",
      "malformed",
      "ignored",
      "ignored",
      "malformed",
    ]);
    session.close();
  });

  it("§1.1 sends back no ping that is larger than one has to be", () => {
    const { socket, events, session } = bench();
    socket.accept();
    socket.receive({ kind: "ping", data: "x".repeat(LIMITS.brokerPingChars) });
    socket.receive({ kind: "ping", data: "x".repeat(LIMITS.brokerPingChars + 1) });
    expect(socket.sentOf("pong").map(({ data }) => data.length)).toEqual([LIMITS.brokerPingChars]);
    expect(events.at(-1)).toEqual({ kind: "frame", role: "primary", outcome: "malformed" });
    session.close();
  });

  it("answers few pings of a peer that does not read", async () => {
    const { clock, socket, session } = bench();
    socket.accept();
    socket.bufferedAmount = 1;
    for (let n = 0; n < 100; n++) socket.receive({ kind: "ping", data: "" });
    expect(socket.sentOf("pong")).toHaveLength(1);
    await clock.advance(LIMITS.brokerPongEveryMs);
    for (let n = 0; n < 100; n++) socket.receive({ kind: "ping", data: "" });
    expect(socket.sentOf("pong")).toHaveLength(2);
    socket.bufferedAmount = 0;
    for (let n = 0; n < 100; n++) socket.receive({ kind: "ping", data: "" });
    expect(socket.sentOf("pong")).toHaveLength(102);
    session.close();
  });

  it("puts nothing more into a websocket whose peer does not read, and goes on when it does", async () => {
    const { clock, socket, session } = bench();
    socket.accept();
    socket.bufferedAmount = LIMITS.brokerSendBufferBytes + 1;
    expect([session.emit("a"), session.acknowledge(1, "b")]).toEqual([false, false]);
    const waiting = session.request("c", 1, signal());
    const patience = new AbortController();
    const abandoned = session.request("d", 1, patience.signal);
    await clock.advance(5_000);
    expect(socket.sentOf("event")).toHaveLength(1);
    patience.abort(new Error("enough"));
    await expect(abandoned).rejects.toThrow("enough");
    socket.bufferedAmount = LIMITS.brokerSendBufferBytes;
    await clock.advance(100);
    expect([session.emit("a"), session.acknowledge(1, "b")]).toEqual([true, true]);
    expect(socket.sentOf("event").map(({ name }) => name)).toEqual(["identify", "c", "a"]);
    socket.receive({ kind: "ack", id: 1, args: ["ok"] });
    expect(await waiting).toEqual(["ok"]);
    socket.bufferedAmount = LIMITS.brokerSendBufferBytes + 1;
    const lost = expect(session.request("e", 1, signal())).rejects.toMatchObject({ code: "BROKER_DISCONNECTED" });
    await clock.advance(100);
    session.close();
    await lost;
    await clock.advance(100);
    expect(clock.pending).toBe(0);
  });

  it("does not let the server's times switch the watchdog off or make it spin", async () => {
    const made = bench();
    made.socket.readyState = WebSocket.OPEN;
    made.socket.receive({ kind: "open", sid: "s", pingInterval: 0, pingTimeout: 0 });
    await made.clock.advance(LIMITS.brokerHeartbeatMinMs - 1);
    expect(made.session.open).toBe(true);
    await made.clock.advance(1);
    expect((await made.session.ended).reason).toBe("silence");
  });
});
