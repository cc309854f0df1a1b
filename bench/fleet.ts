/**
 * A fleet of images that share bases, in docker-registry:
 * `deno run -A bench/fleet.ts [--bases N] [--applications N] [--sample N] [--write]` (8, 20 and 10).
 *
 * The peer is what Snyk's agent does: skopeo pulls an image to disk and snyk-docker-plugin scans it. It is measured on a
 * sample, in turn with a daemon that has never seen a layer of the image, and on the same core: one that has just
 * started, and one that has scanned another image before, as most that ever scan have. For the whole fleet the peer's mean
 * is multiplied, since it keeps nothing from image to image. The daemon scans the fleet by one request, and then once more.
 *
 * @module
 */
import { startCallbackReceiver } from "../tests/e2e/callbacks.ts";
import type { Program } from "../tests/e2e/daemon.ts";
import { startDockerRegistry } from "../tests/peers/docker_registry.ts";
import { peerPath, PEERS_DIR } from "../tests/peers/mod.ts";
import { build } from "../tools/build.ts";
import { startFleetDaemon, storeWrites, watchBlobs, watchHealth } from "./fleet_daemon.ts";
import { buildFleet, type Fleet, type FleetImage, REPOSITORY, uploadUnlike } from "./fleet_images.ts";
import { Content } from "./image_content.ts";
import {
  atLeast,
  atMost,
  line,
  load,
  machine,
  measure,
  median,
  printRows,
  rounded,
  type Row,
  say,
  timesBelow,
  writeBenchmark,
} from "./measure.ts";
import { installPlugin, type Plugin } from "./plugin.ts";

const FOLDER = `${PEERS_DIR}/bench`;
const MIN_FREE_GB = 8;
const SCAN_WITHIN_MS = 60 * 60_000;
const ACCEPTED_JOBS = 500;
const ACCEPTED_AT_ONCE = 16;

type Registry = Awaited<ReturnType<typeof startDockerRegistry>>;
type Receiver = ReturnType<typeof startCallbackReceiver>;

/** Seconds of one image, of both. */
interface Pair {
  /** By a daemon that has just started. */
  readonly ours: number;
  /** By one that has scanned an image before, of which this one has no layer. */
  readonly running: number;
  readonly peer: number;
}

/** Pull to disk, scan, remove. */
async function peerScan(plugin: Plugin, registry: Registry, { tag }: FleetImage): Promise<number> {
  const file = await Deno.makeTempFile({ suffix: ".tar" });
  await Deno.remove(file);
  const image = `${registry.host}/${REPOSITORY}:${tag}`;
  const flags = ["--insecure-policy", "copy", "--src-tls-verify=false", "--quiet"];
  try {
    const pull = await measure(peerPath("skopeo"), [...flags, `docker://${image}`, `oci-archive:${file}`]);
    const scan = await measure(plugin.command, plugin.args(`oci-archive:${file}`, image));
    if (pull.code !== 0 || scan.code !== 0) throw new Error(`The peer failed: ${pull.stderr} ${scan.stderr}`);
    return pull.seconds + scan.seconds;
  } finally {
    await Deno.remove(file).catch(() => {});
  }
}

/** Scans images by one request; returns the seconds to the last callback. */
async function scanAll(url: string, receiver: Receiver, images: readonly FleetImage[]): Promise<number> {
  const began = performance.now();
  const body = { images: images.map(({ tag }) => ({ name: `${REPOSITORY}:${tag}` })) };
  const results = await receiver.scan(url, body, SCAN_WITHIN_MS);
  const seconds = (performance.now() - began) / 1000;
  const failed = results.filter(({ status }) => status !== "success");
  if (failed.length > 0 || results.length !== images.length) {
    throw new Error(`${failed.length} of ${results.length} scans failed: ${JSON.stringify(failed[0]?.error)}`);
  }
  return seconds;
}

