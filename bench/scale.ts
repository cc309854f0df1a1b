/**
 * The same fleet scanned by one daemon and by two, on one queue (OUTPOST_QUEUE):
 * `deno run -A bench/scale.ts [--bases N] [--applications N] [--rounds N] [--write]` (6, 10 and 3).
 *
 * Each daemon has a core of its own; nats-server, docker-registry and this program share both, in both cases. Each image
 * is a request of its own, in an order that the seed decides, and every round begins with an empty queue.
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
  registry: DockerRegistry,
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
      CR_BASE: registry.url,
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

/** Scans all images with so many daemons; the requests go to them in turn. */
async function scanFleet(count: number, registry: DockerRegistry, receiver: Receiver, fleet: Fleet): Promise<Run> {
  await using nats = await startNatsServer();
  const daemons = await Promise.all(
    Array.from({ length: count }, (_, core) => startDaemon(core, nats, registry, receiver.url)),
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

function judge(fleet: Fleet, rounds: readonly Round[]): readonly Row[] {
  const ratio = median(rounds.map(({ one, two }) => two.seconds / one.seconds));
  const runs = rounds.flatMap(({ one, two }) => [one, two]);
  const two = rounded(median(rounds.map((round) => round.two.seconds)));
  const one = rounded(median(rounds.map((round) => round.one.seconds)));
  const cpu = (of: (round: Round) => Run): number =>
    rounded(median(rounds.map((round) => of(round).cpuSeconds.reduce((sum, seconds) => sum + seconds, 0))));
  const note = `${two} s after ${one} s; on the cores ${cpu((round) => round.two)} s after ${
    cpu((round) => round.one)
  } s`;
  return [
    { ...atMost(`fleet of ${fleet.images.length}, wall of two daemons by that of one`, "times", ratio, 0.6), note },
    atMost("layers that were downloaded", "layers", Math.max(...runs.map(({ read }) => read)), fleet.layers.size),
    atMost("peak RSS of a daemon", "MB", Math.max(...runs.map(({ peakRssMB }) => peakRssMB)), 256),
  ];
}

async function main(bases: number, applications: number, count: number, write: boolean): Promise<void> {
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
  const rounds: Round[] = [];
  for (let round = 0; round < count; round++) {
    const one = await scanFleet(1, registry, receiver, fleet);
    const two = await scanFleet(2, registry, receiver, fleet);
    const told = ({ seconds, cpuSeconds }: Run): string =>
      `${seconds.toFixed(1)} s (on the cores ${cpuSeconds.map((each) => each.toFixed(1)).join(" and ")} s)`;
    say(`One ${told(one)}, two ${told(two)}, load ${load()}`);
    rounds.push({ one, two });
  }
  const rows = judge(fleet, rounds);
  printRows(rows);
  if (!write) return;
  await writeBenchmark("scale", {
    command: "deno run -A bench/scale.ts --write",
    date: new Date().toISOString().slice(0, 10),
    machine: machine(began).replace("both sides on the first", "a daemon on each"),
    method:
      `${count} rounds of one daemon, then two, on an empty queue each time, after ${WARM_UPS} small images each; every image ` +
      `a request of its own, ${AT_ONCE} at once in each daemon; nats-server 2.9 and docker-registry on the same two cores`,
    fleet: described,
    secondsOfOne: rounds.map(({ one }) => rounded(one.seconds)),
    secondsOfTwo: rounds.map(({ two }) => rounded(two.seconds)),
    secondsOfOthers: rounds.map(({ two }) => rounded(two.othersSeconds)),
    rows,
  });
}

function option(name: string, otherwise: number): number {
  const at = Deno.args.indexOf(`--${name}`);
  return at < 0 ? otherwise : Number(Deno.args[at + 1]);
}

if (import.meta.main) {
  await main(option("bases", 6), option("applications", 10), option("rounds", 3), Deno.args.includes("--write"));
}
