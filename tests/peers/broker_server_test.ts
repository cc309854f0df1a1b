import { describe, expect, it } from "vitest";
import { startBrokerClient } from "./broker_client.ts";
import { type BrokerServerOptions, startBrokerServer } from "./broker_server.ts";
import { peersAvailable } from "./mod.ts";
import { within } from "./process.ts";

const TOKEN = "5f1c2e7a-0000-4000-8000-000000000001";

/** The least client that the server accepts: engine.io frame `4`, Primus emitter packets, one socket. */
class HandMadeClient implements AsyncDisposable {
  readonly events: unknown[][] = [];
  readonly #socket: WebSocket;
  readonly #wakeups: (() => void)[] = [];

  constructor(server: string, token: string, authorization?: string) {
    const url = `${server.replace("http", "ws")}/primus/${token}/?connection_role=primary&EIO=4&transport=websocket`;
    const headers = {
      "x-snyk-broker-client-id": "3c0ffee0-0000-4000-8000-000000000002",
      "x-snyk-broker-client-role": "primary",
      ...(authorization === undefined ? {} : { authorization }),
    };
    this.#socket = new WebSocket(url, { headers });
    this.#socket.onmessage = ({ data }) => this.#receive(String(data), token);
  }

  send(packet: unknown): void {
    this.#socket.send(`4${JSON.stringify(packet)}`);
  }

  /** The next event of the name, its arguments. */
  async event(name: string, signal: AbortSignal): Promise<unknown[]> {
    for (;;) {
      const found = this.events.find(([event]) => event === name);
      if (found !== undefined) return found.slice(1);
      await new Promise<void>((resolve, reject) => {
        this.#wakeups.push(resolve);
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#socket.readyState === WebSocket.CLOSED) return;
    const closed = new Promise((resolve) => this.#socket.addEventListener("close", resolve, { once: true }));
    this.#socket.close();
    await closed;
  }

  #receive(frame: string, token: string): void {
    if (frame === "2") return this.#socket.send("3");
    if (frame.startsWith("0")) {
      const metadata = {
        capabilities: ["post-streams"],
        clientId: "x",
        version: "5.22.14",
        filters: { public: [], private: [] },
      };
      return this.send({ type: 0, data: ["identify", { token, metadata }] });
    }
    const packet: unknown = JSON.parse(frame.slice(1));
    if (typeof packet === "object" && packet !== null && "data" in packet) {
      // An acknowledgement carries no event name.
      const { data, type } = packet as { readonly data: unknown[]; readonly type: number };
      this.events.push(type === 1 ? ["ack", ...data] : data);
      for (const wake of this.#wakeups.splice(0)) wake();
    }
  }
}

async function running(
  options: BrokerServerOptions,
  test: (server: Awaited<ReturnType<typeof startBrokerServer>>, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  await using server = await startBrokerServer(options);
  await within(20_000, "the broker test", (signal) => test(server, signal));
}

describe.skipIf(!peersAvailable("snyk-broker"))("startBrokerServer()", () => {
  it("relays a request to a client, its streamed answer back, and a callback to the upstream", () =>
    running({ answer: ({ path }) => Response.json({ path }, { status: 207 }) }, async (server, signal) => {
      await using client = new HandMadeClient(server.url, TOKEN);
      await server.connected(TOKEN, signal);

      const asked = fetch(server.brokerUrl(TOKEN, "/list?x=1"), { signal });
      const [request] = await client.event("request", signal) as [{ url: string; streamingID: string }];
      expect(request.url).toBe("/list?x=1");
      const head = new TextEncoder().encode(JSON.stringify({ status: 200, headers: { "x-from": "client" } }));
      const length = new Uint8Array(4);
      new DataView(length.buffer).setUint32(0, head.length, true);
      const posted = await fetch(
        `${server.url}/response-data/${TOKEN}/${request.streamingID}?connection_role=primary`,
        {
          method: "POST",
          headers: { "content-type": "application/vnd.broker.stream+octet-stream" },
          body: new Blob([length, head, `["a/b"]`]),
        },
      );
      await posted.body?.cancel();
      expect(posted.status).toBe(200);
      const answer = await asked;
      expect(answer.headers.get("x-from")).toBe("client");
      expect(await answer.json()).toEqual(["a/b"]);

      const body = { $binary: btoa(`{"status":"success"}`) };
      const callback = { url: "/api/v2/import/result", method: "POST", body, headers: {}, streamingID: "" };
      client.send({ type: 0, data: ["request", callback], id: 1 });
      const arrived = await server.upstream.waitFor(({ path }) => path === "/api/v2/import/result", signal);
      expect(arrived.json).toEqual({ status: "success" });
      expect(arrived.headers["x-broker-token"]).toBe(TOKEN);
      expect(await client.event("ack", signal)).toMatchObject([{ status: 207 }]);
    }));

  it("tells callers that no client is there, and comes back on the same port after a restart", () =>
    running({}, async (server, signal) => {
      await server.kill();
      await expect(fetch(`${server.url}/healthcheck`)).rejects.toThrow();
      await server.restart();
      const response = await fetch(server.brokerUrl(TOKEN, "/list"), { signal });
      await response.body?.cancel();
      expect([response.status, response.headers.get("x-broker-failure")]).toEqual([404, "no-connection"]);
    }));

  it("admits only clients whose token the upstream accepts, with mandatory auth", () =>
    running({ mandatoryAuth: true, acceptsToken: (bearer) => bearer.endsWith(".good") }, async (server, signal) => {
      const refused = await fetch(`${server.url}/primus/${TOKEN}/?EIO=4&transport=polling`, { signal });
      await refused.body?.cancel();
      expect(refused.status).toBe(401);
      const claims = btoa(JSON.stringify({ azp: "app" }));
      await using _client = new HandMadeClient(server.url, TOKEN, `Bearer ${btoa('{"alg":"none"}')}.${claims}.good`);
      await server.connected(TOKEN, signal);
    }));
});

describe.skipIf(!peersAvailable("snyk-broker"))("startBrokerClient()", () => {
  it("connects Snyk's real client to the server and lets it ask an agent with its credentials filled in", () =>
    running({}, async (server, signal) => {
      const seen: string[] = [];
      await using agent = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
        seen.push(`${request.method} ${new URL(request.url).pathname} ${request.headers.get("authorization")}`);
        return Response.json(["team/app"]);
      });
      await using client = await startBrokerClient({
        serverUrl: server.url,
        token: TOKEN,
        agentUrl: `http://127.0.0.1:${agent.addr.port}`,
        env: { CR_CREDENTIALS: "c2VjcmV0" },
      });
      await server.connected(TOKEN, signal, 2);
      const response = await fetch(server.brokerUrl(TOKEN, "/list"), {
        headers: { authorization: "${CR_CREDENTIALS}", "x-broker-var-sub": "authorization" },
        signal,
      });
      expect(await response.json()).toEqual(["team/app"]);
      expect(seen).toEqual(["GET /list c2VjcmV0"]);
      const done = await fetch(`${client.url}/api/v2/import/done`, { method: "POST", body: `{"id":"1"}`, signal });
      await done.body?.cancel();
      expect(server.upstream.requests.map(({ path, json }) => [path, json])).toEqual([["/api/v2/import/done", {
        id: "1",
      }]]);
    }));
});
