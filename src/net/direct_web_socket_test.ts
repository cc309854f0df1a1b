import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../tests/fakes/clock.ts";
import { OPCODE, rawFrame, type RawSocket, startRawWebSocketServer } from "../../tests/fakes/raw_websocket.ts";
import { FakeWebSocket } from "../../tests/fakes/web_socket.ts";
import { TextBytes } from "../lib/text_bytes.ts";
import { DirectWebSocket } from "./direct_web_socket.ts";

const MiB = 1024 * 1024;
const MAX = 4 * MiB;

/** What a websocket has told, and the wait for what it tells. */
class Record {
  readonly messages: unknown[] = [];
  readonly errors: string[] = [];
  readonly closed = Promise.withResolvers<CloseEvent>();
  readonly opened = Promise.withResolvers<void>();
  #wake = Promise.withResolvers<void>();

  constructor(socket: DirectWebSocket) {
    socket.addEventListener("open", () => this.opened.resolve());
    socket.addEventListener("message", (event) => {
      const { data } = event as MessageEvent;
      this.messages.push(data instanceof TextBytes ? new TextDecoder().decode(data.bytes) : data);
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    });
    socket.addEventListener("error", (event) => this.errors.push((event as ErrorEvent).message));
    socket.addEventListener("close", (event) => this.closed.resolve(event as CloseEvent));
  }

  async count(messages: number): Promise<void> {
    while (this.messages.length < messages) await this.#wake.promise;
  }
}

