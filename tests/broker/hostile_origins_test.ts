/**
 * A hostile broker server that wants the daemon to ask somebody else (P4; reliability.md X1, X2, X4): whatever a request
 * says, only the configured agent is asked. Who was asked is what real listeners saw, not what we say of ourselves.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DaemonProcess, startDaemonProcess } from "../e2e/daemon.ts";
import { type HostileBroker, startHostileBroker } from "../fakes/hostile_broker.ts";
import { type Canary, startCanary } from "../fakes/canary.ts";

const TOKEN = "00000000-aaaa-4bbb-8ccc-dddddddddddd";
const SECRET = "s3cr3t-canary-0815";
const soon = (): AbortSignal => AbortSignal.timeout(20_000);

/** Rules that let every method and path through, so that nothing but the comparison of origins stands in the way. */
const LENIENT = JSON.stringify({
  private: [{ method: "any", path: "/*", origin: "${CR_AGENT_URL}" }, {
    method: "any",
    path: "*",
    origin: "${CR_AGENT_URL}",
  }],
  public: [{ method: "POST", path: "/v2/import/done" }],
});

/** Paths that name `host`, in every spelling that some parser takes for another origin. */
const paths = (host: string): readonly string[] => [
  `@${host}/`,
  `:x@${host}/`,
  `//${host}/list`,
  `///${host}/list`,
  `/\\${host}/list`,
  `\\\\${host}\\list`,
  `\\/${host}/list`,
  `/\t/${host}/list`,
  `/\n/${host}/list`,
  `/\r\n/${host}/list`,
  `\t//${host}/list`,
  ` //${host}/list`,
  `http://${host}/list`,
  `hTTp://${host}/list`,
  `http:/${host}/list`,
  `http:\\\\${host}\\list`,
  `https://${host}/list`,
  `file:///etc/passwd`,
  `.${host}/list`,
  `#@${host}/`,
  `?@${host}/`,
  `;@${host}/`,
  `/%2f${host}/list`,
  `%2f%2f${host}/list`,
  `/%5c${host}/list`,
  `/list/..%2f..%2f@${host}`,
  `/list/%2e%2e/%2e%2e//${host}`,
  `/list/%252e%252e/`,
  `/../../@${host}/`,
  `/..;/@${host}/`,
  `/list\u0000@${host}/`,
  `/list\u2028@${host}/`,
  `/\u3002${host}/list`,
  `/list HTTP/1.1\r\nhost: ${host}\r\nx-injected: 1\r\n\r\nGET /`,
  `/list?url=http://${host}/`,
  `/list#http://${host}/`,
  `/ctx/00000000-0000-4000-8000-000000000000//${host}/list`,
  `/ctx/00000000-0000-4000-8000-000000000000@${host}/list`,
  `/ctx/00000000-0000-4000-8000-000000000000/\\${host}/list`,
  `\u200b//${host}/list`,
  `\ufeff//${host}/list`,
  "${EVIL}/list",
  "/${EVIL}/list",
  "",
  "*",
  "//",
  "/\\",
];

/** The loopback address in the spellings that URL parsers and resolvers know. */
const spellings = (port: number): readonly string[] => [
  `127.0.0.1:${port}`,
  `2130706433:${port}`,
  `0x7f.1:${port}`,
  `127.1:${port}`,
  `0177.0.0.1:${port}`,
  `[::ffff:127.0.0.1]:${port}`,
  `0:${port}`,
  `localhost:${port}`,
  `127\u30020\u30020\u30021:${port}`,
  `\uff11\uff12\uff17.0.0.1:${port}`,
  `user:pw@127.0.0.1:${port}`,
];

/** Headers that some hop takes for routing, or that would be a second message if they were written as they are. */
const headers = (host: string): readonly Readonly<Record<string, unknown>>[] => [
  { host },
  { Host: host, HOST: host },
  { ":authority": host },
  { "x-forwarded-host": host, forwarded: `host=${host}` },
  { "x-a": `1\r\nhost: ${host}` },
  { "x-a": `1\r\n\r\nGET http://${host}/ HTTP/1.1\r\n\r\n` },
  { [`x-a: 1\r\nx-injected`]: "1" },
  { "transfer-encoding": "chunked", "content-length": "0" },
  { "content-length": ["0", "5"] },
  { connection: "upgrade, host, authorization", upgrade: "websocket" },
  { te: "trailers", trailer: "x-injected" },
  { "proxy-connection": "keep-alive", "proxy-authorization": "Basic eA==" },
  { expect: "100-continue" },
  { "x-broker-var-sub": "host, x-a", "x-a": "${BROKER_TOKEN}", host: "${EVIL}" },
  { "x-http-method-override": "CONNECT" },
  { "__proto__": "1", "constructor": "2", "toString": "3", "hasOwnProperty": "4" },
  { "x-a": { toString: "1" }, "x-b": [null, 7, ["x"]], "x-c": true },
  { "x-a": "\ud800", "x-b": "\u0100", "x-c": "\u007f", "x-d": "é" },
];

