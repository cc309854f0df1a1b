/**
 * Throughput and peak memory of one layer: `deno run -A bench/layer_memory.ts FILE [fetch]`. With `fetch` the layer comes
 * from a server in another process over loopback, as from a registry; otherwise from the file.
 *
 * @module
 */
import process from "node:process";
import type { ByteSource, LayerHandle } from "../src/core/ports.ts";
import { createLayerEngine } from "../src/layers/engine.ts";
import { loadInflater } from "../src/layers/inflaters.ts";
import { sourceOf } from "../tests/fakes/layer.ts";

const SERVER = `
const [file] = Deno.args;
Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: (a) => console.log(a.port) }, async () =>
  new Response((await Deno.open(file)).readable));
`;

/** What a scan wants from a layer, about. */
const PATTERNS = [
  { paths: ["etc/os-release", "usr/lib/os-release", "etc/alpine-release"], maxBytes: 1 << 20 },
  { paths: ["var/lib/dpkg/status", "lib/apk/db/installed", "var/lib/rpm/rpmdb.sqlite"], maxBytes: 64 << 20 },
  { directories: ["var/lib/dpkg/status.d/"], names: ["package.json"], maxBytes: 16 << 20 },
];

async function startServer(file: string): Promise<{ port: number; stop(): Promise<void> }> {
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  await Deno.writeTextFile(script, SERVER);
  const args = ["run", "-A", script, file];
  const child = new Deno.Command(Deno.execPath(), { args, stdout: "piped" }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  const port = Number(new TextDecoder().decode(value));
  return {
    port,
    async stop(): Promise<void> {
      child.kill();
      await reader.cancel();
      await child.status;
      await Deno.remove(script);
    },
  };
}

/** Highest resident set of this process so far, in MB (10⁶ bytes). */
function peakMegabytes(): number {
  const status = Deno.readTextFileSync("/proc/self/status");
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024 / 1e6;
}

const [file, mode] = Deno.args;
if (file === undefined) throw new Error("Usage: deno run -A bench/layer_memory.ts FILE [fetch]");
const server = mode === "fetch" ? await startServer(file) : undefined;
const handle: LayerHandle = {
  name: file,
  digest: undefined,
  size: (await Deno.stat(file)).size,
  mediaType: undefined,
  diffId: undefined,
  async open(signal): Promise<ByteSource> {
    if (server === undefined) return sourceOf((await Deno.open(file)).readable, signal);
    const response = await fetch(`http://127.0.0.1:${server.port}/`, { signal });
    if (response.body === null) throw new Error("The server sent no body");
    return sourceOf(response.body, signal);
  },
};
const engine = createLayerEngine({ patterns: PATTERNS, version: "bench", inflater: await loadInflater("auto") });
const before = peakMegabytes();
const start = performance.now();
const cpu = process.cpuUsage();
const facts = await engine.extract(handle, { signal: new AbortController().signal });
const seconds = (performance.now() - start) / 1000;
const { user, system } = process.cpuUsage(cpu);
const report = {
  source: mode ?? "file",
  compression: facts.compression,
  storedMB: Math.round(facts.storedBytes / 1e6),
  tarMB: Math.round(facts.tarBytes / 1e6),
  entries: facts.entryCount,
  kept: facts.entries.length,
  seconds: Number(seconds.toFixed(2)),
  cpuSeconds: Number(((user + system) / 1e6).toFixed(2)),
  tarMBPerSecond: Math.round(facts.tarBytes / 1e6 / seconds),
  rssBeforeMB: Math.round(before),
  rssPeakMB: Math.round(peakMegabytes()),
  diffId: facts.diffId,
};
Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(report)}\n`));
await server?.stop();
