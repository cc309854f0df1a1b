import { afterEach, describe, expect, it } from "vitest";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { encodeForTest } from "../../tests/fakes/universal_client.ts";
import { apiConnection } from "../../tests/fakes/snyk_api.ts";
import { FakeWebSocket } from "../../tests/fakes/web_socket.ts";
import { LIMITS } from "../core/limits.ts";
import type { BrokerClient } from "./client_options.ts";
import { createUniversalClient } from "./universal_client.ts";
import type { ConnectionSource, UniversalClientOptions } from "./universal_options.ts";

const never = (): AbortSignal => new AbortController().signal;
const ID = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";

interface Bench {
  readonly client: BrokerClient;
  readonly clock: FakeClock;
  readonly logger: RecordingLogger;
  readonly sockets: FakeWebSocket[];
  /** Reads of the connections so far. */
  reads: number;
  /** What the next read gives. */
  answer: () => Response;
}

describe("UniversalClient", () => {
  const made: Bench[] = [];
  afterEach(async () => {
    for (const { client, clock } of made.splice(0)) {
      const closing = client.close(AbortSignal.abort());
      await clock.advance(LIMITS.brokerCloseMs);
      await closing;
    }
  });

  function bench(source: Partial<ConnectionSource> = {}, options: Partial<UniversalClientOptions> = {}): Bench {
    const clock = new FakeClock();
    const logger = new RecordingLogger();
    const sockets: FakeWebSocket[] = [];
    const remote = {
      kind: "remote",
      apiUrl: "https://api.example",
      clientId: "c",
      clientSecret: "s",
      deploymentId: "d",
      authorizedSockets: true,
      renewalMs: LIMITS.brokerRenewalMs,
      polls: false,
    } as const;
    const client = createUniversalClient({
      serverUrl: "http://broker.example",
      source: { ...remote, ...source } as ConnectionSource,
      protocolVersion: "5.22.14",
      clock,
      logger,
      randomId: () => ID,
      webSocket: (url, init) => {
        const socket = new FakeWebSocket(url, init);
        sockets.push(socket);
        return socket;
      },
      fetch: (request) => {
        if (request.url.endsWith("/oauth2/token")) {
          return Promise.resolve(Response.json({ access_token: "t", token_type: "bearer", expires_in: 86_400 }));
        }
        self.reads++;
        return Promise.resolve(self.answer());
      },
      environment: () => undefined,
      isRequestVariable: () => true,
      remoteAgents: false,
      encodeCredentials: encodeForTest,
      onSecret: () => {},
      onToken: () => {},
      dispatch: () => Promise.resolve(new Response()),
      ...options,
    });
    const self: Bench = {
      client,
      clock,
      logger,
      sockets,
      reads: 0,
      answer: () => Response.json({ data: [apiConnection("hub", ID)] }),
    };
    made.push(self);
    return self;
  }

  it.each([
    [404, "Create the deployment in Snyk first"],
    [403, "Check that CLIENT_ID belongs to the deployment"],
    [401, "Check that CLIENT_ID belongs to the deployment"],
  ])("does not start when the API answers %i for good", async (status, hint) => {
    const self = bench();
    self.answer = () => new Response(null, { status });
    await expect(self.client.prepare(never())).rejects.toMatchObject({
      code: "BROKER_REFUSED",
      message: `Cannot read the connections of this deployment: the API answered ${status}`,
      hint: expect.stringContaining(hint),
    });
    expect(self.reads).toBe(status === 401 ? 2 : 1);
  });

  it("starts without the API, and reads the connections once it answers", async () => {
    const self = bench();
    self.answer = () => new Response(null, { status: 503 });
    await self.client.prepare(never());
    self.client.start();
    for (let i = 0; i < 3; i++) await self.clock.advance(LIMITS.brokerApiRetryMaxMs);
    expect(self.sockets).toEqual([]);
    expect(self.client.states()).toEqual([]);
    self.answer = () => Response.json({ data: [apiConnection("hub", ID)] });
    await self.clock.advance(LIMITS.brokerApiRetryMaxMs);
    expect(self.sockets.length).toBeGreaterThan(0);
    expect(self.sockets.every(({ headers }) => headers["authorization"] === "bearer t")).toBe(true);
    const failed = self.logger.lines.filter(({ message }) => message.startsWith("Cannot synchronize"));
    expect(failed.length).toBeGreaterThanOrEqual(3);
  });

  it("looks at the connections every brokerConnectionsPollMs while none is open, and no more once one is", async () => {
    const self = bench({}, { times: { connectTimeoutMs: 600_000 } });
    await self.client.prepare(never());
    self.client.start();
    await self.clock.advance(0);
    const after = async (ms: number): Promise<number> => {
      await self.clock.advance(ms);
      return self.reads;
    };
    expect(await after(LIMITS.brokerConnectionsPollMs - 1)).toBe(1);
    expect(await after(1)).toBe(2);
    const [alive] = self.sockets;
    alive?.accept();
    for (let passed = 0; passed < 3 * LIMITS.brokerConnectionsPollMs; passed += 1_000) {
      await self.clock.advance(1_000);
      alive?.receive({ kind: "ping", data: "" });
      const ping = alive?.sentOf("primus-ping").at(-1);
      if (ping !== undefined) alive?.receive({ kind: "primus-pong", value: ping.value });
    }
    expect(self.client.states().some(({ open }) => open)).toBe(true);
    expect(self.reads).toBe(2);
  });

  it("reads the connections at most once in brokerApiRetryMinMs, however often the server asks", async () => {
    const self = bench({}, { times: { connectTimeoutMs: 600_000 } });
    await self.client.prepare(never());
    self.client.start();
    await self.clock.advance(0);
    const [socket] = self.sockets;
    socket?.accept();
    const flood = async (): Promise<number> => {
      for (let id = 1; id <= 100; id++) {
        socket?.receive({ kind: "event", name: "service", args: [{ url: "/config/reload" }], id });
        await self.clock.advance(0);
      }
      return self.reads;
    };
    expect(await flood()).toBe(2);
    await self.clock.advance(LIMITS.brokerApiRetryMinMs);
    expect(await flood()).toBe(3);
    await self.clock.advance(LIMITS.brokerApiRetryMinMs);
    expect(self.reads).toBe(4);
    expect(socket?.sentOf("ack")).toHaveLength(200);
  });

  it("reads the connections when a renewal fails: the identifier may be another one", async () => {
    const self = bench({ renewalMs: 1_000 } as Partial<ConnectionSource>, { times: { connectTimeoutMs: 600_000 } });
    await self.client.prepare(never());
    self.client.start();
    await self.clock.advance(0);
    self.sockets[0]?.accept();
    self.answer = () => new Response(null, { status: 404 });
    await self.clock.advance(1_000);
    // The renewal itself, and the look at the connections.
    expect(self.reads).toBe(3);
    expect(self.logger.lines.some(({ message }) => message === "Cannot renew the authorization")).toBe(true);
  });

  it("replaces the sockets of a connection whose type is another one, and lets what runs finish for a while", async () => {
    const asked = Promise.withResolvers<void>();
    const self = bench({ polls: true } as Partial<ConnectionSource>, {
      times: { connectTimeoutMs: 600_000 },
      dispatch: () => {
        asked.resolve();
        return new Promise(() => {});
      },
    });
    await self.client.prepare(never());
    self.client.start();
    await self.clock.advance(0);
    const [old] = self.sockets;
    old?.accept();
    const argument = { url: "/list", method: "GET", headers: {}, streamingID: "s1" };
    old?.receive({ kind: "event", name: "request", args: [argument] });
    await asked.promise;
    const typed = apiConnection("hub", ID);
    const configuration = { ...typed.attributes.configuration, type: "acr" };
    self.answer = () => Response.json({ data: [{ ...typed, attributes: { ...typed.attributes, configuration } }] });
    old?.receive({ kind: "event", name: "service", args: [{ url: "/config/reload" }], id: 1 });
    await self.clock.advance(LIMITS.brokerApiRetryMinMs);
    expect(self.sockets).toHaveLength(4);
    self.sockets[2]?.accept();
    expect(self.sockets[2]?.sentOf("event")[0]?.args[0]).toMatchObject({
      metadata: { supportedIntegrationType: "acr" },
    });
    expect(old?.closed).toBe(false);
    await self.clock.advance(LIMITS.brokerConnectionDrainMs);
    expect(old?.closed).toBe(true);
  });

  it("goes on asking in polling mode", async () => {
    const self = bench({ polls: true } as Partial<ConnectionSource>);
    await self.client.prepare(never());
    self.client.start();
    await self.clock.advance(0);
    for (let i = 0; i < 3; i++) await self.clock.advance(LIMITS.brokerConnectionsPollMs);
    expect(self.reads).toBe(4);
  });

  it("says once why a connection is not in use, and keeps one whose new values cannot be used", async () => {
    const self = bench({ polls: true } as Partial<ConnectionSource>);
    self.answer = () =>
      Response.json({ data: [apiConnection("a", ID), apiConnection("b", "x", { cr_password: "${UNSET}" })] });
    await self.client.prepare(never());
    self.client.start();
    await self.clock.advance(LIMITS.brokerConnectionsPollMs);
    self.answer = () => Response.json({ data: [apiConnection("a", ID, { cr_username: "" })] });
    await self.clock.advance(LIMITS.brokerConnectionsPollMs);
    const lines = self.logger.lines.filter(({ message }) => message.endsWith("is not in use"));
    expect(lines.map(({ fields }) => [fields["connection"], fields["reason"]])).toEqual([
      ["b", "Cannot use the connection b: a variable that it names is not set. Set UNSET and start again."],
      [
        "a",
        "Cannot use the connection a: docker-hub needs CR_USERNAME. Complete the connection's configuration in Snyk.",
      ],
    ]);
    expect(self.client.connections()).toMatchObject([{ name: "a", credentials: "docker-hub:canary-user:canary-pass" }]);
    expect(self.client.states()).toHaveLength(2);
  });

  it("takes connections from a file, without OAuth, and tells the server what it is", async () => {
    const file = { CONNECTIONS: { hub: { type: "acr", identifier: ID, CR_USERNAME: "u", CR_PASSWORD: "p" } } };
    const self = bench({ kind: "local", deploymentId: "the-deployment", read: () => Promise.resolve(file) });
    await self.client.prepare(never());
    self.client.start();
    await self.clock.advance(0);
    const [socket] = self.sockets;
    expect(self.reads).toBe(0);
    expect(socket?.url).toContain(`/primus/${ID}/?`);
    expect(socket?.headers["authorization"]).toBeUndefined();
    socket?.accept();
    expect(socket?.sentOf("event")[0]?.args[0]).toMatchObject({
      token: ID,
      metadata: {
        clientId: ID,
        deploymentId: "the-deployment",
        supportedIntegrationType: "acr",
        filters: {},
        clientConfig: { universalBroker: true },
      },
    });
  });

  it("does not start with a file that has no connections", async () => {
    const self = bench({ kind: "local", deploymentId: undefined, read: () => Promise.resolve({}) });
    await expect(self.client.prepare(never())).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });

  it("has no way for callbacks without a connection, and says so", async () => {
    const self = bench();
    self.answer = () => Response.json({ data: [] });
    await self.client.prepare(never());
    const callback = { method: "POST", url: "/api/v2/import/done", headers: {}, body: new Uint8Array(0) };
    await expect(self.client.callback(callback, never())).rejects.toMatchObject({ code: "BROKER_DISCONNECTED" });
    const late = new AbortController();
    const ready = expect(self.client.ready(late.signal)).rejects.toThrow("late");
    late.abort(new Error("late"));
    await ready;
  });
});
