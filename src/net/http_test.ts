import { describe, expect, it } from "vitest";
import { BackoffClock, FakeClock } from "../../tests/fakes/clock.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { brokenAfter, ScriptedRegistry, stalledAfter } from "../../tests/fakes/scripted_registry.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock } from "../core/ports.ts";
import { createDenoTransport } from "./deno_transport.ts";
import { HttpClient, type HttpRequest } from "./http.ts";
import { RequestGate } from "./retry.ts";

const signal = new AbortController().signal;
const bytes = (length: number): Uint8Array<ArrayBuffer> => new Uint8Array(length).fill(7);
const get = (url: string, headers: Record<string, string> = {}): HttpRequest => ({
  method: "GET",
  url: new URL(url),
  headers,
});
const A = "https://registry.example/a";

function clientOf(
  script: ScriptedRegistry,
  clock: Clock = new BackoffClock([LIMITS.responseTimeoutMs]),
  logger = new RecordingLogger(),
): HttpClient {
  const { fetch } = script.open();
  return new HttpClient({
    fetchFor: () => fetch,
    gate: new RequestGate({ clock, logger }),
    clock,
    logger,
    userAgent: "test/1",
  });
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(() => "no error", (error) => error instanceof OutpostError ? error.code : String(error));
}

describe("HttpClient redirects", () => {
  it("R7, X7: carries no credential and no custom header to another origin, also on the way back", async () => {
    const away = {
      authorization: null,
      cookie: null,
      "x-custom": null,
      accept: "*/*",
      range: "bytes=0-1",
      "user-agent": "test/1",
    };
    const script = new ScriptedRegistry([
      {
        match: "GET /a",
        headers: { authorization: "Bearer canary" },
        reply: { status: 307, headers: { location: "https://blobs.example/x?sig=1" } },
        once: true,
      },
      {
        match: "GET https://blobs.example/x?sig=1",
        headers: away,
        reply: { status: 302, headers: { location: A.replace("/a", "/b") } },
        once: true,
      },
      { match: "GET /b", headers: away, reply: { body: "done" }, once: true },
    ]);
    const headers = {
      authorization: "Bearer canary",
      cookie: "canary",
      "x-custom": "canary",
      accept: "*/*",
      range: "bytes=0-1",
    };
    const answer = await clientOf(script).request(get(A, headers), 100, signal);
    expect(new TextDecoder().decode(answer.body)).toBe("done");
    expect(answer.url.href).toBe("https://registry.example/b");
    script.assertDone();
  });

  it("R7: keeps headers on the same origin, and treats another port as another origin", async () => {
    const script = new ScriptedRegistry([
      { match: "GET /a", reply: { status: 308, headers: { location: "/b" } }, once: true },
      {
        match: "GET /b",
        headers: { authorization: "canary" },
        reply: { status: 301, headers: { location: "https://registry.example:8443/c" } },
        once: true,
      },
      {
        match: "GET https://registry.example:8443/c",
        headers: { authorization: null },
        reply: { body: "" },
        once: true,
      },
    ]);
    await clientOf(script).request(get(A, { authorization: "canary" }), 100, signal);
    script.assertDone();
  });

  it("R7: stops after LIMITS.redirects", async () => {
    const loop = new ScriptedRegistry([{ match: "GET /a", reply: { status: 302, headers: { location: A } } }]);
    expect(await codeOf(clientOf(loop).request(get(A), 100, signal))).toBe("UNSAFE_REDIRECT");
    expect(loop.requests.length).toBe(LIMITS.redirects + 1);
  });

  it.each([
    ["http://registry.example/a"],
    ["https://127.0.0.1/x"],
    ["https://[::ffff:169.254.169.254]/x"],
    ["https://user:pw@blobs.example/"],
    ["http://"],
  ])("R7: refuses to go to %s", async (location) => {
    const script = new ScriptedRegistry([{
      match: "GET /a",
      reply: { status: 302, headers: { location } },
      once: true,
    }]);
    expect(await codeOf(clientOf(script).request(get(A), 100, signal))).toBe("UNSAFE_REDIRECT");
    script.assertDone();
  });

  it("hands on a redirect without target, and one of a POST", async () => {
    const script = new ScriptedRegistry([
      { match: "GET /a", reply: { status: 302 }, once: true },
      { match: "POST /a", reply: { status: 307, headers: { location: "https://evil.example/" } }, once: true },
    ]);
    expect((await clientOf(script).request(get(A), 100, signal)).status).toBe(302);
    const post: HttpRequest = { method: "POST", url: new URL(A), form: new URLSearchParams({ password: "canary" }) };
    expect((await clientOf(script).request(post, 100, signal)).status).toBe(307);
    expect(script.requests[1]?.body).toBe("password=canary");
    script.assertDone();
  });
});

