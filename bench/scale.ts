/**
 * The same fleet scanned by one daemon and by two, on one queue (OUTPOST_QUEUE):
 * `deno run -A bench/scale.ts [--bases N] [--applications N] [--rounds N] [--away MS] [--write]` (6, 10, 3 and 20).
 *
 * Each daemon has a core of its own; nats-server, docker-registry and this program share both, in both cases. So one
 * daemon leaves the others a core, and two do not: it is measured with the registry beside the daemons, and again with
 * so many milliseconds to it as to a registry in the same region. Each image is a request of its own, in an order that
 * the seed decides, and every round begins with an empty queue.
 *
 * @module
 */
import { debianSample } from "../src/lib/sample_images.ts";
import { startCallbackReceiver } from "../tests/e2e/callbacks.ts";
import { denoEnv, ROOT, SHIPPED } from "../tests/e2e/daemon.ts";
import { readUsage } from "../tests/e2e/process_usage.ts";
import { type DockerRegistry, startDockerRegistry } from "../tests/peers/docker_registry.ts";
import { uploadImage } from "../tests/peers/images.ts";
import { findProgram, PEERS_DIR } from "../tests/peers/mod.ts";
import { type NatsServer, startNatsServer } from "../tests/peers/nats_server.ts";
import { freePort, poll, type ServerProcess, startProcess } from "../tests/peers/process.ts";
import { startDelay } from "./delay.ts";
import { buildFleet, type Fleet, type FleetImage, REPOSITORY } from "./fleet_images.ts";
import { Content } from "./image_content.ts";
import { atMost, line, load, machine, median, printRows, rounded, type Row, say, writeBenchmark } from "./measure.ts";

const FOLDER = `${PEERS_DIR}/bench`;
const SEED = 1;
/** Images that are scanned at once in a daemon: the default of MAX_ACTIVE_OPERATIONS. */
const AT_ONCE = 1;
/** Small images that are scanned before, by each daemon: what it loads with its first scan is no part of the fleet. */
const WARM_UPS = 4;
const WARM_UP = "warm/up";
const SCAN_WITHIN_MS = 10 * 60_000;

type Receiver = ReturnType<typeof startCallbackReceiver>;

/** What a number of daemons did with the fleet. */
interface Run {
  readonly seconds: number;
  /** Seconds on the cores of each daemon. */
  readonly cpuSeconds: readonly number[];
  /** The same of registry, NATS and this program together. */
  readonly othersSeconds: number;
  readonly peakRssMB: number;
  /** Layers that were downloaded, by all daemons together. */
  readonly read: number;
}

async function startDaemon(
  core: number,
  nats: NatsServer,
  registry: string,
  callbacks: string,
): Promise<{ readonly url: string; readonly process: ServerProcess }> {
  const taskset = findProgram("taskset");
  if (taskset === undefined) throw new Error("There is no taskset");
  const port = String(freePort());
  const url = `http://127.0.0.1:${port}`;
  const flags = ["-q", "-P=daemon", ...SHIPPED.flags];
  const process = await startProcess({
    name: "outpost",
    command: taskset,
    args: ["-c", String(core), Deno.execPath(), "run", ...flags, "mod.ts", "start"],
    cwd: ROOT,
    env: {
      ...denoEnv(),
      PORT: port,
      OUTPOST_HOST: "127.0.0.1",
      OUTPOST_ROLE: "agent",
      OUTPOST_QUEUE: nats.url,
      BROKER_CLIENT_URL: callbacks,
      CR_TYPE: "docker-registry",
      CR_BASE: registry,
      MAX_ACTIVE_OPERATIONS: String(AT_ONCE),
      LOG_LEVEL: "warn",
    },
    ready: (child, signal) => poll(`${url}/readyz`, (response) => response.ok, child, signal),
  });
  return { url, process };
}

/** Seconds on the cores so far, of user and system (proc_pid_stat(5), in ticks of 10 ms). */
function cpuSecondsOf(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number);
  return ((fields[11] ?? NaN) + (fields[12] ?? NaN)) / 100;
}

