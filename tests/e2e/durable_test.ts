/**
 * P1: an accepted scan is on disk, ends in exactly one state, and its callbacks arrive at least once, whenever the daemon
 * is killed (reliability.md S1, S2, S8, S9).
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { buildImage } from "../../src/lib/oci_builder.ts";
import { alpineSample, debianSample } from "../../src/lib/sample_images.ts";
import { LOGIN, type LoopbackServer, startLoopbackRegistry } from "../fakes/loopback.ts";
import { freePort, poll, run, startProcess, within } from "../peers/process.ts";
import { type CallbackServer, startCallbackServer } from "./callback_server.ts";
import { type DaemonProcess, denoEnv, ROOT, startDaemonProcess } from "./daemon.ts";

/** Kills of the acked-set loop; `deno task kills` does 200. */
const KILLS = Number(Deno.env.get("OUTPOST_TEST_KILLS") ?? 30);
const JOBS_PER_ROUND = 20;
const LAYERS = buildImage({
  layers: [
    { members: [{ path: "etc/os-release", content: "ID=alpine\nVERSION_ID=3.21\n" }] },
    { members: [{ path: "second", content: "2".repeat(5000) }] },
    { members: [{ path: "third", content: "3".repeat(5000) }] },
  ],
});

interface JobLine {
  readonly id: string;
  readonly state: string;
  readonly total: number;
  readonly pending: number;
  readonly dead: number;
}