describe("HttpClient attempts", () => {
  it("repeats a POST only when it is said to change nothing", async () => {
    const post: HttpRequest = { method: "POST", url: new URL(A), content: { type: "text/plain", text: "query" } };
    const script = new ScriptedRegistry([
      { match: "POST /a", reply: { status: 503 }, once: true },
      { match: "POST /a", reply: { status: 503 }, once: true },
      { match: "POST /a", reply: { body: "done" }, once: true },
    ]);
    expect((await clientOf(script).request(post, 100, signal)).status).toBe(503);
    expect((await clientOf(script).request({ ...post, idempotent: true }, 100, signal)).status).toBe(200);
    expect(script.requests.map(({ body }) => body)).toEqual(["query", "query", "query"]);
    script.assertDone();
  });
});

describe("HttpClient bodies", () => {
  it.each([[-1, "no error"], [0, "no error"], [1, "LIMIT_EXCEEDED"]] as const)(
    "bounds a body: limit %+d",
    async (more, end) => {
      const script = new ScriptedRegistry([{ match: "GET /a", reply: { body: bytes(1000 + more) } }]);
      expect(await codeOf(clientOf(script).request(get(A), 1000, signal))).toBe(end);
    },
  );

  it("cuts the body of an error instead of failing", async () => {
    const script = new ScriptedRegistry([{
      match: "GET /a",
      reply: { status: 404, body: bytes(LIMITS.errorBodyBytes + 5) },
    }]);
    expect((await clientOf(script).request(get(A), 10, signal)).body.length).toBe(LIMITS.errorBodyBytes);
  });

  it("R1: asks again when a body breaks, but not for the body of an error", async () => {
    const script = new ScriptedRegistry([
      { match: "GET /a", reply: () => new Response(brokenAfter(bytes(10))), once: true },
      { match: "GET /a", reply: { body: "whole" }, once: true },
      { match: "GET /b", reply: () => new Response(brokenAfter(bytes(10)), { status: 404 }), once: true },
    ]);
    const client = clientOf(script);
    expect(new TextDecoder().decode((await client.request(get(A), 100, signal)).body)).toBe("whole");
    expect((await client.request(get(A.replace("/a", "/b")), 100, signal)).status).toBe(404);
    script.assertDone();
  });

  it("R6: gives up a body that stalls, and one that drips", async () => {
    const clock = new FakeClock();
    const stalled = new ScriptedRegistry([{ match: "GET /a", reply: { body: stalledAfter(bytes(10)) } }]);
    const end = codeOf(clientOf(stalled, clock).request({ ...get(A), attempts: 1 }, 100, signal));
    await clock.advance(LIMITS.noProgressMs);
    expect(await end).toBe("TIMEOUT");

    let drops: ReadableStreamDefaultController<Uint8Array> | undefined;
    const drip = new ReadableStream<Uint8Array>({ start: (controller) => void (drops = controller) });
    const dripping = new ScriptedRegistry([{ match: "GET /a", reply: { body: drip } }]);
    let ended: string | undefined;
    const done = codeOf(clientOf(dripping, clock).request({ ...get(A), attempts: 1 }, 100_000, signal)).then((code) =>
      ended = code
    );
    let seconds = 0;
    for (; ended === undefined && seconds < 60; seconds++) {
      await clock.advance(1000);
      if (ended === undefined) drops?.enqueue(bytes(1));
    }
    expect(await done).toBe("TIMEOUT");
    expect(Math.abs(seconds - LIMITS.noProgressMs / 1000)).toBeLessThanOrEqual(1);
  });

  it("lets a slow body go on that makes progress", async () => {
    const clock = new FakeClock();
    let source: ReadableStreamDefaultController<Uint8Array> | undefined;
    const slow = new ReadableStream<Uint8Array>({ start: (controller) => void (source = controller) });
    const script = new ScriptedRegistry([{ match: "GET /a", reply: { body: slow } }]);
    const done = clientOf(script, clock).request(get(A), 1_000_000, signal);
    for (let i = 0; i < 10; i++) {
      await clock.advance(LIMITS.noProgressMs - 1000);
      source?.enqueue(bytes(LIMITS.progressBytes));
    }
    await clock.advance(1);
    source?.close();
    expect((await done).body.length).toBe(10 * LIMITS.progressBytes);
  });
});

