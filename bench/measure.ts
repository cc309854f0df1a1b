/**
 * What a process costs on one core, how figures are compared, and where they are kept: shared by bench/scan.ts and
 * bench/fleet.ts.
 *
 * @module
 */
import { denoEnv, ROOT } from "../tests/e2e/daemon.ts";
import { readUsage } from "../tests/e2e/process_usage.ts";
import { findProgram } from "../tests/peers/mod.ts";

const MB = 1e6;
const SAMPLE_MS = 10;

/** One run of a process, its children included. */
export interface Sample {
  readonly seconds: number;
  /** Seconds on the core, of user and system. */
  readonly cpuSeconds: number;
  /** Highest resident set of the process itself, in 10⁶ bytes. */
  readonly peakRssMB: number;
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A figure of ours beside one of the peer's. */
export interface Row {
  readonly name: string;
  readonly unit: string;
  readonly ours: number;
  readonly peer?: number;
  /** How many times the peer's figure is ours: larger is better for us. */
  readonly ratio?: number;
  readonly target: string;
  readonly met: boolean;
  readonly note?: string;
}

/** Puts a process on the first core, where the machine has `taskset`. */
export function onOneCore(command: string, args: readonly string[]): { command: string; args: readonly string[] } {
  const taskset = findProgram("taskset");
  return taskset === undefined ? { command, args } : { command: taskset, args: ["-c", "0", command, ...args] };
}

/** Runs a process on one core to its end. */
export async function measure(command: string, args: readonly string[]): Promise<Sample> {
  const placed = onOneCore(command, args);
  const cpu = cpuOfChildren();
  const began = performance.now();
  const child = new Deno.Command(placed.command, {
    args: [...placed.args],
    cwd: ROOT,
    env: denoEnv(),
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let peak = 0;
  const timer = setInterval(() => peak = readUsage(child.pid)?.peakRssBytes ?? peak, SAMPLE_MS);
  try {
    const { code, stdout, stderr } = await child.output();
    const seconds = (performance.now() - began) / 1000;
    const text = new TextDecoder();
    return {
      seconds,
      cpuSeconds: cpuOfChildren() - cpu,
      peakRssMB: peak / MB,
      code,
      stdout: text.decode(stdout),
      stderr: text.decode(stderr),
    };
  } finally {
    clearInterval(timer);
  }
}

/** Seconds on the cores of all children that have ended (proc_pid_stat(5): cutime, cstime, in ticks of 10 ms). */
export function cpuOfChildren(): number {
  const stat = Deno.readTextFileSync("/proc/self/stat");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number);
  return ((fields[13] ?? 0) + (fields[14] ?? 0)) / 100;
}

/** The middle value. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? NaN)) / 2;
}

/** Three significant digits: what a shared machine can tell. */
export function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

/** A row whose figure shall be so many times below the peer's. Pairs are of the same round. */
export function timesBelow(
  name: string,
  unit: string,
  pairs: readonly (readonly [ours: number, peer: number])[],
  atLeast: number,
): Row {
  const ratio = rounded(median(pairs.map(([ours, peer]) => peer / ours)));
  const ours = rounded(median(pairs.map(([value]) => value)));
  const peer = rounded(median(pairs.map(([, value]) => value)));
  return { name, unit, ours, peer, ratio, target: `ratio at least ${atLeast}`, met: ratio >= atLeast };
}

/** A row whose figure has a bound of its own. */
export function atMost(name: string, unit: string, ours: number, limit: number, peer?: number): Row {
  const beside = peer === undefined ? {} : { peer: rounded(peer), ratio: rounded(peer / ours) };
  return { name, unit, ours: rounded(ours), ...beside, target: `at most ${limit} ${unit}`, met: ours <= limit };
}

/** The other way round. */
export function atLeast(name: string, unit: string, ours: number, limit: number): Row {
  return { name, unit, ours: rounded(ours), target: `at least ${limit} ${unit}`, met: ours >= limit };
}

/** One line per row, on stdout. */
export function printRows(rows: readonly Row[]): void {
  for (const { name, unit, ours, peer, ratio, target, met } of rows) {
    const compared = peer === undefined ? "" : `, peer ${peer} ${unit}, ratio ${ratio}`;
    line(`${met ? "met   " : "missed"} ${name}: ${ours} ${unit}${compared} (${target})`);
  }
}

/** Prints a line on stdout. */
export function line(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

/** Tells on stderr what goes on. */
export function say(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${text}\n`));
}

/** The load of the machine: what else runs on it slows both sides. */
export function load(): number {
  return Number((Deno.loadavg()[0] ?? NaN).toFixed(1));
}

/** Puts a benchmark under its key into docs/BENCHMARKS.json, beside what the others wrote. */
export async function writeBenchmark(key: string, report: Readonly<Record<string, unknown>>): Promise<void> {
  const file = new URL("../docs/BENCHMARKS.json", import.meta.url);
  const all = JSON.parse(await Deno.readTextFile(file).catch(() => "{}")) as Record<string, unknown>;
  await Deno.writeTextFile(file, `${JSON.stringify({ ...all, [key]: report }, null, 2)}\n`);
}

/** The machine, without its name. */
export function machine(loadAtStart: number): string {
  const info = Deno.readTextFileSync("/proc/cpuinfo");
  const cpu = /^model name\s*: (.+)$/m.exec(info)?.[1] ?? Deno.build.arch;
  const cores = navigator.hardwareConcurrency;
  return `${cpu}, ${cores} cores, both sides on the first, load ${loadAtStart} to ${load()}, Deno ${Deno.version.deno}`;
}

/** The words of a task of deno.json, with this Deno in front. */
export async function taskWords(task: string): Promise<readonly string[]> {
  const { tasks } = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`)) as { tasks: Record<string, string> };
  const [, ...words] = (tasks[task] ?? "").split(" ");
  return [Deno.execPath(), ...words];
}
