/**
 * P1 over several machines: daemons on one queue (OUTPOST_QUEUE) that are killed, stopped and cut off from it. Every job
 * ends once in the eyes of Snyk, none is lost, and no layer is fetched by two daemons at once.
 */
import { describe, expect, it } from "vitest";
import type { ScanResult } from "../../src/core/scan_ports.ts";
import { LIMITS } from "../../src/core/limits.ts";
import { startBrokerServer, type UpstreamRequest } from "../peers/broker_server.ts";
import { startDockerRegistry } from "../peers/docker_registry.ts";
import { peersAvailable } from "../peers/mod.ts";
import { type NatsServer, startNatsServer } from "../peers/nats_server.ts";
import { within } from "../peers/process.ts";
import {
  Daemons,
  type Fleet,
  type FleetDaemon,
  type FleetSize,
  kill,
  pause,
  pushFleet,
  resume,
} from "./scale_fleet.ts";
import { type BlobFetch, type SlowRegistry, startSlowRegistry } from "./slow_registry.ts";

/** How often the whole is done; `deno task chaos` does it five times. */
const RUNS = Number(Deno.env.get("OUTPOST_TEST_RUNS") ?? 1);
const SEED = Number(Deno.env.get("OUTPOST_TEST_SEED") ?? Math.floor(Math.random() * 2 ** 31));
const TOKEN = "5ca1ab1e-0000-4000-8000-000000000000";
const DAEMONS = 3;
const KILLS = 6;
const SIZE: FleetSize = { bases: 10, applications: 6, layerBytes: 256 * 1024 };
const IMAGES_PER_JOB = 2;
const BYTES_PER_SECOND = 100 * 1024;
/** How long after its end a download that was cut off may seem to go on: until the front writes its next piece. */
const NOTICED_WITHIN_MS = 500;

