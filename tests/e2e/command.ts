/**
 * Commands as processes of their own, with the permissions and the clean environment of a user's terminal.
 *
 * @module
 */
import { denoEnv, ROOT } from "./daemon.ts";

/** How a command ended. */
export interface CommandEnd {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Options of {@link outpost}. */
export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Sends SIGINT, as Ctrl-C does: when an output first matches, or when the promise is fulfilled. */
  readonly interruptAt?: RegExp | Promise<void>;
  /** Permission set of deno.json; the default one when absent. */
  readonly permissions?: string;
  /** Runs `deno task` of this name instead of the command line. */
  readonly task?: string;
}

/** A command that hangs is killed after this time, and its test fails by the exit code. */
const KILL_AFTER_MS = 60_000;

/** Runs `outpost` to its end. */
export async function outpost(args: readonly string[], options: CommandOptions = {}): Promise<CommandEnd> {
  const { env, interruptAt, permissions, task } = options;
  const set = permissions === undefined ? "-P" : `-P=${permissions}`;
  const child = new Deno.Command(Deno.execPath(), {
    args: [...(task === undefined ? ["run", "-q", set, "mod.ts"] : ["task", "-q", task]), ...args],
    cwd: ROOT,
    clearEnv: true,
    env: { PATH: Deno.env.get("PATH") ?? "", HOME: Deno.env.get("HOME") ?? "/", ...denoEnv(), ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), KILL_AFTER_MS);
  let waiting = interruptAt instanceof RegExp ? interruptAt : undefined;
  if (interruptAt instanceof Promise) interruptAt.then(() => child.kill("SIGINT"), () => {});
  const collect = async (stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> => {
    let text = "";
    for await (const part of stream.pipeThrough(new TextDecoderStream())) {
      text += part;
      if (waiting?.test(text)) {
        waiting = undefined;
        child.kill("SIGINT");
      }
    }
    return text;
  };
  const [stdout, stderr, { code }] = await Promise.all([collect(child.stdout), collect(child.stderr), child.status]);
  clearTimeout(timer);
  return { code, stdout, stderr };
}
