/**
 * The composition root: reads the configuration, builds every object once, runs one command.
 *
 * @module
 */
import type { ArchiveOptions, CommandContext, CommandWorld, Toolbox, ToolboxOptions } from "./cli/context.ts";
import { endWithError } from "./cli/explain.ts";
import type { ArchiveLocation } from "./cli/source.ts";
import { runStart } from "./cli/start.ts";
import { type Config, loadConfig, type RegistryConfig } from "./config/load.ts";
import { OutpostError } from "./core/errors.ts";
import { LIMITS } from "./core/limits.ts";
import type { EventLoop, Fetch, ImageHandle, Logger, RegistryCredentials } from "./core/ports.ts";
import type { LayerFactsStore } from "./core/store.ts";
import type { AnalysisOptions } from "./core/types.ts";
import { VERSION } from "./core/version.ts";
import { startDaemon } from "./daemon.ts";
import type { ScanFunction } from "./jobs/scan_image.ts";
import type { LayersUnderWay } from "./layers/cached_engine.ts";
import { withDeadline } from "./lib/deadline.ts";
import { IdleScans } from "./lib/idle_scans.ts";
import { lazy } from "./lib/lazy.ts";
import { Redactor } from "./lib/redact.ts";
import { classifyTransportError } from "./net/classify.ts";
import { DirectWebSocket } from "./net/direct_web_socket.ts";
import { createDenoTransport } from "./net/deno_transport.ts";
import type { OpenTransport } from "./net/transport.ts";
import { DirectClient, type DirectRequest } from "./net/direct.ts";
import { parseCertificates } from "./net/tls.ts";
import {
  configuredCredentials,
  createRegistryProvider,
  encodeCredentials,
  type RegistryOptions,
} from "./registries/mod.ts";
import { createStorage } from "./storage.ts";
import { createLogger } from "./telemetry/log.ts";
import { Metrics } from "./telemetry/metrics.ts";
import {
  commandLoop,
  createWorld,
  dialer,
  eventLoop,
  keepLoopbackDirect,
  openDirectory,
  openFile,
  readDotEnv,
  signalsOfProcess,
  systemClock,
  uncaughtOfProcess,
  usesProxy,
} from "./world.ts";

/** Runs the command line of this process; returns the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  using signals = signalsOfProcess();
  // Not for `scan`: a directory that came from elsewhere must not choose where credentials go.
  if (args[0] === "start" || args[0] === "systemcheck") readDotEnv();
  keepLoopbackDirect();
  const world = createWorld(signals.signal);
  const context: CommandContext = {
    world,
    toolbox: (overrides, options) => createToolbox(world, overrides, options),
  };
  // The daemon lives long and needs neither the option parser nor the other commands: they stay out of its memory.
  if (args.length === 1 && args[0] === "start") {
    return await runStart(context).catch((error) => endWithError(world, error));
  }
  const { runCommandLine } = await import("./cli/command_line.ts");
  return await runCommandLine(context, args);
}

/**
 * Reads the configuration and builds the objects that commands share.
 *
 * @throws {ConfigError} with every problem.
 */
