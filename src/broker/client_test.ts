import { afterEach, describe, expect, it } from "vitest";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { FakeWebSocket } from "../../tests/fakes/web_socket.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { type BrokerClient, type BrokerClientOptions, createBrokerClient } from "./client.ts";
import type { BrokerEvent } from "./events.ts";
import type { DispatchInfo } from "./relay.ts";

const TOKEN = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";
const REQUEST_ID = "11111111-1111-4111-8111-111111111111";

interface Uploaded {
  readonly id: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly errorType?: string;
  readonly body: string;
}

interface Bench {
  readonly client: BrokerClient;
  readonly clock: FakeClock;
  readonly logger: RecordingLogger;
  readonly sockets: FakeWebSocket[];
  readonly events: BrokerEvent[];
  readonly uploads: Uploaded[];
  /** Most uploads at once. */
  peak: number;
  primary(): FakeWebSocket;
}

const made: Bench[] = [];

function bench(dispatch: BrokerClientOptions["dispatch"], options: Partial<BrokerClientOptions> = {}): Bench {
  const clock = new FakeClock();
  const logger = new RecordingLogger();
  const sockets: FakeWebSocket[] = [];
  const events: BrokerEvent[] = [];
  const uploads: Uploaded[] = [];
  let uploading = 0;
  const client = createBrokerClient({
    serverUrl: "http://broker.example",
    token: TOKEN,
    protocolVersion: "5.22.14",
    clock,
    logger,
    randomId: () => "22222222-2222-4222-8222-222222222222",
    webSocket: (url, init) => {
      const socket = new FakeWebSocket(url, init);
      sockets.push(socket);
      return socket;
    },
    fetch: async (request) => {
      self.peak = Math.max(self.peak, ++uploading);
      uploads.push(await readUpload(request));
      uploading--;
      return Response.json({});
    },
    dispatch,
    variables: () => undefined,
    onEvent: (event) => events.push(event),
    ...options,
  });
  client.start();
  const primary = (): FakeWebSocket => sockets[0] ?? expect.unreachable();
  const self: Bench = { client, clock, logger, sockets, events, uploads, peak: 0, primary };
  made.push(self);
  return self;
}

async function readUpload(request: Request): Promise<Uploaded> {
  const bytes = new Uint8Array(await request.arrayBuffer());
  const size = new DataView(bytes.buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size)));
  const id = new URL(request.url).pathname.split("/").at(-1) ?? "";
  return { id, ...head, body: new TextDecoder().decode(bytes.subarray(4 + size)) };
}

function ask(socket: FakeWebSocket, argument: Readonly<Record<string, unknown>>, id?: number): void {
  const request = { url: "/list", method: "GET", headers: {}, streamingID: "s1", requestId: REQUEST_ID, ...argument };
  socket.receive({ kind: "event", name: "request", args: [request], ...(id === undefined ? {} : { id }) });
}

const ok = (): Promise<Response> => Promise.resolve(Response.json(["a"]));
const never = (): AbortSignal => new AbortController().signal;
const post = (path = "/api/v2/import/done", size = 2) => ({
  path,
  headers: {},
  body: new Uint8Array(size).fill(0x7b),
});

