/**
 * Child processes of the tests: started with a clean environment, watched until they are ready, stopped by pid.
 *
 * @module
 */

/** How to start a server process. */
export interface ProcessOptions {
  /** Name for messages. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  /** The child sees these variables, PATH and HOME, nothing else. */
  readonly env?: Readonly<Record<string, string>>;
  /** Runs it as this user and group; needs root. */
  readonly uid?: number;
  readonly gid?: number;
  /** Resolves when the server answers; called once the process runs. By default the process counts as ready at once. */
  readonly ready?: (process: ServerProcess, signal: AbortSignal) => Promise<void>;
  /** Bound for `ready`, in milliseconds. */
  readonly readyWithin?: number;
}

const KEPT_LOG_CHARS = 1 << 20;
const STOP_WITHIN_MS = 5_000;
const READY_WITHIN_MS = 20_000;

/** A running child process, with what it printed. */
export class ServerProcess implements AsyncDisposable {
  readonly name: string;
  /** Process id. */
  readonly pid: number;
  readonly #child: Deno.ChildProcess;
  readonly #drained: Promise<unknown>;
  #log = "";
  #exited: Deno.CommandStatus | undefined;
  #watchers: (() => void)[] = [];

  constructor(name: string, child: Deno.ChildProcess) {
    this.name = name;
    this.pid = child.pid;
    this.#child = child;
    this.#drained = Promise.all([
      this.#drain(child.stdout),
      this.#drain(child.stderr),
      child.status.then((status) => {
        this.#exited = status;
        this.#wake();
      }),
    ]);
  }

  /** What the process printed on both outputs, at most the last 1 MiB. */
  log(): string {
    return this.#log;
  }

  /** How the process ended; resolves when it does. */
  get status(): Promise<Deno.CommandStatus> {
    return this.#child.status;
  }

  /** Whether the process has ended. */
  get ended(): boolean {
    return this.#exited !== undefined;
  }

  /** Resolves when the output matches; rejects when the process ends first or the signal aborts. */
  async printed(pattern: RegExp, signal: AbortSignal): Promise<void> {
    while (!pattern.test(this.#log)) {
      if (this.#exited !== undefined) throw new Error(`${this.name} ended before it was ready:\n${this.#log}`);
      await this.#change(signal);
    }
  }

  /** Sends SIGTERM, after 5 s SIGKILL, and waits for the end. */
  async stop(): Promise<void> {
    if (this.#exited === undefined) {
      this.#signal("SIGTERM");
      const timer = setTimeout(() => this.#signal("SIGKILL"), STOP_WITHIN_MS);
      await this.#child.status;
      clearTimeout(timer);
    }
    await this.#drained;
  }

  /** Sends SIGKILL and waits for the end: a crash. */
  async kill(): Promise<void> {
    this.#signal("SIGKILL");
    await this.#drained;
  }

  /** Stops the process. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #signal(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch {
      // It ended by itself in the meantime.
    }
  }

  async #drain(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      this.#log = (this.#log + text).slice(-KEPT_LOG_CHARS);
      this.#wake();
    }
  }

  #wake(): void {
    const watchers = this.#watchers;
    this.#watchers = [];
    for (const wake of watchers) wake();
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const abort = (): void => reject(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      this.#watchers.push(() => {
        signal.removeEventListener("abort", abort);
        resolve();
      });
    });
  }
}

/**
 * Starts a process and waits until it is ready.
 *
 * @throws {Error} with the process's output, when it ends or does not get ready in time; it is stopped then.
 */
export async function startProcess(options: ProcessOptions): Promise<ServerProcess> {
  const child = new Deno.Command(options.command, {
    args: [...options.args],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.gid === undefined ? {} : { gid: options.gid }),
    clearEnv: true,
    env: { PATH: Deno.env.get("PATH") ?? "", HOME: Deno.env.get("HOME") ?? "/", ...options.env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const process = new ServerProcess(options.name, child);
  try {
    await within(
      options.readyWithin ?? READY_WITHIN_MS,
      `${options.name} to get ready`,
      (signal) => options.ready?.(process, signal) ?? Promise.resolve(),
    );
  } catch (error) {
    await process.stop();
    throw new Error(`${options.name} did not start: ${String(error)}\n${process.log()}`, { cause: error });
  }
  return process;
}

/** Runs `work` with a signal that aborts after `ms`; the timer is gone when it returns. */
export async function within<T>(ms: number, what: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(new Error(`Waited ${ms} ms for ${what}`)), ms);
  try {
    return await work(controller.signal);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks a URL every 25 ms until `accepts` likes the answer or the signal aborts. For readiness, nothing else. */
export async function poll(
  url: string,
  accepts: (response: Response) => boolean,
  process: ServerProcess,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    if (process.ended) throw new Error(`${process.name} ended before it was ready`);
    try {
      const response = await fetch(url, { signal });
      await response.body?.cancel();
      if (accepts(response)) return;
    } catch (error) {
      if (signal.aborted) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** Runs a command to its end. */
export async function run(
  command: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  const output = await new Deno.Command(command, {
    args: [...args],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.env === undefined ? {} : { env: { ...options.env } }),
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  return { code: output.code, stdout: text.decode(output.stdout), stderr: text.decode(output.stderr) };
}

/** A TCP port of the loopback interface that was free a moment ago. Servers that can bind port 0 should do that. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
