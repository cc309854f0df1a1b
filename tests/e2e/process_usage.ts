/**
 * What a process costs, as Linux counts it (proc_pid_status(5), proc_pid_io(5)).
 *
 * @module
 */
import { denoEnv, ROOT } from "./daemon.ts";

/** Counters of a process. */
export interface ProcessUsage {
  /** Highest resident set so far (VmHWM), in bytes. */
  readonly peakRssBytes: number;
  /** Bytes that it passed to write(2) and its relatives, whatever the file: an upper bound of what any file got. */
  readonly writtenBytes: number;
}

/** The counters now; undefined when the process has ended. */
export function readUsage(pid: number): ProcessUsage | undefined {
  try {
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    const io = Deno.readTextFileSync(`/proc/${pid}/io`);
    const [, peakKiB] = /VmHWM:\s+(\d+) kB/.exec(status) ?? [];
    const [, written] = /^wchar: (\d+)$/m.exec(io) ?? [];
    if (peakKiB === undefined || written === undefined) return undefined;
    return { peakRssBytes: Number(peakKiB) * 1024, writtenBytes: Number(written) };
  } catch {
    return undefined;
  }
}

/** How a measured command ended. */
export interface MeasuredRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** As of the last 10 ms of its life; both counters only grow. */
  readonly usage: ProcessUsage;
}

const SAMPLE_MS = 10;

/**
 * Runs the command line with `args` and reads its counters all along.
 *
 * @param flags Further flags for `deno run`, `--deny-write` for instance.
 */
export async function runMeasured(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  flags: readonly string[] = [],
): Promise<MeasuredRun> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-P", ...flags, "mod.ts", ...args],
    cwd: ROOT,
    env: { ...denoEnv(), ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let usage: ProcessUsage = { peakRssBytes: 0, writtenBytes: 0 };
  const timer = setInterval(() => usage = readUsage(child.pid) ?? usage, SAMPLE_MS);
  try {
    const output = await child.output();
    const text = new TextDecoder();
    return { code: output.code, stdout: text.decode(output.stdout), stderr: text.decode(output.stderr), usage };
  } finally {
    clearInterval(timer);
  }
}
