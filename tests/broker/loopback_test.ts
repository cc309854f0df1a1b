/** Broker client and loopback broker server against each other, over real sockets. */
import { describe, expect, it } from "vitest";
import type { CallbackAnswer } from "../../src/broker/mod.ts";
import type { Clock } from "../../src/core/ports.ts";
import { startFakeBroker, startTestClient, systemClock } from "../fakes/fake_broker.ts";

const TOKEN = "AAAAAAAA-bbbb-4ccc-8ddd-eeeeeeeeeeee";
const MiB = 1024 * 1024;
const soon = (): AbortSignal => AbortSignal.timeout(20_000);
/** Reconnects without waiting. */
const impatient: Clock = { ...systemClock, random: () => 0 };

/** A body of letters in pieces of 64 KiB; `pulled` counts its bytes. */
function letters(size: number, pulled: { bytes: number } = { bytes: 0 }): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    pull(controller) {
      if (pulled.bytes >= size) return controller.close();
      const length = Math.min(size - pulled.bytes, 65_536);
      pulled.bytes += length;
      controller.enqueue(new Uint8Array(length).fill(0x61));
    },
  }, { highWaterMark: 0 });
}

describe("LoopbackBroker with a broker client", () => {
  it("brings requests to the agent and callbacks to its hook, at the HTTP side and in process", async () => {
    await using server = startFakeBroker(TOKEN);
    await using made = startTestClient({
      serverUrl: server.url,
      token: TOKEN,
      dispatch: async (request) => {
        const answer = await made.client.send({
          path: "/api/v2/import/done",
          headers: { "x-a": "1" },
          body: new Uint8Array(await request.arrayBuffer()),
        }, soon());
        return Response.json({ answered: answer.status }, { status: 202, headers: { "x-b": "2" } });
      },
    });
    await server.broker.connected(2, soon());
    expect(server.broker.sockets.map((socket) => socket.role).sort()).toEqual(["primary", "secondary"]);
    expect(server.broker.sockets[0]?.metadata).toMatchObject({ version: "5.22.14", capabilities: ["post-streams"] });
    const init = { method: "POST", body: "{}" };
    const outside = await fetch(`${server.url}/broker/${TOKEN.toLowerCase()}/scan`, init);
    expect([outside.status, outside.headers.get("x-b"), await outside.json()]).toEqual([202, "2", { answered: 200 }]);
    const inside = await server.broker.call(new Request("http://loopback/scan", init));
    expect([inside.status, await inside.json()]).toEqual([202, { answered: 200 }]);
    expect(server.callbacks).toHaveLength(2);
    expect(server.callbacks[0]).toMatchObject({ method: "POST", url: "/api/v2/import/done" });
    expect(server.callbacks[0]?.headers["x-a"]).toBe("1");
    expect(new TextDecoder().decode(server.callbacks[0]?.body)).toBe("{}");
    const blocked = await fetch(`${server.url}/broker/${TOKEN}/metrics`);
    expect([blocked.status, (await blocked.json()).code]).toEqual([401, "FILTER_BLOCKED"]);
  });

  it("streams large answers, passes on empty ones and acknowledges by websocket", async () => {
    await using server = startFakeBroker(TOKEN);
    await using made = startTestClient({
      serverUrl: server.url,
      token: TOKEN,
      dispatch: (request) => {
        const large = new URL(request.url).pathname === "/list/large";
        return Promise.resolve(large ? new Response(letters(20 * MiB)) : new Response(null, { status: 204 }));
      },
    });
    await made.client.ready(soon());
    await server.broker.connected(2, soon());
    const large = await fetch(`${server.url}/broker/${TOKEN}/list/large`);
    expect((await large.arrayBuffer()).byteLength).toBe(20 * MiB);
    const empty = await fetch(`${server.url}/broker/${TOKEN}/list`);
    expect([empty.status, await empty.text()]).toEqual([204, ""]);
    const acknowledged = await fetch(`${server.url}/broker/${TOKEN}/list/large`, {
      headers: { "x-broker-ws-response": "true" },
    });
    expect((await acknowledged.arrayBuffer()).byteLength).toBe(20 * MiB);
  });

  it("takes chunk events when it does not take uploads", async () => {
    await using server = startFakeBroker(TOKEN, { receivesUploads: false });
    await using made = startTestClient({
      serverUrl: server.url,
      token: TOKEN,
      dispatch: () => Promise.resolve(new Response(letters(5 * MiB), { headers: { "x-a": "1" } })),
    });
    await made.client.ready(soon());
    await server.broker.connected(1, soon());
    const response = await fetch(`${server.url}/broker/${TOKEN}/list`);
    expect(response.headers.get("x-a")).toBe("1");
    expect((await response.arrayBuffer()).byteLength).toBe(5 * MiB);
  });

  it("makes the agent wait when the caller reads slowly (B4)", async () => {
    await using server = startFakeBroker(TOKEN);
    const pulled = { bytes: 0 };
    await using made = startTestClient({
      serverUrl: server.url,
      token: TOKEN,
      dispatch: () => Promise.resolve(new Response(letters(64 * MiB, pulled))),
    });
    await made.client.ready(soon());
    await server.broker.connected(1, soon());
    const response = await server.broker.call(new Request("http://loopback/list"));
    // The pipe is full when the agent has not been asked for more for a while.
    for (let before = -1, still = 0; still < 10; before = pulled.bytes) {
      still = pulled.bytes === before ? still + 1 : 0;
      await systemClock.sleep(10);
    }
    expect(pulled.bytes).toBeLessThanOrEqual(8 * MiB);
    expect((await response.arrayBuffer()).byteLength).toBe(64 * MiB);
  });

  it("serves on after the connection was dropped behind any frame, and runs no request twice (B1)", async () => {
    for (let frames = 1; frames <= 5; frames++) {
      let left = frames;
      const asked: string[] = [];
      await using server = startFakeBroker(TOKEN, {
        upgrade: (request) => {
          const upgraded = Deno.upgradeWebSocket(request);
          const { socket } = upgraded;
          const send = socket.send.bind(socket);
          const count = (): void => {
            if (--left === 0) socket.close(4000, "dropped");
          };
          socket.send = (data) => {
            send(data);
            count();
          };
          socket.addEventListener("message", count);
          return upgraded;
        },
      });
      await using made = startTestClient({
        serverUrl: server.url,
        token: TOKEN,
        roles: ["primary"],
        clock: impatient,
        dispatch: async (request) => {
          asked.push(await request.text());
          return Response.json(asked.length);
        },
      });
      for (let n = 0; n < 4; n++) {
        await server.broker.connected(1, soon());
        const request = new Request("http://loopback/scan", { method: "POST", body: `scan ${n}` });
        const response = await server.broker.call(request);
        expect([200, 404, 503]).toContain(response.status);
        await response.body?.cancel();
      }
      await server.broker.connected(1, soon());
      const last = await server.broker.call(new Request("http://loopback/scan", { method: "POST", body: "last" }));
      expect(last.status).toBe(200);
      await last.body?.cancel();
      expect(asked.at(-1)).toBe("last");
      expect(new Set(asked).size).toBe(asked.length);
      expect(made.events.filter((event) => event.kind === "disconnected").length).toBeLessThanOrEqual(1);
    }
  });

  it("gets the client back after primus::server::close and after a restart", async () => {
    const first = startFakeBroker(TOKEN);
    await using made = startTestClient({
      serverUrl: first.url,
      token: TOKEN,
      clock: impatient,
      dispatch: () => Promise.resolve(new Response("ok")),
    });
    await first.broker.connected(2, soon());
    first.broker.closeClients();
    await first.broker.connected(2, soon());
    expect(made.events.some((event) => event.kind === "disconnected" && event.reason === "server-close")).toBe(true);
    await first[Symbol.asyncDispose]();
    await using second = startFakeBroker(TOKEN, { port: Number(new URL(first.url).port) });
    await second.broker.connected(2, soon());
    const response = await second.broker.call(new Request("http://loopback/list"));
    expect(await response.text()).toBe("ok");
  });

  it("survives hostile frames (B5)", async () => {
    await using server = startFakeBroker(TOKEN);
    await using made = startTestClient({
      serverUrl: server.url,
      token: TOKEN,
      roles: ["primary"],
      dispatch: () => Promise.resolve(new Response("ok")),
    });
    await server.broker.connected(1, soon());
    const [socket] = server.broker.sockets;
    const hostile = [
      "",
      "x",
      "4",
      "4null",
      "4" + "[".repeat(1_000_000),
      `4{"type":0,"data":["request"]}`,
      `4{"type":0,"data":["request",null],"id":1}`,
      `4{"type":0,"data":["request",{"url":"/list","method":"GET","headers":{"__proto__":"x"},"streamingID":"../../x"}]}`,
      `4{"type":0,"data":["identify",null]}`,
      `4{"type":0,"data":["__proto__",{}]}`,
      `4{"type":0,"data":["open"]}`,
      `4{"type":1,"data":[],"id":9007199254740993}`,
      `4{"type":0,"data":["service",null],"id":2}`,
      `4{"type":0,"data":["notification",null]}`,
      "2" + "p".repeat(100),
      "9",
    ];
    for (const frame of hostile) socket?.sendRaw(frame);
    const response = await server.broker.call(new Request("http://loopback/list"));
    expect(await response.text()).toBe("ok");
    expect(server.broker.sockets[0]).toBe(socket);
    expect(made.events.filter((event) => event.kind === "frame" && event.outcome === "malformed").length).toBe(6);
  });

  it("refuses uploads that are none, for ids that it does not know, and callers without a client", async () => {
    await using server = startFakeBroker(TOKEN);
    const upload = `${server.url}/response-data/${TOKEN}/unknown`;
    const unknown = await fetch(upload, { method: "POST", body: "x" });
    expect([unknown.status, await unknown.json()]).toEqual([500, {
      message: "Unable to find request matching streaming id.",
    }]);
    const nobody = await fetch(`${server.url}/broker/${TOKEN}/list`);
    expect([nobody.status, nobody.headers.get("x-broker-failure")]).toEqual([404, "no-connection"]);
    await nobody.body?.cancel();
    const stranger = await fetch(`${server.url}/broker/other/list`);
    expect(stranger.status).toBe(404);
    await stranger.body?.cancel();
    const polling = await fetch(`${server.url}/primus/${TOKEN}/?EIO=4&transport=polling`);
    expect(polling.status).toBe(400);
    await polling.body?.cancel();
  });

  it("lets a callback's answer be anything", async () => {
    const answer: CallbackAnswer = { status: 418, headers: { "x-c": "3" }, body: new Uint8Array([0xff, 0x00]) };
    await using server = startFakeBroker(TOKEN, { answer: () => answer });
    await using made = startTestClient({ serverUrl: server.url, token: TOKEN, dispatch: () => expect.unreachable() });
    await made.client.ready(soon());
    await server.broker.connected(1, soon());
    const callback = { method: "POST", url: "/v1/import/app", headers: {}, body: new Uint8Array(0) };
    const got = await made.client.callback(callback, soon());
    expect([got.status, got.headers["x-c"], [...got.body]]).toEqual([418, "3", [0xff, 0x00]]);
  });

  it("relays to an agent outside, with a framed body and the answer's bytes as they are", async () => {
    const seen: Headers[] = [];
    const agent = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
      seen.push(request.headers);
      const packed = new Blob([await request.bytes()]).stream().pipeThrough(new CompressionStream("gzip"));
      const body = new Uint8Array(await new Response(packed).arrayBuffer());
      return new Response(body, {
        headers: { "content-encoding": "gzip", "location": "http://127.0.0.1:1/", "x-a": "1" },
      });
    });
    const agentUrl = `http://127.0.0.1:${agent.addr.port}`;
    await using server = startFakeBroker(TOKEN);
    await using made = startTestClient({
      serverUrl: server.url,
      token: TOKEN,
      variables: (name) => name === "CR_AGENT_URL" ? agentUrl : undefined,
      dispatch: (request, { internal }) => internal ? expect.unreachable() : fetch(request),
    });
    await made.client.ready(soon());
    await server.broker.connected(1, soon());
    const init = { method: "POST", body: "hello", headers: { "transfer-encoding": "chunked", "x-forwarded-for": "1" } };
    const response = await server.broker.call(new Request("http://loopback/scan", init));
    expect([response.headers.get("content-encoding"), response.headers.get("x-a")]).toEqual(["gzip", "1"]);
    const unpacked = response.body?.pipeThrough(new DecompressionStream("gzip")) ?? null;
    expect(await new Response(unpacked).text()).toBe("hello");
    expect([seen[0]?.get("content-length"), seen[0]?.get("transfer-encoding")]).toEqual(["5", null]);
    expect(seen[0]?.has("x-forwarded-for")).toBe(false);
    await agent.shutdown();
    const down = await server.broker.call(new Request("http://loopback/list"));
    expect([down.status, (await down.json()).code]).toEqual([502, "DOWNSTREAM_UNREACHABLE"]);
  });

  it("tries three times to connect for an upload, and says that the answer was lost", async () => {
    await using server = startFakeBroker(TOKEN);
    const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = closed.addr as Deno.NetAddr;
    closed.close();
    let attempts = 0;
    const lost = Promise.withResolvers<void>();
    await using made = startTestClient({
      serverUrl: server.url,
      token: TOKEN,
      dispatch: () => Promise.resolve(new Response(letters(1 * MiB))),
      exchange: () => Promise.resolve(undefined),
      fetch: (request) => {
        attempts++;
        const url = request.url.replace(/:\d+/, `:${port}`);
        return fetch(url, { method: "POST", body: request.body, signal: request.signal });
      },
      onEvent: (event) => event.kind === "request" && event.outcome === "lost" && lost.resolve(),
    });
    await made.client.ready(soon());
    await server.broker.connected(1, soon());
    const caller = new AbortController();
    void server.broker.call(new Request("http://loopback/list", { signal: caller.signal }));
    await lost.promise;
    caller.abort();
    expect(attempts).toBe(3);
    const line = made.logger.lines.find(({ message }) => message === "Cannot answer a brokered request");
    expect(line?.fields["reason"]).toBe("Cannot deliver an answer: the broker server cannot be reached");
    expect(JSON.stringify(made.logger.lines)).not.toContain(TOKEN);
  });

  it("gives up on a server that takes the connection and says nothing", async () => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const accepted: Deno.Conn[] = [];
    const accepting = (async () => {
      for await (const conn of listener) accepted.push(conn);
    })();
    const lost = Promise.withResolvers<string>();
    const hasty: Clock = {
      ...systemClock,
      random: () => 1,
      sleep: (ms, signal) => systemClock.sleep(ms / 200, signal),
    };
    {
      await using made = startTestClient({
        serverUrl: `http://127.0.0.1:${(listener.addr as Deno.NetAddr).port}`,
        token: TOKEN,
        roles: ["primary"],
        clock: hasty,
        dispatch: () => expect.unreachable(),
        onEvent: (event) => event.kind === "disconnected" && lost.resolve(event.reason),
      });
      expect(await lost.promise).toBe("connect-timeout");
      expect(made.client.states()[0]?.open).toBe(false);
    }
    for (const conn of accepted) conn.close();
    listener.close();
    await accepting;
  });
});
