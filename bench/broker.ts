/**
 * The broker client against Snyk's: `deno run -A bench/broker.ts [--rounds N] [--rows LETTERS] [--write]`.
 *
 * Both clients stand between the same broker server and the same agent, each with a token of its own, and are asked in
 * turn; the medians of the rounds are compared. All of it shares one machine, so that a rate says how much the two
 * clients leave to the server, and the processor time of the client itself is counted beside it. Rows: `m` memory at
 * rest and the start, `s` small answers, `l` large ones. `--write` puts the result into docs/BENCHMARKS.json.
 *
 * @module
 */
import { DirectClient } from "../src/net/direct.ts";
import { dialer, systemClock } from "../src/world.ts";
import { LARGE_BYTES } from "./broker_agent.ts";
import { median } from "./measure.ts";
import {
  type Client,
  type ClientKind,
  cpuSeconds,
  type Rig,
  startClient,
  startRig,
  statusMegabytes,
} from "./broker_rig.ts";
import { judge, LARGE, print, type Row, type Samples, SMALL, START, write } from "./broker_rows.ts";

const REST_MS = 5_000;
const SMALL_AT_ONCE = 50;
const SMALL_REQUESTS = 1_500;
const SINGLE_REQUESTS = 300;
const LARGE_AT_ONCE = 4;
const LARGE_REQUESTS = 24;

function note(samples: Samples, name: string, value: number): void {
  (samples[name] ??= []).push(value);
}

/** Asks the server: what the asking costs is taken from both clients, so that it has to be little. */
const caller = new DirectClient({ dial: dialer([]), clock: systemClock });
const never = new AbortController().signal;

/** Asks through the client and reads the answer to its end. */
async function ask(rig: Rig, { token }: Client, path: string): Promise<number> {
  const url = new URL(rig.server.brokerUrl(token, path));
  const response = await caller.exchange({ method: "GET", url, fields: [], signal: never });
  if (response?.status !== 200) throw new Error(`${path} was answered ${response?.status}`);
  let bytes = 0;
  for (let piece = await response.body.read(); piece !== undefined; piece = await response.body.read()) {
    bytes += piece.length;
  }
  return bytes;
}

/** Asks `count` times, `width` requests at once; returns the milliseconds of each. */
async function askMany(rig: Rig, client: Client, path: string, count: number, width: number): Promise<number[]> {
  const times: number[] = [];
  let left = count;
  const lane = async (): Promise<void> => {
    while (left-- > 0) {
      const began = performance.now();
      const bytes = await ask(rig, client, path);
      if (path === "/list/large" && bytes !== LARGE_BYTES) throw new Error(`${bytes} bytes of the large answer came`);
      times.push(performance.now() - began);
    }
  };
  await Promise.all(Array.from({ length: width }, lane));
  return times;
}

/** Start and memory at rest. */
async function measureStart(rig: Rig, kind: ClientKind, samples: Samples): Promise<void> {
  await using client = await startClient(rig, kind);
  note(samples, `${kind} start`, client.connectedMs);
  await new Promise((resolve) => setTimeout(resolve, REST_MS));
  note(samples, `${kind} rss`, statusMegabytes(client.process.pid, "VmRSS"));
}

async function measureSmall(rig: Rig, client: Client, state: "fresh" | "warm", samples: Samples): Promise<void> {
  const { process } = client;
  const kind = `${client.kind} ${state}`;
  const others = { server: rig.server.pid, agent: rig.agent.pid };
  const before = cpuSeconds(process.pid);
  const server = cpuSeconds(others.server);
  const agent = cpuSeconds(others.agent);
  const began = performance.now();
  await askMany(rig, client, "/list", SMALL_REQUESTS, SMALL_AT_ONCE);
  const seconds = (performance.now() - began) / 1000;
  note(samples, `${kind} rate`, SMALL_REQUESTS / seconds);
  const each = (cpu: number): number => cpu * 1000 / SMALL_REQUESTS;
  note(samples, `${kind} cpu`, each(cpuSeconds(process.pid) - before));
  note(samples, `${kind} server cpu`, each(cpuSeconds(others.server) - server));
  note(samples, `${kind} agent cpu`, each(cpuSeconds(others.agent) - agent));
  note(samples, `${kind} p50`, median(await askMany(rig, client, "/list", SINGLE_REQUESTS, 1)));
}

async function measureLarge(rig: Rig, client: Client, samples: Samples): Promise<void> {
  const { kind, process } = client;
  const before = cpuSeconds(process.pid);
  const server = cpuSeconds(rig.server.pid);
  const began = performance.now();
  await askMany(rig, client, "/list/large", LARGE_REQUESTS, LARGE_AT_ONCE);
  const seconds = (performance.now() - began) / 1000;
  note(samples, `${kind} throughput`, LARGE_REQUESTS * LARGE_BYTES / 1e6 / seconds);
  note(samples, `${kind} large cpu`, (cpuSeconds(process.pid) - before) * 1000 / LARGE_REQUESTS);
  note(samples, `${kind} large server cpu`, (cpuSeconds(rig.server.pid) - server) * 1000 / LARGE_REQUESTS);
}

/** Small answers of clients that have just been started, both anew in each round. */
async function measureFresh(rig: Rig, rounds: number, samples: Samples): Promise<void> {
  for (let turn = 0; turn < rounds; turn++) {
    for (const kind of turn % 2 === 0 ? ["reference", "broker"] as const : ["broker", "reference"] as const) {
      await using client = await startClient(rig, kind);
      await measureSmall(rig, client, "fresh", samples);
    }
  }
}

/** Runs `round` for both clients in turn; the first round only warms them up. */
async function compare(
  rig: Rig,
  name: string,
  rounds: number,
  samples: Samples,
  round: (client: Client, samples: Samples) => Promise<void>,
): Promise<void> {
  await using reference = await startClient(rig, "reference");
  await using ours = await startClient(rig, "broker");
  for (let turn = 0; turn <= rounds; turn++) {
    const into = turn === 0 ? {} : samples;
    // Who begins changes, so that neither always comes after the other.
    for (const client of turn % 2 === 0 ? [reference, ours] : [ours, reference]) await round(client, into);
  }
  for (const { kind, process } of [reference, ours]) {
    note(samples, `${kind} ${name} peak`, statusMegabytes(process.pid, "VmHWM"));
  }
}

function option(name: string): string | undefined {
  const at = Deno.args.indexOf(name);
  return at < 0 ? undefined : Deno.args[at + 1];
}

async function main(): Promise<number> {
  const rounds = Number(option("--rounds") ?? 5);
  const wanted = option("--rows") ?? "msl";
  const samples: Samples = {};
  const rows: Row[] = [];
  await using rig = await startRig();
  if (wanted.includes("m")) {
    for (let turn = 0; turn < rounds; turn++) {
      for (const kind of ["reference", "broker", "all"] as const) await measureStart(rig, kind, samples);
    }
    rows.push(...judge(START, samples));
  }
  if (wanted.includes("s")) {
    // The server and the asking program shall not get warm in the first fresh round.
    await compare(rig, "small", rounds, samples, (client, into) => measureSmall(rig, client, "warm", into));
    await measureFresh(rig, rounds, samples);
    rows.push(...judge(SMALL, samples));
  }
  if (wanted.includes("l")) {
    await compare(rig, "large", rounds, samples, (client, into) => measureLarge(rig, client, into));
    rows.push(...judge(LARGE, samples));
  }
  print(rows, samples);
  if (Deno.args.includes("--write")) await write(rows, rounds);
  return rows.every(({ met }) => met) ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());