/** One image, by daemons that start empty, and by the peer; by turns who is first. */
async function coldPairs(
  program: Program,
  plugin: Plugin,
  registry: Registry,
  receiver: Receiver,
  fleet: Fleet,
  images: readonly FleetImage[],
): Promise<readonly Pair[]> {
  const pairs: Pair[] = [];
  const cold = async (image: FleetImage, before: readonly FleetImage[]): Promise<number> => {
    await using daemon = await startFleetDaemon(program, registry, receiver.url);
    if (before.length > 0) await scanAll(daemon.url, receiver, before);
    return await scanAll(daemon.url, receiver, [image]);
  };
  for (const [at, image] of images.entries()) {
    const both = async (): Promise<Omit<Pair, "peer">> => ({
      ours: await cold(image, []),
      running: await cold(image, [await uploadUnlike(registry, image, fleet.images)]),
    });
    const first = at % 2 === 0 ? await both() : undefined;
    const peer = await peerScan(plugin, registry, image);
    const { ours, running } = first ?? await both();
    say(
      `${image.tag}: ours ${ours.toFixed(2)} s, running ${running.toFixed(2)} s, peer ${
        peer.toFixed(2)
      } s, load ${load()}`,
    );
    pairs.push({ ours, running, peer });
  }
  return pairs;
}

/** What a daemon did with the whole fleet, twice. */
interface FleetRun {
  readonly seconds: number;
  readonly again: number;
  readonly peakRssMB: number;
  /** Undefined when it keeps nothing on disk. */
  readonly dataMB: number | undefined;
  readonly health: readonly number[];
  /** The store's writes, and those that took longer than 50 ms. */
  readonly writes: { readonly all: number; readonly slow: number };
  /** How often each distinct layer was fetched in the first and in the second run. */
  readonly fetched: readonly number[];
  readonly fetchedAgain: readonly number[];
}

async function runFleet(program: Program, registry: Registry, receiver: Receiver, fleet: Fleet): Promise<FleetRun> {
  await using daemon = await startFleetDaemon(program, registry, receiver.url);
  const counted = (counts: ReadonlyMap<string, number>): readonly number[] =>
    [...fleet.layers].map((digest) => counts.get(digest) ?? 0);
  const once = async (): Promise<{ seconds: number; health: readonly number[]; fetched: readonly number[] }> => {
    const scan = scanAll(daemon.url, receiver, fleet.images);
    const [seconds, health, blobs] = await Promise.all([
      scan,
      watchHealth(daemon.url, scan),
      watchBlobs(registry, scan),
    ]);
    return { seconds, health, fetched: counted(blobs) };
  };
  const first = await once();
  say(`The fleet took ${first.seconds.toFixed(1)} s, load ${load()}`);
  const again = await once();
  say(`Again: ${again.seconds.toFixed(1)} s, load ${load()}`);
  return {
    seconds: first.seconds,
    again: again.seconds,
    peakRssMB: daemon.peakRssMB(),
    dataMB: daemon.dataDir === undefined ? undefined : daemon.dataMB(),
    health: [...first.health, ...again.health],
    writes: await storeWrites(daemon.url),
    fetched: first.fetched,
    fetchedAgain: again.fetched,
  };
}

/** Scan requests accepted in a second, each of an image that there is not, so that only the acceptance counts. */
async function acceptance(program: Program, registry: Registry, receiver: Receiver): Promise<number> {
  await using daemon = await startFleetDaemon(program, registry, receiver.url);
  let left = ACCEPTED_JOBS;
  const began = performance.now();
  const lane = async (): Promise<void> => {
    for (let at = left--; at > 0; at = left--) {
      const response = await fetch(`${daemon.url}/scan`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ images: [{ name: `${REPOSITORY}:none-${at}` }] }),
      });
      await response.arrayBuffer();
      if (response.status !== 202) throw new Error(`POST /scan answered ${response.status}`);
    }
  };
  await Promise.all(Array.from({ length: ACCEPTED_AT_ONCE }, lane));
  return ACCEPTED_JOBS / ((performance.now() - began) / 1000);
}

