import { afterEach, describe, expect, it } from "vitest";
import { ask, brokerBench, closeBrokerBenches, eventually, REQUEST_ID } from "../../tests/fakes/broker_bench.ts";
import { LIMITS } from "../core/limits.ts";

const ok = (): Promise<Response> => Promise.resolve(Response.json(["a"]));
const never = (): AbortSignal => new AbortController().signal;
const post = (path = "/api/v2/import/done", size = 2) => ({
  path,
  headers: {},
  body: new Uint8Array(size).fill(0x7b),
});

describe("BrokerClient", () => {
  afterEach(closeBrokerBenches);

  describe("callbacks", () => {
    it("go to the primary socket first, and give the answer", async () => {
      const { client, sockets } = brokerBench(ok);
      const [primary, secondary] = sockets;
      secondary?.accept();
      primary?.accept();
      const sent = client.callback({
        method: "post",
        url: "/api/v2/import/result?x=1",
        headers: { "X-Request-Id": REQUEST_ID, "Transfer-Encoding": "chunked", "Content-Length": "2", "X-A": "1" },
        body: new TextEncoder().encode("{}"),
      }, never());
      await Promise.resolve();
      const [event] = await eventually(() => primary?.sentOf("event").slice(1));
      expect(event).toEqual({
        kind: "event",
        name: "request",
        id: 1,
        args: [{
          url: "/api/v2/import/result?x=1",
          method: "POST",
          body: new TextEncoder().encode("{}"),
          headers: { "x-request-id": REQUEST_ID, "x-a": "1", "snyk-request-id": REQUEST_ID },
          streamingID: "",
          requestId: REQUEST_ID,
        }],
      });
      const answer = { status: 201, headers: { "Content-Length": "9", "X-B": "2" }, body: { ok: true } };
      primary?.receive({ kind: "ack", id: 1, args: [answer] });
      expect(await sent).toEqual({
        status: 201,
        headers: { "x-b": "2", "snyk-request-id": REQUEST_ID },
        body: new TextEncoder().encode('{"ok":true}'),
      });
    });

    it("fail at once when no socket is open", async () => {
      const { client } = brokerBench(ok);
      await expect(client.send(post(), never())).rejects.toMatchObject({ code: "BROKER_DISCONNECTED", status: 503 });
    });

    it("fail when the socket is lost before the answer, and are not sent again", async () => {
      const { client, sockets, primary } = brokerBench(ok);
      primary().accept();
      const failure = expect(client.send(post(), never())).rejects.toMatchObject({ code: "BROKER_DISCONNECTED" });
      await eventually(() => primary().sentOf("event").slice(1));
      sockets[1]?.accept();
      primary().shut();
      await failure;
      expect(sockets[1]?.sentOf("event")).toHaveLength(1);
    });

    it("fail when the answer stays out for brokerAckTimeoutMs", async () => {
      const { client, clock, primary, events } = brokerBench(ok);
      primary().accept();
      const failure = expect(client.send(post(), never())).rejects.toMatchObject({ code: "TIMEOUT" });
      for (let passed = 0; passed <= LIMITS.brokerAckTimeoutMs; passed += 1_000) {
        await clock.advance(1_000);
        primary().receive({ kind: "ping", data: "" });
        const ping = primary().sentOf("primus-ping").at(-1);
        if (ping !== undefined) primary().receive({ kind: "primus-pong", value: ping.value });
      }
      await failure;
      expect(events.at(-1)).toEqual({ kind: "callback", allowed: true, status: 0, ms: LIMITS.brokerAckTimeoutMs });
    });

    it("may have 10 MiB, not a byte more", async () => {
      const { client, primary } = brokerBench(ok);
      primary().accept();
      const over = client.send(post(undefined, LIMITS.brokerRequestBodyBytes + 1), never());
      await expect(over).rejects.toMatchObject({ code: "BODY_TOO_LARGE", status: 413 });
      const fits = client.send(post(undefined, LIMITS.brokerRequestBodyBytes), never());
      await eventually(() => primary().sentOf("event").slice(1));
      primary().receive({ kind: "ack", id: 1, args: [{ status: 200, headers: {}, body: "" }] });
      expect((await fits).status).toBe(200);
    });

    it("are inflated, within the same bound", async () => {
      const { client, primary } = brokerBench(ok);
      primary().accept();
      const gzip = async (size: number): Promise<Uint8Array<ArrayBuffer>> => {
        const packed = new Blob([new Uint8Array(size)]).stream().pipeThrough(new CompressionStream("gzip"));
        return new Uint8Array(await new Response(packed).arrayBuffer());
      };
      const send = (body: Uint8Array<ArrayBuffer>, coding = "gzip"): Promise<unknown> =>
        client.send({ path: "/api/v2/import/done", headers: { "content-encoding": coding }, body }, never());
      const sent = send(await gzip(1_000));
      const [event] = await eventually(() => primary().sentOf("event").slice(1));
      expect(event?.args[0]).toMatchObject({
        body: new Uint8Array(1_000),
        headers: { "snyk-request-id": expect.any(String) },
      });
      expect(JSON.stringify(event)).not.toContain("content-encoding");
      primary().receive({ kind: "ack", id: 1, args: [{ status: 200 }] });
      await sent;
      const bomb = await gzip(LIMITS.brokerRequestBodyBytes + 1);
      await expect(send(bomb)).rejects.toMatchObject({ code: "BODY_TOO_LARGE" });
      await expect(send(new Uint8Array(9))).rejects.toMatchObject({ code: "REQUEST_INVALID" });
      await expect(send(new Uint8Array(9), "br")).rejects.toMatchObject({ code: "REQUEST_INVALID", status: 415 });
    });

    it("that no public rule accepts are answered 401", async () => {
      const { client, primary } = brokerBench(ok);
      primary().accept();
      const { path: url, ...rest } = post("/api/v9/other");
      const answer = await client.callback({ method: "POST", url, ...rest }, never());
      expect(answer.status).toBe(401);
      expect(JSON.parse(new TextDecoder().decode(answer.body))).toMatchObject({
        code: "FILTER_BLOCKED",
        reason: "Request does not match any accept rule, blocking HTTP request",
      });
      expect(primary().sentOf("event")).toHaveLength(1);
    });

    it.each([[undefined], [null], ["text"], [{ status: 99 }], [{ status: "200" }], [{ status: 200.5 }]] as const)(
      "refuse an answer without a status: %j",
      async (answer) => {
        const { client, primary } = brokerBench(ok);
        primary().accept();
        const failure = expect(client.send(post(), never())).rejects.toMatchObject({ code: "BROKER_REFUSED" });
        await eventually(() => primary().sentOf("event").slice(1));
        primary().receive({ kind: "ack", id: 1, args: [answer] });
        await failure;
      },
    );
  });

  describe("ready()", () => {
    it("resolves when a socket has identified", async () => {
      const { client, sockets } = brokerBench(ok);
      const ready = client.ready(never());
      sockets[1]?.accept();
      await ready;
      await client.ready(never());
      expect(client.states().map((state) => state.open)).toEqual([false, true]);
    });

    it("rejects when the signal aborts first", async () => {
      const { client } = brokerBench(ok);
      await expect(client.ready(AbortSignal.abort(new Error("late")))).rejects.toThrow("late");
      const patience = new AbortController();
      const ready = client.ready(patience.signal);
      patience.abort(new Error("enough"));
      await expect(ready).rejects.toThrow("enough");
    });
  });

  describe("close()", () => {
    it("lets requests and callbacks finish, refuses new ones, and closes the sockets", async () => {
      const agent = Promise.withResolvers<Response>();
      const { client, clock, primary, sockets, uploads } = brokerBench(() => agent.promise);
      primary().accept();
      ask(primary(), { streamingID: "old" });
      const callback = client.send(post(), never());
      await clock.advance(0);
      const closing = client.close(never());
      await expect(client.send(post(), never())).rejects.toMatchObject({ code: "BROKER_DISCONNECTED" });
      ask(primary(), { streamingID: "new" });
      await clock.advance(0);
      expect(uploads.map(({ id, status }) => [id, status])).toEqual([["new", 503]]);
      expect(primary().closed).toBe(false);
      agent.resolve(new Response("done"));
      await clock.advance(0);
      primary().receive({ kind: "ack", id: 1, args: [{ status: 200 }] });
      await closing;
      expect((await callback).status).toBe(200);
      expect(uploads.at(-1)).toMatchObject({ id: "old", status: 200 });
      expect(sockets.every((socket) => socket.closed)).toBe(true);
      expect(client.close(never())).toBe(client.close(never()));
    });

    it("cuts off what is not done when the signal aborts", async () => {
      const aborted: unknown[] = [];
      const { client, clock, primary } = brokerBench((request) =>
        new Promise((_resolve, reject) => {
          request.signal.addEventListener("abort", () => {
            aborted.push(request.url);
            reject(request.signal.reason);
          });
        })
      );
      primary().accept();
      ask(primary(), {});
      const callback = expect(client.send(post(), never())).rejects.toThrow();
      await clock.advance(0);
      const patience = new AbortController();
      const closing = client.close(patience.signal);
      patience.abort();
      await closing;
      await callback;
      expect(aborted).toHaveLength(1);
      expect(primary().closed).toBe(true);
    });
  });

  it("connects with the dispatcher's server id once that has answered, and says that it is in that mode", async () => {
    const answer = Promise.withResolvers<Response>();
    const { clock, sockets, primary } = brokerBench(ok, {
      dispatcher: { apiUrl: "http://api.example", pathPrefix: "/hidden/broker", location: "here" },
      fetch: () => answer.promise,
    });
    await clock.advance(0);
    expect(sockets).toEqual([]);
    answer.resolve(Response.json({ data: { attributes: { server_id: 5 } } }));
    await eventually(() => sockets);
    expect(sockets.map(({ url }) => new URL(url).search)).toEqual([
      "?server_id=5&connection_role=primary&EIO=4&transport=websocket",
      "?server_id=5&connection_role=secondary&EIO=4&transport=websocket",
    ]);
    primary().accept();
    const [identify] = primary().sentOf("event");
    expect(identify?.args[0]).toMatchObject({ metadata: { clientConfig: { haMode: true } } });
  });

  it("reports an answer that the server did not take, on one socket", async () => {
    const { clock, sockets, primary } = brokerBench(ok, {
      fetch: () => Promise.resolve(new Response(null, { status: 500 })),
    });
    sockets.forEach((socket) => socket.accept());
    primary().receive({ kind: "event", name: "identify", args: [{ capabilities: ["receive-post-streams"] }] });
    ask(primary(), {});
    const [report] = await eventually(() => primary().sentOf("event").slice(1));
    expect(report).toMatchObject({
      name: "client-event",
      args: [{
        ts: clock.now(),
        event: {
          type: "client-error",
          errorCode: "SEND_BACK_FAILED",
          requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
        },
      }],
    });
    expect(sockets[1]?.sentOf("event")).toHaveLength(1);
  });

  it.each([["my-hub", { integrationType: "my-hub" }], ["my hub\n", {}]])(
    "names the connection %j of a lost answer, when it is a word",
    async (name, expected) => {
      const { primary } = brokerBench(ok, {
        fetch: () => Promise.resolve(new Response(null, { status: 500 })),
        connection: { name, identifier: "masked" },
      });
      primary().accept();
      primary().receive({ kind: "event", name: "identify", args: [{ capabilities: ["receive-post-streams"] }] });
      ask(primary(), {});
      const [report] = await eventually(() => primary().sentOf("event").slice(1));
      const event = (report?.args[0] as { readonly event: unknown }).event;
      const requestId = expect.stringMatching(/^[0-9a-f-]{36}$/);
      expect(event).toEqual({ type: "client-error", errorCode: "SEND_BACK_FAILED", requestId, ...expected });
    },
  );

  it("announces its end once, on one socket", async () => {
    const { client, clock, sockets } = brokerBench(ok);
    client.announceStop();
    sockets.forEach((socket) => socket.accept());
    await clock.advance(1_600);
    client.announceStop();
    client.announceStop();
    const [first, second] = sockets.map((socket) => socket.sentOf("event").slice(1));
    expect(first).toMatchObject([
      {
        name: "client-event",
        args: [{ ts: clock.now(), event: { type: "client-shutdown", reason: "clean", uptimeSeconds: 2 } }],
      },
      { name: "terminate", args: [{ signal: "SIGTERM" }] },
    ]);
    expect(second).toEqual([]);
    expect(client.states().every(({ open }) => open)).toBe(true);
  });

  it("answers service commands and logs notifications", () => {
    const { primary, logger } = brokerBench(ok);
    primary().accept();
    const service = (url: unknown, id: number): void =>
      primary().receive({ kind: "event", name: "service", args: [{ url }], id });
    ["/filters/reload?x", "/config/reload", "/x", null].forEach((url, index) => service(url, index + 1));
    const answers = primary().sentOf("ack").map((ack) => ack.args[0]) as { status: number; body: string }[];
    expect(answers.map(({ status, body }) => [status, JSON.parse(body).msg])).toEqual([
      [200, "Filters reloaded."],
      [501, "Service command not available in classic broker."],
      [400, "Unknown service command."],
      [400, "Unknown service command."],
    ]);
    for (const level of ["error", "warning", "info"]) {
      primary().receive({ kind: "event", name: "notification", args: [{ level, message: "m".repeat(9_999) }] });
    }
    primary().receive({ kind: "event", name: "notification", args: [null] });
    const lines = logger.lines.filter((line) => line.message === "Notification of the broker server");
    expect(lines.map((line) => line.level)).toEqual(["error", "warn", "info"]);
    expect(String(lines[0]?.fields["notification"])).toHaveLength(LIMITS.errorMessageChars);
  });
});
