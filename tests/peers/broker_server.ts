/**
 * Snyk's real broker server (npm: snyk-broker) on a free loopback port, with a recording stand-in for Snyk's API behind
 * it: what callers send to `/broker/<token>/…` goes to the connected client, and what the client calls back arrives at
 * the stand-in.
 *
 * @module
 */
import { NODE_24, peerPath } from "./mod.ts";
import { freePort, poll, type ServerProcess, startProcess } from "./process.ts";

/** Options of {@link startBrokerServer}. */
export interface BrokerServerOptions {
  /**
   * Runs the server as Snyk runs it for clients with OAuth: every handshake is checked against the stand-in
   * (`/hidden/brokers/connections/<id>/auth/validate`), answers come in under `/hidden/brokers/response-data/`.
   */
  readonly mandatoryAuth?: boolean;
  /** Bearer tokens that the stand-in accepts with `mandatoryAuth`; by default any. */
  readonly acceptsToken?: (bearer: string) => boolean;
  /** Answers a callback; by default `200 {"ok":true}`. */
  readonly answer?: (request: UpstreamRequest) => Response | Promise<Response>;
}

/** A request that reached the stand-in for Snyk's API. */
export interface UpstreamRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer>;
  /** The body as JSON; undefined when it is none. */
  readonly json: unknown;
}

/** The stand-in for Snyk's API. */
export interface Upstream {
  /** `http://127.0.0.1:port`. */
  readonly url: string;
  /** Callbacks so far, oldest first; handshake checks are not among them. */
  readonly requests: readonly UpstreamRequest[];
  /** The first callback that matches, come or coming; rejects when the signal aborts. */
  waitFor(predicate: (request: UpstreamRequest) => boolean, signal: AbortSignal): Promise<UpstreamRequest>;
}

/** A running broker server. */
export interface BrokerServer extends AsyncDisposable {
  /** `http://127.0.0.1:port`, BROKER_SERVER_URL for a client. */
  readonly url: string;
  readonly port: number;
  /** Process id of the server as it runs now. */
  readonly pid: number;
  readonly upstream: Upstream;
  /** Where a caller of the client behind `token` asks. The server knows tokens in lower case only. */
  brokerUrl(token: string, path: string): string;
  /** Resolves when at least `sockets` sockets of the token (default 1) have identified. */
  connected(token: string, signal: AbortSignal, sockets?: number): Promise<void>;
  /** Resolves once the server has noticed that no more than so many sockets of the token are left. */
  left(token: string, signal: AbortSignal, sockets: number): Promise<void>;
  /** What the server printed, JSON lines. */
  log(): string;
  /** Ends the server process as a crash does; `restart()` brings it back. */
  kill(): Promise<void>;
  /** Ends the process and starts it again on the same port. */
  restart(): Promise<void>;
  /** Stops the process where it is (SIGSTOP): its connections stay, and nobody is behind them. */
  pause(): void;
  /** Lets it go on (SIGCONT). */
  resume(): void;
  /** Stops server and stand-in and removes temporary files. */
  stop(): Promise<void>;
}

const START_ATTEMPTS = 3;

/**
 * Starts the server and its upstream, and waits until it answers.
 *
 * @throws {Error} when the peer is not installed (ask `peer("snyk-broker")` first) or does not start.
 */