describe("BrokerClient", () => {
  afterEach(async () => {
    for (const { client, clock } of made.splice(0)) {
      const gone = new AbortController();
      gone.abort();
      const closing = client.close(gone.signal);
      await clock.advance(LIMITS.brokerCloseMs);
      await closing;
    }
  });

  describe("requests", () => {
    it("go to the agent, and their answers are uploaded", async () => {
      const seen: [Request, DispatchInfo][] = [];
      const { clock, primary, uploads, events } = bench((request, info) => {
        seen.push([request, info]);
        return ok();
      });
      primary().accept();
      ask(primary(), {
        url: "/ctx/33333333-3333-4333-8333-333333333333/list?x=1",
        headers: {
          "snyk-request-id": REQUEST_ID,
          "x-request-id": "mine",
          "Host": "evil",
          "connection": "close, x-hop",
          "x-hop": "1",
          "transfer-encoding": "chunked",
          "content-length": "99",
          "x-forwarded-for": "1.2.3.4",
          "snyk-acting-org-public-id": "org",
          "user-agent": "caller",
          "x-list": ["a", "b"],
          "x-number": 5,
          "x-object": {},
        },
      });
      await clock.advance(0);
      expect(uploads).toEqual([{
        id: "s1",
        status: 200,
        headers: { "content-type": "application/json" },
        body: '["a"]',
      }]);
      const [request, info] = seen[0] ?? expect.unreachable();
      expect(request.url).toBe("http://agent.internal/list?x=1");
      expect(info).toEqual({ internal: true, substituted: { headers: [], fields: [] } });
      expect(Object.fromEntries(request.headers)).toEqual({
        "snyk-request-id": REQUEST_ID,
        "x-request-id": "mine",
        "user-agent": "Snyk Broker Client 5.22.14",
        "x-broker-origin-ua": "caller",
        "x-list": "a, b",
        "x-number": "5",
      });
      expect(events.at(-1)).toEqual({
        kind: "request",
        allowed: true,
        status: 200,
        path: "upload",
        outcome: "answered",
        ms: 0,
        bytes: 5,
      });
    });

    it("use the rule's credentials, then the origin's, then the caller's", async () => {
      const seen: (string | null)[] = [];
      const rules = {
        private: [
          { path: "/a", origin: "http://u:p@agent", auth: { scheme: "bearer", token: "${T}" } },
          { path: "/b", origin: "http://u:p@agent" },
          { path: "/c", origin: "http://agent" },
        ],
      };
      const { clock, primary } = bench((request) => {
        seen.push(request.headers.get("authorization"));
        return ok();
      }, { rules, variables: (name) => name === "T" ? "tok" : undefined });
      primary().accept();
      for (const url of ["/a", "/b", "/c"]) ask(primary(), { url, headers: { authorization: "mine" } });
      await clock.advance(0);
      expect(seen).toEqual(["Bearer tok", "Basic dTpw", "mine"]);
    });

    it("that no rule accepts are answered 401 without asking the agent", async () => {
      let asked = 0;
      const { clock, primary, uploads } = bench(() => {
        asked++;
        return ok();
      });
      primary().accept();
      ask(primary(), { url: "/secret" });
      ask(primary(), { url: "//evil/list" });
      ask(primary(), { url: "/list", method: "CONNECT" });
      await clock.advance(0);
      expect(asked).toBe(0);
      expect(uploads.map((upload) => [upload.status, upload.errorType])).toEqual(
        Array(3).fill([401, "FILTER_BLOCKED"]),
      );
      expect(JSON.parse(uploads[0]?.body ?? "")).toEqual({
        code: "FILTER_BLOCKED",
        message: "blocked",
        reason: "[Websocket Flow][Blocked Request] Does not match any accept rule",
        url: "/secret",
      });
    });

    it.each(
      [
        [{ headers: { "x-a": "b\r\nhost: evil" } }],
        [{ headers: { "x a": "b" } }],
        [{ headers: { "x-a": "\u0000" } }],
        [{ method: "GET /list HTTP/1.1\r\n" }],
        [{ url: 7 }],
      ] as const,
    )("that cannot be passed on are answered 400: %j", async (argument) => {
      const { clock, primary, uploads } = bench(() => expect.unreachable());
      primary().accept();
      ask(primary(), argument);
      await clock.advance(0);
      expect(uploads.map((upload) => [upload.status, upload.errorType])).toEqual([[400, "REQUEST_INVALID"]]);
    });

    it.each(
      [
        [
          new OutpostError("CONNECTION_REFUSED", "Cannot reach agent"),
          502,
          "DOWNSTREAM_UNREACHABLE",
          "Cannot reach agent",
        ],
        [new OutpostError("TIMEOUT", "Cannot reach agent"), 504, "DOWNSTREAM_TIMEOUT", "Cannot reach agent"],
        [new TypeError("http://user:pw@agent"), 502, "DOWNSTREAM_ERROR", "Cannot reach the agent"],
        [new TypeError("x client error (Connect) y"), 502, "DOWNSTREAM_UNREACHABLE", "Cannot reach the agent"],
      ] as const,
    )("that the agent does not answer are asked once and answered: %s", async (error, status, code, message) => {
      let asked = 0;
      const { clock, primary, uploads, logger } = bench(() => {
        asked++;
        return Promise.reject(error);
      });
      primary().accept();
      ask(primary(), { url: "/scan", method: "POST", body: new Uint8Array([1]) });
      await clock.advance(60_000);
      expect(asked).toBe(1);
      expect(uploads).toHaveLength(1);
      expect(uploads[0]).toMatchObject({ status, errorType: code });
      expect(JSON.parse(uploads[0]?.body ?? "")).toEqual({ code, message });
      expect(JSON.stringify(logger.lines)).not.toContain("pw");
    });

    it.each(
      [
        [200, undefined],
        [404, undefined],
        [401, "DOWNSTREAM_UNAUTHORIZED"],
        [403, "DOWNSTREAM_FORBIDDEN"],
        [429, "DOWNSTREAM_RATE_LIMITED"],
        [400, "DOWNSTREAM_UNEXPECTED"],
        [503, "DOWNSTREAM_SERVER_ERROR"],
      ] as const,
    )("keep the agent's status %d with the label %s", async (status, errorType) => {
      const { clock, primary, uploads } = bench(() => Promise.resolve(new Response("x", { status })));
      primary().accept();
      ask(primary(), {});
      await clock.advance(0);
      expect([uploads[0]?.status, uploads[0]?.errorType]).toEqual([status, errorType]);
    });

    it("are acknowledged when the server wants that", async () => {
      const { clock, primary } = bench(ok);
      primary().accept();
      ask(primary(), { streamingID: "", headers: { "snyk-request-id": REQUEST_ID } }, 5);
      ask(primary(), { url: "/no", streamingID: "" }, 6);
      await clock.advance(0);
      expect(primary().sentOf("ack").toSorted((a, b) => a.id - b.id)).toMatchObject([
        {
          id: 5,
          args: [{
            status: 200,
            headers: { "snyk-request-id": REQUEST_ID, "x-broker-ws-response": "true" },
            body: '["a"]',
          }],
        },
        { id: 6, args: [{ status: 401, errorType: "FILTER_BLOCKED", body: { code: "FILTER_BLOCKED" } }] },
      ]);
    });

    it("are answered by acknowledgement up to brokerSocketResponseBytes", async () => {
      const sizes = [LIMITS.brokerSocketResponseBytes, LIMITS.brokerSocketResponseBytes + 1];
      const { clock, primary } = bench(() => Promise.resolve(new Response("a".repeat(sizes.shift() ?? 0))));
      primary().accept();
      ask(primary(), {}, 1);
      await clock.advance(0);
      ask(primary(), {}, 2);
      await clock.advance(0);
      const [fits, over] = primary().sentOf("ack").map((ack) => ack.args[0]);
      expect(fits).toMatchObject({ status: 200 });
      expect(over).toMatchObject({
        status: 502,
        errorType: "BODY_TOO_LARGE",
        originalBodySize: LIMITS.brokerSocketResponseBytes + 1,
      });
    });

    it("are answered with chunks when the server takes no uploads", async () => {
      const { clock, primary } = bench(() => Promise.resolve(new Response("body", { headers: { "x-a": "1" } })));
      primary().accept([]);
      primary().bufferedAmount = 2 * 1024 * 1024;
      ask(primary(), {});
      await clock.advance(100);
      const chunks = (): readonly unknown[] =>
        primary().sentOf("event").filter((e) => e.name === "chunk").map((e) => e.args);
      expect(chunks()).toHaveLength(1);
      primary().bufferedAmount = 0;
      await clock.advance(100);
      expect(chunks()).toEqual([
        ["s1", "", false, { status: 200, headers: { "content-type": "text/plain;charset=UTF-8", "x-a": "1" } }],
        ["s1", new TextEncoder().encode("body"), false],
        ["s1", "", true],
      ]);
    });

    it("are logged when they cannot be answered", async () => {
      let cancelled = false;
      const body = new ReadableStream({ cancel: () => void (cancelled = true) });
      const { clock, primary, logger, events } = bench(() => Promise.resolve(new Response(body)));
      primary().accept();
      ask(primary(), { streamingID: "" });
      await clock.advance(0);
      expect(logger.lines.at(-1)).toMatchObject({
        level: "error",
        message: "Cannot answer a brokered request",
        fields: { reason: "it names no way back" },
      });
      expect(events.at(-1)).toMatchObject({ kind: "request", outcome: "lost", path: "none" });
      expect(cancelled).toBe(true);
    });

    it("are logged when the socket that waits for the acknowledgement goes", async () => {
      const agent = Promise.withResolvers<Response>();
      const { clock, primary, logger } = bench(() => agent.promise);
      primary().accept();
      ask(primary(), {}, 1);
      await clock.advance(0);
      primary().shut();
      agent.resolve(new Response("late"));
      await clock.advance(0);
      expect(logger.lines.find((line) => line.message === "Cannot answer a brokered request")?.fields).toMatchObject({
        reason: "Cannot deliver an answer: the websocket that asked for it is gone",
      });
    });

    it("beyond brokerRequestsInFlight are answered 503, each of a flood of 1,000", async () => {
      const agent = Promise.withResolvers<Response>();
      const self = bench(() => agent.promise.then((response) => response.clone()));
      const { clock, client, primary, uploads } = self;
      primary().accept();
      for (let n = 0; n < 1_000; n++) ask(primary(), { streamingID: `s${n}` });
      for (let n = 0; n < 300 && uploads.length < 936; n++) await clock.advance(0);
      expect(client.inFlight()).toBe(LIMITS.brokerRequestsInFlight);
      expect(uploads).toHaveLength(1_000 - LIMITS.brokerRequestsInFlight);
      expect(new Set(uploads.map((upload) => upload.status))).toEqual(new Set([503]));
      expect(uploads[0]?.headers["retry-after"]).toBe("1");
      expect(self.peak).toBeLessThanOrEqual(LIMITS.brokerRefusalsInFlight);
      agent.resolve(new Response("done"));
      for (let n = 0; n < 100 && uploads.length < 1_000; n++) await clock.advance(0);
      expect(new Set(uploads.map((upload) => upload.id)).size).toBe(1_000);
      expect(uploads.filter((upload) => upload.status === 200)).toHaveLength(LIMITS.brokerRequestsInFlight);
    });

    it("beyond brokerBytesInFlight are answered 503", async () => {
      const agent = Promise.withResolvers<Response>();
      const { clock, primary, uploads, client } = bench(() => agent.promise.then((response) => response.clone()));
      primary().accept();
      const body = new Uint8Array(LIMITS.brokerRequestBodyBytes);
      for (let n = 0; n < 6; n++) ask(primary(), { url: "/scan", method: "POST", body, streamingID: `s${n}` });
      await clock.advance(0);
      const fit = Math.floor(LIMITS.brokerBytesInFlight / LIMITS.brokerRequestBodyBytes);
      expect(client.inFlight()).toBe(fit);
      expect(uploads.map((upload) => upload.status)).toEqual(Array(6 - fit).fill(503));
      agent.resolve(new Response("done"));
      await clock.advance(0);
      ask(primary(), { url: "/scan", method: "POST", body, streamingID: "again" });
      await clock.advance(0);
      expect(uploads.at(-1)).toMatchObject({ id: "again", status: 200 });
    });
  });

  describe("callbacks", () => {
    it("go to the primary socket first, and give the answer", async () => {
      const { client, sockets } = bench(ok);
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
      const { client } = bench(ok);
      await expect(client.send(post(), never())).rejects.toMatchObject({ code: "BROKER_DISCONNECTED", status: 503 });
    });

    it("fail when the socket is lost before the answer, and are not sent again", async () => {
      const { client, sockets, primary } = bench(ok);
      primary().accept();
      const failure = expect(client.send(post(), never())).rejects.toMatchObject({ code: "BROKER_DISCONNECTED" });
      await eventually(() => primary().sentOf("event").slice(1));
      sockets[1]?.accept();
      primary().shut();
      await failure;
      expect(sockets[1]?.sentOf("event")).toHaveLength(1);
    });

    it("fail when the answer stays out for brokerAckTimeoutMs", async () => {
      const { client, clock, primary, events } = bench(ok);
      primary().accept();
      const failure = expect(client.send(post(), never())).rejects.toMatchObject({ code: "TIMEOUT" });
      for (let passed = 0; passed <= LIMITS.brokerAckTimeoutMs; passed += 1_000) {
        await clock.advance(1_000);
        primary().receive({ kind: "ping", data: "" });
        const ping = primary().sentOf("primus-ping").at(-1);
        if (ping !== undefined) primary().receive({ kind: "primus-pong", value: ping.value });
      }
      await failure;
      expect(events.at(-1)).toEqual({ kind: "callback", status: 0, ms: LIMITS.brokerAckTimeoutMs });
    });

    it("may have 10 MiB, not a byte more", async () => {
      const { client, primary } = bench(ok);
      primary().accept();
      const over = client.send(post(undefined, LIMITS.brokerRequestBodyBytes + 1), never());
      await expect(over).rejects.toMatchObject({ code: "BODY_TOO_LARGE", status: 413 });
      const fits = client.send(post(undefined, LIMITS.brokerRequestBodyBytes), never());
      await eventually(() => primary().sentOf("event").slice(1));
      primary().receive({ kind: "ack", id: 1, args: [{ status: 200, headers: {}, body: "" }] });
      expect((await fits).status).toBe(200);
    });

    it("are inflated, within the same bound", async () => {
      const { client, primary } = bench(ok);
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
      const { client, primary } = bench(ok);
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
        const { client, primary } = bench(ok);
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
      const { client, sockets } = bench(ok);
      const ready = client.ready(never());
      sockets[1]?.accept();
      await ready;
      await client.ready(never());
      expect(client.states().map((state) => state.open)).toEqual([false, true]);
    });

    it("rejects when the signal aborts first", async () => {
      const { client } = bench(ok);
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
      const { client, clock, primary, sockets, uploads } = bench(() => agent.promise);
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
      const { client, clock, primary } = bench((request) =>
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

  it("answers service commands and logs notifications", () => {
    const { primary, logger } = bench(ok);
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

/** The value once it is there: lets promise continuations run in between. */
async function eventually<T>(look: () => readonly T[] | undefined): Promise<readonly T[]> {
  for (;;) {
    const found = look();
    if (found !== undefined && found.length > 0) return found;
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}
