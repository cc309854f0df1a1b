/**
 * The daemon under bench/fleet.ts: on one core, as the container ships it, watched while it scans.
 *
 * @module
 */
import { denoEnv, type Program, SHIPPED } from "../tests/e2e/daemon.ts";
import { readUsage } from "../tests/e2e/process_usage.ts";
import type { DockerRegistry } from "../tests/peers/docker_registry.ts";
import { freePort, poll, type ServerProcess, startProcess } from "../tests/peers/process.ts";
import { onOneCore } from "./measure.ts";

const MB = 1e6;
const HEALTH_EVERY_MS = 50;
const LOG_EVERY_MS = 250;

/** A daemon with its data directory. */
export interface FleetDaemon extends AsyncDisposable {
  readonly url: string;
  /** Undefined when it keeps nothing on disk. */
  readonly dataDir: string | undefined;
  peakRssMB(): number;
  /** Bytes of all files in the data directory, in 10⁶. */
  dataMB(): number;
}

/** Starts a daemon with an empty data directory; without one where it does not know OUTPOST_DATA_DIR. */
export async function startFleetDaemon(
  program: Program,
  registry: DockerRegistry,
  callbacks: string,
): Promise<FleetDaemon> {
  const dataDir = await Deno.makeTempDir({ prefix: "outpost-fleet-" });
  const env = {
    ...denoEnv(),
    PORT: String(freePort()),
    OUTPOST_HOST: "127.0.0.1",
    OUTPOST_ROLE: "agent",
    BROKER_CLIENT_URL: callbacks,
    CR_TYPE: "docker-registry",
    CR_BASE: registry.url,
    LOG_LEVEL: "warn",
    ...SHIPPED.env,
  };
  try {
    const process = await start(program, { ...env, OUTPOST_DATA_DIR: dataDir }, dataDir);
    return daemon(process, `http://127.0.0.1:${env.PORT}`, dataDir, true);
  } catch (error) {
    // An unknown OUTPOST_ name is refused by name.
    if (!String(error).includes("OUTPOST_DATA_DIR")) throw error;
    return daemon(await start(program, env, dataDir), `http://127.0.0.1:${env.PORT}`, dataDir, false);
  }
}

function start(
  program: Program,
  env: Readonly<Record<string, string>>,
  dataDir: string,
): Promise<ServerProcess> {
  const flags = [
    "-q",
    "-P=daemon",
    `--allow-write=${dataDir}`,
    ...SHIPPED.flags,
  ];
  return startProcess({
    name: "outpost",
    ...onOneCore(Deno.execPath(), ["run", ...flags, program.module, "start"]),
    cwd: program.folder,
    env,
    ready: (child, signal) => poll(`http://127.0.0.1:${env["PORT"]}/livez`, (response) => response.ok, child, signal),
  });
}

function daemon(process: ServerProcess, url: string, folder: string, durable: boolean): FleetDaemon {
  return {
    url,
    dataDir: durable ? folder : undefined,
    peakRssMB: () => (readUsage(process.pid)?.peakRssBytes ?? NaN) / MB,
    dataMB: () => sizeOf(folder) / MB,
    [Symbol.asyncDispose]: async () => {
      await process.stop();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

function sizeOf(folder: string): number {
  let bytes = 0;
  for (const entry of Deno.readDirSync(folder)) {
    const path = `${folder}/${entry.name}`;
    try {
      bytes += entry.isDirectory ? sizeOf(path) : Deno.statSync(path).size;
    } catch {
      // It was removed in the meantime.
    }
  }
  return bytes;
}

/** Asks `/healthcheck` at a steady pace until `end` is settled; returns the milliseconds of each answer. */
export async function watchHealth(url: string, end: Promise<unknown>): Promise<readonly number[]> {
  const times: number[] = [];
  for await (const _ of every(HEALTH_EVERY_MS, end)) {
    const began = performance.now();
    const response = await fetch(`${url}/healthcheck`);
    await response.arrayBuffer();
    if (!response.ok) throw new Error(`/healthcheck answered ${response.status}`);
    times.push(performance.now() - began);
  }
  return times;
}

/**
 * How often each blob was asked for while `end` was pending, by the registry's log. The log is read again and again, since
 * only its last part is kept.
 */
export async function watchBlobs(
  registry: DockerRegistry,
  end: Promise<unknown>,
): Promise<ReadonlyMap<string, number>> {
  const before = new Set(blobRequests(registry).keys());
  const requests = new Map<string, string>();
  const look = (): void => {
    for (const [id, digest] of blobRequests(registry)) if (!before.has(id)) requests.set(id, digest);
  };
  for await (const _ of every(LOG_EVERY_MS, end)) look();
  look();
  const counts = new Map<string, number>();
  for (const digest of requests.values()) counts.set(digest, (counts.get(digest) ?? 0) + 1);
  return counts;
}

/** Digests of answered blob requests, by the registry's request id. */
function blobRequests(registry: DockerRegistry): Map<string, string> {
  const found = new Map<string, string>();
  for (const entry of registry.log().split("\n")) {
    if (!entry.includes("response completed") || !entry.includes("http.request.method=GET")) continue;
    const digest = /\/blobs\/(sha256:[0-9a-f]{64})/.exec(entry)?.[1];
    const id = /http\.request\.id=(\S+)/.exec(entry)?.[1];
    if (digest !== undefined && id !== undefined) found.set(id, digest);
  }
  return found;
}

/** The store's writes so far, and how many of them took longer than 50 ms: they stop the event loop. */
export async function storeWrites(url: string): Promise<{ readonly all: number; readonly slow: number }> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  const value = (pattern: RegExp): number => Number(pattern.exec(metrics)?.[1] ?? 0);
  const all = value(/^outpost_store_write_duration_seconds_count (\d+)$/m);
  return { all, slow: all - value(/^outpost_store_write_duration_seconds_bucket\{le="0\.05"\} (\d+)$/m) };
}

async function* every(ms: number, end: Promise<unknown>): AsyncGenerator<void> {
  let ended = false;
  const watch = end.then(() => void (ended = true), () => void (ended = true));
  while (!ended) {
    yield;
    await Promise.race([watch, new Promise((resolve) => setTimeout(resolve, ms))]);
  }
}