describe("a hostile server and the origins of an agent elsewhere", () => {
  let broker: HostileBroker;
  let canary: Canary;
  let agent: Canary;
  let daemon: DaemonProcess;
  let directory: string;

  beforeAll(async () => {
    broker = startHostileBroker();
    canary = startCanary();
    agent = startCanary((request) =>
      new URL(request.url).pathname === "/base/list/redirect" ? Response.redirect(`${canary.url}/list`, 307) : undefined
    );
    directory = await Deno.makeTempDir({ prefix: "outpost-hostile-" });
    await Deno.writeTextFile(`${directory}/accept.json`, LENIENT);
    daemon = await startDaemonProcess({
      OUTPOST_ROLE: "broker",
      BROKER_TOKEN: TOKEN,
      BROKER_SERVER_URL: broker.url,
      API_BASE_URL: broker.url,
      CR_AGENT_URL: `${agent.url}/base`,
      ACCEPT: `${directory}/accept.json`,
      EVIL: canary.host,
      PREFLIGHT_CHECKS_ENABLED: "false",
    });
    await broker.until(() => broker.sockets.length === 2, soon());
  });
  afterAll(async () => {
    await daemon[Symbol.asyncDispose]();
    await broker[Symbol.asyncDispose]();
    await agent[Symbol.asyncDispose]();
    await canary[Symbol.asyncDispose]();
    await Deno.remove(directory, { recursive: true });
  });

  /** Sends every request, waits for every answer, and gives the statuses. */
  async function answers(asked: readonly Readonly<Record<string, unknown>>[]): Promise<readonly number[]> {
    const ids = asked.map(() => crypto.randomUUID());
    const statuses: number[] = [];
    for (let at = 0; at < asked.length; at += 32) {
      for (const [index, request] of asked.slice(at, at + 32).entries()) {
        broker.sockets[0]?.ask({ ...request, streamingID: ids[at + index] });
      }
      for (const id of ids.slice(at, at + 32)) statuses.push((await broker.upload(id, soon())).status);
    }
    return statuses;
  }

  const healthy = async (): Promise<number> => (await fetch(`${daemon.url}/healthcheck`).then(drained)).status;

  it("§2 asks nobody else, however a path names another origin", async () => {
    const asked = spellings(canary.port).flatMap(paths).flatMap((url) =>
      ["GET", "POST"].map((method) => ({ url, method, headers: {} }))
    );
    const statuses = await answers(asked);
    expect(statuses.filter((status) => ![200, 401].includes(status))).toEqual([]);
    expect(canary.connections).toBe(0);
    expect(agent.requests.filter(({ url }) => !url.startsWith(`${agent.url}/base/`))).toEqual([]);
    expect(agent.requests.filter(({ host }) => host !== agent.host)).toEqual([]);
    expect(await healthy()).toBe(200);
  });

  it("§2 asks nobody else, whatever the headers say, and writes none of them as a second one", async () => {
    const before = agent.requests.length;
    const hosts = [canary.host, `user:pw@${canary.host}`];
    const asked = hosts.flatMap(headers).flatMap((value) =>
      ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PRI"].map((method) => ({
        method,
        headers: value,
        ...(method === "GET" ? {} : { body: new TextEncoder().encode("{}") }),
      }))
    );
    const statuses = await answers(asked);
    expect(statuses.filter((status) => ![200, 400, 401].includes(status))).toEqual([]);
    expect(canary.connections).toBe(0);
    const seen = agent.requests.slice(before);
    expect(seen.length).toBeGreaterThan(100);
    expect(seen.filter(({ host }) => host !== agent.host)).toEqual([]);
    for (const name of ["x-injected", "transfer-encoding", "upgrade", "trailer", "te", "proxy-authorization"]) {
      expect(seen.filter((request) => request.headers.has(name)), name).toEqual([]);
    }
    expect(await healthy()).toBe(200);
  });

  it("§2 follows no redirect of the agent", async () => {
    const id = crypto.randomUUID();
    broker.sockets[0]?.ask({ url: "/list/redirect", streamingID: id });
    expect(await broker.upload(id, soon())).toMatchObject({ status: 307, headers: { location: `${canary.url}/list` } });
    expect(canary.connections).toBe(0);
  });

  it("§3.1 posts answers to the server alone, however a stream is called", async () => {
    const before = broker.uploads.length;
    const ids = [
      `//${canary.host}/x`,
      `../../../@${canary.host}/`,
      `..\\..\\${canary.host}`,
      `http://${canary.host}/`,
      `?x=@${canary.host}#`,
      "\r\nhost: evil",
      "\u0000",
      "\ud800",
      "%2e%2e%2f",
      ".",
      "..",
    ];
    for (const streamingID of ids) broker.sockets[0]?.ask({ streamingID });
    const last = crypto.randomUUID();
    broker.sockets[0]?.ask({ streamingID: last });
    await broker.upload(last, soon());
    expect(canary.connections).toBe(0);
    expect(broker.others.filter((other) => !/^GET \/(healthcheck|rest)/.test(other))).toEqual([]);
    expect(broker.uploads.length).toBeGreaterThan(before);
    expect(await healthy()).toBe(200);
  });
});