describe("HttpClient time and cancellation", () => {
  const never = (_: unknown, aborted: AbortSignal): Promise<Response> =>
    new Promise((_resolve, reject) => aborted.addEventListener("abort", () => reject(aborted.reason)));

  it("R6: gives up a server that accepts and never answers, after LIMITS.responseTimeoutMs, twice", async () => {
    const clock = new FakeClock();
    const script = new ScriptedRegistry([{ match: "GET /a", reply: never }]);
    const gate = clientOf(script, clock).request(get(A), 100, signal).catch((error: OutpostError) => error);
    await clock.advance(LIMITS.responseTimeoutMs);
    await clock.advance(LIMITS.retryMinMs);
    await clock.advance(LIMITS.responseTimeoutMs);
    expect(await gate).toMatchObject({
      code: "TIMEOUT",
      message: "Cannot reach registry.example: it did not answer within 30 s",
    });
    expect(script.requests.length).toBe(2);
  });

  it("R6: gives up a stalled TLS handshake", async () => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const accepted = listener.accept();
    const transport = createDenoTransport({ fetch, createHttpClient: Deno.createHttpClient }).open({});
    const clock = new FakeClock();
    const logger = new RecordingLogger();
    const gate = new RequestGate({ clock, logger });
    const client = new HttpClient({ fetchFor: () => transport.fetch, gate, clock, logger, userAgent: "test/1" });
    const request = { ...get(`https://127.0.0.1:${listener.addr.port}/`), attempts: 1 };
    const end = codeOf(client.request(request, 100, signal));
    using connection = await accepted;
    await connection.read(new Uint8Array(100));
    await clock.advance(LIMITS.responseTimeoutMs);
    expect(await end).toBe("TIMEOUT");
    expect(gate.activeHosts).toBe(0);
    transport.close();
  });

  it("ends with CANCELLED when the caller gives up, or with the caller's own reason", async () => {
    const script = new ScriptedRegistry([{ match: "GET /a", reply: never }]);
    const client = clientOf(script, new FakeClock());
    for (
      const [reason, code] of [[undefined, "CANCELLED"], [new OutpostError("BUSY", "Cannot go on"), "BUSY"], [
        "text",
        "CANCELLED",
      ]] as const
    ) {
      const aborter = new AbortController();
      const end = codeOf(client.request(get(A), 100, aborter.signal));
      aborter.abort(reason);
      expect(await end).toBe(code);
    }
  });

  it("logs requests without a secret", async () => {
    const logger = new RecordingLogger();
    const script = new ScriptedRegistry([{ match: "GET /a", reply: { body: "canary" } }]);
    await clientOf(script, new BackoffClock([LIMITS.responseTimeoutMs]), logger)
      .request(get(`${A}?token=canary`, { authorization: "Basic canary" }), 100, signal);
    expect(logger.lines.length).toBeGreaterThan(0);
    expect(JSON.stringify(logger.lines)).not.toContain("canary");
  });
});

describe("HttpClient on a real server", () => {
  it("R5: leaves the bytes alone when identity is asked for, whatever Content-Encoding says", async () => {
    const stored = new Uint8Array(
      await new Response(new Blob(["layer"]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer(),
    );
    await using server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      () => new Response(stored, { headers: { "content-encoding": "gzip" } }),
    );
    const transport = createDenoTransport({ fetch, createHttpClient: Deno.createHttpClient }).open({});
    const clock = new FakeClock();
    const logger = new RecordingLogger();
    const client = new HttpClient({
      fetchFor: () => transport.fetch,
      gate: new RequestGate({ clock, logger }),
      clock,
      logger,
      userAgent: "test/1",
    });
    const url = `http://127.0.0.1:${server.addr.port}/`;
    expect((await client.request(get(url, { "accept-encoding": "identity" }), 1000, signal)).body).toEqual(stored);
    transport.close();
  });
});
