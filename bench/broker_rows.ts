/**
 * The rows of bench/broker.ts: what is compared with what, which ratio is wanted, how it is shown and kept.
 *
 * @module
 */
import { load, median, writeBenchmark } from "./measure.ts";

/** Figures by name, a value for each round. */
export type Samples = Record<string, number[]>;

/** One comparison. */
export interface Target {
  readonly name: string;
  readonly unit: string;
  /** Names of our samples and of the reference's. */
  readonly ours: string;
  readonly peer: string;
  /** Bounds of ours in multiples of the reference's. */
  readonly atLeast?: number;
  readonly atMost?: number;
  /** Upper bound of ours itself. */
  readonly limit?: number;
}

/** A comparison with its outcome. */
export interface Row {
  readonly name: string;
  readonly unit: string;
  readonly ours: number;
  readonly peer: number;
  /** Ours in multiples of the reference's. */
  readonly ratio: number;
  readonly target: string;
  readonly met: boolean;
}

/** Memory at rest and the start. */
export const START: readonly Target[] = [
  { name: "idle RSS, role broker", unit: "MB", ours: "broker rss", peer: "reference rss", atMost: 0.6 },
  { name: "idle RSS, role all", unit: "MB", ours: "all rss", peer: "reference rss", atMost: 0.7 },
  { name: "start until connected", unit: "ms", ours: "broker start", peer: "reference start", atMost: 0.3 },
];

/** Small answers: of clients that have just been started, and of clients that have answered thousands. */
export const SMALL: readonly Target[] = [...smallTargets("fresh"), ...smallTargets("warm")];

function smallTargets(state: "fresh" | "warm"): readonly Target[] {
  const of = (what: string): Pick<Target, "ours" | "peer"> => ({
    ours: `broker ${state} ${what}`,
    peer: `reference ${state} ${what}`,
  });
  return [
    { name: `small JSON, 50 at once, rate, ${state}`, unit: "req/s", ...of("rate"), atLeast: 1.8 },
    { name: `small JSON, 50 at once, CPU, ${state}`, unit: "ms each", ...of("cpu"), atMost: 0.5 },
    { name: `small JSON, one at a time, p50, ${state}`, unit: "ms", ...of("p50"), atMost: 0.6 },
  ];
}

/** Large answers. */
export const LARGE: readonly Target[] = [
  {
    name: "10 MB, 4 at once, rate",
    unit: "MB/s",
    ours: "broker throughput",
    peer: "reference throughput",
    atLeast: 1.3,
  },
  {
    name: "10 MB, 4 at once, peak RSS",
    unit: "MB",
    ours: "broker large peak",
    peer: "reference large peak",
    limit: 110,
  },
];

/** Compares round by round, since what else runs on the machine changes with time; shows the medians. */
export function judge(targets: readonly Target[], samples: Samples): readonly Row[] {
  const round = (value: number): number => Number(value.toPrecision(3));
  return targets.map((target) => {
    const ours = median(samples[target.ours] ?? []);
    const peer = median(samples[target.peer] ?? []);
    const rounds = samples[target.ours] ?? [];
    const ratio = Number(median(rounds.map((value, turn) => value / (samples[target.peer]?.[turn] ?? NaN))).toFixed(2));
    const { name, unit } = target;
    return { name, unit, ours: round(ours), peer: round(peer), ratio, ...verdict(target, ours, ratio) };
  });
}

function verdict({ unit, atLeast, atMost, limit }: Target, ours: number, ratio: number): Pick<Row, "target" | "met"> {
  if (atLeast !== undefined) return { target: `at least ${atLeast} x`, met: ratio >= atLeast };
  if (atMost !== undefined) return { target: `at most ${atMost} x`, met: ratio <= atMost };
  return { target: `at most ${limit} ${unit}`, met: ours <= (limit ?? NaN) };
}

/** Prints the rows and the medians of all samples: what the server and the agent spent is among them. */
export function print(rows: readonly Row[], samples: Samples): void {
  const say = (line: string): number => Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
  for (const { name, unit, ours, peer, ratio, target, met } of rows) {
    say(
      `${name.padEnd(38)} ${ratio.toFixed(2).padStart(6)} x  (${target}, ${
        met ? "met" : "missed"
      })  ${ours} against ${peer} ${unit}`,
    );
  }
  for (const [name, values] of Object.entries(samples)) {
    say(`  ${name.padEnd(30)} ${values.map((value) => value.toPrecision(3)).join(" ")}`);
  }
}

/** Puts the rows into docs/BENCHMARKS.json. */
export async function write(rows: readonly Row[], rounds: number): Promise<void> {
  const cpu = /^model name\s*: (.*)$/m.exec(await Deno.readTextFile("/proc/cpuinfo"))?.[1] ?? Deno.build.arch;
  await writeBenchmark("broker", {
    command: "deno run -A bench/broker.ts --write",
    date: new Date().toISOString().slice(0, 10),
    machine: `${cpu}, ${navigator.hardwareConcurrency} cores, load ${load()}, Deno ${Deno.version.deno}`,
    method: "Snyk's broker client 5.22.14 on Node.js 24 and ours as the container ships it, in turn between the same " +
      "broker server and the same agent on this machine, which the asking program shares too; medians of " +
      `${rounds} rounds, and of their ratios`,
    rows,
  });
}
