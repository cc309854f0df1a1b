/**
 * The daemon at rest and while it scans a layer of 626 MB (295 MB of gzip) from docker-registry over loopback: resident
 * memory, and how fast `/healthcheck` answers. `deno run -A bench/daemon.ts [--engine NAME] [--scans N] [--write]`.
 *
 * It runs as the container ships it (tools/build.ts), and at rest from the sources too. Requests follow one another
 * without a pause, as fast as they are answered. `--write` puts the result into docs/BENCHMARKS.json.
 *
 * @module
 */
import { startCallbackReceiver } from "../tests/e2e/callbacks.ts";
import { type DaemonProcess, type Program, ROOT, SHIPPED, startDaemonProcess } from "../tests/e2e/daemon.ts";
import { readUsage } from "../tests/e2e/process_usage.ts";
import { askUntil } from "../tests/e2e/responsiveness.ts";
import { type DockerRegistry, startDockerRegistry } from "../tests/peers/docker_registry.ts";
import { uploadLargeImage } from "../tests/peers/large_image.ts";
import { build } from "../tools/build.ts";
import { atMost, line, load, machine, printRows, type Row, writeBenchmark } from "./measure.ts";

const MB = 1e6;
const TAR_BYTES = 626 * MB;
const REST_MS = 3_000;
const SOURCES: Program = { folder: ROOT, module: "mod.ts" };

function option(name: string): string | undefined {
  const at = Deno.args.indexOf(name);
  return at < 0 ? undefined : Deno.args[at + 1];
}

const engine = option("--engine") ?? "auto";

function start(registry: DockerRegistry, callbacks: string, program: Program): Promise<DaemonProcess> {
  return startDaemonProcess(
    {
      CR_TYPE: "docker-registry",
      CR_BASE: registry.url,
      CR_USERNAME: registry.username,
      CR_PASSWORD: registry.password,
      OUTPOST_ROLE: "agent",
      OUTPOST_ENGINE: engine,
      BROKER_CLIENT_URL: callbacks,
      ...SHIPPED.env,
    },
    SHIPPED.flags,
    program,
  );
}

function peakMB(daemon: DaemonProcess): number {
  return (readUsage(daemon.process.pid)?.peakRssBytes ?? NaN) / MB;
}

function rest(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, REST_MS));
}

function quantile(latencies: readonly number[], share: number): number {
  const sorted = latencies.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
}

/** At rest from the sources: the second start, so that nothing is transpiled. */
async function fromSources(registry: DockerRegistry, callbacks: string): Promise<number> {
  let peak = NaN;
  for (let turn = 0; turn < 2; turn++) {
    await using daemon = await start(registry, callbacks, SOURCES);
    await rest();
    peak = peakMB(daemon);
  }
  return peak;
}

async function measureDaemon(registry: DockerRegistry, program: Program, scans: number): Promise<readonly Row[]> {
  await using receiver = startCallbackReceiver();
  await using daemon = await start(registry, receiver.url, program);
  const url = `${daemon.url}/healthcheck`;
  await rest();
  const rows = [atMost("idle, peak RSS", "MB", peakMB(daemon), 58)];
  const quiet = await askUntil(url, rest());
  line(`/healthcheck at rest: p99 ${quantile(quiet.map(({ ms }) => ms), 0.99).toFixed(1)} ms`);
  const scanOf = async (scan: number): Promise<void> => {
    const began = performance.now();
    const [result] = await receiver.scan(daemon.url, { images: [{ name: `big:${scan}` }] }, 300_000);
    if (result?.status !== "success") throw new Error(`The scan ended with ${result?.status}`);
    line(
      `scan ${scan}: ${((performance.now() - began) / 1000).toFixed(2)} s, peak RSS ${peakMB(daemon).toFixed(1)} MB`,
    );
  };
  for (let scan = 1; scan <= scans; scan++) {
    await scanOf(scan);
    if (scan === 1) rows.push(atMost("scan of a layer of 295 MB, peak RSS", "MB", peakMB(daemon), 72));
  }
  rows.push(atMost(`${scans} scans of such layers, peak RSS`, "MB", peakMB(daemon), 72));
  const latencies = (await askUntil(url, scanOf(scans + 1))).map(({ ms }) => ms);
  rows.push(atMost("/healthcheck while the layer streams, p99", "ms", quantile(latencies, 0.99), 50));
  const fromTask = await fromSources(registry, receiver.url);
  return [...rows, atMost("idle from the sources, peak RSS", "MB", fromTask, 58)];
}

async function main(): Promise<number> {
  const before = load();
  await using registry = await startDockerRegistry({ mode: "htpasswd" });
  const scans = Number(option("--scans") ?? 3);
  // Of one image the daemon would know the second time what the first has found.
  for (let scan = 1; scan <= scans + 1; scan++) {
    await uploadLargeImage(registry, "big", String(scan), TAR_BYTES - scan * MB);
  }
  const folder = await Deno.makeTempDir({ prefix: "outpost-bench-" });
  await build(folder);
  const rows = await measureDaemon(registry, { folder, module: "outpost.js" }, scans);
  await Deno.remove(folder, { recursive: true });
  printRows(rows);
  if (Deno.args.includes("--write")) {
    await writeBenchmark("daemon", {
      command: "deno run -A bench/daemon.ts --write",
      date: new Date().toISOString().slice(0, 10),
      machine: machine(before),
      method:
        "as the container ships it, role agent; peaks are VmHWM; the asking program and the registry share the machine",
      rows,
    });
  }
  return rows.every(({ met }) => met) ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());
