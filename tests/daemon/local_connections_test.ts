/**
 * The connections of a file (SKIP_REMOTE_CONFIG), with everything that may stand in `.env`: how an operator without Snyk's
 * API for deployments runs several registries by one process (broker-protocol.md §10, §12).
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { denoEnv, ROOT } from "../e2e/daemon.ts";
import { type BrokerServer, startBrokerServer } from "../peers/broker_server.ts";
import { peer } from "../peers/mod.ts";
import { freePort, poll, type ServerProcess, startProcess } from "../peers/process.ts";

const soon = (): AbortSignal => AbortSignal.timeout(20_000);

describe.skipIf(!peer("snyk-broker").available)("the daemon with connections of a file", () => {
  const [one, two] = [crypto.randomUUID(), crypto.randomUUID()];
  let cwd: string;
  let server: BrokerServer;
  let daemon: ServerProcess;
  let agent: Deno.HttpServer<Deno.NetAddr>;
  const asked: string[] = [];

  beforeAll(async () => {
    server = await startBrokerServer();
    agent = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
      asked.push(new TextDecoder().decode(Uint8Array.fromBase64(request.headers.get("authorization") ?? "")));
      return Response.json(["team/app"]);
    });
    cwd = await Deno.makeTempDir({ prefix: "outpost-local-" });
    const connection = (identifier: string): Record<string, string> => ({
      type: "docker-hub",
      identifier,
      CR_AGENT_URL: `http://127.0.0.1:${agent.addr.port}`,
      CR_USERNAME: "user",
      CR_PASSWORD: "${FILE_PASSWORD}",
    });
    const file = {
      CONNECTIONS: {
        one: connection(one),
        two: connection(two),
        broken: { type: "docker-hub", identifier: "x" },
        scm: { ...connection("y"), type: "github" },
      },
    };
    await Deno.writeTextFile(`${cwd}/config.lab.json`, JSON.stringify(file));
    const port = freePort();
    await Deno.writeTextFile(
      `${cwd}/.env`,
      [
        "OUTPOST_ROLE=broker",
        "UNIVERSAL_BROKER_ENABLED=true",
        "SKIP_REMOTE_CONFIG=true",
        "SERVICE_ENV=lab",
        "FILE_PASSWORD=from-dot-env",
        "SNYK_CONNECTIONS__two__CR_PASSWORD=from-override",
        `SNYK_BROKER_SERVER_URL=${server.url}`,
        "PORT=1",
      ].join("\n"),
    );
    daemon = await startProcess({
      name: "outpost",
      command: Deno.execPath(),
      args: ["run", "-A", "--config", `${ROOT}deno.json`, `${ROOT}mod.ts`, "start", "--port", String(port)],
      cwd,
      env: { ...denoEnv(), OUTPOST_HOST: "127.0.0.1" },
      ready: (child, signal) => poll(`http://127.0.0.1:${port}/livez`, (response) => response.ok, child, signal),
    });
    await Promise.all([one, two].map((id) => server.connected(id, soon(), 2)));
  });
  afterAll(async () => {
    await daemon?.stop();
    await agent?.shutdown();
    await server?.stop();
    await Deno.remove(cwd, { recursive: true });
  });

  it("asks the connection's agent with the connection's credentials, a SNYK_ variable before the file", async () => {
    for (const id of [one, two]) {
      const response = await fetch(server.brokerUrl(id, "/list"), {
        headers: { authorization: "${CR_CREDENTIALS}", "x-broker-var-sub": "authorization" },
        signal: soon(),
      });
      expect([response.status, await response.json()]).toEqual([200, ["team/app"]]);
    }
    expect(asked.map((text) => JSON.parse(text).password)).toEqual(["from-dot-env", "from-override"]);
  });

  it("names in its table what is wrong with a connection", async () => {
    await daemon.printed(/local-universal-broker-connections-config-validation +error/, soon());
    expect(daemon.log()).toContain(
      "broken: Cannot use the connection broken: docker-hub needs CR_USERNAME, CR_PASSWORD",
    );
    expect(daemon.log()).toContain("scm: Cannot use the connection: github is no container registry");
    expect(daemon.log()).not.toContain("broker-token-validation");
    expect(daemon.log()).not.toContain("from-override");
  });
});
