/**
 * How long a large layer takes, beside the tools that do parts of the same work: `deno task bench [ROUNDS]`. All run in the
 * same rounds one after another, so that a busy machine slows all of them; the medians, the ratios to `gzip | tar`, the
 * machine and the date go to bench/results.json.
 *
 * @module
 */
import process from "node:process";
import { runMeasured } from "../tests/e2e/process_usage.ts";
import { startDockerRegistry } from "../tests/peers/docker_registry.ts";
import { blobFile } from "../tests/peers/images.ts";
import { type LargeImage, uploadLargeImage } from "../tests/peers/large_image.ts";
import { peersAvailable } from "../tests/peers/mod.ts";
import { run } from "../tests/peers/process.ts";
import { skopeo } from "../tests/peers/skopeo.ts";

const MB = 1e6;
const TAR_BYTES = 626 * MB;
const ROUNDS = 5;

/** One measured run. Seconds on the clock and on the cores (user and system, children included). */
interface Sample {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakRssMB?: number;
}

interface Contestant {
  readonly name: string;
  /** What it does, for the reader of the results. */
  readonly work: string;
  readonly measure: () => Promise<Sample>;
}

/** A pipe of the machine's tools over the stored layer, timed by bash. */
async function pipe(script: string, layer: string): Promise<Sample> {
  const timed = `set -o pipefail; TIMEFORMAT='%R %U %S'; time { ${script}; }`;
  const { code, stderr } = await run("bash", ["-c", timed], { env: { LAYER: layer, LC_ALL: "C" } });
  const [real, user, system] = stderr.trim().split("\n").at(-1)?.split(" ").map(Number) ?? [];
  if (code !== 0 || real === undefined || user === undefined || system === undefined) throw new Error(stderr);
  return { seconds: real, cpuSeconds: user + system };
}

/** The engine alone, without the start of Deno: bench/layer_memory.ts. */
async function engine(layer: string): Promise<Sample> {
  const script = new URL("layer_memory.ts", import.meta.url).pathname;
  const { code, stdout, stderr } = await run(Deno.execPath(), ["run", "-q", "-A", script, layer]);
  if (code !== 0) throw new Error(stderr);
  const report = JSON.parse(stdout) as { seconds: number; cpuSeconds: number; rssPeakMB: number };
  return { seconds: report.seconds, cpuSeconds: report.cpuSeconds, peakRssMB: report.rssPeakMB };
}

/** What a scanner that pulls first does before it can read anything. */
async function pull(host: string): Promise<Sample> {
  const folder = await Deno.makeTempDir();
  try {
    const cpu = cpuOfChildren();
    const began = performance.now();
    await skopeo(["copy", "--src-tls-verify=false", `docker://${host}/big:1`, `dir:${folder}/image`]);
    return { seconds: (performance.now() - began) / 1000, cpuSeconds: cpuOfChildren() - cpu };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The whole command against the registry. */
async function scan(host: string): Promise<Sample> {
  const cpu = cpuOfChildren();
  const began = performance.now();
  const result = await runMeasured(["scan", "--format", "json", "--plain-http", `registry:${host}/big:1`]);
  const seconds = (performance.now() - began) / 1000;
  if (result.code !== 0) throw new Error(result.stderr);
  return { seconds, cpuSeconds: cpuOfChildren() - cpu, peakRssMB: result.usage.peakRssBytes / MB };
}

/** Seconds on the cores of all children that have ended (proc_pid_stat(5): cutime, cstime, in ticks of 10 ms). */
function cpuOfChildren(): number {
  const stat = Deno.readTextFileSync("/proc/self/stat");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number);
  return ((fields[13] ?? 0) + (fields[14] ?? 0)) / 100;
}

function contestants(layer: string, host: string): readonly Contestant[] {
  const tarOnly = 'gzip -dc "$LAYER" | tar -t >/dev/null';
  const checked = 'tee >(sha256sum >/dev/null) <"$LAYER" | gzip -dc | tee >(sha256sum >/dev/null) | tar -t >/dev/null';
  return [
    { name: "gzip | tar", work: "decompress, list; file in the page cache", measure: () => pipe(tarOnly, layer) },
    {
      name: "tee sha256sum | gzip | tee sha256sum | tar",
      work: "both digests, decompress, list; file in the page cache, one process per step",
      measure: () => pipe(checked, layer),
    },
    ...(peersAvailable("skopeo")
      ? [{
        name: "skopeo copy",
        work: "pull from docker-registry over loopback to disk, stored digest; neither decompresses nor reads",
        measure: () => pull(host),
      }]
      : []),
    {
      name: "outpost engine",
      work:
        "both digests, decompress, parse, keep the wanted files; file in the page cache, one process, without its start",
      measure: () => engine(layer),
    },
    {
      name: "outpost scan",
      work: "start, pull from docker-registry over loopback, all of the above, packages and report",
      measure: () => scan(host),
    },
  ];
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? NaN)) / 2;
}

