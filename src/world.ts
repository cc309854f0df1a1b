/**
 * The edge to Deno: terminals, files, signals, sockets and time, in the shapes that the rest of the program takes.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { CommandWorld, LocalServer, TextOutput } from "./cli/context.ts";
import { parseDotEnv } from "./config/environment.ts";
import type { Clock, EventLoop, FileDirectory, Logger, RandomAccess } from "./core/ports.ts";
import { VERSION } from "./core/version.ts";
import type { Dial } from "./net/direct.ts";

/** Exit code when a second signal cuts the stopping short (128 + SIGINT). */
const FORCED_EXIT = 130;

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  random: () => Math.random(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const abort = (): void => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener("abort", abort);
        resolve();
      }, ms);
      signal?.addEventListener("abort", abort, { once: true });
    }),
};

/**
 * Tokio, on which Deno runs, looks at sockets every 61 turns as long as there is other work (`event_interval`). An
 * answer may take two or three such looks, and so as many pauses; more turns would make each pause longer, of which most are for nothing.
 */
const TURNS = 64;

/**
 * Pauses between two collections of all garbage, which is about three quarters of a second of work on layers: left alone, V8
 * lets the little that outlives its young generation grow by half of the heap before it looks at it. One takes 14 ms.
 */
const PAUSES_PER_COLLECTION = 64;
let pauses = 0;

/**
 * This process's event loop. A pause takes 0.3 ms when nothing waits; by a timer of 0 ms it would take two, which work that
 * pauses often would lose. Where V8 was started with `--expose-gc`, as `start` is, garbage is collected in some.
 */
export const eventLoop: EventLoop = {
  now: () => Date.now(),
  turn: async () => {
    if (++pauses % PAUSES_PER_COLLECTION === 0) (globalThis as { gc?: () => void }).gc?.();
    for (let turn = 0; turn < TURNS; turn++) await oneTurn();
  },
};

/** The same in a command, which nobody asks anything: an interruption is seen within half a second. */
export const commandLoop: EventLoop = { now: () => Date.now(), turn: oneTurn };

function oneTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * Takes this machine's own addresses out of HTTP_PROXY, as Go's net/http does for Docker: health checks, a registry or a
 * broker client beside this process, and the demo must not ask a proxy for them. Before the first connection.
 */
export function keepLoopbackDirect(): void {
  const present = (Deno.env.get("NO_PROXY") ?? Deno.env.get("no_proxy") ?? "").split(",").map((part) => part.trim());
  if (present.includes("*")) return;
  Deno.env.set("NO_PROXY", [...present.filter((part) => part !== ""), "localhost", "127.0.0.0/8", "::1"].join(","));
}

/** Whether connections may have to be asked of a proxy, which only Deno's own clients do. */
export function usesProxy(env: Readonly<Record<string, string>>): boolean {
  return Object.entries(env).some(([name, value]) => /^(?:https?|all)_proxy$/i.test(name) && value !== "");
}

/** Opens connections with these authorities beside Deno's own. */
export function dialer(caCerts: readonly string[]): Dial {
  return async ({ protocol, hostname, port }) => {
    const host = hostname.replace(/^\[|\]$/g, "");
    if (protocol === "http:") {
      const plain = await Deno.connect({ hostname: host, port: port === "" ? 80 : Number(port) });
      plain.setNoDelay(true);
      return plain;
    }
    const tls = await Deno.connectTls({
      hostname: host,
      port: port === "" ? 443 : Number(port),
      caCerts: [...caCerts],
      alpnProtocols: ["http/1.1"],
    });
    try {
      await tls.handshake();
    } catch (error) {
      tls.close();
      throw error;
    }
    return tls;
  };
}

/**
 * Puts the variables of `.env` in the working directory into the environment, as Snyk's broker client does; what is set
 * already wins. Before anything reads the environment, since proxies may be named there.
 */
export function readDotEnv(): void {
  let text: string;
  try {
    text = Deno.readTextFileSync(".env");
  } catch {
    // There is none, or it is something else: Python keeps its environments in directories of that name.
    return;
  }
  for (const [name, value] of Object.entries(parseDotEnv(text))) {
    if (Deno.env.get(name) === undefined) Deno.env.set(name, value);
  }
}

const silentLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLogger,
};

/** Aborts at the first SIGINT or SIGTERM; the second ends the process at once. Disposing takes the handlers away. */
export function signalsOfProcess(): { readonly signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const handle = (): void => {
    if (controller.signal.aborted) Deno.exit(FORCED_EXIT);
    controller.abort(new DOMException("The process was interrupted", "AbortError"));
  };
  const names = ["SIGINT", "SIGTERM"] as const;
  for (const name of names) Deno.addSignalListener(name, handle);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      for (const name of names) Deno.removeSignalListener(name, handle);
    },
  };
}