interface Job {
  readonly id: string;
  readonly names: readonly string[];
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Numbers in [0, 1) that follow from the seed (mulberry32). */
function chances(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6D2B79F5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const keyOf = ({ headers }: UpstreamRequest): string => headers["idempotency-key"] ?? "";

interface ResultBody {
  readonly id: string;
  readonly sequence: number;
  readonly status: string;
  readonly scanResults: readonly ScanResult[];
}

/** Every job has each of its callbacks, those that came twice came alike, and each says what is in its image. */
function expectOutcome(requests: readonly UpstreamRequest[], jobs: readonly Job[], fleet: Fleet): number {
  const bodies = new Map<string, string>();
  for (const request of requests) {
    const text = new TextDecoder().decode(request.body);
    expect([keyOf(request), bodies.get(keyOf(request)) ?? text]).toEqual([keyOf(request), text]);
    bodies.set(keyOf(request), text);
  }
  const wanted = jobs.flatMap(({ id, names }) => [...names, "closing"].map((_, sequence) => `${id}-${sequence}`));
  expect([...bodies.keys()].toSorted()).toEqual(wanted.toSorted());
  const packages = new Map(fleet.images.map((image) => [image.name, image.packages]));
  for (const { id, names } of jobs) {
    for (const [sequence, name] of names.entries()) {
      const body: ResultBody = JSON.parse(bodies.get(`${id}-${sequence}`) ?? "{}");
      expect([name, body.status, packagesOf(body)]).toEqual([name, "success", packages.get(name)]);
    }
    expect(JSON.parse(bodies.get(`${id}-${names.length}`) ?? "{}")).toMatchObject({
      id,
      total: names.length,
      succeeded: names.length,
      failed: 0,
    });
  }
  return requests.length - bodies.size;
}

function packagesOf({ scanResults }: ResultBody): readonly string[] {
  const graph = scanResults[0]?.facts.find((fact) => fact.type === "depGraph")?.data as {
    readonly pkgs: readonly { readonly id: string }[];
  } | undefined;
  return graph?.pkgs.slice(1).map(({ id }) => id).toSorted() ?? [];
}

/**
 * Layers that two daemons fetched at once. One that was stopped for longer than a lock lasts does not know that another
 * has begun; its downloads since then do not count.
 */
function fetchedAtOnce(fetches: readonly BlobFetch[], fleet: Fleet, daemons: readonly FleetDaemon[]): string[] {
  const stopped = new Map(daemons.flatMap(({ name, stopped }) => stopped === undefined ? [] : [[name, stopped.from]]));
  const late = ({ client, began, ended = Infinity }: BlobFetch): boolean => {
    const from = stopped.get(client);
    return from !== undefined && began <= from && ended >= from;
  };
  const counted = fetches.filter((fetch) => fleet.layers.has(fetch.digest) && !late(fetch));
  const end = ({ ended = Infinity, whole }: BlobFetch): number => ended - (whole ? 0 : NOTICED_WITHIN_MS);
  return counted.flatMap((one, index) =>
    counted.slice(index + 1)
      .filter((other) => other.digest === one.digest && other.client !== one.client)
      .filter((other) => other.began < end(one) && one.began < end(other))
      .map((other) =>
        `${one.digest} by ${one.client} at ${one.began}-${one.ended} and ${other.client} at ${other.began}`
      )
  );
}

/** Which images each job asks for: base by base in any order, so that several daemons need the same layers at once. */
function requests({ images }: Fleet, chance: () => number): readonly (readonly string[])[] {
  const bases = Array.from({ length: SIZE.bases }, chance);
  const order = images.map(({ name }, at) => ({
    name,
    base: bases[Math.floor(at / SIZE.applications)] ?? 0,
    at: chance(),
  }))
    .toSorted((a, b) => a.base - b.base || a.at - b.at).map(({ name }) => name);
  return Array.from(
    { length: order.length / IMAGES_PER_JOB },
    (_, job) => order.slice(job * IMAGES_PER_JOB, (job + 1) * IMAGES_PER_JOB),
  );
}

/** Kills and replaces daemons, stops one past its lease, and restarts the queue. */
async function disturb(daemons: Daemons, nats: NatsServer, chance: () => number): Promise<void> {
  const pick = (): FleetDaemon => {
    const running = daemons.live.filter(({ stopped }) => stopped === undefined || stopped.until !== undefined);
    const picked = running[Math.floor(chance() * running.length)];
    if (picked === undefined) throw new Error("No daemon runs");
    return picked;
  };
  let standing: Promise<void> | undefined;
  for (let killed = 0; killed < KILLS; killed++) {
    await sleep(1_500 + 2_000 * chance());
    await kill(pick());
    await daemons.start();
    if (killed === 1) {
      const stood = pick();
      pause(stood);
      standing = sleep(LIMITS.layerLockMs + 3_000).then(() => resume(stood));
    }
    if (killed === 2) await nats.restart();
    if (killed === 4) {
      await nats.kill();
      await nats.restart();
    }
  }
  await standing;
}

describe.skipIf(!peersAvailable("nats-server", "docker-registry", "snyk-broker"))("daemons on one queue", () => {
  interface Scene {
    readonly nats: NatsServer;
    readonly slow: SlowRegistry;
    readonly daemons: Daemons;
    readonly fleet: Fleet;
    readonly upstream: { readonly requests: readonly UpstreamRequest[] };
    /** Asks for a scan until a daemon has accepted it. */
    submit(names: readonly string[]): Promise<Job>;
    /** Resolves when the last callback of all jobs came. */
    ended(jobs: readonly Job[], ms: number): Promise<void>;
  }

  async function scene(
    size: FleetSize,
    bytesPerSecond: number,
    run: (scene: Scene) => Promise<void>,
  ): Promise<void> {
    await using nats = await startNatsServer();
    await using registry = await startDockerRegistry();
    await using server = await startBrokerServer();
    const fleet = await pushFleet(registry, size);
    await using slow = startSlowRegistry(registry, bytesPerSecond);
    await using daemons = new Daemons(nats, slow.url, {
      BROKER_SERVER_URL: server.url,
      BROKER_TOKEN: TOKEN,
      MAX_ACTIVE_OPERATIONS: "2",
      // Kills come faster here than a machine fails: an image may meet several.
      OUTPOST_SCAN_ATTEMPTS: "10",
    });
    const submit = async (names: readonly string[]): Promise<Job> => {
      const body = JSON.stringify({ images: names.map((name) => ({ name })) });
      const headers = { "content-type": "application/json", "snyk-request-id": crypto.randomUUID() };
      for (;;) {
        const signal = AbortSignal.timeout(5_000);
        const init = { method: "POST", body, headers, signal };
        const response = await fetch(server.brokerUrl(TOKEN, "/scan"), init).catch(() => undefined);
        const answer = await response?.json().catch(() => undefined) as { readonly id?: string } | undefined;
        if (response?.status === 202 && answer?.id !== undefined) return { id: answer.id, names };
        await sleep(200);
      }
    };
    const ended = (jobs: readonly Job[], ms: number): Promise<void> =>
      within(ms, "the end of all jobs", async (signal) => {
        for (const { id, names } of jobs) {
          await server.upstream.waitFor((request) => keyOf(request) === `${id}-${names.length}`, signal);
        }
      });
    await run({ nats, slow, daemons, fleet, upstream: server.upstream, submit, ended });
  }

  it.each(Array.from({ length: RUNS }, (_, run) => [SEED + run]))(
    `P1 chaos: ${KILLS} kills, a stop past the lease and two restarts of the queue lose nothing (seed %i)`,
    (seed) =>
      scene(
        SIZE,
        BYTES_PER_SECOND,
        async ({ nats, slow, daemons, fleet, upstream, submit, ended }) => {
          const began = Date.now();
          const chance = chances(seed);
          await Promise.all(Array.from({ length: DAEMONS }, () => daemons.start()));
          const accepted: Promise<Job>[] = [];
          const disturbed = disturb(daemons, nats, chances(seed + 1));
          for (const names of requests(fleet, chance)) {
            accepted.push(submit(names));
            await sleep(200 * chance());
          }
          const jobs = await Promise.all(accepted);
          await disturbed;
          await ended(jobs, 120_000);
          for (const { daemon } of daemons.live) {
            await daemon.process.stop();
            expect((await daemon.process.status).code).toBe(0);
          }
          const repeated = expectOutcome(upstream.requests, jobs, fleet);
          expect(new Set(jobs.map(({ id }) => id)).size).toBe(jobs.length);
          expect(fetchedAtOnce(slow.fetches, fleet, daemons.all)).toEqual([]);
          const layers = slow.fetches.filter(({ digest }) => fleet.layers.has(digest)).length;
          // deno-lint-ignore no-console -- the figures of the run
          console.log(
            `seed ${seed}: ${daemons.all.length} daemons, ${KILLS} killed, ${jobs.length} jobs, 0 lost, ` +
              `${upstream.requests.length} callbacks, ${repeated} repeated, ${layers} downloads of ${fleet.layers.size} ` +
              `layers, none by two at once, ${Math.round((Date.now() - began) / 1000)} s`,
          );
        },
      ),
  );

  it("P7: the jobs of a daemon that gets SIGTERM go on elsewhere at once, without a lease having to end", () =>
    scene(
      { bases: 1, applications: 4, layerBytes: 1024 },
      1 << 24,
      async ({ slow, daemons, fleet, upstream, submit, ended }) => {
        const gate = Promise.withResolvers<void>();
        const reached = Promise.withResolvers<void>();
        slow.gate = (client, digest) => {
          if (client !== "daemon-0" || !fleet.layers.has(digest)) return undefined;
          reached.resolve();
          return gate.promise;
        };
        try {
          const first = await daemons.start();
          const names = fleet.images.map(({ name }) => name);
          const jobs = [await submit(names.slice(0, 2)), await submit(names.slice(2))];
          await reached.promise;
          await daemons.start();
          Deno.kill(first.daemon.process.pid, "SIGTERM");
          expect((await first.daemon.process.status).code).toBe(0);
          await ended(jobs, LIMITS.jobLeaseMs / 2);
          expect(expectOutcome(upstream.requests, jobs, fleet)).toBe(0);
        } finally {
          gate.resolve();
        }
      },
    ));
});
