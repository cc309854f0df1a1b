import { describe, expect, it } from "vitest";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ByteStream, Fetch } from "../core/ports.ts";
import { agentAnswer, type Answer, errorAnswer } from "./answer.ts";
import { BrokerEndpoints } from "./handshake.ts";
import type { DirectExchange, DirectRequest } from "../net/direct.ts";
import { encodeHead, type Upload, uploadAnswer, type UploadOptions } from "./upload.ts";

const TOKEN = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";
/** What Deno 2.9's fetch throws when nothing listens. */
const connectFailure = (): TypeError =>
  new TypeError("fetch failed", {
    cause: new Error(`error sending request for url (http://x/${TOKEN}): client error (Connect): tcp connect error`),
  });

interface Received {
  readonly request: Request;
  readonly head: unknown;
  readonly body: string;
}

async function receive(request: Request): Promise<Received> {
  const bytes = new Uint8Array(await request.arrayBuffer());
  const size = new DataView(bytes.buffer).getUint32(0, true);
  const text = (part: Uint8Array): string => new TextDecoder().decode(part);
  return { request, head: JSON.parse(text(bytes.subarray(4, 4 + size))), body: text(bytes.subarray(4 + size)) };
}

function pieces(count: number, size: number, onCancel = (): void => {}): ByteStream {
  let left = count;
  return new ReadableStream({
    pull(controller) {
      if (left-- === 0) controller.close();
      else controller.enqueue(new Uint8Array(size).fill(0x61));
    },
    cancel: onCancel,
  }, { highWaterMark: 0 });
}

function bench(fetch: Fetch, uploadExchange?: DirectExchange) {
  const clock = new FakeClock();
  const options: UploadOptions = {
    fetch,
    uploadExchange,
    clock,
    endpoints: new BrokerEndpoints("http://broker.example/base/", TOKEN),
    protocolVersion: "5.22.14",
    uploadIdleMs: LIMITS.brokerUploadIdleMs,
  };
  const life = new AbortController();
  const upload = (answer: Answer): Promise<number> => {
    const parts: Upload = {
      answer,
      streamingId: "stream/1",
      role: "primary",
      requestId: "request-1",
      requestHeaders: { "snyk-flow-name": "flow", "x-other": "no" },
      signal: life.signal,
    };
    return uploadAnswer(options, parts);
  };
  return { clock, life, upload };
}

const answerOf = (body: BodyInit | null, init?: ResponseInit): Answer => agentAnswer(new Response(body, init));

