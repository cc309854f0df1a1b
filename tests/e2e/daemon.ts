/**
 * The daemon as a process of its own, with the permissions it has in production.
 *
 * @module
 */
import { freePort, poll, type ServerProcess, startProcess } from "../peers/process.ts";

/** A running daemon. */
export interface DaemonProcess extends AsyncDisposable {
  readonly url: string;
  readonly process: ServerProcess;
}

/** Folder of the checkout. */
export const ROOT: string = new URL("../../", import.meta.url).pathname;

/** What is run: a module in a folder. */
export interface Program {
  readonly folder: string;
  readonly module: string;
}

/** How the container starts it (Dockerfile, ENV and ENTRYPOINT): flags of V8 and of the C library's memory. */
export const SHIPPED = {
  flags: [
    "--no-code-cache",
    "--v8-flags=--max-semi-space-size=1,--no-turbofan,--invocation-count-for-maglev=1000,--expose-gc",
  ],
  env: {
    MALLOC_ARENA_MAX: "1",
    MALLOC_MMAP_THRESHOLD_: "16384",
    MALLOC_TRIM_THRESHOLD_: "65536",
    MALLOC_TOP_PAD_: "4096",
  },
} as const;

const SOURCES: Program = { folder: ROOT, module: "mod.ts" };

/**
 * Starts `outpost start` and waits until `/livez` answers.
 *
 * @param env Its variables; without PORT it gets a free one.
 * @param flags Further flags for `deno run`.
 * @param program The sources, if it is not what tools/build.ts has made of them.
 */
export async function startDaemonProcess(
  env: Readonly<Record<string, string>>,
  flags: readonly string[] = [],
  program: Program = SOURCES,
): Promise<DaemonProcess> {
  const port = env["PORT"] ?? String(freePort());
  const url = `http://127.0.0.1:${port}`;
  const process = await startProcess({
    name: "outpost",
    command: Deno.execPath(),
    args: ["run", "-P=daemon", ...flags, program.module, "start"],
    cwd: program.folder,
    env: { ...denoEnv(), PORT: port, OUTPOST_HOST: "127.0.0.1", ...env },
    ready: (child, signal) => poll(`${url}/livez`, (response) => response.ok, child, signal),
  });
  return { url, process, [Symbol.asyncDispose]: () => process.stop() };
}

/** What a child Deno needs to find its cache. */
export function denoEnv(): Record<string, string> {
  const denoDir = Deno.env.get("DENO_DIR");
  return { DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1", ...(denoDir === undefined ? {} : { DENO_DIR: denoDir }) };
}
