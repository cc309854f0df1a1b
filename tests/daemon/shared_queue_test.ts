/** Several daemons on one NATS: whoever is asked, any of them scans and any of them reports. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Daemon } from "../../src/cli/context.ts";
import { runJobs } from "../../src/cli/jobs.ts";
import { runSystemcheck } from "../../src/cli/systemcheck.ts";
import { encodeCredentials } from "../../src/registries/mod.ts";
import { alpineSample } from "../../src/lib/sample_images.ts";
import { createToolbox } from "../../src/main.ts";
import { type CallbackServer, startCallbackServer } from "../e2e/callback_server.ts";
import { LOGIN, type LoopbackServer, startLoopbackRegistry } from "../fakes/loopback.ts";
import { recordingWorld } from "../fakes/world.ts";
import { peer } from "../peers/mod.ts";
import { type NatsServer, startNatsServer } from "../peers/nats_server.ts";
import { freePort, within } from "../peers/process.ts";

const PASSWORD = "canary-queue-4711";

/** A daemon in this process. */
interface Running {
  readonly daemon: Daemon;
  readonly log: () => string;
  stop(): Promise<void>;
}

describe.skipIf(!peer("nats-server").available)("daemons with OUTPOST_QUEUE", () => {
  let nats: NatsServer;
  let registry: LoopbackServer;
  let client: CallbackServer;
  let env: Record<string, string>;
  const running: Running[] = [];

  beforeEach(async () => {
    nats = await startNatsServer({ username: "outpost", password: PASSWORD });
    registry = startLoopbackRegistry({ "team/alpine": { "1": alpineSample() } });
    client = startCallbackServer();
    env = {
      OUTPOST_ROLE: "agent",
      OUTPOST_HOST: "127.0.0.1",
      OUTPOST_QUEUE: nats.url.replace("//", `//outpost:${PASSWORD}@`),
      PORT: "0",
      BROKER_CLIENT_URL: client.url,
      CR_TYPE: "oci",
      CR_BASE: registry.url,
      CR_USERNAME: LOGIN.username,
      CR_PASSWORD: LOGIN.password,
    };
  });
  afterEach(async () => {
    for (const one of running.splice(0)) await one.stop();
    await client[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
    await nats.stop();
  });

  async function start(more: Readonly<Record<string, string>> = {}): Promise<Running> {
    const { world, stderr } = recordingWorld();
    const toolbox = await createToolbox(world, { ...env, ...more }, { isolated: true });
    try {
      const daemon = await toolbox.startDaemon();
      const stop = async (): Promise<void> => {
        await daemon.stop();
        await toolbox.close();
      };
      const one = { daemon, log: stderr, stop };
      running.push(one);
      return one;
    } catch (error) {
      await toolbox.close();
      throw error;
    }
  }

  async function scan({ daemon }: Running, requestId: string, headers: Record<string, string> = {}): Promise<Response> {
    return await fetch(`${daemon.url}/scan`, {
      method: "POST",
      headers: { "content-type": "application/json", "snyk-request-id": requestId, ...headers },
      body: JSON.stringify({ name: "team/alpine:1", requestId }),
    });
  }

  /** Asks every 25 ms until `test` answers true. */
  async function until(what: string, test: () => Promise<boolean> | boolean): Promise<void> {
    await within(20_000, what, async (signal) => {
      while (!await test()) {
        signal.throwIfAborted();
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
    });
  }

  const jobsOf = async ({ daemon }: Running): Promise<{ id: string; state: string; pending: number }[]> =>
    await (await fetch(`${daemon.url}/api/jobs`)).json();
  const metricsOf = async ({ daemon }: Running): Promise<string> => await (await fetch(`${daemon.url}/metrics`)).text();
  const scansOf = async (one: Running): Promise<number> =>
    Number(/outpost_scans_total\{outcome="success"\} (\d+)/.exec(await metricsOf(one))?.[1] ?? 0);

  it("P1 share the scans that one of them is asked for, and report each once", async () => {
    const [one, other] = [await start(), await start()];
    const ids: string[] = [];
    for (let n = 0; n < 30; n++) {
      const answer = await scan(one, `request-${n}`);
      expect(answer.status).toBe(202);
      ids.push((await answer.json()).id);
    }
    await until("all scans to be reported", () => client.keys.length >= 60);
    await until("all jobs to end", async () => (await jobsOf(other)).every(({ state }) => state === "done"));
    expect(client.keys.toSorted()).toEqual(ids.flatMap((id) => [`${id}-0`, `${id}-1`]).toSorted());
    expect(client.contradictions).toEqual([]);
    expect((await jobsOf(other)).map(({ id }) => id).toSorted()).toEqual(ids.toSorted());
    const [mine, others] = [await scansOf(one), await scansOf(other)];
    expect(mine + others).toBe(30);
    expect(Math.min(mine, others)).toBeGreaterThan(0);
    // The layer was read once.
    expect(registry.requests.filter((request) => request.includes("/blobs/")).length).toBeLessThanOrEqual(4);
    expect(await metricsOf(one)).toContain("outpost_queue_connected 1");
    expect(one.log() + other.log()).not.toContain(PASSWORD);
  });

  it("show and change the jobs from the command line, wherever it runs", async () => {
    const asked = Promise.withResolvers<void>();
    registry.intercept = (request) => {
      if (!request.url.includes("/manifests/")) return undefined;
      asked.resolve();
      return new Promise((resolve) => request.signal.addEventListener("abort", () => resolve(new Response())));
    };
    const one = await start();
    const { id } = await (await scan(one, "cancelled elsewhere")).json();
    await asked.promise;
    const { world, stdout } = recordingWorld();
    let written = 0;
    const commandEnv = { ...env, PORT: String(freePort()) };
    const context = { world, toolbox: () => createToolbox(world, commandEnv, { isolated: true }) };
    await runSystemcheck(context, { json: false, live: false });
    expect(stdout()).toMatch(/ok +queue +nats:.*: 0 scans wait, 1 run/);
    written = stdout().length;
    await runJobs(context, { kind: "list", limit: 9 }, { json: true });
    expect(JSON.parse(stdout().slice(written))).toMatchObject([{ id, state: "scanning" }]);
    await runJobs(context, { kind: "cancel", id }, { json: true });
    await until("the scan to be reported as cancelled", () => client.keys.length === 2);
    await until("the job to end", async () => (await jobsOf(one))[0]?.state === "failed");
  });

  it("P6 are not ready while NATS is away, refuse scans meanwhile, and go on by themselves", async () => {
    const one = await start();
    const ready = async (): Promise<unknown> => await (await fetch(`${one.daemon.url}/readyz`)).json();
    expect(await ready()).toEqual({ ok: true });
    await nats.kill();
    await until("the loss to be seen", async () => JSON.stringify(await ready()).includes("queue not connected"));
    const refused = await scan(one, "refused");
    expect([refused.status, (await refused.json()).code]).toEqual([503, "STORE_UNAVAILABLE"]);
    expect(await metricsOf(one)).toContain("outpost_queue_connected 0");
    await nats.restart();
    await until("the daemon to be ready again", async () => JSON.stringify(await ready()) === '{"ok":true}');
    expect((await (await scan(one, "taken")).json()).accepted).toBeDefined();
    await until("the scan to be reported", () => client.keys.length === 2);
    expect(one.log()).toContain("The queue is not reached");
  });

  it("P5 open what another has sealed, by a key that they have in common, and refuse to seal without one", async () => {
    const { CR_TYPE: _type, CR_BASE: _base, CR_USERNAME: _user, CR_PASSWORD: _password, ...bare } = env;
    env = { ...bare, OUTPOST_QUEUE_KEY: "a passphrase of the operator" };
    const authorization = encodeCredentials(registry.credentials);
    const [one, other] = [await start(), await start()];
    for (let n = 0; n < 10; n++) {
      const answer = await scan(one, `sealed-${n}`, { authorization });
      expect(answer.status).toBe(202);
      await answer.body?.cancel();
    }
    await until("all scans to be reported", () => client.keys.length === 20);
    await until("all jobs to end", async () => (await jobsOf(one)).every(({ state }) => state === "done"));
    expect(Math.min(await scansOf(one), await scansOf(other))).toBeGreaterThan(0);
    env = bare;
    const keyless = await start();
    const refused = await scan(keyless, "unsealed", { authorization });
    expect(await refused.json()).toMatchObject({
      code: "CONFIG_INVALID",
      hint: expect.stringContaining("OUTPOST_QUEUE_KEY"),
    });
    expect(keyless.log()).toContain("have no key in common");
  });

  it("say at once what keeps them from the queue", async () => {
    await expect(start({ OUTPOST_QUEUE: env["OUTPOST_QUEUE"]?.replace(PASSWORD, "wrong") ?? "" })).rejects
      .toMatchObject({
        code: "STORE_UNUSABLE",
        hint: expect.stringContaining("OUTPOST_QUEUE"),
      });
    await expect(start({ OUTPOST_QUEUE: `nats://127.0.0.1:${freePort()}` })).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
    });
  });
});

it("nothing of NATS is loaded without OUTPOST_QUEUE", () => {
  const seen = new Set<string>();
  const queue = [new URL("../../mod.ts", import.meta.url).href];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    if (seen.has(next)) continue;
    seen.add(next);
    const text = Deno.readTextFileSync(new URL(next));
    // Imports of types are gone at run time, and `import()` is not among these.
    for (const [, clause, name] of text.matchAll(/^(?:import|export)\s+([^;"]*?from\s+)?"([^"]+)";/gm)) {
      if (clause?.startsWith("type ")) continue;
      expect(name, `imported by ${next}`).not.toMatch(/^@nats-io\//);
      if (name?.startsWith(".")) queue.push(new URL(name, next).href);
    }
  }
  expect(seen.size).toBeGreaterThan(20);
  expect([...seen].some((name) => name.endsWith("/src/main.ts"))).toBe(true);
});