describe("uploadAnswer()", () => {
  it("posts length, head and body to the documented address", async () => {
    const received: Received[] = [];
    const { upload } = bench(async (request) => {
      received.push(await receive(request));
      return Response.json({});
    });
    expect(await upload(answerOf("hello", { status: 201, headers: { "x-a": "b" } }))).toBe(5);
    const [only] = received;
    expect(only?.request.url).toBe(
      `http://broker.example/base/response-data/${TOKEN}/stream%2F1?connection_role=primary`,
    );
    expect(only?.request.redirect).toBe("manual");
    expect(Object.fromEntries(only?.request.headers ?? [])).toEqual({
      "content-type": "application/vnd.broker.stream+octet-stream",
      "snyk-request-id": "request-1",
      "snyk-flow-name": "flow",
      "user-agent": "Snyk Broker client 5.22.14",
      "x-broker-client-version": "5.22.14",
      "snyk-broker-retry-count": "0",
    });
    expect(only?.head).toEqual({
      status: 201,
      headers: { "content-type": "text/plain;charset=UTF-8", "x-a": "b" },
    });
    expect(only?.body).toBe("hello");
  });

  it("posts errors with their label, and answers without a body", async () => {
    const received: Received[] = [];
    const { upload } = bench(async (request) => {
      received.push(await receive(request));
      return Response.json({});
    });
    await upload(errorAnswer(502, "DOWNSTREAM_ERROR", "why"));
    await upload(answerOf(null, { status: 204 }));
    expect(received.map(({ head, body }) => [head, body])).toEqual([
      [
        { status: 502, headers: { "content-type": "application/json" }, errorType: "DOWNSTREAM_ERROR" },
        '{"code":"DOWNSTREAM_ERROR","message":"why"}',
      ],
      [{ status: 204, headers: {} }, ""],
    ]);
  });

  it("tries to connect three times, and then sends all of the answer", async () => {
    let attempts = 0;
    const received: Received[] = [];
    const { clock, upload } = bench(async (request) => {
      // A transport that reads ahead before it is connected, as Deno's does.
      if (++attempts < 3) {
        await request.body?.getReader().read();
        throw connectFailure();
      }
      received.push(await receive(request));
      return Response.json({});
    });
    const done = upload(answerOf(pieces(3, 10)));
    await clock.advance(1_000);
    expect(await done).toBe(30);
    expect(received[0]?.body).toBe("a".repeat(30));
    expect(clock.sleeps.filter((ms) => ms === LIMITS.brokerUploadRetryMs)).toHaveLength(2);
    expect(clock.pending).toBe(0);
  });

  it("gives up after the third, without the token in the message, and stops the agent's answer", async () => {
    let cancelled = false;
    const { clock, upload } = bench(() => Promise.reject(connectFailure()));
    const done = upload(answerOf(pieces(3, 10, () => cancelled = true)));
    const failed = done.catch((error: unknown) => error);
    await clock.advance(1_000);
    const error = await failed;
    expect(error).toMatchObject({ code: "BROKER_DISCONNECTED" });
    expect(error instanceof Error && [error.message, error.cause].join()).not.toContain(TOKEN);
    expect(cancelled).toBe(true);
    expect(clock.pending).toBe(0);
  });

  it.each(
    [
      ["a broken upload", () => Promise.reject(new TypeError("connection reset")), "BROKER_DISCONNECTED"],
      ["an unknown id", () => Promise.resolve(new Response("{}", { status: 500 })), "BROKER_REFUSED"],
      ["a redirect", () => Promise.resolve(new Response(null, { status: 307 })), "BROKER_REFUSED"],
      ["an answer before the end", () => Promise.resolve(Response.json({})), "BROKER_REFUSED"],
    ] as const,
  )("does not replay after %s", async (_what, respond, code) => {
    let attempts = 0;
    const { clock, upload } = bench(() => {
      attempts++;
      return respond();
    });
    await expect(upload(answerOf(pieces(3, 10)))).rejects.toMatchObject({ code });
    expect(attempts).toBe(1);
    expect(clock.pending).toBe(0);
  });

  it("does not replay an answer of which too much was taken", async () => {
    let attempts = 0;
    const { upload } = bench(async (request) => {
      attempts++;
      const reader = request.body?.getReader();
      for (let n = 0; n < 10; n++) await reader?.read();
      throw connectFailure();
    });
    await expect(upload(answerOf(pieces(10, 65_536)))).rejects.toMatchObject({ code: "BROKER_DISCONNECTED" });
    expect(attempts).toBe(1);
  });

  it("fails when the agent's answer breaks off", async () => {
    const broken = new ReadableStream({ pull: (controller) => controller.error(new Error("died")) });
    const { upload } = bench(async (request) => {
      await receive(request);
      return Response.json({});
    });
    await expect(upload(answerOf(broken))).rejects.toMatchObject({ code: "BROKER_DISCONNECTED" });
  });

  it("fails when nothing moves for brokerUploadIdleMs", async () => {
    const { clock, upload } = bench((request) =>
      new Promise((_resolve, reject) => request.signal.addEventListener("abort", () => reject(request.signal.reason)))
    );
    const failure = expect(upload(answerOf("x"))).rejects.toMatchObject({ code: "TIMEOUT" });
    await clock.advance(2 * LIMITS.brokerUploadIdleMs);
    await failure;
    expect(clock.pending).toBe(0);
  });

  it("stops when the client closes", async () => {
    const { life, upload } = bench((request) =>
      new Promise((_resolve, reject) => request.signal.addEventListener("abort", () => reject(request.signal.reason)))
    );
    const done = upload(answerOf("x"));
    life.abort(new OutpostError("CANCELLED", "Closing"));
    await expect(done).rejects.toMatchObject({ code: "CANCELLED" });
  });
});