function round(value: number, digits = 2): number {
  return Number(value.toFixed(digits));
}

function summarize({ name, work }: Contestant, samples: readonly Sample[], base: number): Record<string, unknown> {
  const seconds = median(samples.map((sample) => sample.seconds));
  const peaks = samples.flatMap(({ peakRssMB }) => peakRssMB === undefined ? [] : [peakRssMB]);
  return {
    name,
    work,
    seconds: round(seconds),
    fastestSeconds: round(Math.min(...samples.map((sample) => sample.seconds))),
    slowestSeconds: round(Math.max(...samples.map((sample) => sample.seconds))),
    cpuSeconds: round(median(samples.map((sample) => sample.cpuSeconds))),
    tarMBPerSecond: Math.round(TAR_BYTES / MB / seconds),
    timesGzipTar: round(seconds / base),
    ...(peaks.length === 0 ? {} : { peakRssMB: Math.round(Math.max(...peaks)) }),
  };
}

/** The machine, without its name. */
function machine(): Record<string, unknown> {
  const cpu = /^model name\s*: (.+)$/m.exec(Deno.readTextFileSync("/proc/cpuinfo"))?.[1] ?? "unknown";
  const memoryGB = Math.round(Deno.systemMemoryInfo().total / 1e9);
  return {
    cpu,
    cores: navigator.hardwareConcurrency,
    memoryGB,
    system: `${Deno.build.os} ${Deno.osRelease()}`,
    load: round(Deno.loadavg()[0] ?? NaN),
  };
}

async function measureAll(all: readonly Contestant[], rounds: number): Promise<Map<Contestant, Sample[]>> {
  const samples = new Map(all.map((contestant) => [contestant, [] as Sample[]]));
  // A first round warms caches and is not counted; then everybody takes every place once in a while.
  for (let turn = 0; turn <= rounds; turn++) {
    for (let place = 0; place < all.length; place++) {
      const contestant = all[(place + turn) % all.length];
      if (contestant === undefined) continue;
      const sample = await contestant.measure();
      if (turn > 0) samples.get(contestant)?.push(sample);
      process.stderr.write(`${turn}/${rounds} ${contestant.name}: ${round(sample.seconds)} s\n`);
    }
  }
  return samples;
}

async function main(rounds: number): Promise<void> {
  const load = machine();
  await using registry = await startDockerRegistry();
  const image: LargeImage = await uploadLargeImage(registry, "big", "1", TAR_BYTES);
  const all = contestants(blobFile(registry, image.layer.digest), registry.host);
  const samples = await measureAll(all, rounds);
  const [first] = all;
  const base = median((first === undefined ? [] : samples.get(first) ?? []).map((sample) => sample.seconds));
  const results = {
    command: "deno task bench",
    date: new Date().toISOString().slice(0, 10),
    deno: Deno.version.deno,
    machine: load,
    layer: { tarMB: Math.round(image.tarBytes / MB), gzipMB: Math.round(image.layer.size / MB) },
    rounds,
    results: all.map((contestant) => summarize(contestant, samples.get(contestant) ?? [], base)),
  };
  const text = `${JSON.stringify(results, null, 2)}\n`;
  await Deno.writeTextFile(new URL("results.json", import.meta.url), text);
  process.stdout.write(text);
}

if (import.meta.main) await main(Number(Deno.args[0] ?? ROUNDS));