describe("a hostile server and the registry of an agent in the same process", () => {
  let broker: HostileBroker;
  let canary: Canary;
  let registry: Canary;
  let daemon: DaemonProcess;

  beforeAll(async () => {
    broker = startHostileBroker();
    canary = startCanary();
    registry = startCanary();
    daemon = await startDaemonProcess({
      BROKER_TOKEN: TOKEN,
      BROKER_SERVER_URL: broker.url,
      API_BASE_URL: broker.url,
      CR_TYPE: "oci",
      CR_BASE: registry.url,
      CR_USERNAME: "user",
      CR_PASSWORD: SECRET,
      PREFLIGHT_CHECKS_ENABLED: "false",
    });
    await broker.until(() => broker.sockets.length === 2, soon());
  });
  afterAll(async () => {
    await daemon[Symbol.asyncDispose]();
    await broker[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
    await canary[Symbol.asyncDispose]();
  });

  const credentials = (base: string): string =>
    JSON.stringify({ type: "oci", username: "${CR_USERNAME}", password: "${CR_PASSWORD}", registryBase: base });

  it("asks no registry but the configured one, and shows its password to nobody else", async () => {
    const bases = [
      canary.url,
      canary.host,
      `${canary.url}/v2`,
      `http://user:pw@${canary.host}`,
      `${registry.url}@${canary.host}`,
      ...spellings(canary.port).map((host) => `http://${host}`),
    ];
    const ids: string[] = [];
    const ask = (argument: Readonly<Record<string, unknown>>): void => {
      const streamingID = crypto.randomUUID();
      ids.push(streamingID);
      broker.sockets[0]?.ask({ ...argument, streamingID });
    };
    for (const base of bases) {
      const text = credentials(base);
      const encoded = new TextEncoder().encode(text.replace("${CR_PASSWORD}", "x")).toBase64();
      for (const authorization of [text, encoded, `Basic ${encoded}`]) {
        for (const url of ["/list", "/list/team/app", "/validate-credentials", "/get-state-identifier?image=a:1"]) {
          ask({ url, headers: { authorization, "x-broker-var-sub": "authorization" } });
          ask({ url, headers: { "x-mine": authorization, "x-broker-var-sub": "x-mine" } });
        }
      }
      const body = { image: "team/app:1", credentials: text, BROKER_VAR_SUB: ["credentials"] };
      for (const url of ["/scan", "/discover"]) {
        ask({ url, method: "POST", body: new TextEncoder().encode(JSON.stringify(body)) });
        const named = { image: `${canary.host}/team/app:1`, callbackUrl: `${canary.url}/api/v2/import/result` };
        ask({ url, method: "POST", body: new TextEncoder().encode(JSON.stringify(named)) });
      }
      ask({ url: `/get-state-identifier?image=${encodeURIComponent(`${canary.host}/team/app:1`)}` });
      ask({ url: `/image-metadata/${canary.host}/team/app` });
      await broker.until(() => ids.every((id) => broker.uploads.some((upload) => upload.id === id)), soon());
    }
    expect(canary.connections).toBe(0);
    const statuses = broker.uploads.map(({ status }) => status);
    expect(statuses.filter((status) => ![200, 202, 400, 401, 403, 404, 502].includes(status))).toEqual([]);
    expect(broker.uploads.filter(({ body }) => body.includes(SECRET))).toEqual([]);
    expect(daemon.process.log()).not.toContain(SECRET);
    const own = crypto.randomUUID();
    broker.sockets[0]?.ask({
      headers: { authorization: credentials(registry.url), "x-broker-var-sub": "authorization" },
      streamingID: own,
    });
    expect((await broker.upload(own, soon())).status).not.toBe(403);
    expect(registry.connections).toBeGreaterThan(0);
  });
});

async function drained(response: Response): Promise<Response> {
  await response.body?.cancel();
  return response;
}
