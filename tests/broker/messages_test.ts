/**
 * What Snyk's broker server says beside requests: notices about a client's version, and service commands of its callers
 * (broker-protocol.md §1.5, §11).
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestClient, type TestClient } from "../fakes/fake_broker.ts";
import { remoteSource, startUniversalClient } from "../fakes/universal_client.ts";
import { apiConnection, startSnykApi } from "../fakes/snyk_api.ts";
import { type BrokerServer, startBrokerServer } from "../peers/broker_server.ts";
import { peer } from "../peers/mod.ts";
import { within } from "../peers/process.ts";

const soon = (): AbortSignal => AbortSignal.timeout(20_000);

describe.skipIf(!peer("snyk-broker").available)("messages of the real broker server", () => {
  let server: BrokerServer;
  beforeAll(async () => {
    server = await startBrokerServer();
  });
  afterAll(async () => {
    await server?.stop();
  });

  function start(token: string, protocolVersion?: string): TestClient {
    return startTestClient({
      serverUrl: server.url,
      token,
      dispatch: () => Promise.resolve(Response.json([])),
      ...(protocolVersion === undefined ? {} : { protocolVersion }),
    });
  }

  async function noticesOf({ logger }: TestClient): Promise<readonly { level: string; text: string }[]> {
    return await within(15_000, "a notice", async (signal) => {
      for (;;) {
        const lines = logger.lines.filter(({ message }) => message === "Notification of the broker server");
        if (lines.length > 0) {
          return lines.map(({ level, fields }) => ({ level, text: String(fields["notification"]) }));
        }
        signal.throwIfAborted();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    });
  }

  async function service(token: string, command: string): Promise<unknown> {
    const response = await fetch(`${server.url}/service/${token}${command}`, { signal: soon() });
    return { status: response.status, json: await response.json() };
  }

  it("logs that this version is no longer supported, and keeps asking", async () => {
    await using made = start(crypto.randomUUID(), "4.99.0");
    const [notice] = await noticesOf(made);
    expect(notice?.level).toBe("error");
    expect(notice?.text).toMatch(/4\.99\.0|upgrade|support/i);
    const waits = await within(15_000, "a third attempt", async (signal) => {
      for (;;) {
        const lost = made.events.filter((event) => event.kind === "disconnected" && event.role === "primary");
        if (lost.length >= 3) return lost;
        signal.throwIfAborted();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    });
    expect(waits.every((event) => event.kind === "disconnected" && event.reason === "server-close")).toBe(true);
  });

  it("logs that this version will soon be too old, and serves", async () => {
    const token = crypto.randomUUID();
    await using made = start(token, "4.150.0");
    expect((await noticesOf(made))[0]?.level).toBe("warn");
    await server.connected(token, soon(), 2);
    const response = await fetch(server.brokerUrl(token, "/list"), { signal: soon() });
    expect([response.status, await response.json()]).toEqual([200, []]);
  });

  it("has nothing to be told about the version that it announces, and answers service commands", async () => {
    const token = crypto.randomUUID();
    await using made = start(token);
    await server.connected(token, soon(), 2);
    expect(await service(token, "/filters/reload?now")).toEqual({
      status: 200,
      json: { ok: true, msg: "Filters reloaded." },
    });
    expect(await service(token, "/config/reload")).toEqual({
      status: 501,
      json: { ok: false, msg: "Service command not available in classic broker." },
    });
    expect(await service(token, "/other")).toEqual({
      status: 400,
      json: { ok: false, msg: "Unknown service command." },
    });
    expect(made.logger.lines.filter(({ message }) => message.startsWith("Notification"))).toEqual([]);
  });

  it("is served by a universal client without UNIVERSAL_BROKER_GA: a bearer for the dispatcher alone", async () => {
    const identifier = crypto.randomUUID();
    await using api = startSnykApi();
    api.connections = [apiConnection("hub", identifier)];
    const headers: Record<string, string>[] = [];
    await using made = await startUniversalClient({
      serverUrl: server.url,
      source: remoteSource(api, { authorizedSockets: false, polls: true }),
      dispatcher: { apiUrl: api.url, pathPrefix: "/hidden/brokers", location: "here" },
      webSocket: (url, init) => {
        headers.push({ ...init.headers });
        return new WebSocket(url, { headers: init.headers });
      },
    });
    await server.connected(identifier, soon(), 2);
    const response = await fetch(server.brokerUrl(identifier, "/list"), { signal: soon() });
    await response.body?.cancel();
    expect([response.status, made.agent.map(({ path }) => path)]).toEqual([200, ["/list"]]);
    expect(headers.map((one) => Object.keys(one).includes("authorization"))).toEqual([false, false]);
    expect(api.dispatched).toEqual([api.tokens[0]]);
    expect(api.renewals).toEqual([]);
    expect(api.problems).toEqual([]);
  });
});