/** A registry where the daemons find it: its own address, or that of the way to it. */
interface Place {
  readonly registry: DockerRegistry;
  readonly url: string;
}

/** Scans all images with so many daemons; the requests go to them in turn. */
async function scanFleet(count: number, { registry, url }: Place, receiver: Receiver, fleet: Fleet): Promise<Run> {
  await using nats = await startNatsServer();
  const daemons = await Promise.all(
    Array.from({ length: count }, (_, core) => startDaemon(core, nats, url, receiver.url)),
  );
  try {
    await Promise.all(
      Array.from(
        { length: count * WARM_UPS },
        (_, at) => scanned(daemons[at % count]?.url ?? "", `${WARM_UP}:${at}`, receiver),
      ),
    );
    const others = (): number =>
      [nats.pid(), registry.pid(), Deno.pid].reduce((sum, pid) => sum + cpuSecondsOf(pid), 0);
    const othersBefore = others();
    const cpuBefore = daemons.map(({ process }) => cpuSecondsOf(process.pid));
    const readBefore = await layersRead(daemons);
    const began = performance.now();
    await Promise.all(
      shuffled(fleet.images).map(({ tag }, at) =>
        scanned(daemons[at % count]?.url ?? "", `${REPOSITORY}:${tag}`, receiver)
      ),
    );
    return {
      seconds: (performance.now() - began) / 1000,
      cpuSeconds: daemons.map(({ process }, at) => cpuSecondsOf(process.pid) - (cpuBefore[at] ?? 0)),
      othersSeconds: others() - othersBefore,
      peakRssMB: Math.max(...daemons.map(({ process }) => (readUsage(process.pid)?.peakRssBytes ?? NaN) / 1e6)),
      read: await layersRead(daemons) - readBefore,
    };
  } finally {
    for (const { process } of daemons) await process.stop();
  }
}

async function scanned(url: string, name: string, receiver: Receiver): Promise<void> {
  const [result] = await receiver.scan(url, { images: [{ name }] }, SCAN_WITHIN_MS);
  if (result?.status !== "success") throw new Error(`The scan of ${name} failed: ${JSON.stringify(result?.error)}`);
}

async function layersRead(daemons: readonly { readonly url: string }[]): Promise<number> {
  const counts = await Promise.all(daemons.map(async ({ url }) => {
    const metrics = await (await fetch(`${url}/metrics`)).text();
    return Number(/^outpost_layers_total\{origin="read"\} (\d+)$/m.exec(metrics)?.[1] ?? 0);
  }));
  return counts.reduce((sum, count) => sum + count, 0);
}

/** The same order every time (Fisher and Yates' shuffle, Numerical Recipes' generator). */
function shuffled(images: readonly FleetImage[]): readonly FleetImage[] {
  const order = [...images];
  let state = SEED;
  for (let last = order.length - 1; last > 0; last--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const other = Math.floor(state / 2 ** 32 * (last + 1));
    const [a, b] = [order[last], order[other]];
    if (a !== undefined && b !== undefined) [order[last], order[other]] = [b, a];
  }
  return order;
}

interface Round {
  readonly one: Run;
  readonly two: Run;
}

const ofOne = ({ one }: Round): Run => one;
const ofTwo = ({ two }: Round): Run => two;

/** One daemon, then two. */
async function measureRound(place: Place, receiver: Receiver, fleet: Fleet): Promise<Round> {
  const one = await scanFleet(1, place, receiver, fleet);
  const two = await scanFleet(2, place, receiver, fleet);
  const told = ({ seconds, cpuSeconds }: Run): string =>
    `${seconds.toFixed(1)} s (on the cores ${cpuSeconds.map((each) => each.toFixed(1)).join(" and ")} s)`;
  say(`One ${told(one)}, two ${told(two)}, load ${load()}`);
  return { one, two };
}