export async function createToolbox(
  world: CommandWorld,
  overrides: Readonly<Record<string, string>> = {},
  options: ToolboxOptions = {},
): Promise<Toolbox> {
  const env = options.isolated === true ? overrides : { ...Deno.env.toObject(), ...overrides };
  const config = await loadConfig({ env, readFile: world.readTextFile });
  const redactor = new Redactor();
  for (const secret of config.secrets) redactor.add(secret);
  const logger = makeLogger(world, config, redactor, options);
  const credentials = readCredentials(config.registry);
  redactor.add(credentials?.password);
  const encoded = credentials === undefined ? undefined : encodeCredentials(credentials);
  redactor.add(encoded);
  const metrics = new Metrics({ version: VERSION, deno: Deno.version.deno }, () => Deno.memoryUsage().rss);
  const transport = createDenoTransport({
    fetch: (request, init) => fetch(request, init),
    createHttpClient: Deno.createHttpClient,
  });
  const caCerts = config.tls.caCerts.flatMap((pem) => parseCertificates(pem, "CA_CERT"));
  // Opened by what uses them: every client reads the authorities anew, which the scan of a file would wait for.
  let outbound: OpenTransport | undefined;
  let socketClient: Deno.HttpClient | undefined;
  const openOutbound = (): OpenTransport => outbound ??= transport.open({ caCerts });
  const dial = dialer(caCerts);
  const direct = usesProxy(env) ? undefined : new DirectClient({ dial, clock: systemClock });
  const exchange = direct && ((request: DirectRequest) => direct.exchange(request));
  const registries = createRegistryProvider({
    transport,
    exchange,
    clock: systemClock,
    logger: logger.child("registry"),
    options: registryOptions(config, caCerts),
  });
  const storage = createStorage({ config, clock: systemClock, logger, metrics, newId: () => world.newId() });
  const loadScan = (loop: EventLoop, idle?: IdleScans): () => Promise<ScanFunction> =>
    lazy(async () =>
      await createScan({
        engine: config.engine,
        layers: await storage.openLayers(),
        onLayer: (origin) => metrics.layers.inc({ origin }),
        eventLoop: loop,
        idle,
      })
    );
  const variable = (name: string): string | undefined =>
    config.variable(name) ?? (name === "CR_CREDENTIALS" ? encoded : undefined);
  return {
    config,
    logger,
    scan: loading(loadScan(commandLoop)),
    registries,
    credentials,
    openArchive: openLocation,
    openStore: () => storage.openStore(),
    startDaemon: async () => {
      const { fetch } = openOutbound();
      if (caCerts.length > 0) socketClient = Deno.createHttpClient({ caCerts });
      const store = await storage.openStore();
      const idle = new IdleScans();
      const load = loadScan(eventLoop, idle);
      return await startDaemon({
        store,
        idle,
        resultVersion,
        pause: eventLoop.turn,
        sealKey: storage.sealKey,
        config,
        credentials,
        registries,
        scan: loading(load),
        prepareScans: load,
        clock: systemClock,
        logger,
        redactor,
        metrics,
        fetch,
        exchange,
        webSocket: (url, { headers }) => {
          const native = (): WebSocket =>
            new WebSocket(url, {
              headers: { ...headers },
              ...(socketClient === undefined ? {} : { client: socketClient }),
            });
          // Behind a proxy only Deno's own knows the way.
          return direct === undefined ? native() : new DirectWebSocket({
            url,
            headers,
            dial,
            fallback: native,
            maxBytes: LIMITS.brokerFrameBytes,
            clock: systemClock,
            randomBytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
          });
        },
        variable,
        signal: world.signal,
        // Not in the process of somebody else.
        ...(options.isolated === true ? {} : { onUncaught: uncaughtOfProcess, exit: Deno.exit }),
        record: recorder(config, redactor),
        readFile: world.readTextFile,
        print: (text) => world.stdout.write(text),
      }).catch(async (error: unknown) => {
        await store?.close();
        throw error;
      });
    },
    checkBrokerServer: (signal) => checkBrokerServer(config, openOutbound().fetch, signal),
    redact: (text) => redactor.text(text),
    close: () => {
      registries.close();
      outbound?.close();
      direct?.close();
      socketClient?.close();
      return Promise.resolve();
    },
  };
}

function makeLogger(world: CommandWorld, config: Config, redactor: Redactor, options: ToolboxOptions): Logger {
  const { stderr } = world;
  return createLogger({
    level: config.logLevel,
    debug: config.debug,
    form: options.log === undefined && !stderr.isTerminal ? "json" : "plain",
    redactor,
    clock: systemClock,
    write: options.log ?? ((line) => stderr.write(`${line}\n`)),
  });
}

function readCredentials(registry: RegistryConfig | undefined): RegistryCredentials | undefined {
  if (registry === undefined) return undefined;
  const { username, password, token, externalId, credentials, ...rest } = registry;
  return configuredCredentials({
    ...rest,
    username: username?.reveal(),
    password: password?.reveal(),
    token: token?.reveal(),
    externalId: externalId?.reveal(),
    credentials: credentials?.reveal(),
  });
}

/** Scans with the pipeline that is loaded when it is needed: most commands do without. */
function loading(load: () => Promise<ScanFunction>): ScanFunction {
  return async (options) => await (await load())(options);
}

/** What results follow from, beside the image: this program's version, and what is looked at. */
async function resultVersion(analysis: AnalysisOptions | undefined): Promise<string> {
  const { wantedFiles } = await import("./analyzers/applications.ts");
  return `${VERSION} ${wantedFiles(analysis).version}`;
}

