import { afterEach, describe, expect, it } from "vitest";
import { ask, brokerBench, closeBrokerBenches, REQUEST_ID } from "../../tests/fakes/broker_bench.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { DispatchInfo } from "./relay_request.ts";

const ok = (): Promise<Response> => Promise.resolve(Response.json(["a"]));

describe("Relay: requests", () => {
  afterEach(closeBrokerBenches);

  it("go to the agent, and their answers are uploaded", async () => {
    const seen: [Request, DispatchInfo][] = [];
    const { clock, primary, uploads, events } = brokerBench((request, info) => {
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
    expect(info).toEqual({
      internal: true,
      substituted: { headers: [], fields: [] },
      contextId: "33333333-3333-4333-8333-333333333333",
    });
    expect(Object.fromEntries(request.headers)).toEqual({
      "snyk-request-id": REQUEST_ID,
      "x-request-id": "mine",
      "accept-encoding": "identity",
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
    const { clock, primary } = brokerBench((request) => {
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
    const { clock, primary, uploads } = brokerBench(() => {
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
    const { clock, primary, uploads } = brokerBench(() => expect.unreachable());
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
      [
        new TypeError("fetch failed", { cause: new Error("x client error (Connect) y") }),
        502,
        "DOWNSTREAM_UNREACHABLE",
        "Cannot reach the agent",
      ],
    ] as const,
  )("that the agent does not answer are asked once and answered: %s", async (error, status, code, message) => {
    let asked = 0;
    const { clock, primary, uploads, logger } = brokerBench(() => {
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
    const { clock, primary, uploads } = brokerBench(() => Promise.resolve(new Response("x", { status })));
    primary().accept();
    ask(primary(), {});
    await clock.advance(0);
    expect([uploads[0]?.status, uploads[0]?.errorType]).toEqual([status, errorType]);
  });

  it("that the agent never answers are answered 504 after brokerAnswerTimeoutMs", async () => {
    const { clock, client, primary, uploads } = brokerBench(() => new Promise(() => {}));
    primary().accept();
    ask(primary(), {});
    await clock.advance(LIMITS.brokerAnswerTimeoutMs - 1);
    expect(client.inFlight()).toBe(1);
    await clock.advance(1);
    expect(client.inFlight()).toBe(0);
    expect(uploads).toMatchObject([{ status: 504, errorType: "DOWNSTREAM_TIMEOUT" }]);
  });

  it("are acknowledged when the server wants that", async () => {
    const { clock, primary } = brokerBench(ok);
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
    const { clock, primary } = brokerBench(() => Promise.resolve(new Response("a".repeat(sizes.shift() ?? 0))));
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

  it("§3.2 are acknowledged one after the other when the server reads slowly", async () => {
    const { clock, primary, events } = brokerBench(ok);
    primary().accept();
    const { send } = primary();
    primary().send = (data) => {
      send.call(primary(), data);
      primary().bufferedAmount = 2 * LIMITS.brokerSendBufferBytes;
    };
    primary().bufferedAmount = 2 * LIMITS.brokerSendBufferBytes;
    for (const id of [1, 2, 3]) ask(primary(), { streamingID: "" }, id);
    for (let sent = 0; sent <= 3; sent++) {
      await clock.advance(100);
      expect(primary().sentOf("ack")).toHaveLength(sent);
      primary().bufferedAmount = 0;
    }
    expect(events.filter((event) => event.kind === "request" && event.outcome === "answered")).toHaveLength(3);
  });

  it("are answered with chunks when the server takes no uploads", async () => {
    const { clock, primary } = brokerBench(() => Promise.resolve(new Response("body", { headers: { "x-a": "1" } })));
    primary().accept([]);
    primary().bufferedAmount = 2 * 1024 * 1024;
    ask(primary(), {});
    await clock.advance(100);
    const chunks = (): readonly unknown[] =>
      primary().sentOf("event").filter((e) => e.name === "chunk").map((e) => e.args);
    expect(chunks()).toHaveLength(0);
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
    const { clock, primary, logger, events } = brokerBench(() => Promise.resolve(new Response(body)));
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
    const { clock, primary, logger } = brokerBench(() => agent.promise);
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
    const self = brokerBench(() => agent.promise.then((response) => response.clone()));
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

  it("beyond brokerBodyBytesInFlight are answered 503", async () => {
    const agent = Promise.withResolvers<Response>();
    const { clock, primary, uploads, client } = brokerBench(() => agent.promise.then((response) => response.clone()));
    primary().accept();
    const body = new Uint8Array(LIMITS.brokerRequestBodyBytes);
    for (let n = 0; n < 6; n++) ask(primary(), { url: "/scan", method: "POST", body, streamingID: `s${n}` });
    await clock.advance(0);
    const fit = Math.floor(LIMITS.brokerBodyBytesInFlight / LIMITS.brokerRequestBodyBytes);
    expect(client.inFlight()).toBe(fit);
    expect(uploads.map((upload) => upload.status)).toEqual(Array(6 - fit).fill(503));
    agent.resolve(new Response("done"));
    await clock.advance(0);
    ask(primary(), { url: "/scan", method: "POST", body, streamingID: "again" });
    await clock.advance(0);
    expect(uploads.at(-1)).toMatchObject({ id: "again", status: 200 });
  });

  it("wait with the server while there is no room for another body, but not for ever", async () => {
    const agent = Promise.withResolvers<Response>();
    const { clock, primary } = brokerBench(() => agent.promise.then((response) => response.clone()));
    const holds: string[] = [];
    primary().hold = (until) => {
      const at = holds.push("held") - 1;
      void until.then(() => holds[at] = "over");
    };
    primary().accept();
    const body = new Uint8Array(LIMITS.brokerRequestBodyBytes);
    const scan = (streamingID: string, bytes = body): void =>
      ask(primary(), { url: "/scan", method: "POST", body: bytes, streamingID });
    scan("small", new Uint8Array(10));
    expect(holds).toEqual([]);
    scan("s1");
    scan("small again", new Uint8Array(10));
    await clock.advance(0);
    expect(holds).toEqual(["held"]);
    await clock.advance(LIMITS.brokerHoldMs - 1);
    expect(holds).toEqual(["held"]);
    await clock.advance(1);
    expect(holds).toEqual(["over"]);
    agent.resolve(new Response("done"));
    await clock.advance(0);
    scan("s2");
    await clock.advance(0);
    expect(holds).toEqual(["over", "over"]);
  });
});
