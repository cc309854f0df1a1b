/** Requests over connections of our own, on real sockets. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../tests/fakes/clock.ts";
import { freePort } from "../../tests/peers/process.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { BodyReader } from "./body.ts";
import { DirectClient, type DirectExchange } from "./direct.ts";
import { HttpClient, type HttpRequest, type StreamedResponse } from "./http.ts";
import { RequestGate } from "./retry.ts";

const BYTES = 1_000_000;
const signal = new AbortController().signal;

describe("HttpClient over connections of our own", () => {
  let direct: DirectClient;
  let dialled: number;
  let fetched: string[];
  let server: Deno.HttpServer<Deno.NetAddr>;
  let handler: (request: Request) => Response | Promise<Response>;

  beforeEach(() => {
    dialled = 0;
    fetched = [];
    direct = new DirectClient({
      clock: systemClock,
      dial: ({ hostname, port }) => {
        dialled++;
        return Deno.connect({ hostname, port: Number(port) });
      },
    });
    server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => handler(request));
    handler = () => new Response(new Uint8Array(BYTES).fill(7), { headers: { etag: '"1"' } });
  });
  afterEach(async () => {
    direct.close();
    await server.shutdown();
  });

  function client(exchange: DirectExchange | undefined = (request) => direct.exchange(request)): HttpClient {
    const logger = new RecordingLogger();
    return new HttpClient({
      fetchFor: (url) => (request) => {
        fetched.push(`${request.method} ${url.pathname}`);
        return fetch(request);
      },
      exchangeFor: (url) => url.hostname === "127.0.0.1" ? exchange : undefined,
      gate: new RequestGate({ clock: systemClock, logger }),
      clock: systemClock,
      logger,
      userAgent: "test/1",
    });
  }

  function get(path = "/blob", base = `http://127.0.0.1:${server.addr.port}`): HttpRequest {
    return { method: "GET", url: new URL(path, base), headers: { "accept-encoding": "identity" } };
  }

  /** Reads the body to its end; answers how many bytes there were. */
  async function read({ body, url }: StreamedResponse, abort = signal): Promise<number> {
    if (body === null) return 0;
    const reader = new BodyReader(body, { clock: systemClock, url, signal: abort, reuseBuffer: true });
    let bytes = 0;
    for (let piece = await reader.read(); piece !== undefined; piece = await reader.read()) bytes += piece.length;
    return bytes;
  }

  it("reads answers one after another on one connection, without fetch", async () => {
    const sent: (string | null)[] = [];
    handler = (request) => {
      sent.push(request.headers.get("user-agent"), request.headers.get("accept-encoding"));
      return new Response(new Uint8Array(BYTES), { headers: { etag: '"1"', "content-encoding": "gzip" } });
    };
    for (let time = 0; time < 3; time++) {
      const response = await client().stream(get(), signal);
      expect([response.status, response.headers.get("etag")]).toEqual([200, '"1"']);
      expect(await read(response)).toBe(BYTES);
    }
    expect(sent).toEqual(Array(3).fill(["test/1", "identity"]).flat());
    expect([dialled, fetched]).toEqual([1, []]);
  });

  it("follows redirects, and gives up what it does not read", async () => {
    handler = ({ url }) =>
      new URL(url).pathname === "/blob"
        ? new Response(new Uint8Array(BYTES), { status: 307, headers: { location: "/there" } })
        : new Response("there");
    const response = await client().stream(get(), signal);
    expect([response.url.pathname, await read(response)]).toEqual(["/there", 5]);
    expect(fetched).toEqual([]);
  });

  it("reads whole answers on the same connection, and decodes none that it did not ask for", async () => {
    handler = ({ method }) => new Response(method === "HEAD" ? null : "manifest", { headers: { etag: '"2"' } });
    for (const method of ["GET", "HEAD", "GET"] as const) {
      const { headers, body } = await client().request({ ...get(), method, headers: {} }, 100, signal);
      expect([headers.get("etag"), body.length]).toEqual(['"2"', method === "HEAD" ? 0 : 8]);
    }
    expect([dialled, fetched]).toEqual([1, []]);
    const packed = new Response(new Blob(["manifest"]).stream().pipeThrough(new CompressionStream("gzip")));
    const bytes = await packed.arrayBuffer();
    handler = () => new Response(bytes, { headers: { "content-encoding": "gzip" } });
    const { body } = await client().request({ ...get(), headers: {} }, 100, signal);
    expect([new TextDecoder().decode(body), fetched]).toEqual(["manifest", ["GET /blob"]]);
  });

  it("asks fetch where no connection can be made or its answer cannot be read, and for what is sent", async () => {
    const failing: DirectExchange = () => Promise.reject(new Error("odd"));
    for (const exchange of [failing, () => Promise.resolve(undefined)]) {
      expect(await read(await client(exchange).stream(get(), signal))).toBe(BYTES);
    }
    await client().request({ ...get("/token"), method: "POST" }, 2 * BYTES, signal);
    expect(fetched).toEqual(["GET /blob", "GET /blob", "POST /token"]);
    await expect(client().stream(get("/x", `https://127.0.0.1:${freePort()}`), signal)).rejects.toMatchObject({
      code: "CONNECTION_REFUSED",
    });
    expect(dialled).toBe(0);
  });

  it("asks fetch at another origin, whose ports are not the operator's choice", async () => {
    const { port } = server.addr;
    handler = ({ url }) =>
      new URL(url).hostname === "localhost"
        ? new Response("there")
        : new Response(null, { status: 307, headers: { location: `http://localhost:${port}/there` } });
    expect(await read(await client().stream(get(), signal))).toBe(5);
    expect([dialled, fetched]).toEqual([1, ["GET /there"]]);
    handler = () => new Response(null, { status: 307, headers: { location: "http://127.0.0.1:25/mail" } });
    await expect(client().stream(get(), signal)).rejects.toMatchObject({ code: "BLOCKED_PORT" });
  });

  it("says that a body broke off, and leaves no connection behind when it is cancelled", async () => {
    const gone = Promise.withResolvers<void>();
    handler = ({ signal: ended }) => {
      ended.addEventListener("abort", () => gone.resolve());
      return new Response(
        new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(10)) }),
      );
    };
    const aborter = new AbortController();
    const response = await client().stream(get(), aborter.signal);
    const end = read(response, aborter.signal);
    aborter.abort();
    await expect(end).rejects.toMatchObject({ code: "CANCELLED" });
    await gone.promise;

    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const cutting = (async () => {
      using connection = await listener.accept();
      await connection.read(new Uint8Array(4096));
      await connection.write(new TextEncoder().encode("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf of it"));
    })();
    const cut = await client().stream(get("/blob", `http://127.0.0.1:${listener.addr.port}`), signal);
    await cutting;
    await expect(read(cut)).rejects.toMatchObject({ code: "CONNECTION_RESET" });
    expect(fetched).toEqual([]);
  });
});
