/**
 * The broker client against Snyk's broker server over a link that fails (P6; reliability.md B1, B2): whatever is cut, it
 * reconnects, and the next request works.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LIMITS } from "../../src/core/limits.ts";
import type { Clock } from "../../src/core/ports.ts";
import { FakeClock } from "../fakes/clock.ts";
import { startTestClient, systemClock, type TestClient } from "../fakes/fake_broker.ts";
import { startTcpProxy, type TcpProxy } from "../fakes/tcp_proxy.ts";
import { type BrokerServer, startBrokerServer, type UpstreamRequest } from "../peers/broker_server.ts";
import { peer } from "../peers/mod.ts";

const KiB = 1024;
const ANSWER_BYTES = 512 * KiB;
const WEBSOCKET = /^GET \/primus\//;
const UPLOAD = /^POST \/response-data\//;
const soon = (): AbortSignal => AbortSignal.timeout(20_000);
/** Reconnects without waiting. */
const impatient: Clock = { ...systemClock, random: () => 0 };

/** The same faults in every run; FAULT_SEED makes others. */
const seed = Number(Deno.env.get("FAULT_SEED") ?? 20_260_701);
const random = mulberry32(seed);

describe.skipIf(!peer("snyk-broker").available)("broker client over a failing link", () => {
  let server: BrokerServer;
  let proxy: TcpProxy;
  let held: { readonly come: () => void; readonly go: Promise<void> } | undefined;

  beforeAll(async () => {
    server = await startBrokerServer({
      answer: async () => {
        held?.come();
        await held?.go;
        return Response.json({ ok: true });
      },
    });
    proxy = await startTcpProxy(server.port);
  });
  afterAll(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await server?.stop();
  });

  async function start(clock: Clock = impatient): Promise<{ made: TestClient; token: string }> {
    proxy.setFault(undefined);
    const token = crypto.randomUUID();
    const made = startTestClient({
      serverUrl: proxy.url,
      token,
      clock,
      dispatch: (request) =>
        Promise.resolve(
          new URL(request.url).pathname === "/list" ? Response.json(["team/app"]) : new Response(letters(ANSWER_BYTES)),
        ),
    });
    await made.client.ready(soon());
    await server.connected(token, soon(), 2);
    return { made, token };
  }

  const call = (token: string, path: string): Promise<Response> =>
    fetch(server.brokerUrl(token, path), { signal: soon() });

  /** Bytes of a streamed answer; undefined when it was cut off or refused. */
  async function size(token: string): Promise<number | undefined> {
    try {
      const response = await call(token, "/list/large");
      const { byteLength } = await response.arrayBuffer();
      return response.ok ? byteLength : undefined;
    } catch (error) {
      if (error instanceof DOMException && error.name === "TimeoutError") throw error;
      return undefined;
    }
  }

  /** Asks until the server has noticed what we know: it answers 503 while it has no socket, 404 never. */
  async function works(token: string): Promise<void> {
    await server.connected(token, soon(), 2);
    for (const deadline = soon();;) {
      deadline.throwIfAborted();
      const response = await call(token, "/list");
      const text = await response.text();
      if (response.status === 200) return expect(JSON.parse(text)).toEqual(["team/app"]);
      expect(response.status).toBe(503);
    }
  }

  const callback = (made: TestClient, id: string): Promise<{ readonly status: number }> => {
    const body = new TextEncoder().encode(JSON.stringify({ id, padding: "x".repeat(64 * KiB) }));
    return made.client.send({
      path: "/api/v2/import/result",
      headers: { "content-type": "application/json" },
      body,
    }, soon());
  };
  const arrived = (id: string): readonly UpstreamRequest[] =>
    server.upstream.requests.filter(({ json }) => (json as { readonly id?: unknown } | undefined)?.id === id);

  it.each(["cut", "reset"] as const)(
    "shows the caller a streamed answer whose upload was %s anywhere, and answers the next",
    async (kind) => {
      const { made, token } = await start();
      await using _ = made;
      for (let n = 0; n < 6; n++) {
        const after = Math.floor(random() * ANSWER_BYTES);
        const before = proxy.ended;
        proxy.setFault({ kind, direction: "up", after }, UPLOAD);
        expect(await size(token), `${kind} after ${after}`).toBe(undefined);
        expect(proxy.ended).toBe(before + 1);
        await works(token);
      }
      expect(made.events.filter(({ kind }) => kind === "disconnected")).toEqual([]);
    },
  );

  it.each(["cut", "reset"] as const)(
    "finishes an answer although every websocket was %s meanwhile",
    async (kind) => {
      const { made, token } = await start();
      await using _ = made;
      proxy.setFault({ kind: "slow", bytesPerSecond: 1024 * KiB }, UPLOAD);
      const answer = size(token);
      await until(() => proxy.connections.some((one) => UPLOAD.test(one.requestLine) && one.passed.up > 64 * KiB));
      for (const one of proxy.connections) if (WEBSOCKET.test(one.requestLine)) one.end(kind);
      expect(await answer).toBe(ANSWER_BYTES);
      await works(token);
      expect(made.events.filter(({ kind }) => kind === "disconnected")).toHaveLength(2);
    },
  );

  it("reconnects when the handshake is cut after any number of bytes, in either direction", async () => {
    const { made, token } = await start();
    await using _ = made;
    const sofar = proxy.ended;
    for (let n = 0; n < 8; n++) {
      const direction = n % 2 === 0 ? "up" : "down";
      const after = Math.floor(random() * (direction === "up" ? 1_500 : 300));
      const before = proxy.ended;
      const losses = made.events.filter(({ kind }) => kind === "disconnected").length;
      const reconnected = (): boolean =>
        made.events.filter(({ kind }) => kind === "disconnected").length >= losses + 2 &&
        made.client.states().every(({ open }) => open);
      proxy.setFault({ kind: "cut", direction, after, times: 3 }, WEBSOCKET);
      for (const one of proxy.connections) if (WEBSOCKET.test(one.requestLine)) one.end("cut");
      await until(() => proxy.ended - before === 3 || reconnected());
      // A request of the server that is cut would never be answered: that is not what this is about.
      proxy.setFault(undefined);
      await works(token);
    }
    expect(proxy.ended - sofar).toBeGreaterThan(8);
  });

  it("rejects a callback whose websocket is cut on its way, at once, and delivers the next", async () => {
    const { made, token } = await start();
    await using _ = made;
    for (let n = 0; n < 6; n++) {
      const id = crypto.randomUUID();
      const after = Math.floor(random() * 64 * KiB);
      proxy.setFault({ kind: n % 2 === 0 ? "cut" : "reset", direction: "up", after }, WEBSOCKET);
      await expect(callback(made, id), `cut after ${after}`).rejects.toMatchObject({ code: "BROKER_DISCONNECTED" });
      expect(arrived(id)).toEqual([]);
      await server.connected(token, soon(), 2);
      await made.client.ready(soon());
      expect((await callback(made, id)).status).toBe(200);
      expect(arrived(id)).toHaveLength(1);
    }
  });

  it("rejects a callback whose answer is lost, although Snyk has it", async () => {
    const { made, token } = await start();
    await using _ = made;
    const id = crypto.randomUUID();
    const come = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    held = { come: come.resolve, go: go.promise };
    const failure = expect(callback(made, id)).rejects.toMatchObject({ code: "BROKER_DISCONNECTED" });
    await come.promise;
    for (const one of proxy.connections) one.end("cut");
    await failure;
    held = undefined;
    go.resolve();
    expect(arrived(id)).toHaveLength(1);
    await works(token);
  });

  it("passes requests, large answers and callbacks through a link that slices everything", async () => {
    const { made, token } = await start();
    await using _ = made;
    proxy.setFault({ kind: "slice", bytes: 97 });
    expect(await size(token)).toBe(ANSWER_BYTES);
    const id = crypto.randomUUID();
    expect((await callback(made, id)).status).toBe(200);
    expect(arrived(id)).toHaveLength(1);
    for (const one of proxy.connections) one.end("cut");
    proxy.setFault({ kind: "slice", bytes: 3 });
    await works(token);
  });

  it("finds a black-holed link by its own pings, gives up connecting into it, and comes back when it opens", async () => {
    const clock = new FakeClock();
    const { made, token } = await start(clock);
    try {
      proxy.setFault({ kind: "stall" });
      await clock.advance(LIMITS.brokerPingIntervalMs);
      expect(made.client.states().map(({ open }) => open)).toEqual([true, true]);
      await clock.advance(LIMITS.brokerPongTimeoutMs);
      expect(made.client.states().map(({ open }) => open)).toEqual([false, false]);
      const reasons = (): readonly string[] =>
        made.events.flatMap((event) => event.kind === "disconnected" ? [event.reason] : []);
      expect(reasons()).toEqual(["pong-timeout", "pong-timeout"]);
      await expect(callback(made, crypto.randomUUID())).rejects.toMatchObject({ code: "BROKER_DISCONNECTED" });
      await clock.advance(LIMITS.brokerReconnectMinMs);
      await clock.advance(LIMITS.brokerConnectTimeoutMs);
      expect(reasons().slice(2)).toEqual(["connect-timeout", "connect-timeout"]);
      proxy.setFault(undefined);
      await clock.advance(LIMITS.brokerReconnectMaxMs);
      await works(token);
    } finally {
      proxy.setFault(undefined);
      await made[Symbol.asyncDispose]();
    }
  });
});

/** A body of `size` letters in pieces of 64 KiB. */
function letters(size: number): ReadableStream<Uint8Array<ArrayBuffer>> {
  let left = size;
  return new ReadableStream({
    pull(controller) {
      if (left === 0) return controller.close();
      const length = Math.min(left, 64 * KiB);
      left -= length;
      controller.enqueue(new Uint8Array(length).fill(0x61));
    },
  });
}

/** Waits for something that has no event: bytes inside the proxy. */
async function until(condition: () => boolean): Promise<void> {
  for (const deadline = soon(); !condition();) {
    deadline.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A small random number generator whose run a seed repeats. */
function mulberry32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