describe("encodeHead()", () => {
  it("writes the length of the JSON in bytes, little-endian, in front of it", () => {
    const head = encodeHead({ status: 200, headers: { a: "é" }, errorType: undefined });
    const json = '{"status":200,"headers":{"a":"é"}}';
    expect([...head.subarray(0, 4)]).toEqual([new TextEncoder().encode(json).length, 0, 0, 0]);
    expect(new TextDecoder().decode(head.subarray(4))).toBe(json);
  });
});

describe("uploadAnswer() over a direct connection", () => {
  const pulled = (text: string, length?: number) => {
    const parts = [new TextEncoder().encode(text)];
    let cancelled = false;
    const take = () => parts.shift();
    const body = {
      length,
      ended: false,
      take,
      read: () => Promise.resolve(take()),
      cancel: () => void (cancelled = true),
    };
    return { body, cancelled: () => cancelled };
  };
  const nothing = {
    length: 0,
    ended: true,
    take: () => undefined,
    read: () => Promise.resolve(undefined),
    cancel: () => {},
  };
  const answer = (body: Answer["body"]): Answer => ({ status: 200, headers: {}, errorType: undefined, body });
  const run = (
    exchange: DirectExchange,
    body: Answer["body"],
    fetch: Fetch = () => Promise.reject(connectFailure()),
  ) => {
    const made = bench(fetch, exchange);
    return { ...made, uploaded: made.upload(answer(body)) };
  };

  it("sends head and body to the documented address, and counts the body", async () => {
    const asked: DirectRequest[] = [];
    const { body } = pulled("hello", 5);
    const { uploaded } = run(async (request) => {
      asked.push(request);
      const piece = await request.body?.source?.read();
      request.onProgress?.(piece?.length ?? 0);
      return { status: 200, fields: [], body: nothing, sent: true };
    }, { kind: "pulled", pulled: body });
    expect(await uploaded).toBe(5);
    const [only] = asked;
    expect(only?.url.href).toBe(`http://broker.example/base/response-data/${TOKEN}/stream%2F1?connection_role=primary`);
    expect(Object.fromEntries(only?.fields ?? [])).toMatchObject({
      "content-type": "application/vnd.broker.stream+octet-stream",
      "snyk-flow-name": "flow",
    });
    expect(only?.body?.prefix).toEqual(encodeHead(answer({ kind: "none" })));
  });

  it.each([
    ["was refused", { status: 500, sent: true }, "BROKER_REFUSED"],
    ["was not read whole", { status: 200, sent: false }, "BROKER_REFUSED"],
  ])("fails when it %s, and gives the agent's answer up", async (_, outcome, code) => {
    const { body, cancelled } = pulled("hello");
    const exchange: DirectExchange = () => Promise.resolve({ ...outcome, fields: [], body: nothing });
    await expect(run(exchange, { kind: "pulled", pulled: body }).uploaded).rejects.toMatchObject({ code });
    expect(cancelled()).toBe(true);
  });

  it("says the same of a broken connection, whichever it was", async () => {
    const exchange: DirectExchange = () => Promise.reject(new OutpostError("CONNECTION_RESET", "Cannot read"));
    await expect(run(exchange, { kind: "none" }).uploaded).rejects.toMatchObject({
      code: "BROKER_DISCONNECTED",
      message: "Cannot deliver an answer: the upload was cut off",
    });
  });

  it("gives up when nothing moves for brokerUploadIdleMs", async () => {
    const { clock, uploaded } = run(
      ({ signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
      { kind: "none" },
    );
    const failed = expect(uploaded).rejects.toMatchObject({ code: "TIMEOUT" });
    await clock.advance(LIMITS.brokerUploadIdleMs);
    await clock.advance(LIMITS.brokerUploadIdleMs);
    await failed;
    expect(clock.pending).toBe(0);
  });

  it("goes by fetch where no direct connection can be made", async () => {
    const received: Received[] = [];
    const fetch: Fetch = async (request) => {
      received.push(await receive(request));
      return Response.json({});
    };
    const none: DirectExchange = () => Promise.resolve(undefined);
    expect(await run(none, { kind: "pulled", pulled: pulled("hello").body }, fetch).uploaded).toBe(5);
    expect(await run(none, { kind: "json", value: { a: 1 } }, fetch).uploaded).toBe(7);
    expect(received.map(({ body }) => body)).toEqual(["hello", '{"a":1}']);
  });
});
