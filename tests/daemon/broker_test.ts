/** The daemon with the broker client in it, against Snyk's real broker server: what it does on its own port. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Daemon, Toolbox } from "../../src/cli/context.ts";
import { createToolbox } from "../../src/main.ts";
import { recordingWorld } from "../fakes/world.ts";
import { type BrokerServer, startBrokerServer } from "../peers/broker_server.ts";
import { peer } from "../peers/mod.ts";

const TOKEN = "33333333-2222-4333-8444-555555555555";
const soon = (): AbortSignal => AbortSignal.timeout(20_000);

const RULES = `
private:
  - {method: GET, path: "/list", origin: "\${CR_AGENT_URL}"}
public:
  - {method: POST, path: /v2/import/done}
`;

describe.skipIf(!peer("snyk-broker").available)("the daemon in front of an agent", () => {
  let server: BrokerServer;
  let agent: Deno.HttpServer<Deno.NetAddr>;
  let toolbox: Toolbox;
  let daemon: Daemon;
  let directory: string;
  let rules: string;

  beforeAll(async () => {
    server = await startBrokerServer();
    agent = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, serveAgent);
    directory = await Deno.makeTempDir({ prefix: "outpost-rules-" });
    rules = `${directory}/accept.yml`;
    await Deno.writeTextFile(rules, RULES);
    toolbox = await createToolbox(recordingWorld().world, {
      OUTPOST_ROLE: "broker",
      OUTPOST_HOST: "127.0.0.1",
      PORT: "0",
      BROKER_TOKEN: TOKEN,
      BROKER_SERVER_URL: server.url,
      CR_AGENT_URL: `http://127.0.0.1:${agent.addr.port}`,
      ACCEPT: rules,
    }, { isolated: true });
    daemon = await toolbox.startDaemon();
    await daemon.ready(soon());
    await server.connected(TOKEN, soon(), 2);
  });
  afterAll(async () => {
    await daemon.stop();
    await toolbox.close();
    await agent.shutdown();
    await server.stop();
    await Deno.remove(directory, { recursive: true });
  });

  const call = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(server.brokerUrl(TOKEN, path), { signal: soon(), ...init });
  const local = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(daemon.url + path, { signal: soon(), ...init });

  it("reloads its rules on POST /filters, and keeps the old ones when the new are bad", async () => {
    expect(await (await call("/list")).text()).toBe("agent");
    expect(await refused("/list/more")).toBe(401);
    await Deno.writeTextFile(rules, RULES.replace('path: "/list"', 'path: "/list/*"'));
    const reloaded = await local("/filters", { method: "POST" });
    expect(reloaded.status).toBe(200);
    const shown = await reloaded.json();
    expect(shown.private).toEqual([{ method: "GET", path: "/list/*", origin: "${CR_AGENT_URL}" }]);
    expect(await (await local("/filters")).json()).toEqual(shown);
    expect(await (await call("/list/more")).text()).toBe("agent");
    expect(await refused("/list")).toBe(401);
    await Deno.writeTextFile(rules, "private: [{path: 7}]");
    const bad = await local("/filters", { method: "POST" });
    expect(bad.status).toBe(500);
    expect((await bad.json()).message).toContain("ACCEPT: private.0.path");
    expect(await (await local("/filters")).json()).toEqual(shown);
    expect(await (await call("/list/more")).text()).toBe("agent");
  });

  async function refused(path: string): Promise<number> {
    const response = await call(path);
    await response.body?.cancel();
    return response.status;
  }
});

function serveAgent(): Response {
  return new Response("agent");
}