/** Options of {@link createScan}. */
export interface ScanEngineOptions {
  /** What decompresses gzip layers, as OUTPOST_ENGINE. @default "auto" */
  readonly engine?: Config["engine"];
  /** Where facts of layers are kept; without it, they are not. */
  readonly layers?: LayerFactsStore | undefined;
  /** Told for each layer where its facts came from. */
  readonly onLayer?: ((origin: "read" | "stored" | "shared") => void) | undefined;
  /** For the pauses of long work. @default that of a command */
  readonly eventLoop?: EventLoop | undefined;
  /** Told which scans wait for other processes. */
  readonly idle?: IdleScans | undefined;
}

/** Loads the scan pipeline with its layer engine; the result may be called any number of times. */
export async function createScan(
  { engine: name = "auto", layers, onLayer, eventLoop: loop = commandLoop, idle }: ScanEngineOptions = {},
): Promise<ScanFunction> {
  const [
    { wantedFiles },
    { createLayerEngine },
    { budgetedEngine },
    { cachedEngine },
    { loadFileInflater, loadInflater },
    { scanImage },
    { MemoryBudget },
  ] = await Promise.all(
    [
      import("./analyzers/applications.ts"),
      import("./layers/engine.ts"),
      import("./layers/budgeted_engine.ts"),
      import("./layers/cached_engine.ts"),
      import("./layers/inflaters.ts"),
      import("./jobs/scan_image.ts"),
      import("./lib/memory_budget.ts"),
    ],
  );
  const inflater = await loadInflater(name);
  const fileInflater = await loadFileInflater(name);
  const underWay: LayersUnderWay = new Map();
  const budget = new MemoryBudget(LIMITS.layersInFlightBytes);
  return (options) => {
    const { patterns, extractors, version } = wantedFiles(options.analysis);
    const extraction = { extractors, inflater: fileInflater };
    const engine = createLayerEngine({ patterns, extraction, version, inflater, eventLoop: loop });
    const budgeted = budgetedEngine(engine, budget);
    const cached = cachedEngine({ engine: budgeted, store: layers, underWay, onLayer, activity: idle?.scan() });
    return scanImage({ ...options, engine: cached, clock: systemClock });
  };
}

function registryOptions(config: Config, caCerts: readonly string[]): RegistryOptions {
  const own = config.tls.registryCaCerts.flatMap((pem) => parseCertificates(pem, "CR_CA_FILE"));
  return {
    caCerts: [...caCerts, ...own],
    clientCertificate: config.tls.registryClientCert,
    authHosts: config.authHosts,
    namespaces: config.namespaces,
    userAgent: `Outpost/${VERSION}`,
  };
}

async function openLocation(location: ArchiveLocation, options: ArchiveOptions): Promise<ImageHandle & Disposable> {
  const { path, form, reference } = location;
  const { openArchive } = await import("./layers/archive.ts");
  const found = await Deno.stat(path).catch((cause: unknown) => {
    throw new OutpostError("ARCHIVE_INVALID", `Cannot open ${path}: there is no such file or directory`, {
      hint: "For an image in a registry, write registry:host/repository:tag.",
      cause,
    });
  });
  if (found.isDirectory) {
    const directory = openDirectory(path);
    const image = await openArchive({ kind: "directory", directory }, { ...options, reference });
    return Object.assign(image, { [Symbol.dispose]: () => {} });
  }
  const file = await openFile(path);
  try {
    const image = await openArchive({ kind: "file", file, format: form }, { ...options, reference });
    return Object.assign(image, { [Symbol.dispose]: () => file.close() });
  } catch (error) {
    file.close();
    throw error;
  }
}

async function checkBrokerServer(config: Config, outbound: Fetch, signal: AbortSignal): Promise<{ status: number }> {
  const url = new URL("/healthcheck", config.brokerServerUrl);
  const deadline = { clock: systemClock, ms: LIMITS.connectTimeoutMs, what: `${url.host}`, signal };
  return await withDeadline(deadline, async (limited) => {
    try {
      const response = await outbound(new Request(url, { signal: limited, redirect: "manual" }));
      await response.body?.cancel();
      return { status: response.status };
    } catch (error) {
      limited.throwIfAborted();
      throw classifyTransportError(error, url);
    }
  });
}

function recorder(
  config: Config,
  redactor: Redactor,
): ((name: string, exchange: unknown) => Promise<void>) | undefined {
  const directory = config.recordDir;
  if (directory === undefined) return undefined;
  return (name, exchange) => Deno.writeTextFile(`${directory}/${name}`, redactor.json(exchange), { mode: 0o600 });
}
