/**
 * What a command gets from main.ts: the outside world, and the objects of the composition root.
 *
 * @module
 */
import type { Config } from "../config/load.ts";
import type { Clock, ImageHandle, Logger, RegistryCredentials, RegistryProvider } from "../core/ports.ts";
import type { Store } from "../core/store.ts";
import type { Platform } from "../core/types.ts";
import type { ScanFunction } from "../jobs/scan_image.ts";
import type { Secret } from "../lib/secret.ts";
import type { ArchiveLocation } from "./source.ts";

/** Exit codes, the same for every command (README "Exit codes"). */
export const EXIT = {
  ok: 0,
  error: 1,
  policy: 2,
  incomplete: 3,
  database: 4,
  usage: 64,
  interrupted: 130,
} as const;

/** A terminal or a pipe to write to. */
export interface TextOutput {
  readonly isTerminal: boolean;
  /** Columns; undefined for a pipe. */
  readonly columns: number | undefined;
  readonly color: boolean;
  write(text: string): void;
}

/** The process around a command. */
export interface CommandWorld {
  readonly stdout: TextOutput;
  readonly stderr: TextOutput;
  readonly clock: Clock;
  /** Aborts at the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  readonly version: string;
  readTextFile(path: string): Promise<string>;
  writeFile(path: string, chunks: Iterable<Uint8Array<ArrayBuffer>>): Promise<void>;
  /** Whether a file or directory is there. */
  pathExists(path: string): Promise<boolean>;
  /** Serves HTTP on a free loopback port. */
  listen(handler: (request: Request) => Response | Promise<Response>): Promise<LocalServer>;
  /** Fetches from a server on this machine. */
  fetchLocal(request: string | Request, signal: AbortSignal): Promise<Response>;
  /**
   * HTTP status of a GET to a server on this machine. Over TLS its certificate is not checked: it names the host that
   * others use, and nothing secret is sent.
   */
  localStatus(url: string, signal: AbortSignal): Promise<number>;
  upgradeWebSocket(request: Request): { readonly socket: WebSocket; readonly response: Response };
  /** A fresh random UUID. */
  newId(): string;
  /** For parts whose lines nobody wants to see. */
  readonly silentLogger: Logger;
}

/** A server of {@link CommandWorld.listen}. */
export interface LocalServer {
  readonly url: string;
  close(): Promise<void>;
}

/** Objects that need configuration. */
export interface Toolbox {
  readonly config: Config;
  readonly logger: Logger;
  readonly scan: ScanFunction;
  readonly registries: RegistryProvider;
  /** The configured registry; undefined when there is none. */
  readonly credentials: RegistryCredentials | undefined;
  /** Opens an archive; disposing closes its file. */
  openArchive(location: ArchiveLocation, options: ArchiveOptions): Promise<ImageHandle & Disposable>;
  /** Opens the jobs of the shared queue, or those of the data directory for this process alone; undefined without both. */
  openStore(): Promise<Store | undefined>;
  /** Starts the daemon and resolves when it listens. */
  startDaemon(): Promise<Daemon>;
  /** Asks the broker server whether it is there, with the daemon's own TLS and proxy settings. */
  checkBrokerServer(signal: AbortSignal): Promise<{ readonly status: number }>;
  /** Masks secrets in text that came from elsewhere. */
  redact(text: string): string;
  close(): Promise<void>;
}

/** Options of {@link Toolbox.openArchive}. */
export interface ArchiveOptions {
  readonly platform: Platform | undefined;
  readonly signal: AbortSignal;
}

/** A running daemon. */
export interface Daemon {
  /** Base URL of the HTTP surface. */
  readonly url: string;
  /** Resolves when a broker socket is open; at once when there is no broker. */
  ready(signal: AbortSignal): Promise<void>;
  /** Stops intake, lets running work finish until the deadline, closes everything. */
  stop(): Promise<void>;
}

/** Everything a command needs. */
export interface CommandContext {
  readonly world: CommandWorld;
  /** Reads the configuration (`overrides` win over the environment) and builds the objects. Rejects with a ConfigError. */
  toolbox(overrides?: Readonly<Record<string, string>>, options?: ToolboxOptions): Promise<Toolbox>;
}

/** Options of {@link CommandContext.toolbox}. */
export interface ToolboxOptions {
  /** True to read nothing but the overrides: the demo runs the same whatever the environment holds. */
  readonly isolated?: boolean;
  /** Receives log lines instead of stderr. */
  readonly log?: (line: string) => void;
}

/** Credentials given on the command line. */
export interface LoginOptions {
  readonly username?: string | undefined;
  readonly password?: Secret | undefined;
}