describe("DirectWebSocket", () => {
  const disposables: AsyncDisposable[] = [];
  afterEach(async () => {
    for (const one of disposables.splice(0).toReversed()) await one[Symbol.asyncDispose]();
  });

  function connect(url: string, headers: { readonly [name: string]: string } = {}) {
    const fallback = new FakeWebSocket();
    const socket = new DirectWebSocket({
      url: url.replace(/^http/, "ws"),
      headers,
      dial: ({ hostname, port }) => Deno.connect({ hostname, port: Number(port) }),
      fallback: () => fallback,
      maxBytes: MAX,
      clock: systemClock,
      randomBytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
    });
    return { socket, record: new Record(socket), fallback };
  }

  /** Deno's own server, which sends back what it gets. */
  function echo() {
    const requests: { readonly own: string | null; readonly search: string }[] = [];
    const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
      requests.push({ own: request.headers.get("x-a"), search: new URL(request.url).search });
      if (new URL(request.url).pathname === "/no") return new Response(null, { status: 401 });
      const { socket, response } = Deno.upgradeWebSocket(request, { idleTimeout: 0 });
      socket.binaryType = "arraybuffer";
      socket.onmessage = ({ data }) => data === "close" ? socket.close(4000, "why") : socket.send(data);
      socket.onerror = () => {};
      return response;
    });
    disposables.push({ [Symbol.asyncDispose]: () => server.shutdown() });
    return { url: `http://127.0.0.1:${server.addr.port}`, requests };
  }

  /** A server that plays a part. */
  function plays(play: (socket: RawSocket) => Promise<void>, reads = true): string {
    const server = startRawWebSocketServer({ play, reads });
    disposables.push(server);
    return server.url;
  }

  it("reads nothing more while it is held, and goes on in order", async () => {
    const { url } = echo();
    const { socket, record } = connect(url);
    await record.opened.promise;
    const gate = Promise.withResolvers<void>();
    socket.addEventListener("message", (event) => {
      if ((event as MessageEvent).data === "hold") socket.hold(gate.promise);
    });
    for (const text of ["hold", "one", "two"]) socket.send(text);
    await record.count(1);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(record.messages).toEqual(["hold"]);
    gate.resolve();
    await record.count(3);
    expect(record.messages).toEqual(["hold", "one", "two"]);
    socket.close();
    await record.closed.promise;
  });

  it("exchanges messages of every length with Deno's server, in order", async () => {
    const { url, requests } = echo();
    const { socket, record } = connect(`${url}/primus/?a=b`, { "x-a": "1" });
    expect(socket.readyState).toBe(WebSocket.CONNECTING);
    await record.opened.promise;
    const texts = ["", "é€😀", "x".repeat(125), "x".repeat(126), "é".repeat(40_000), "y".repeat(MAX - 1)];
    for (const text of texts) socket.send(text);
    socket.send(new Uint8Array([1, 2, 255]));
    expect(socket.bufferedAmount).toBeGreaterThan(MAX);
    await record.count(texts.length + 1);
    expect(record.messages.slice(0, texts.length)).toEqual(texts);
    expect(record.messages.at(-1)).toEqual(new Uint8Array([1, 2, 255]));
    expect(socket.bufferedAmount).toBe(0);
    expect(requests).toEqual([{ own: "1", search: "?a=b" }]);
    socket.close();
    await record.closed.promise;
    expect([socket.readyState, record.errors]).toEqual([WebSocket.CLOSED, []]);
  });

  it("tells how the server has closed it", async () => {
    const { socket, record } = connect(echo().url);
    await record.opened.promise;
    socket.send("close");
    expect(await record.closed.promise).toMatchObject({ code: 4000, reason: "why" });
  });

  it("tells the status of a refusal as Deno's WebSocket does", async () => {
    const { record } = connect(`${echo().url}/no`);
    expect((await record.closed.promise).code).toBe(1006);
    expect(record.errors).toEqual(["Invalid status code: 401"]);
  });

  it("hands over where no connection can be made", async () => {
    const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = closed.addr as Deno.NetAddr;
    closed.close();
    const { socket, record, fallback } = connect(`http://127.0.0.1:${port}`);
    while (fallback.readyState === WebSocket.CONNECTING) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      fallback.accept();
    }
    await record.count(2);
    socket.send("3");
    expect(fallback.sent).toEqual([{ kind: "pong", data: "" }]);
    socket.close();
    expect(fallback.closed).toBe(true);
    await record.closed.promise;
  });

  it.each<readonly [string, readonly Uint8Array[], string]>([
    ["a message beyond its bound", [rawFrame(OPCODE.text, "", { length: MAX + 1 })], "A message is too large"],
    ["a length that no memory holds", [rawFrame(OPCODE.text, "", { length: 2 ** 53 })], "A message is too large"],
    ["text that is not UTF-8", [rawFrame(OPCODE.text, new Uint8Array([0xff]))], "A message is not UTF-8"],
    ["reserved bits", [rawFrame(OPCODE.text, "x", { reserved: 4 })], "reserved bits"],
    ["a continuation of nothing", [rawFrame(OPCODE.continuation, "x")], "did not begin"],
  ])("ends at %s", async (_what, frames, message) => {
    const url = plays(async (socket) => {
      for (const frame of frames) await socket.write(frame);
      await socket.gone;
    });
    const { record } = connect(url);
    await record.closed.promise;
    expect(record.errors).toEqual([expect.stringContaining(message)]);
  });

  it("ends a message that goes on for ever at its bound", async () => {
    let sent = 0;
    const url = plays(async (socket) => {
      const piece = new Uint8Array(64 * 1024);
      await socket.write(rawFrame(OPCODE.text, piece, { final: false }));
      while (!socket.closed) {
        await socket.write(rawFrame(OPCODE.continuation, piece, { final: false }));
        sent += piece.length;
      }
    });
    const { record } = connect(url);
    await record.closed.promise;
    expect(sent).toBeLessThan(4 * MAX);
    expect(record.messages).toEqual([]);
  });

  it("answers a server that does not read with few pongs, and leaves it in time", async () => {
    const url = plays(async (socket) => {
      const ping = rawFrame(OPCODE.ping, "x".repeat(125));
      const many = new Uint8Array(ping.length * 1_000);
      for (let n = 0; n < 1_000; n++) many.set(ping, n * ping.length);
      for (let n = 0; n < 100; n++) await socket.write(many);
      await socket.write(rawFrame(OPCODE.text, "end"));
      await new Promise((resolve) => setTimeout(resolve, 3_000));
    }, false);
    const { socket, record } = connect(url);
    await record.count(1);
    expect(socket.bufferedAmount).toBeLessThan(1_024);
    socket.close();
    expect((await record.closed.promise).code).toBe(1006);
  });

  it("can be closed before it is open", async () => {
    const { socket, record } = connect(echo().url);
    socket.close();
    expect((await record.closed.promise).code).toBe(1006);
    expect(socket.readyState).toBe(WebSocket.CLOSED);
    // The connection that was being made is closed when it comes.
    await new Promise((resolve) => setTimeout(resolve, 50));
  });
});
