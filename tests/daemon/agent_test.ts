/**
 * The daemon as the agent alone: scans asked over HTTP, results POSTed to the broker client, and the order of its stop.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Daemon, Toolbox } from "../../src/cli/context.ts";
import { alpineSample } from "../../src/lib/sample_images.ts";
import { createToolbox } from "../../src/main.ts";
import { LOGIN, type LoopbackServer, startLoopbackRegistry } from "../fakes/loopback.ts";
import { recordingWorld } from "../fakes/world.ts";

interface Received {
  readonly path: string;
  readonly requestId: string | null;
  readonly body: Record<string, unknown>;
}

describe("the daemon with OUTPOST_ROLE=agent", () => {
  let registry: LoopbackServer;
  let client: Deno.HttpServer<Deno.NetAddr>;
  let toolbox: Toolbox;
  let daemon: Daemon;
  const recorded = recordingWorld();
  const received: Received[] = [];
  let answers: number[] = [];
  let closing = Promise.withResolvers<void>();
  let next = 7;

  beforeAll(async () => {
    registry = startLoopbackRegistry({ "team/alpine": { "3.21": alpineSample() } });
    client = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
      const path = new URL(request.url).pathname;
      received.push({ path, requestId: request.headers.get("snyk-request-id"), body: await request.json() });
      const status = answers.shift() ?? 200;
      if (path.endsWith("/done") && status === 200) closing.resolve();
      return new Response(null, { status, headers: status === 302 ? { location: "http://127.0.0.1:9/" } : {} });
    });
    toolbox = await createToolbox(recorded.world, {
      OUTPOST_ROLE: "agent",
      OUTPOST_HOST: "127.0.0.1",
      PORT: "0",
      BROKER_CLIENT_URL: `http://127.0.0.1:${client.addr.port}/`,
      CR_TYPE: "oci",
      CR_BASE: registry.url,
      CR_USERNAME: LOGIN.username,
      CR_PASSWORD: LOGIN.password,
    }, { isolated: true });
    daemon = await toolbox.startDaemon();
  });
  afterAll(async () => {
    await daemon.stop();
    await toolbox.close();
    await client.shutdown();
    await registry[Symbol.asyncDispose]();
  });

  async function scan(body: unknown, requestId?: string): Promise<string> {
    closing = Promise.withResolvers<void>();
    received.length = 0;
    const headers = { "content-type": "application/json", "snyk-request-id": requestId ?? `request-${next++}` };
    const response = await fetch(`${daemon.url}/scan`, { method: "POST", headers, body: JSON.stringify(body) });
    const answer = await response.json();
    expect(response.status, JSON.stringify(answer)).toBe(202);
    return answer.id;
  }

  it("posts results and then done to the broker client", async () => {
    const id = await scan({ images: [{ name: "team/alpine:3.21", key: 1 }, { name: "team/none", key: 2 }] });
    await closing.promise;
    expect(received).toMatchObject([
      { path: "/api/v2/import/result", requestId: "request-7", body: { id, key: 1, status: "success" } },
      { path: "/api/v2/import/result", requestId: "request-7", body: { id, key: 2, status: "error" } },
      { path: "/api/v2/import/done", body: { id, total: 2, succeeded: 1, failed: 1 } },
    ]);
  });

  it("uses the callback URL of the request when its origin is the broker client's", async () => {
    await scan({ name: "team/alpine:3.21", callbackUrl: `http://127.0.0.1:${client.addr.port}/v2/import/result` });
    await closing.promise;
    expect(received.map(({ path }) => path)).toEqual(["/v2/import/result", "/v2/import/done"]);
  });

  it("follows no redirect with a result, and takes it as a refusal", async () => {
    answers = [302];
    await scan({ name: "team/alpine:3.21" });
    await closing.promise;
    expect(received.at(-1)?.body).toMatchObject({ succeeded: 0, failed: 1 });
  });

  it("answers a request that was sent twice with its first job, and does nothing twice", async () => {
    const id = await scan({ name: "team/alpine:3.21", twice: true }, "same");
    await closing.promise;
    expect(await scan({ name: "team/alpine:3.21", twice: true }, "same")).toBe(id);
    const other = await scan({ name: "team/alpine:3.21", twice: false }, "same");
    await closing.promise;
    expect(other).not.toBe(id);
    expect(received.map(({ body }) => body["id"])).toEqual([other, other]);
  });

  it("counts scans and callbacks", async () => {
    const text = await (await fetch(`${daemon.url}/metrics`)).text();
    expect(text).toContain('outpost_scans_total{outcome="success"} 5');
    expect(text).toContain('outpost_scans_total{outcome="error"} 1');
    expect(text).toContain('outpost_callback_deliveries_total{outcome="refused"} 1');
    expect(text).toMatch(/^outpost_scan_queue_depth [01]$/m);
  });

  it("finishes a running scan with its callbacks before it stops, and listens no more", async () => {
    const asked = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    registry.intercept = (request) => {
      if (!request.url.includes("/manifests/")) return undefined;
      asked.resolve();
      return go.promise.then(() => {
        registry.intercept = undefined;
        return Response.redirect(request.url, 307);
      });
    };
    await scan({ name: "team/alpine:3.21" });
    await asked.promise;
    const stopped = daemon.stop();
    const ready = await fetch(`${daemon.url}/readyz`);
    expect(await ready.json()).toEqual({ ok: false, reasons: ["stopping"] });
    const body = JSON.stringify({ name: "team/alpine:3.21" });
    const refused = await fetch(`${daemon.url}/scan`, { method: "POST", body });
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({ code: "BUSY" });
    go.resolve();
    await stopped;
    expect(received.map(({ path }) => path)).toEqual(["/api/v2/import/result", "/api/v2/import/done"]);
    await expect(fetch(`${daemon.url}/livez`)).rejects.toThrow();
    expect(recorded.stderr()).not.toContain("canary");
  });
});
