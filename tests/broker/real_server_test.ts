/** Our broker client against Snyk's own broker server. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DispatchInfo } from "../../src/broker/mod.ts";
import { startTestClient, type TestClient } from "../fakes/fake_broker.ts";
import { type BrokerServer, startBrokerServer } from "../peers/broker_server.ts";
import { peer } from "../peers/mod.ts";

const TOKEN = "11111111-2222-4333-8444-555555555555";
const soon = (): AbortSignal => AbortSignal.timeout(20_000);
const MiB = 1024 * 1024;

interface Seen {
  readonly request: Request;
  readonly info: DispatchInfo;
  readonly body: string;
}

describe.skipIf(!peer("snyk-broker").available)("broker client against the real broker server", () => {
  let server: BrokerServer;
  let client: TestClient;
  let seen: Seen[] = [];

  async function agent(request: Request, info: DispatchInfo): Promise<Response> {
    seen.push({ request, info, body: await request.text() });
    const { pathname } = new URL(request.url);
    if (pathname === "/list") return Response.json(["team/app"]);
    if (pathname === "/list/large") return new Response(stream(20 * MiB));
    if (pathname === "/list/cut") return new Response(stream(2 * MiB, true));
    if (pathname === "/list/binary") return new Response(new Uint8Array([0xff, 0xfe, 0x00, 0x80]));
    if (pathname === "/list/too-large") return new Response(stream(20 * MiB + 1));
    if (pathname === "/list/limit") return new Response(stream(20 * MiB));
    if (pathname === "/list/headers") {
      const headers = new Headers({ "x-one": "1", "connection": "x-hop", "x-hop": "no" });
      headers.append("set-cookie", "a=1");
      headers.append("set-cookie", "b=2");
      return new Response("text", { status: 418, headers });
    }
    if (pathname === "/list/broken") throw new TypeError("http://user:hunter2@agent is down");
    return new Response("ok", { status: 202 });
  }

  beforeAll(async () => {
    server = await startBrokerServer();
    client = startTestClient({
      serverUrl: server.url,
      token: TOKEN,
      dispatch: agent,
      variables: (name) => name === "CR_CREDENTIALS" ? "c2VjcmV0" : undefined,
    });
    await client.client.ready(soon());
    await server.connected(TOKEN, soon(), 2);
  });
  afterAll(async () => {
    await client[Symbol.asyncDispose]();
    await server.stop();
  });

  const call = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(server.brokerUrl(TOKEN, path), { signal: soon(), ...init });

  it("identifies both sockets", async () => {
    const response = await fetch(`${server.url}/connection-status/${TOKEN}`);
    const status = await response.json();
    expect(status.clients).toHaveLength(2);
    expect(status.clients[0].filters).toEqual(client.client.rules());
    expect(status.clients[0].version).toBe("5.22.14");
    expect(client.client.states().every((state) => state.open)).toBe(true);
  });

  it("streams the agent's answer to the caller", async () => {
    seen = [];
    const response = await call("/list?x=1", { headers: { "x-mine": "yes", "snyk-flow-name": "f" } });
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toContain("application/json");
    expect(await response.json()).toEqual(["team/app"]);
    const [only] = seen;
    expect(only?.info.internal).toBe(true);
    expect(new URL(only?.request.url ?? "").search).toBe("?x=1");
    expect(only?.request.headers.get("x-mine")).toBe("yes");
    expect(only?.request.headers.has("snyk-flow-name")).toBe(false);
    expect(only?.request.headers.get("user-agent")).toContain("Snyk Broker Client 5.22.14");
  });

  it("streams 20 MiB", async () => {
    const response = await call("/list/large");
    const bytes = new Uint8Array(await response.arrayBuffer());
    expect(bytes.length).toBe(20 * MiB);
    expect(bytes[0]).toBe(0x61);
  });

  it("keeps several header fields of one name apart", async () => {
    const response = await call("/list/headers");
    expect(response.status).toBe(418);
    expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    expect(response.headers.get("x-one")).toBe("1");
    expect(response.headers.has("x-hop")).toBe(false);
    expect(await response.text()).toBe("text");
  });

  it("fills in credentials in headers and body fields", async () => {
    seen = [];
    const response = await call("/scan", {
      method: "POST",
      headers: {
        "authorization": "${CR_CREDENTIALS}",
        "x-broker-var-sub": "authorization",
        "content-type": "application/json",
      },
      body: JSON.stringify({ a: { b: "${CR_CREDENTIALS}" }, c: "${CR_CREDENTIALS}", BROKER_VAR_SUB: ["a.b"] }),
    });
    expect(response.status).toBe(202);
    await response.text();
    expect(seen).toHaveLength(1);
    expect(seen[0]?.request.headers.get("authorization")).toBe("c2VjcmV0");
    expect(JSON.parse(seen[0]?.body ?? "")).toEqual({ a: { b: "c2VjcmV0" }, c: "${CR_CREDENTIALS}" });
    expect(seen[0]?.info.substituted).toEqual({ headers: ["authorization"], fields: ["a.b"] });
  });

  it("takes a chunked request body", async () => {
    seen = [];
    const response = await call("/scan", { method: "POST", body: stream(3 * MiB) });
    expect(response.status).toBe(202);
    await response.text();
    expect(seen[0]?.body.length).toBe(3 * MiB);
    expect(seen[0]?.request.headers.has("transfer-encoding")).toBe(false);
  });

  it("blocks what no rule accepts", async () => {
    seen = [];
    for (
      const path of ["/nothing", "/list/..%2fadmin", "/list/a?u=http://127.0.0.1/", "/list//a", "/list/a%5c..%5cb"]
    ) {
      const response = await call(path);
      expect(response.status).toBe(401);
      expect(await response.json()).toMatchObject({ code: "FILTER_BLOCKED", message: "blocked" });
    }
    expect(seen).toHaveLength(0);
  });

  it("answers 502 without details when the agent fails", async () => {
    const response = await call("/list/broken");
    expect(response.status).toBe(502);
    expect(await response.json()).toEqual({ code: "DOWNSTREAM_ERROR", message: "Cannot reach the agent" });
  });

  it("lets the caller see that an answer was cut off", async () => {
    const response = await call("/list/cut");
    await expect(response.arrayBuffer()).rejects.toThrow();
  });

  it("answers inside the websocket when the caller asks for it", async () => {
    const inside = { headers: { "x-broker-ws-response": "true" } };
    const text = await call("/list", inside);
    expect(text.headers.get("x-broker-ws-response")).toBe("true");
    expect(await text.json()).toEqual(["team/app"]);
    const limit = await call("/list/limit", inside);
    expect((await limit.arrayBuffer()).byteLength).toBe(20 * MiB);
    const over = await call("/list/too-large", inside);
    expect(over.status).toBe(502);
    expect(await over.json()).toMatchObject({ code: "BODY_TOO_LARGE" });
    const blocked = await call("/nothing", inside);
    expect(blocked.status).toBe(401);
    expect(await blocked.json()).toMatchObject({ code: "FILTER_BLOCKED" });
    const bytes = await call("/list/binary", inside);
    expect(bytes.status).toBe(502);
    expect(await bytes.json()).toMatchObject({ code: "DOWNSTREAM_ERROR" });
  });

  it("answers service commands", async () => {
    const reload = await fetch(`${server.url}/service/${TOKEN}/filters/reload`);
    expect(reload.status).toBe(200);
    expect(await reload.json()).toEqual({ ok: true, msg: "Filters reloaded." });
    const unknown = await fetch(`${server.url}/service/${TOKEN}/nonsense`);
    expect(unknown.status).toBe(400);
    await unknown.text();
  });

  it("brings callbacks to the upstream", async () => {
    const body = new TextEncoder().encode(JSON.stringify({ id: "scan-1" }));
    const answer = await client.client.callback({
      method: "POST",
      url: "/api/v2/import/result?x=1",
      headers: { "content-type": "application/json", "x-canary": "1", "transfer-encoding": "chunked" },
      body,
    }, soon());
    expect(answer.status).toBe(200);
    expect(JSON.parse(new TextDecoder().decode(answer.body))).toEqual({ ok: true });
    const received = await server.upstream.waitFor((r) => r.path === "/api/v2/import/result?x=1", soon());
    expect(received.json).toEqual({ id: "scan-1" });
    expect(received.headers["x-canary"]).toBe("1");
    expect(received.headers["x-broker-token"]).toBe(TOKEN);
  });

  it("brings a callback of 10 MiB", async () => {
    const body = new Uint8Array(10 * MiB).fill(0x62);
    const answer = await client.client.send({ path: "/api/v2/import/done", headers: {}, body }, soon());
    expect(answer.status).toBe(200);
    const received = await server.upstream.waitFor((r) => r.path === "/api/v2/import/done", soon());
    expect(received.body.length).toBe(10 * MiB);
  });

  it("serves the next request after a restart of the server", async () => {
    await server.restart();
    await server.connected(TOKEN, soon(), 2);
    const response = await call("/list");
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual(["team/app"]);
  });

  it("says nothing of the token in its log", () => {
    expect(JSON.stringify(client.logger.lines)).not.toContain(TOKEN);
    expect(JSON.stringify(client.logger.lines)).not.toContain("hunter2");
    expect(
      client.logger.lines.some((line) =>
        line.message === "Lost the broker connection" || line.message.startsWith("Cannot keep")
      ),
    ).toBe(true);
  });
});

/** A body of `size` letters in pieces of 64 KiB; a broken one fails at its end. */
function stream(size: number, broken = false): ReadableStream<Uint8Array<ArrayBuffer>> {
  let left = size;
  return new ReadableStream({
    pull(controller) {
      if (left === 0) return broken ? controller.error(new Error("The agent died")) : controller.close();
      const length = Math.min(left, 65_536);
      left -= length;
      controller.enqueue(new Uint8Array(length).fill(0x61));
    },
  });
}
