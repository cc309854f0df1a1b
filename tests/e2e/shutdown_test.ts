/**
 * SIGTERM while there is work (P7, reliability.md S8): the daemon takes no more, finishes what runs, tells the broker
 * server, and ends with exit code 0; a second signal ends it at once.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { alpineSample } from "../../src/lib/sample_images.ts";
import { LOGIN, type LoopbackServer, startLoopbackRegistry } from "../fakes/loopback.ts";
import { type BrokerServer, startBrokerServer, type UpstreamRequest } from "../peers/broker_server.ts";
import { peer } from "../peers/mod.ts";
import { within } from "../peers/process.ts";
import { type DaemonProcess, startDaemonProcess } from "./daemon.ts";

const TOKEN = "0ff00000-1111-4222-8333-444444444444";

describe.skipIf(!peer("snyk-broker").available)("SIGTERM", () => {
  let registry: LoopbackServer;
  let server: BrokerServer;
  let daemon: DaemonProcess;
  /** Lets the registry go on with the image, and with the second page of tags. */
  let goOn: () => void;
  let scanning: Promise<void>;

  beforeEach(async () => {
    registry = startLoopbackRegistry({ "team/alpine": { "3.21": alpineSample() } });
    const gate = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    goOn = gate.resolve;
    scanning = asked.promise;
    registry.intercept = (request) => holdBack(request, registry, gate.promise, asked.resolve);
    server = await startBrokerServer();
    daemon = await startDaemonProcess({
      BROKER_TOKEN: TOKEN,
      BROKER_SERVER_URL: server.url,
      CR_TYPE: "oci",
      CR_BASE: registry.url,
      CR_USERNAME: LOGIN.username,
      CR_PASSWORD: LOGIN.password,
      MAX_ACTIVE_OPERATIONS: "16",
    });
    await within(20_000, "the broker connection", (signal) => server.connected(TOKEN, signal, 2));
  });
  afterEach(async () => {
    goOn();
    await daemon[Symbol.asyncDispose]();
    await server.stop();
    await registry[Symbol.asyncDispose]();
  });

  const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(server.brokerUrl(TOKEN, path), { signal: AbortSignal.timeout(20_000), ...init });

  const scan = (): Promise<Response> =>
    ask("/scan", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name: "team/alpine:3.21" }),
    });

  const callback = (path: string): Promise<UpstreamRequest> =>
    within(20_000, `the callback ${path}`, (signal) => server.upstream.waitFor((r) => r.path === path, signal));

  it("finishes a scan with its callbacks and a streamed answer, refuses more, tells the server, exits 0", async () => {
    expect((await scan().then(readJson)).status).toBe(202);
    await scanning;
    const list = await ask("/list-paginated/team/alpine");
    const reader = list.body?.getReader();
    const first = new TextDecoder().decode((await reader?.read())?.value);
    expect(first).toBe('["a"');

    const startedAt = Date.now();
    Deno.kill(daemon.process.pid, "SIGTERM");
    await within(10_000, "the sign", (signal) => daemon.process.printed(/"Stopping"/, signal));
    expect(await (await fetch(`${daemon.url}/readyz`)).json()).toMatchObject({ reasons: ["stopping"] });
    expect(await scan().then(readJson)).toMatchObject({ status: 503, body: { code: "BUSY" } });
    expect((await ask("/healthcheck").then(readJson)).status).toBe(200);

    goOn();
    const rest: string[] = [];
    for (let read = await reader?.read(); read?.done === false; read = await reader?.read()) {
      rest.push(new TextDecoder().decode(read.value));
    }
    expect(first + rest.join("")).toBe('["a","b"]');
    expect((await callback("/api/v2/import/result")).json).toMatchObject({ status: "success" });
    expect((await callback("/api/v2/import/done")).json).toMatchObject({ total: 1, succeeded: 1 });
    expect(await daemon.process.status).toMatchObject({ code: 0 });
    expect(Date.now() - startedAt).toBeLessThan(10_000);
    const log = server.log();
    expect(log).toMatch(/"reason":"clean".*"eventType":"client-shutdown".*"broker client event"/);
    expect(log).toMatch(/"signal":"SIGTERM".*"Socket termination signal received"/);
  });

  it("S8 finishes 50 accepted scans, 16 of them running, with their callbacks within 25 s", async () => {
    const accepted = await Promise.all(Array.from({ length: 50 }, () => scan().then(readJson)));
    expect(new Set(accepted.map(({ status }) => status))).toEqual(new Set([202]));
    const ids = accepted.map(({ body }) => (body as { readonly id: string }).id);
    await scanning;
    const startedAt = Date.now();
    Deno.kill(daemon.process.pid, "SIGTERM");
    await within(10_000, "the sign", (signal) => daemon.process.printed(/"Stopping"/, signal));
    goOn();
    expect(await daemon.process.status).toMatchObject({ code: 0 });
    expect(Date.now() - startedAt).toBeLessThan(25_000);
    const told = (path: string): readonly unknown[] =>
      server.upstream.requests.filter((request) => request.path === path).map(({ json }) => json);
    expect(told("/api/v2/import/result")).toHaveLength(50);
    const done = told("/api/v2/import/done") as readonly { readonly id: string; readonly succeeded: number }[];
    expect(done.map(({ id }) => id).toSorted()).toEqual(ids.toSorted());
    expect(done.every(({ succeeded }) => succeeded === 1)).toBe(true);
  });

  it("ends at once at the second signal", async () => {
    await scan().then(readJson);
    await scanning;
    Deno.kill(daemon.process.pid, "SIGTERM");
    await within(10_000, "the sign", (signal) => daemon.process.printed(/"Stopping"/, signal));
    const startedAt = Date.now();
    Deno.kill(daemon.process.pid, "SIGTERM");
    expect(await daemon.process.status).toMatchObject({ code: 130 });
    expect(Date.now() - startedAt).toBeLessThan(2_000);
  });

  it("ends while the broker server is down", async () => {
    await server.kill();
    Deno.kill(daemon.process.pid, "SIGTERM");
    expect(await daemon.process.status).toMatchObject({ code: 0 });
  });
});

async function readJson(response: Response): Promise<{ readonly status: number; readonly body: unknown }> {
  return { status: response.status, body: await response.json() };
}

/** Holds manifests and the second page of tags back until `gate` opens. */
function holdBack(
  request: Request,
  registry: LoopbackServer,
  gate: Promise<void>,
  asked: () => void,
): Promise<Response> | undefined {
  const { pathname, searchParams } = new URL(request.url);
  if (pathname.includes("/manifests/")) {
    asked();
    return gate.then(() => {
      registry.intercept = (later) => pageOf(new URL(later.url));
      return Response.redirect(request.url, 307);
    });
  }
  const page = pageOf(new URL(request.url));
  return page === undefined ? undefined : searchParams.has("last") ? gate.then(() => page) : Promise.resolve(page);
}

/** A page with one tag. */
function pageOf({ pathname, searchParams }: URL): Response | undefined {
  if (!pathname.endsWith("/tags/list")) return undefined;
  const last = searchParams.get("last");
  const headers: Record<string, string> = last === null ? { link: `<${pathname}?last=a>; rel="next"` } : {};
  return Response.json({ name: "team/alpine", tags: [last === null ? "a" : "b"] }, { headers });
}