function judge(fleet: Fleet, run: FleetRun, pairs: readonly Pair[], accepted: number): readonly Row[] {
  const count = fleet.images.length;
  const peer = pairs.reduce((total, pair) => total + pair.peer, 0) / pairs.length;
  const p99 = run.health.toSorted((a, b) => a - b)[Math.floor(run.health.length * 0.99)] ?? NaN;
  const ratios = (row: Row, note: string): Row => ({ ...row, note });
  return [
    ratios(timesBelow(`fleet of ${count}, wall`, "s", [[run.seconds, peer * count]], 12), "peer: mean of the sample"),
    ratios(timesBelow("the fleet again, an image", "s", [[run.again / count, peer]], 100), "peer: mean of the sample"),
    atMost("the fleet again, an image", "s", run.again / count, 0.1),
    timesBelow("one cold image, wall", "s", pairs.map(({ ours, peer }) => [ours, peer]), 4),
    timesBelow(
      "one cold image, by a daemon that has scanned another",
      "s",
      pairs.map(({ running, peer }) => [running, peer]),
      4,
    ),
    atMost("peak RSS of the daemon", "MB", run.peakRssMB, 200),
    ...run.dataMB === undefined ? [] : [atMost("data directory", "MB", run.dataMB, 200)],
    atLeast("distinct layers, fewest fetches", "times", Math.min(...run.fetched), 1),
    atMost("distinct layers, most fetches", "times", Math.max(...run.fetched), 1),
    atMost("distinct layers the second time, most fetches", "times", Math.max(...run.fetchedAgain), 0),
    atMost("/healthcheck under the fleet, p99", "ms", p99, 100),
    ...run.writes.all === 0
      ? []
      : [atMost(`writes of the store longer than 50 ms, of ${run.writes.all}`, "times", run.writes.slow, 0)],
    atLeast(`acceptance, ${run.dataMB === undefined ? "in memory" : "durable"}`, "jobs/s", accepted, 200),
  ];
}

function sample(images: readonly FleetImage[], count: number): readonly FleetImage[] {
  const step = images.length / count;
  return Array.from({ length: Math.min(count, images.length) }, (_, at) => images[Math.floor(at * step)])
    .filter((image) => image !== undefined);
}

async function freeGB(): Promise<number> {
  const output = await new Deno.Command("df", { args: ["-k", "--output=avail", FOLDER] }).output();
  return Number(new TextDecoder().decode(output.stdout).split("\n")[1]) / 1e6;
}

async function main(bases: number, applications: number, sampled: number, write: boolean): Promise<void> {
  const began = load();
  const plugin = await installPlugin();
  await Deno.mkdir(FOLDER, { recursive: true });
  if (await freeGB() < MIN_FREE_GB) throw new Error(`The fleet needs ${MIN_FREE_GB} GB of free disk`);
  const content = new Content(FOLDER);
  const program: Program = { folder: `${FOLDER}/dist`, module: "outpost.js" };
  await build(program.folder);
  await using registry = await startDockerRegistry();
  await using receiver = startCallbackReceiver();
  const fleet = await buildFleet(content, registry, bases, applications);
  const count = fleet.images.length;
  const described = `${count} images of ${Math.round(fleet.tarMB / count)} MB on average ` +
    `(${
      Math.round(fleet.storedMB / count)
    } MB gzip), ${fleet.layers.size} distinct layers of ${fleet.distinctMB} MB gzip`;
  line(described);
  const pairs = await coldPairs(program, plugin, registry, receiver, fleet, sample(fleet.images, sampled));
  const run = await runFleet(program, registry, receiver, fleet);
  const accepted = await acceptance(program, registry, receiver);
  const rows = judge(fleet, run, pairs, accepted);
  printRows(rows);
  line(`the peer's images took ${pairs.map(({ peer }) => rounded(peer)).join(", ")} s`);
  if (!write) return;
  await writeBenchmark("fleet", {
    command: "deno run -A bench/fleet.ts --write",
    date: new Date().toISOString().slice(0, 10),
    machine: machine(began),
    peer: `${plugin.name}, after skopeo copy to an oci-archive`,
    method:
      `the peer on ${pairs.length} images of the fleet, in turn with daemons that have none of their layers, one core, same ` +
      "docker-registry (on any core); for the fleet the peer's mean times the number of images; " +
      `${run.dataMB === undefined ? "no data directory: layers are not kept" : "data directory empty at the start"}`,
    fleet: described,
    coldMedianSeconds: rounded(median(pairs.map(({ ours }) => ours))),
    rows,
  });
}

function option(name: string, otherwise: number): number {
  const at = Deno.args.indexOf(`--${name}`);
  return at < 0 ? otherwise : Number(Deno.args[at + 1]);
}

if (import.meta.main) {
  await main(option("bases", 8), option("applications", 20), option("sample", 10), Deno.args.includes("--write"));
}