function wallRow(name: string, rounds: readonly Round[]): Row {
  const ratio = median(rounds.map(({ one, two }) => two.seconds / one.seconds));
  const seconds = (of: (round: Round) => Run): number => rounded(median(rounds.map((round) => of(round).seconds)));
  const cpu = (of: (round: Round) => Run): number =>
    rounded(median(rounds.map((round) => of(round).cpuSeconds.reduce((sum, seconds) => sum + seconds, 0))));
  const note = `${seconds(ofTwo)} s after ${seconds(ofOne)} s; on the cores ${cpu(ofTwo)} s after ${cpu(ofOne)} s`;
  return { ...atMost(`${name}, wall of two daemons by that of one`, "times", ratio, 0.6), note };
}

function judge(fleet: Fleet, near: readonly Round[], far: readonly Round[], away: number): readonly Row[] {
  const runs = [...near, ...far].flatMap(({ one, two }) => [one, two]);
  const name = `fleet of ${fleet.images.length}`;
  return [
    wallRow(name, near),
    wallRow(`${name}, registry ${away} ms away`, far),
    atMost("layers that were downloaded", "layers", Math.max(...runs.map(({ read }) => read)), fleet.layers.size),
    atMost("peak RSS of a daemon", "MB", Math.max(...runs.map(({ peakRssMB }) => peakRssMB)), 256),
  ];
}

/** Of all rounds, as the file has them. */
function secondsOf(rounds: readonly Round[]): Readonly<Record<string, readonly number[]>> {
  return {
    secondsOfOne: rounds.map(({ one }) => rounded(one.seconds)),
    secondsOfTwo: rounds.map(({ two }) => rounded(two.seconds)),
    secondsOfOthers: rounds.map(({ two }) => rounded(two.othersSeconds)),
  };
}

async function main(bases: number, applications: number, count: number, away: number, write: boolean): Promise<void> {
  const began = load();
  await Deno.mkdir(FOLDER, { recursive: true });
  await using registry = await startDockerRegistry();
  await using receiver = startCallbackReceiver();
  for (let at = 0; at < 2 * WARM_UPS; at++) {
    await uploadImage(registry, WARM_UP, [String(at)], debianSample({ config: { Labels: { at: String(at) } } }));
  }
  const fleet = await buildFleet(new Content(FOLDER), registry, bases, applications);
  const described =
    `${fleet.images.length} images, ${fleet.layers.size} distinct layers of ${fleet.distinctMB} MB gzip`;
  line(described);
  using delay = startDelay(Number(new URL(registry.url).port), away);
  const near: Round[] = [];
  const far: Round[] = [];
  for (let round = 0; round < count; round++) {
    near.push(await measureRound({ registry, url: registry.url }, receiver, fleet));
    far.push(await measureRound({ registry, url: `http://127.0.0.1:${delay.port}` }, receiver, fleet));
  }
  const rows = judge(fleet, near, far, away);
  printRows(rows);
  if (!write) return;
  await writeBenchmark("scale", {
    command: "deno run -A bench/scale.ts --write",
    date: new Date().toISOString().slice(0, 10),
    machine: machine(began).replace("both sides on the first", "a daemon on each"),
    method:
      `${count} rounds of one daemon, then two, on an empty queue each time, after ${WARM_UPS} small images each; every image ` +
      `a request of its own, ${AT_ONCE} at once in each daemon; nats-server 2.9 and docker-registry on the same two cores; away: ` +
      `each request to the registry and each new connection is delayed by ${away} ms`,
    fleet: described,
    ...secondsOf(near),
    away: { ms: away, ...secondsOf(far) },
    rows,
  });
}

function option(name: string, otherwise: number): number {
  const at = Deno.args.indexOf(`--${name}`);
  return at < 0 ? otherwise : Number(Deno.args[at + 1]);
}

if (import.meta.main) {
  await main(
    option("bases", 6),
    option("applications", 10),
    option("rounds", 3),
    option("away", 20),
    Deno.args.includes("--write"),
  );
}
