/**
 * Commands on the real composition root, in front of a registry on a loopback port and the loopback broker server.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LoopbackBroker } from "../../src/broker/mod.ts";
import { runCommandLine } from "../../src/cli/command_line.ts";
import { buildImage } from "../../src/lib/oci_builder.ts";
import { alpineSample, debianSample } from "../../src/lib/sample_images.ts";
import { createToolbox } from "../../src/main.ts";
import { systemClock } from "../../src/world.ts";
import { LOGIN, type LoopbackServer, startLoopbackRegistry } from "../fakes/loopback.ts";
import { recordingWorld } from "../fakes/world.ts";
import { selfSigned } from "../peers/tls.ts";

const ALPINE = alpineSample();

describe("commands", () => {
  let registry: LoopbackServer;
  let env: Record<string, string>;

  beforeAll(() => {
    registry = startLoopbackRegistry({
      "team/alpine": { "3.21": ALPINE, "3.20": alpineSample({ created: "2020-01-01T00:00:00Z" }) },
      "team/debian": { "12": debianSample() },
      "team/scratch": { "1": buildImage({ layers: [{ members: [{ path: "app", content: "binary" }] }] }) },
    });
    env = {
      CR_TYPE: "oci",
      CR_BASE: registry.url,
      CR_USERNAME: LOGIN.username,
      CR_PASSWORD: LOGIN.password,
      OUTPOST_HOST: "127.0.0.1",
      PORT: "0",
      BROKER_SERVER_URL: "http://127.0.0.1:9",
    };
  });
  afterAll(() => registry[Symbol.asyncDispose]());

  async function run(args: readonly string[], more: Record<string, string> = {}, recorded = recordingWorld()) {
    const { world } = recorded;
    const toolbox = () => createToolbox(world, { ...env, ...more }, { isolated: true });
    const code = await runCommandLine({ world, toolbox }, args);
    return { code, stdout: recorded.stdout(), stderr: recorded.stderr() };
  }

  it("list shows repositories", async () => {
    expect(await run(["list"])).toEqual({ code: 0, stdout: "team/alpine\nteam/debian\nteam/scratch\n", stderr: "" });
    const { stdout } = await run(["list", "--json"]);
    expect(JSON.parse(stdout)).toEqual(["team/alpine", "team/debian", "team/scratch"]);
  });

  it("list shows the tags of a repository with digests", async () => {
    const { stdout } = await run(["list", "team/alpine"]);
    const lines = stdout.trimEnd().split("\n").map((line) => line.split("\t"));
    expect(lines).toEqual([["3.20", expect.stringMatching(/^sha256:/), "-"], ["3.21", ALPINE.descriptor.digest, "-"]]);
    const json = await run(["list", "team/alpine", "--json"]);
    expect(JSON.parse(json.stdout)[1]).toEqual({ tag: "3.21", digest: ALPINE.descriptor.digest, lastPushed: null });
  });

  it("list explains what is wrong, without the password", async () => {
    const refused = await run(["list"], { CR_PASSWORD: "wrong-canary" });
    expect(refused).toMatchObject({ code: 1, stdout: "" });
    expect(refused.stderr).toContain("CR_PASSWORD");
    expect(refused.stderr).not.toContain("wrong-canary");
    const unknown = await run(["list", "team/none"]);
    expect(unknown).toMatchObject({ code: 1, stdout: "" });
    expect(unknown.stderr).toContain("team/none");
  });

  it("scan finds packages by reference, and stops when interrupted", async () => {
    const { code, stdout, stderr } = await run(["scan", `${registry.host}/team/alpine:3.21`, "--format", "json"]);
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ status: "success" });
    const recorded = recordingWorld();
    registry.intercept = (request) => {
      if (request.url.includes("/manifests/")) recorded.interrupt();
      return undefined;
    };
    try {
      expect(await run(["scan", "team/alpine:3.21"], {}, recorded)).toMatchObject({ code: 130, stdout: "" });
    } finally {
      registry.intercept = undefined;
    }
  });

  it("scan says that an image has no known package manager", async () => {
    const { code, stdout, stderr } = await run(["scan", "team/scratch:1", "--format", "json", "--quiet"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ status: "success", os: { packageManager: null }, packages: [] });
    expect(stderr).toMatch(/^note: No known package manager was found/);
  });

  it("scan tells layers when it is asked to", async () => {
    const { stdout } = await run(["scan", "team/alpine:3.21", "--format", "json", "--layer-attribution"]);
    const { layers, packages } = JSON.parse(stdout);
    expect(layers.length).toBeGreaterThan(0);
    const known = new Set(layers.map((layer: { diffId: string }) => layer.diffId));
    expect(packages.every(({ layer }: { layer: string }) => known.has(layer))).toBe(true);
  });

  it("systemcheck tells what works and what does not, with advice", async () => {
    const { code, stdout } = await run(["systemcheck", "--json"]);
    expect(code).toBe(1);
    const { ok, checks } = JSON.parse(stdout);
    expect(ok).toBe(false);
    const rows = (checks as { check: string; status: string }[]).map(({ check, status }) => [check, status]);
    expect(rows).toEqual([
      ["configuration", "failed"],
      ["broker server", "failed"],
      ...["dns", "tcp", "api", "login", "list"].map((step) => [`registry ${step}`, "ok"]),
    ]);
    expect(checks[0].hint).toContain("BROKER_TOKEN");
  });

  it("systemcheck passes with a broker server that answers, and for the agent alone", async () => {
    const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => new Response("ok"));
    try {
      const more = { BROKER_TOKEN: "token-canary", BROKER_SERVER_URL: `http://127.0.0.1:${server.addr.port}` };
      const { code, stdout } = await run(["systemcheck"], more);
      expect(code, stdout).toBe(0);
      expect(stdout).toMatch(/^ok {6}configuration {2}role all, port 0\nok {6}broker server/);
      expect(stdout).not.toContain("canary");
    } finally {
      await server.shutdown();
    }
    const agent = await run(["systemcheck"], { OUTPOST_ROLE: "agent" });
    expect(agent.code, agent.stdout).toBe(0);
    expect(agent.stdout).toContain("skipped broker server");
  });

  it("systemcheck shows each problem of the configuration", async () => {
    const { code, stdout } = await run(["systemcheck"], { CR_TYPE: "nonsense", PORT: "x" });
    expect(code).toBe(1);
    expect(stdout).toMatch(/FAILED {2}configuration {2}CR_TYPE must be one of/);
    expect(stdout).toMatch(/FAILED {2}configuration {2}PORT must be/);
  });

  it("systemcheck explains a refused login", async () => {
    const { code, stdout } = await run(["systemcheck"], { CR_PASSWORD: "wrong-canary", OUTPOST_ROLE: "agent" });
    expect(code).toBe(1);
    expect(stdout).toMatch(/FAILED {2}registry login/);
    expect(stdout).not.toContain("canary");
  });

  it("start serves until it is interrupted, and systemcheck --live sees it", async () => {
    const recorded = recordingWorld();
    const broker = new LoopbackBroker({
      token: "token-canary",
      clock: systemClock,
      logger: recorded.world.silentLogger,
      randomId: recorded.world.newId,
      upgrade: recorded.world.upgradeWebSocket,
      onCallback: () => ({ status: 200, headers: {}, body: new Uint8Array(0) }),
    });
    const server = await recorded.world.listen(broker.fetch);
    const more = { BROKER_TOKEN: "token-canary", BROKER_SERVER_URL: server.url };
    const started = run(["start"], more, recorded);
    try {
      await broker.connected(2, new AbortController().signal);
      const port = listeningPort(recorded.stderr());
      expect((await run(["systemcheck", "--live"], { ...more, PORT: port })).stdout).toBe(
        "ok      daemon         connected\n",
      );
      recorded.interrupt();
      expect(await started).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Preflight checks/) });
      expect(recorded.stderr()).not.toContain("canary");
      const down = await run(["systemcheck", "--live"], { ...more, PORT: port });
      expect(down.code).toBe(1);
      expect(down.stdout).toContain("nothing answers");
    } finally {
      recorded.interrupt();
      await started;
      broker.close();
      await server.close();
    }
  });

  it("systemcheck --live sees a daemon with TLS, whose certificate names another host", async () => {
    const { certPem, keyPem } = await selfSigned({ hosts: ["outpost.example"] });
    const readTextFile = (path: string): Promise<string> => Promise.resolve(path === "cert.pem" ? certPem : keyPem);
    const up = Promise.withResolvers<string>();
    const write = (text: string): void => {
      if (text.includes("Outpost started")) up.resolve(text);
    };
    const daemon = recordingWorld({
      readTextFile,
      stderr: { isTerminal: false, columns: undefined, color: false, write },
    });
    const more = { OUTPOST_ROLE: "agent", HTTPS_CERT: "cert.pem", HTTPS_KEY: "key.pem" };
    const started = run(["start"], more, daemon);
    try {
      const settings = { ...more, PORT: listeningPort(await up.promise) };
      const live = await run(["systemcheck", "--live"], settings, recordingWorld({ readTextFile }));
      expect(live.code, live.stdout).toBe(0);
    } finally {
      daemon.interrupt();
      await started;
    }
  });

  it("start needs a token, and a port that is free", async () => {
    const none = await run(["start"]);
    expect(none).toMatchObject({ code: 1, stdout: "" });
    expect(none.stderr).toContain("BROKER_TOKEN is not set");
    const taken = await run(["start"], { OUTPOST_ROLE: "agent", PORT: registry.host.split(":")[1] ?? "" });
    expect(taken.code).toBe(1);
    expect(taken.stderr).toMatch(/Cannot listen on 127\.0\.0\.1:\d+: .*\n {7}Set SNYK_PORT or PORT to a free port/);
  });

  it("start explains an address that this machine does not have", async () => {
    const end = await run(["start"], { OUTPOST_ROLE: "agent", OUTPOST_HOST: "192.0.2.1" });
    expect(end.code).toBe(1);
    expect(end.stderr).toContain("Check OUTPOST_HOST.");
  });
});

/** The port that the daemon wrote to its log when it started. */
function listeningPort(log: string): string {
  const line = log.split("\n").find((text) => text.includes("Outpost started")) ?? "{}";
  return new URL((JSON.parse(line) as { url: string }).url).port;
}
