/**
 * Scans of images from a registry that is far away: docker-registry over loopback, behind a proxy that delays whatever
 * comes from the client. `deno run -A bench/latency.ts [--delay MS] [--turns N] [--peer FOLDER] [--write]`.
 *
 * The scanning process has one core (taskset), and the daemon has seen none of the layers. `--peer` names another checkout
 * that is measured in turn. `--write` puts the result into docs/BENCHMARKS.json.
 *
 * @module
 */
import { buildImage } from "../src/lib/oci_builder.ts";
import { dpkgStatus, osRelease, SAMPLE_DEBS } from "../src/lib/sample_images.ts";
import type { TarMember } from "../src/lib/tar_writer.ts";
import { startCallbackReceiver } from "../tests/e2e/callbacks.ts";
import { denoEnv, ROOT, SHIPPED, startDaemonProcess } from "../tests/e2e/daemon.ts";
import { readUsage } from "../tests/e2e/process_usage.ts";
import { startDockerRegistry } from "../tests/peers/docker_registry.ts";
import { uploadImage } from "../tests/peers/images.ts";
import { startDelay } from "./delay.ts";
import { line, load, machine, median, onOneCore, rounded, writeBenchmark } from "./measure.ts";

const MB = 1e6;
/** What a block of incompressible bytes is followed by in zeros: layers have about half their size when stored. */
const BLOCK = 32_768;

/** Sizes of an image's layers in bytes of tar, bottom first. */
const IMAGES: Readonly<Record<string, readonly number[]>> = {
  "12 layers of 0.5 MB": Array.from({ length: 12 }, () => 0.5 * MB),
  "10 layers of 4 MB": Array.from({ length: 10 }, () => 4 * MB),
  "one of 120 MB, 8 of 3 MB": [120 * MB, ...Array.from({ length: 8 }, () => 3 * MB)],
};

interface Figure {
  readonly seconds: number;
  readonly peakMB: number;
}

function option(name: string): string | undefined {
  const at = Deno.args.indexOf(name);
  return at < 0 ? undefined : Deno.args[at + 1];
}

function members(bytes: number, name: string): readonly TarMember[] {
  const content = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 2 * BLOCK) crypto.getRandomValues(content.subarray(at, at + BLOCK));
  return [
    { path: "etc/os-release", content: osRelease("debian", "12", "Debian GNU/Linux 12") },
    { path: "var/lib/dpkg/status", content: dpkgStatus(SAMPLE_DEBS) },
    { path: `opt/${name}`, content },
  ];
}

async function scanOnce(folder: string, source: string): Promise<Figure> {
  const args = [
    "run",
    "-q",
    "-P",
    ...SHIPPED.flags,
    "mod.ts",
    "scan",
    "--quiet",
    "--plain-http",
    "--format",
    "json",
    source,
  ];
  const placed = onOneCore(Deno.execPath(), args);
  const began = performance.now();
  const child = new Deno.Command(placed.command, {
    args: [...placed.args],
    cwd: folder,
    env: denoEnv(),
    stdout: "null",
    stderr: "inherit",
  }).spawn();
  let peak = 0;
  const timer = setInterval(() => peak = readUsage(child.pid)?.peakRssBytes ?? peak, 10);
  const { success } = await child.status;
  clearInterval(timer);
  if (!success) throw new Error("The scan failed");
  return { seconds: (performance.now() - began) / 1000, peakMB: peak / MB };
}

async function daemonOnce(folder: string, base: string, name: string): Promise<Figure> {
  await using receiver = startCallbackReceiver();
  const env = {
    CR_TYPE: "docker-registry",
    CR_BASE: base,
    CR_USERNAME: "user",
    CR_PASSWORD: "password",
    OUTPOST_ROLE: "agent",
    BROKER_CLIENT_URL: receiver.url,
    ...SHIPPED.env,
  };
  await using daemon = await startDaemonProcess(env, SHIPPED.flags, { folder, module: "mod.ts" });
  const { pid } = daemon.process;
  await new Deno.Command("taskset", { args: ["-a", "-cp", "0", String(pid)], stdout: "null" }).output();
  const began = performance.now();
  const [result] = await receiver.scan(daemon.url, { images: [{ name }] }, 120_000);
  if (result?.status !== "success") throw new Error(`The scan ended with ${result?.status}`);
  const seconds = (performance.now() - began) / 1000;
  return { seconds, peakMB: (readUsage(pid)?.peakRssBytes ?? NaN) / MB };
}

async function main(): Promise<void> {
  const before = load();
  const ms = Number(option("--delay") ?? 75);
  const turns = Number(option("--turns") ?? 3);
  const peer = option("--peer");
  const folders = peer === undefined ? [ROOT] : [ROOT, peer];
  await using registry = await startDockerRegistry();
  using proxy = startDelay(registry.port, ms);
  const host = `127.0.0.1:${proxy.port}`;
  const rows: Record<string, unknown>[] = [];
  for (const [index, [what, sizes]] of Object.entries(IMAGES).entries()) {
    const name = `far/image${index}:1`;
    const layers = sizes.map((bytes, layer) => ({ members: members(bytes, `${index}.${layer}`) }));
    await uploadImage(registry, `far/image${index}`, ["1"], buildImage({ layers }));
    for (const front of ["scan", "daemon"] as const) {
      const figures: Figure[][] = folders.map(() => []);
      for (let turn = 0; turn < turns; turn++) {
        for (const [at, folder] of folders.entries()) {
          const run = front === "scan"
            ? scanOnce(folder, `registry:${host}/${name}`)
            : daemonOnce(folder, `http://${host}`, name);
          figures[at]?.push(await run);
        }
      }
      const [ours, theirs] = figures.map((of) => ({
        seconds: rounded(median(of.map(({ seconds }) => seconds))),
        peakMB: rounded(median(of.map(({ peakMB }) => peakMB))),
      }));
      const row = { what, front, ours, ...(theirs === undefined ? {} : { peer: theirs }) };
      rows.push(row);
      line(JSON.stringify(row));
    }
  }
  if (!Deno.args.includes("--write")) return;
  await writeBenchmark("latency", {
    command: `deno run -A bench/latency.ts --write${peer === undefined ? "" : " --peer FOLDER"}`,
    date: new Date().toISOString().slice(0, 10),
    machine: machine(before),
    method: `each request and each new connection is delayed by ${ms} ms; medians of ${turns}; peaks are VmHWM` +
      (peer === undefined ? "" : "; the peer is the version that read one layer after the other"),
    rows,
  });
}

if (import.meta.main) await main();
