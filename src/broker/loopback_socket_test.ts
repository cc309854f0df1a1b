import { describe, expect, it } from "vitest";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { FakeWebSocket } from "../../tests/fakes/web_socket.ts";
import { LoopbackSocket } from "./loopback_socket.ts";

function bench() {
  const clock = new FakeClock();
  const socket = new FakeWebSocket();
  const seen: unknown[] = [];
  const made = new LoopbackSocket({
    socket: socket as unknown as WebSocket,
    role: "primary",
    clock,
    logger: new RecordingLogger(),
    sid: "sid",
    capabilities: ["receive-post-streams"],
    onOpen: () => seen.push("open"),
    onIdentified: () => seen.push("identified"),
    onClosed: () => seen.push("closed"),
    onRequest: (argument) => {
      seen.push(argument);
      return Promise.resolve({ status: 200 });
    },
    onChunk: (args) => seen.push(args),
  });
  socket.readyState = WebSocket.OPEN;
  socket.dispatchEvent(new Event("open"));
  const identify = (): void =>
    socket.receive({ kind: "event", name: "identify", args: [{ metadata: { version: "1" } }] });
  return { clock, socket, seen, made, identify };
}

describe("LoopbackSocket", () => {
  it("opens engine.io and says what it can do", async () => {
    const { clock, socket, made } = bench();
    expect(socket.sent).toEqual([
      { kind: "open", sid: "sid", pingInterval: 25_000, pingTimeout: 20_000 },
      { kind: "event", name: "identify", args: [{ capabilities: ["receive-post-streams"] }] },
    ]);
    made.drop();
    await clock.advance(0);
    expect(clock.pending).toBe(0);
  });

  it("loses what comes before identify, as the real server does", async () => {
    const { clock, socket, seen, identify, made } = bench();
    socket.receive({ kind: "event", name: "request", args: ["early"], id: 1 });
    identify();
    identify();
    socket.receive({ kind: "event", name: "request", args: ["late"], id: 2 });
    await clock.advance(0);
    expect(seen).toEqual(["open", "identified", "late"]);
    expect(socket.sentOf("ack")).toEqual([{ kind: "ack", id: 2, args: [{ status: 200 }] }]);
    made.drop();
  });

  it("drops a socket after 35 s without a message; engine.io pongs are none", async () => {
    const { clock, socket, seen, identify } = bench();
    identify();
    await clock.advance(25_000);
    expect(socket.sentOf("ping")).toHaveLength(1);
    socket.receive({ kind: "pong", data: "" });
    await clock.advance(9_999);
    expect(socket.closed).toBe(false);
    await clock.advance(1);
    expect(socket.closed).toBe(true);
    expect(seen.at(-1)).toBe("closed");
    expect(clock.pending).toBe(0);
  });

  it("keeps a socket that sends Primus pings, and echoes their value", async () => {
    const { clock, socket, made } = bench();
    for (let n = 0; n < 5; n++) {
      await clock.advance(25_000);
      socket.receive({ kind: "pong", data: "" });
      socket.receive({ kind: "primus-ping", value: String(n) });
    }
    expect(socket.closed).toBe(false);
    expect(socket.sentOf("primus-pong").at(-1)).toEqual({ kind: "primus-pong", value: "4" });
    made.drop();
  });

  it("drops a socket that does not answer engine.io's ping within 20 s", async () => {
    const { clock, socket } = bench();
    for (let n = 0; n < 9; n++) {
      await clock.advance(5_000);
      socket.receive({ kind: "primus-ping", value: "1" });
    }
    expect(socket.closed).toBe(true);
  });

  it("gives undefined to who waits for an acknowledgement of a socket that goes", async () => {
    const { clock, made, socket } = bench();
    const waiting = made.request("request", 1);
    socket.shut();
    expect(await waiting).toBe(undefined);
    expect(await made.request("request", 1)).toBe(undefined);
    expect(made.emit("request", 1)).toBe(false);
    await clock.advance(0);
    expect(clock.pending).toBe(0);
  });

  it("ends a connection on purpose with the control message in front", () => {
    const { made, socket } = bench();
    made.closeOnPurpose();
    expect(socket.sent.at(-1)).toEqual({ kind: "server-close" });
    expect(socket.closed).toBe(true);
  });
});
