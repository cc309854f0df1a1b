/**
 * What the daemon is made of.
 *
 * @module
 */
import type { WebSocketFactory } from "./broker/mod.ts";
import type { Config } from "./config/load.ts";
import type { Clock, Fetch, Logger, RegistryCredentials, RegistryProvider } from "./core/ports.ts";
import type { Store } from "./core/store.ts";
import type { AnalysisOptions } from "./core/types.ts";
import type { ScanFunction } from "./jobs/scan_image.ts";
import type { IdleScans } from "./lib/idle_scans.ts";
import type { Redactor } from "./lib/redact.ts";
import type { DirectExchange } from "./net/direct.ts";
import type { AppDeps } from "./server/deps.ts";
import type { Metrics } from "./telemetry/metrics.ts";

/** What main.ts hands over. */
export interface DaemonParts {
  readonly config: Config;
  readonly credentials: RegistryCredentials | undefined;
  readonly registries: RegistryProvider;
  readonly scan: ScanFunction;
  /** Loads what scans need, which the first of them would wait for otherwise. @default nothing to load */
  readonly prepareScans?: (() => Promise<unknown>) | undefined;
  /** Scans that wait for other daemons. */
  readonly idle?: IdleScans | undefined;
  /** Changes whenever the same image would give another result. @default never */
  readonly resultVersion?: ((analysis: AnalysisOptions | undefined) => Promise<string>) | undefined;
  /** What outlives the process; without it all is in memory. */
  readonly store?: Store | undefined;
  /** The key that credentials of requests are sealed with. @default a random one, of this process alone */
  readonly sealKey?: (() => Promise<Uint8Array<ArrayBuffer>>) | undefined;
  /** Lets other work have its turn. */
  readonly pause?: (() => Promise<void>) | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly redactor: Redactor;
  readonly metrics: Metrics;
  /** Outbound requests with the operator's authorities: to the broker server, an external agent, callbacks. */
  readonly fetch: Fetch;
  /** Direct connections with the same authorities; undefined where a proxy may have to be asked. */
  readonly exchange?: DirectExchange | undefined;
  readonly webSocket: WebSocketFactory;
  /** Value of a variable for `${NAME}`. */
  readonly variable: (name: string) => string | undefined;
  /** Calls back with the first exception that nobody caught, until it is disposed of. */
  readonly onUncaught?: ((handle: (error: unknown) => void) => Disposable) | undefined;
  /** Ends the process. */
  readonly exit?: ((code: number) => void) | undefined;
  /** Aborts when the process is told to end. */
  readonly signal?: AbortSignal | undefined;
  readonly record: AppDeps["record"];
  readonly readFile: (path: string) => Promise<string>;
  /** Prints text for people, beside the log. */
  readonly print: (text: string) => void;
}
