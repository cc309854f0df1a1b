/**
 * What the shared queue costs for each job: `deno run -A bench/queue.ts [--jobs N] [--write]` (500).
 *
 * Jobs of one image go from their acceptance to the delivered callback one after the other, with nothing scanned. So the
 * seconds are those of the acknowledgements, one at a time, of a nats-server on this machine, and the bytes those that
 * JetStream says its streams have when all jobs have ended.
 *
 * @module
 */
import { jetstreamManager } from "@nats-io/jetstream";
import { OutpostError } from "../src/core/errors.ts";
import { NatsLink } from "../src/store/nats_connection.ts";
import { NatsStore } from "../src/store/nats_store.ts";
import { systemClock } from "../tests/fakes/clock.ts";
import { type NatsServer, startNatsServer } from "../tests/peers/nats_server.ts";
import { line, load, machine, rounded, writeBenchmark } from "./measure.ts";

/** Packed result of an image of 463 MB with 485 packages. */
const RESULT_BYTES = 9_500;
const OWNER = crypto.randomUUID();
const LEASE_MS = 15_000;
/** Further daemons' stores: what each takes to follow the jobs of the others. */
const FOLLOWERS = 4;
const PREFIX = "bench";

/** Seconds on the cores so far, of user and system (proc_pid_stat(5), in ticks of 10 ms). */
function cpuSeconds(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number);
  return ((fields[11] ?? NaN) + (fields[12] ?? NaN)) / 100;
}

function request(name: string): string {
  const paths = { result: `/api/v1/container-registry-agent/${crypto.randomUUID()}/result` };
  const target = { repository: "team/service", tag: name, fields: { name: `team/service:${name}` } };
  return JSON.stringify({ targets: [target], callbacks: paths, fields: { orgId: crypto.randomUUID() } });
}

/** One job, from its acceptance to its end. */
async function runJob(store: NatsStore): Promise<void> {
  const id = crypto.randomUUID();
  const resultKey = `${id} ${crypto.randomUUID()}`;
  const now = Date.now();
  const lease = { owner: OWNER, now, until: now + LEASE_MS };
  await store.accept({
    id,
    requestId: crypto.randomUUID(),
    kind: "scan",
    total: 1,
    closing: false,
    request: request(id),
    credentials: new Uint8Array([0]),
    acceptedAt: now,
    maxQueued: 1000,
  });
  const job = await store.claim(lease);
  const result = crypto.getRandomValues(new Uint8Array(RESULT_BYTES));
  const end = { owner: OWNER, sequence: 0, outcome: "success", resultKey, result, now } as const;
  const done = await store.complete(id, { ...end, sendUntil: lease.until });
  const callback = await store.nextCallback(lease, []);
  await store.result(resultKey, now);
  const state = await store.settle(id, 0, { owner: OWNER, now });
  if (job?.id !== id || !done || callback?.jobId !== id || state !== "done") {
    throw new OutpostError("INTERNAL", `Cannot measure: job ${id} is ${state}`);
  }
}

async function open(server: NatsServer, onWrite?: () => void): Promise<NatsLink> {
  const target = { servers: [server.url] };
  return await NatsLink.open({ target, name: "outpost bench", clock: systemClock, onWrite });
}

async function openStore(link: NatsLink): Promise<NatsStore> {
  return await NatsStore.open({ link, prefix: PREFIX, replicas: 1, newId: () => crypto.randomUUID() });
}

async function streamBytes(server: NatsServer): Promise<Readonly<Record<"jobs" | "results", number>>> {
  const link = await open(server);
  try {
    const manager = await jetstreamManager(link.connection);
    const bytes = async (bucket: string): Promise<number> =>
      (await manager.streams.info(`KV_${PREFIX}-${bucket}`)).state.bytes;
    return { jobs: await bytes("jobs"), results: await bytes("results") };
  } finally {
    await link.close();
  }
}

/** What a number of jobs cost. */
interface Run {
  readonly writes: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly natsCpuSeconds: number;
  readonly bytes: Readonly<Record<"jobs" | "results", number>>;
}

async function run(jobs: number, followers: number): Promise<Run> {
  await using server = await startNatsServer();
  let writes = 0;
  const store = await openStore(await open(server, () => writes++));
  const others = await Promise.all(Array.from({ length: followers }, async () => await openStore(await open(server))));
  try {
    const before = { ours: cpuSeconds(Deno.pid), nats: cpuSeconds(server.pid()), at: performance.now() };
    for (let job = 0; job < jobs; job++) await runJob(store);
    return {
      writes,
      seconds: (performance.now() - before.at) / 1000,
      cpuSeconds: cpuSeconds(Deno.pid) - before.ours,
      natsCpuSeconds: cpuSeconds(server.pid()) - before.nats,
      bytes: await streamBytes(server),
    };
  } finally {
    await Promise.all([store, ...others].map((one) => one.close()));
  }
}

async function main(jobs: number, write: boolean): Promise<void> {
  const began = load();
  // What the program compiles with its first jobs is no part of it.
  await run(jobs / 5, FOLLOWERS);
  const alone = await run(jobs, 0);
  const followed = await run(jobs, FOLLOWERS);
  const each = (value: number): number => rounded(value / jobs);
  const perJob = {
    writes: each(alone.writes),
    seconds: each(alone.seconds),
    cpuSeconds: each(alone.cpuSeconds),
    followerCpuSeconds: each(Math.max(0, followed.cpuSeconds - alone.cpuSeconds) / FOLLOWERS),
    natsCpuSeconds: each(alone.natsCpuSeconds),
    jobBytes: each(alone.bytes.jobs),
    resultBytes: each(alone.bytes.results),
  };
  line(JSON.stringify(perJob, null, 2));
  if (!write) return;
  await writeBenchmark("queue", {
    command: "deno run -A bench/queue.ts --write",
    date: new Date().toISOString().slice(0, 10),
    machine: machine(began).replace("both sides on the first, ", ""),
    method:
      `${jobs} jobs of one image, one after the other, nothing scanned, each with a result of ${RESULT_BYTES} packed ` +
      `bytes; the follower's figure is a ${FOLLOWERS}th of what ${FOLLOWERS} further stores add; nats-server 2.9 on the same ` +
      "machine, one replica, fsync by its default; bytes when all jobs have ended",
    perJob,
  });
}

if (import.meta.main) {
  const at = Deno.args.indexOf("--jobs");
  await main(at < 0 ? 500 : Number(Deno.args[at + 1]), Deno.args.includes("--write"));
}