export async function startBrokerServer(options: BrokerServerOptions = {}): Promise<BrokerServer> {
  const script = peerPath("snyk-broker");
  const dir = await Deno.makeTempDir({ prefix: "outpost-broker-" });
  const upstream = startUpstream(options);
  // The server's "public" rules let callers through to the client, its "private" rules let the client through to Snyk.
  // Snyk's own are not published; these let everything through, so that what is refused is refused by the client.
  const accept = {
    public: [{ method: "any", path: "/*" }],
    private: [{ method: "any", path: "/*", origin: upstream.url }],
  };
  await Deno.writeTextFile(`${dir}/accept.json`, JSON.stringify(accept));
  let process: ServerProcess | undefined;
  let port = 0;
  const start = async (): Promise<void> => {
    process = await startProcess({
      name: "snyk-broker server",
      command: NODE_24,
      args: [script, "server"],
      cwd: dir,
      env: environment(dir, port, upstream.url, options),
      ready: (started, signal) =>
        poll(`http://127.0.0.1:${port}/healthcheck`, (response) => response.status === 200, started, signal),
    });
  };
  const stop = async (): Promise<void> => {
    await process?.stop();
    await upstream.close();
    await Deno.remove(dir, { recursive: true });
  };
  for (let attempt = 1; process === undefined; attempt++) {
    port = freePort();
    try {
      await start();
    } catch (error) {
      // Another process may have taken the port between looking and listening.
      if (attempt < START_ATTEMPTS && String(error).includes("EADDRINUSE")) continue;
      await stop();
      throw error;
    }
  }
  const url = `http://127.0.0.1:${port}`;
  return {
    url,
    port,
    get pid() {
      return process?.pid ?? 0;
    },
    upstream,
    brokerUrl: (token, path) => `${url}/broker/${token.toLowerCase()}${path}`,
    connected: (token, signal, sockets = 1) =>
      connected(`${url}/connection-status/${token.toLowerCase()}`, sockets, signal),
    left: (token, signal, sockets) => left(`${url}/connection-status/${token.toLowerCase()}`, sockets, signal),
    log: () => process?.log() ?? "",
    kill: async () => await process?.kill(),
    restart: async () => {
      await process?.stop();
      await start();
    },
    pause: () => process === undefined ? undefined : Deno.kill(process.pid, "SIGSTOP"),
    resume: () => process === undefined ? undefined : Deno.kill(process.pid, "SIGCONT"),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function environment(
  dir: string,
  port: number,
  upstream: string,
  options: BrokerServerOptions,
): Readonly<Record<string, string>> {
  return {
    PORT: String(port),
    ACCEPT: `${dir}/accept.json`,
    BROKER_TYPE: "server",
    LOG_LEVEL: "info",
    // Where the server finds its own handlers: paths inside its package, class names of its modules.
    REMOTE_WORKLOAD_NAME: "BrokerWorkload",
    REMOTE_WORKLOAD_MODULE_PATH: "../broker-workload/websocketRequests",
    CLIENT_WORKLOAD_NAME: "BrokerClientRequestWorkload",
    CLIENT_WORKLOAD_MODULE_PATH: "../broker-workload/clientLocalRequests",
    ...(options.mandatoryAuth === true
      ? {
        BROKER_SERVER_MANDATORY_AUTH_ENABLED: "true",
        // Who is asked about tokens: of handshakes, and of renewals.
        GATEWAY_HOSTNAME: upstream,
        AUTHORIZATION_SERVICE: upstream,
      }
      : {}),
  };
}

/** Asks the server how many sockets it knows for a token: it has no event for that, so this polls. */
/** The token's sockets, of which one that has not identified itself yet has no version. */
async function socketsOf(statusUrl: string, signal: AbortSignal): Promise<readonly { readonly version?: string }[]> {
  signal.throwIfAborted();
  const response = await fetch(statusUrl, { signal });
  const { clients } = await response.json() as { readonly clients?: readonly { readonly version?: string }[] };
  return response.ok ? clients ?? [] : [];
}

async function connected(statusUrl: string, sockets: number, signal: AbortSignal): Promise<void> {
  while ((await socketsOf(statusUrl, signal)).filter(({ version }) => version).length < sockets) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function left(statusUrl: string, sockets: number, signal: AbortSignal): Promise<void> {
  while ((await socketsOf(statusUrl, signal)).length > sockets) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

interface RunningUpstream extends Upstream {
  close(): Promise<void>;
}

function startUpstream(options: BrokerServerOptions): RunningUpstream {
  const requests: UpstreamRequest[] = [];
  const waiting = new Set<(request: UpstreamRequest) => void>();
  const handle = async (request: Request): Promise<Response> => {
    const { pathname, search } = new URL(request.url);
    const body = new Uint8Array(await request.arrayBuffer());
    if (options.mandatoryAuth === true && pathname.endsWith("/auth/validate")) {
      const bearer = /^bearer (.+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
      const accepted = bearer !== undefined && (options.acceptsToken?.(bearer) ?? true);
      return new Response(null, { status: accepted ? 201 : 401 });
    }
    const record = {
      method: request.method,
      path: pathname + search,
      headers: Object.fromEntries(request.headers),
      body,
      json: parse(body),
    };
    requests.push(record);
    for (const look of [...waiting]) look(record);
    return await (options.answer?.(record) ?? Response.json({ ok: true }));
  };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, handle);
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    requests,
    waitFor: (predicate, signal) =>
      new Promise((resolve, reject) => {
        const come = requests.find(predicate);
        if (come !== undefined) return resolve(come);
        if (signal.aborted) return reject(signal.reason);
        const look = (request: UpstreamRequest): void => {
          if (!predicate(request)) return;
          waiting.delete(look);
          signal.removeEventListener("abort", abort);
          resolve(request);
        };
        const abort = (): void => {
          waiting.delete(look);
          reject(signal.reason);
        };
        waiting.add(look);
        signal.addEventListener("abort", abort, { once: true });
      }),
    close: () => server.shutdown(),
  };
}

function parse(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body));
  } catch {
    return undefined;
  }
}