describe("a daemon with a data directory", () => {
  let directory: string;
  let registry: LoopbackServer;
  let client: CallbackServer;
  let env: Record<string, string>;
  const running: AsyncDisposable[] = [];

  beforeEach(async () => {
    directory = await Deno.makeTempDir();
    registry = startLoopbackRegistry({
      "team/alpine": { "1": alpineSample() },
      "team/debian": { "1": debianSample() },
      "team/layers": { "1": LAYERS },
    });
    client = startCallbackServer();
    env = {
      OUTPOST_ROLE: "agent",
      OUTPOST_DATA_DIR: `${directory}/data`,
      PORT: String(freePort()),
      BROKER_CLIENT_URL: client.url,
      CR_TYPE: "oci",
      CR_BASE: registry.url,
      CR_USERNAME: LOGIN.username,
      CR_PASSWORD: LOGIN.password,
      MAX_ACTIVE_OPERATIONS: "2",
    };
  });
  afterEach(async () => {
    for (const one of running.splice(0)) await one[Symbol.asyncDispose]();
    await client[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
    await Deno.remove(directory, { recursive: true });
  });

  const write = (): string => `--allow-write=${env["OUTPOST_DATA_DIR"]}`;

  async function start(more: Record<string, string> = {}): Promise<DaemonProcess> {
    const daemon = await startDaemonProcess({ ...env, ...more }, [write()]);
    running.push(daemon);
    return daemon;
  }

  async function kill(daemon: DaemonProcess, signal: Deno.Signal = "SIGKILL"): Promise<void> {
    Deno.kill(daemon.process.pid, signal);
    await daemon.process.status;
  }

  async function accept(url: string, ...names: string[]): Promise<string | undefined> {
    const body = JSON.stringify({ images: names.map((name) => ({ name })) });
    const response = await fetch(`${url}/scan`, { method: "POST", body }).catch(() => undefined);
    const answer = await response?.json().catch(() => undefined);
    return response?.status === 202 ? answer?.id : undefined;
  }

  const jobs = async (url: string): Promise<readonly JobLine[]> =>
    await (await fetch(`${url}/api/jobs?limit=1000`)).json();

  const allEnded = (url: string): Promise<readonly JobLine[]> =>
    within(60_000, "the end of all jobs", async (signal) => {
      for (;;) {
        signal.throwIfAborted();
        const all = await jobs(url);
        if (all.every(({ state }) => ["done", "partial", "failed"].includes(state))) return all;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    });

  /** Every callback of the job came, in order, and none contradicts another. */
  function expectAllCallbacks(id: string, images: number): void {
    const own = client.keys.filter((key) => key.startsWith(id));
    const first = [...new Set(own)];
    expect(first).toEqual(Array.from({ length: images + 1 }, (_, sequence) => `${id}-${sequence}`));
  }

  it(`P1 S1 loses no acknowledged scan and no callback over ${KILLS} kills under load`, async () => {
    const acked: string[] = [];
    let calls = 0;
    client.answer = () => ++calls % 7 === 0 ? 503 : 200;
    for (let round = 0; round < KILLS; round++) {
      const daemon = await start();
      const life = 100 + Math.random() * 900;
      const killed = new Promise<void>((resolve) => setTimeout(resolve, life)).then(() => kill(daemon));
      for (let n = 0; n < JOBS_PER_ROUND; n++) {
        const id = await accept(daemon.url, "team/alpine:1", "team/debian:1");
        if (id === undefined) break;
        acked.push(id);
      }
      await killed;
    }
    client.answer = () => 200;
    const daemon = await start();
    const ended = await allEnded(daemon.url);
    expect(acked.length).toBeGreaterThan(KILLS);
    const states = new Map(ended.map(({ id, state }) => [id, state]));
    if (ended.length < 1000) expect(acked.filter((id) => states.get(id) !== "done")).toEqual([]);
    for (const id of acked) expectAllCallbacks(id, 2);
    expect(client.contradictions).toEqual([]);
    expect(ended.filter(({ pending, dead }) => pending + dead > 0)).toEqual([]);
    await kill(daemon, "SIGTERM");
    expect((await daemon.process.status).code).toBe(0);
    const repeated = client.keys.length - new Set(client.keys).size;
    // deno-lint-ignore no-console -- the figures of the run
    console.log(
      `${KILLS} kills, ${acked.length} acknowledged, 0 lost, ${client.keys.length} callbacks, ${repeated} repeated`,
    );
  });

  /** A daemon that ends at a point of its work; resolves once it listens. */
  async function startCrashing(point: string): Promise<DaemonProcess> {
    const url = `http://127.0.0.1:${env["PORT"]}`;
    const process = await startProcess({
      name: "outpost",
      command: Deno.execPath(),
      args: ["run", "-A", "tests/e2e/crash_daemon.ts"],
      cwd: ROOT,
      env: { ...denoEnv(), ...env, OUTPOST_HOST: "127.0.0.1", CRASH_AT: point },
      ready: (child, signal) => poll(`${url}/livez`, (response) => response.ok, child, signal),
    });
    const daemon = { url, process, [Symbol.asyncDispose]: () => process.stop() };
    running.push(daemon);
    return daemon;
  }

  it.each([
    ["after accept", []],
    ["before complete", []],
    ["after complete", []],
    ["mid-callback", [0]],
    ["before settle", [0]],
    ["after settle", []],
  ])("P1 S2 goes on after kill -9 %s, with callbacks %j twice", async (point, twice) => {
    const first = await startCrashing(point);
    await accept(first.url, "team/alpine:1", "team/debian:1");
    await within(20_000, "the crash", () => first.process.status);
    const second = await start();
    const [job, ...others] = await allEnded(second.url);
    expect(job).toMatchObject({ state: "done", total: 2, pending: 0, dead: 0 });
    expect(others).toEqual([]);
    const id = job?.id ?? "";
    expectAllCallbacks(id, 2);
    expect(client.keys.toSorted()).toEqual([0, 1, 2, ...twice].map((sequence) => `${id}-${sequence}`).toSorted());
    expect(client.contradictions).toEqual([]);
  });

  const storedLayers = async (): Promise<number> => {
    const names = await Array.fromAsync(Deno.readDir(`${env["OUTPOST_DATA_DIR"]}/layers`)).catch(() => []);
    return names.filter(({ name }) => name.endsWith(".facts")).length;
  };

  it("P1 S2 pulls no layer again that was read before kill -9, and a retest needs the manifest alone", async () => {
    const [, second = "", third = ""] = LAYERS.layers.map(({ descriptor }) => descriptor.digest);
    const blobs = (): string[] =>
      registry.requests.filter((line) => line.includes("/blobs/")).map((line) => line.slice(-71));
    const daemon = await start();
    const reached = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<Response>();
    registry.intercept = (request) => {
      if (!request.url.endsWith(third)) return undefined;
      reached.resolve();
      return gate.promise;
    };
    const id = await accept(daemon.url, "team/layers:1") ?? "";
    await reached.promise;
    await within(10_000, "the facts of two layers", async (signal) => {
      while (await storedLayers() < 2) {
        signal.throwIfAborted();
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    });
    await kill(daemon);
    registry.intercept = undefined;
    gate.resolve(new Response(null, { status: 503 }));
    const again = await start();
    await allEnded(again.url);
    expectAllCallbacks(id, 1);
    expect(blobs().filter((digest) => digest === second)).toHaveLength(1);
    expect(blobs().filter((digest) => digest === third)).toHaveLength(2);
    const before = registry.requests.length;
    await accept(again.url, "team/layers:1");
    await allEnded(again.url);
    const later = registry.requests.slice(before);
    expect(later.filter((line) => line.includes("/blobs/"))).toEqual([]);
    expect(later.filter((line) => line.includes("/manifests/")).length).toBeLessThanOrEqual(1);
  });

  it("S9 is one daemon's: a second one says so and ends", async () => {
    const daemon = await start();
    const other = await run(Deno.execPath(), ["run", "-P=daemon", write(), "mod.ts", "start"], {
      cwd: ROOT,
      env: { ...denoEnv(), ...env, OUTPOST_HOST: "127.0.0.1", PORT: String(freePort()) },
    });
    expect(other.code).toBe(1);
    expect(other.stderr).toContain("another Outpost process uses it");
    expect(other.stderr).toContain("OUTPOST_DATA_DIR");
    expect((await fetch(`${daemon.url}/livez`).then((response) => response.json())).ok).toBe(true);
  });

  // deno-lint-ignore no-console -- whoever runs the tests has to see it
  if (Deno.uid() !== 0) console.warn("Skipped: the test of a full disk mounts a small file system, which needs root");
  it.skipIf(Deno.uid() !== 0)(
    "P1 S4 answers 503 while the disk is full, takes scans again without a restart, and loses none",
    async () => {
      const data = env["OUTPOST_DATA_DIR"] ?? "";
      await Deno.mkdir(data);
      expect((await run("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", data])).code).toBe(0);
      try {
        const daemon = await start();
        const note = "n".repeat(30_000);
        const ask = (): Promise<Response> =>
          fetch(`${daemon.url}/scan`, { method: "POST", body: JSON.stringify({ name: "team/alpine:1", note }) });
        const ids: string[] = [];
        let refused: Response | undefined;
        while (refused === undefined) {
          const response = await ask();
          if (response.status === 202) ids.push((await response.json()).id);
          else refused = response;
          // What is free now is taken.
          if (ids.length === 5) await Deno.writeFile(`${data}/ballast`, new Uint8Array(3_600_000)).catch(() => {});
        }
        expect(refused.status).toBe(503);
        expect(refused.headers.get("retry-after")).not.toBeNull();
        expect(await refused.json()).toMatchObject({
          code: "STORE_UNAVAILABLE",
          hint: expect.stringContaining("no restart"),
        });
        const metric = async (): Promise<string> => await (await fetch(`${daemon.url}/metrics`)).text();
        expect(await metric()).toContain("outpost_store_disk_full 1");
        expect((await fetch(`${daemon.url}/livez`).then((response) => response.json())).ok).toBe(true);
        await Deno.remove(`${data}/ballast`);
        const later = await ask();
        expect(later.status).toBe(202);
        ids.push((await later.json()).id);
        const ended = await allEnded(daemon.url);
        expect(ended.map(({ id }) => id).toSorted()).toEqual(ids.toSorted());
        for (const id of ids) expectAllCallbacks(id, 1);
        expect(await metric()).toContain("outpost_store_disk_full 0");
        await kill(daemon, "SIGTERM");
      } finally {
        for (const one of running.splice(0)) await one[Symbol.asyncDispose]();
        await run("umount", [data]);
      }
    },
  );

  it("shows its jobs by `outpost jobs`, also when it does not run", async () => {
    const jobsCommand = (...args: string[]) =>
      run(Deno.execPath(), ["run", "-q", "-P", "mod.ts", "jobs", ...args], {
        cwd: ROOT,
        env: { ...denoEnv(), ...env },
      });
    const daemon = await start();
    client.answer = (key) => key.endsWith("-0") ? 403 : 200;
    const id = await accept(daemon.url, "team/alpine:1") ?? "";
    await allEnded(daemon.url);
    const listed = await jobsCommand();
    expect(listed.stdout).toMatch(new RegExp(`^${id} +failed +1 +0 +0 +1 +0 +1 `, "m"));
    expect((await jobsCommand("show", id)).stdout).toContain("team/alpine:1  success  dead  Cannot deliver");
    client.answer = () => 200;
    expect((await jobsCommand("retry", id)).stdout).toContain("1 callbacks");
    await allEnded(daemon.url);
    expect(JSON.parse((await jobsCommand("list", "--state", "done", "--json")).stdout)).toMatchObject([{
      id,
      dead: 0,
    }]);
    const again = await jobsCommand("retry", id, "--json");
    const fresh: string = JSON.parse(again.stdout).id;
    expect(fresh).not.toBe(id);
    await allEnded(daemon.url);
    const late = await jobsCommand("cancel", fresh);
    expect([late.code, late.stderr]).toEqual([1, expect.stringContaining("Cannot cancel")]);
    await kill(daemon, "SIGTERM");
    const offline = await jobsCommand("show", fresh);
    expect(offline.stdout).toContain(`${fresh}  done`);
    // P5: what is on disk holds no credential.
    for await (const { name, isFile } of Deno.readDir(env["OUTPOST_DATA_DIR"] ?? "")) {
      const text = isFile ? new TextDecoder().decode(await Deno.readFile(`${env["OUTPOST_DATA_DIR"]}/${name}`)) : "";
      expect([name, text.includes(LOGIN.password)]).toEqual([name, false]);
    }
    const unknown = await jobsCommand("show", "none");
    expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringContaining("There is no job none")]);
  });

  it.each([0, 1, 50])(
    "P7 S8 ends within 25 s of SIGTERM with %i jobs, and the next start goes on with all of them",
    async (count) => {
      const daemon = await start();
      const gate = Promise.withResolvers<void>();
      const scanning = Promise.withResolvers<void>();
      registry.intercept = (request) => {
        if (!request.url.includes("/manifests/")) return undefined;
        scanning.resolve();
        return gate.promise.then(() => Response.redirect(request.url, 307));
      };
      const ids = await Promise.all(Array.from({ length: count }, () => accept(daemon.url, "team/alpine:1")));
      if (count > 0) await scanning.promise;
      const startedAt = Date.now();
      Deno.kill(daemon.process.pid, "SIGTERM");
      await within(10_000, "the sign", (signal) => daemon.process.printed(/"Stopping"/, signal));
      registry.intercept = undefined;
      gate.resolve();
      expect((await daemon.process.status).code).toBe(0);
      expect(Date.now() - startedAt).toBeLessThan(25_000);
      // Those that ran came to their end, with their callbacks.
      expect(client.keys).toHaveLength(2 * Math.min(count, 2));
      const next = await start();
      const known = await jobs(next.url);
      expect(known.map(({ id }) => id).toSorted()).toEqual(ids.map(String).toSorted());
      expect((await allEnded(next.url)).every(({ state }) => state === "done")).toBe(true);
      for (const id of ids) expectAllCallbacks(String(id), 1);
    },
  );
});