/** Calls back with the first exception or rejection that nobody caught, instead of ending the process at once. */
export function uncaughtOfProcess(handle: (error: unknown) => void): Disposable {
  const stop = new AbortController();
  const options = { signal: stop.signal };
  let first = true;
  const caught = (event: Event, error: unknown): void => {
    event.preventDefault();
    if (first) handle(error);
    first = false;
  };
  globalThis.addEventListener("error", (event) => caught(event, event.error), options);
  globalThis.addEventListener("unhandledrejection", (event) => caught(event, event.reason), options);
  return { [Symbol.dispose]: () => stop.abort() };
}

/** The world of this process. */
export function createWorld(signal: AbortSignal): CommandWorld {
  const color = (Deno.env.get("NO_COLOR") ?? "") === "";
  return {
    stdout: output(Deno.stdout, color),
    stderr: output(Deno.stderr, color),
    clock: systemClock,
    signal,
    version: VERSION,
    readTextFile: (path) => Deno.readTextFile(path),
    writeFile,
    pathExists: (path) => Deno.stat(path).then(() => true, () => false),
    listen,
    fetchLocal: (request, abort) => fetch(request, { signal: abort, redirect: "manual" }),
    localStatus,
    upgradeWebSocket: (request) => Deno.upgradeWebSocket(request),
    newId: () => crypto.randomUUID(),
    silentLogger,
  };
}

function output(stream: typeof Deno.stdout, color: boolean): TextOutput {
  const isTerminal = stream.isTerminal();
  return {
    isTerminal,
    columns: isTerminal ? columns() : undefined,
    color: isTerminal && color,
    write: (text) => writeAll(stream, new TextEncoder().encode(text)),
  };
}

function columns(): number | undefined {
  try {
    return Deno.consoleSize().columns;
  } catch {
    // A terminal that does not tell its size, such as a serial line.
    return undefined;
  }
}

/** Writes everything, also to a pipe that takes it in parts; a reader that went away is not our failure. */
function writeAll(stream: typeof Deno.stdout, bytes: Uint8Array): void {
  let offset = 0;
  while (offset < bytes.length) {
    try {
      offset += stream.writeSync(bytes.subarray(offset));
    } catch (error) {
      if (error instanceof Deno.errors.BrokenPipe) return;
      if (!(error instanceof Deno.errors.WouldBlock)) throw error;
    }
  }
}

async function writeFile(path: string, chunks: Iterable<Uint8Array<ArrayBuffer>>): Promise<void> {
  using file = await Deno.create(path);
  const writer = file.writable.getWriter();
  for (const chunk of chunks) await writer.write(chunk);
  await writer.close();
}

async function listen(handler: (request: Request) => Response | Promise<Response>): Promise<LocalServer> {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, handler);
  await Promise.resolve();
  return { url: `http://127.0.0.1:${server.addr.port}`, close: () => server.shutdown() };
}

async function localStatus(url: string, signal: AbortSignal): Promise<number> {
  if (url.startsWith("https:")) return await tlsStatus(url, signal);
  const response = await fetch(url, { signal, redirect: "manual" });
  await response.body?.cancel();
  return response.status;
}

/**
 * By node:https, since fetch checks certificates without exception. `ca` is empty because nothing is checked against it:
 * by default the system's store would be read, which the daemon has no permission for.
 */
async function tlsStatus(url: string, signal: AbortSignal): Promise<number> {
  const { get } = await import("node:https");
  return await new Promise((resolve, reject) => {
    const request = get(url, { ca: [], rejectUnauthorized: false, agent: false, signal }, (response) => {
      response.resume();
      response.once("end", () => resolve(response.statusCode ?? 0));
      response.once("error", reject);
    });
    request.once("error", reject);
  });
}

/** A file for random access; closing is the caller's. */
export async function openFile(path: string): Promise<RandomAccess & { close(): void }> {
  const file = await Deno.open(path);
  const { size } = await file.stat();
  return {
    size,
    read: async (buffer, offset) => {
      // One seek and one read without a turn of the event loop between them: readers may interleave.
      file.seekSync(offset, Deno.SeekMode.Start);
      return await Promise.resolve(file.readSync(buffer) ?? 0);
    },
    close: () => file.close(),
  };
}

/** Files below a directory. */
export function openDirectory(path: string): FileDirectory {
  return {
    open: (name) =>
      openFile(`${path}/${name}`).catch((error: unknown) => {
        if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return undefined;
        throw error;
      }),
  };
}
