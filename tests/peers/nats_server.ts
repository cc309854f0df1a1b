/**
 * Debian's nats-server (2.9) with JetStream on free loopback ports: one server, or a cluster.
 *
 * @module
 */
import { jetstreamManager } from "@nats-io/jetstream";
import { credsAuthenticator, type NodeConnectionOptions } from "@nats-io/transport-node";
import { connect } from "../../src/store/nats_sockets.ts";
import { peerPath } from "./mod.ts";
import { freePort, type ServerProcess, startProcess, within } from "./process.ts";
import type { NatsOperator } from "./nats_jwt.ts";
import { createCa } from "./tls.ts";

/** How the server is run. */
export interface NatsServerOptions {
  /** Both, or everybody may come in. */
  readonly username?: string;
  readonly password?: string;
  /** What clients have to say, in place of user and password. */
  readonly token?: string;
  /** Lets in whoever has a credentials file of it, in place of user and password. */
  readonly operator?: NatsOperator;
  /** Speaks TLS only, with a certificate of a private CA. */
  readonly tls?: boolean;
  /** Asks clients for a certificate of the same CA too. */
  readonly clientCertificates?: boolean;
  /** Folder of the streams; it stays. By default a temporary one, removed by `stop()`. */
  readonly storage?: string;
  /** Has every write fsynced (`sync_interval: always`); nats-server 2.10 and later know it. */
  readonly syncAlways?: boolean;
  /** Most bytes that JetStream may store; a full one refuses writes. Default 1 GiB. */
  readonly maxStoreBytes?: number;
}

/** A running server. */
export interface NatsServer extends AsyncDisposable {
  /** `nats://127.0.0.1:port`, or `tls://…`; without user and password. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Empty without login. */
  readonly username: string;
  readonly password: string;
  /** Root certificate to trust, and what a client needs where it is asked for a certificate. */
  readonly caPem: string | undefined;
  readonly client: { readonly certPem: string; readonly keyPem: string } | undefined;
  readonly storage: string;
  /** Options for a client of this server. */
  readonly connectOptions: NodeConnectionOptions;
  /** Process id, to stop and continue it by signals. */
  pid(): number;
  /** What it printed since its last start. */
  log(): string;
  /** Stops the process only, in order; `restart()` brings it back. */
  pause(): Promise<void>;
  /** Ends the process with SIGKILL; `restart()` brings it back. */
  kill(): Promise<void>;
  /** Stops it, if it runs, and starts it again on the same port with the same streams. */
  restart(): Promise<void>;
  /** Stops it and removes its temporary files. */
  stop(): Promise<void>;
}

/** Servers that replicate streams among each other. */
export interface NatsCluster extends AsyncDisposable {
  readonly servers: readonly NatsServer[];
  /** The URLs of all, separated by commas. */
  readonly url: string;
}

const START_ATTEMPTS = 3;
/** An election that a busy server missed is held again after 4 to 9 s each. */
const PLACED_WITHIN_MS = 120_000;
const GIB = 1 << 30;

/**
 * Starts a server and waits until JetStream answers.
 *
 * @throws {Error} when nats-server is not installed (ask `peer("nats-server")` first) or does not start.
 */
export async function startNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  const dir = await Deno.makeTempDir({ prefix: "outpost-nats-" });
  const setup = await prepare(dir, options);
  for (let attempt = 1;; attempt++) {
    const server = serverAt(freePort(), dir, setup);
    try {
      await server.start();
      return server;
    } catch (error) {
      // Another process may have taken the port between looking and listening.
      if (attempt < START_ATTEMPTS && String(error).includes("address already in use")) continue;
      await server.stop();
      throw error;
    }
  }
}

/** Starts `size` servers that know each other, and waits until JetStream has a leader and keeps streams on all of them. */
export async function startNatsCluster(size = 3, options: NatsServerOptions = {}): Promise<NatsCluster> {
  const routePorts = Array.from({ length: size }, freePort);
  const servers = await Promise.all(routePorts.map(async (port, index) => {
    const dir = await Deno.makeTempDir({ prefix: "outpost-nats-" });
    const routes = routePorts.filter((other) => other !== port).map((other) => `nats://127.0.0.1:${other}`);
    const cluster = { server_name: `server-${index}`, cluster: { name: "outpost", host: "127.0.0.1", port, routes } };
    return serverAt(freePort(), dir, await prepare(dir, options, cluster));
  }));
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  try {
    await Promise.all(servers.map((server) => server.start()));
    const [first] = servers;
    if (first !== undefined) await within(PLACED_WITHIN_MS, "all servers", (signal) => places(first, size, signal));
  } catch (error) {
    await stop();
    throw error;
  }
  return { servers, url: servers.map(({ url }) => url).join(","), [Symbol.asyncDispose]: stop };
}

interface Setup {
  readonly username: string;
  readonly password: string;
  readonly caPem: string | undefined;
  readonly client: { readonly certPem: string; readonly keyPem: string } | undefined;
  /** How a client logs in. */
  readonly login: Pick<NodeConnectionOptions, "user" | "pass" | "token" | "authenticator">;
  readonly storage: string;
  /** The configuration for a port: JSON is a part of what nats-server reads. */
  config(port: number): unknown;
}

async function prepare(
  dir: string,
  options: NatsServerOptions,
  cluster: Readonly<Record<string, unknown>> = {},
): Promise<Setup> {
  const { username = "", password = "", token, operator, syncAlways, maxStoreBytes = GIB } = options;
  const storage = options.storage ?? `${dir}/streams`;
  const tls = options.tls === true || options.clientCertificates === true ? await writeTls(dir, options) : undefined;
  return {
    username,
    password,
    caPem: tls?.caPem,
    client: tls?.client,
    login: operator === undefined
      ? { ...(username === "" ? {} : { user: username, pass: password }), ...(token === undefined ? {} : { token }) }
      : { authenticator: credsAuthenticator(new TextEncoder().encode(operator.user())) },
    storage,
    config: (port) => ({
      host: "127.0.0.1",
      port,
      jetstream: {
        store_dir: storage,
        max_file_store: maxStoreBytes,
        ...(syncAlways === true ? { sync_interval: "always" } : {}),
      },
      ...(username === "" ? {} : { authorization: { user: username, password } }),
      ...(token === undefined ? {} : { authorization: { token } }),
      ...operator?.config,
      ...(tls === undefined ? {} : { tls: tls.config }),
      ...cluster,
    }),
  };
}

async function writeTls(dir: string, { clientCertificates = false }: NatsServerOptions): Promise<{
  readonly caPem: string;
  readonly client: Setup["client"];
  readonly config: unknown;
}> {
  const ca = await createCa();
  const leaf = await ca.issue();
  const client = clientCertificates ? await ca.issue({ name: "Outpost test client" }) : undefined;
  await Deno.writeTextFile(`${dir}/ca.pem`, ca.certPem);
  await Deno.writeTextFile(`${dir}/server.pem`, leaf.certPem);
  await Deno.writeTextFile(`${dir}/server.key`, leaf.keyPem);
  const config = {
    cert_file: `${dir}/server.pem`,
    key_file: `${dir}/server.key`,
    ca_file: `${dir}/ca.pem`,
    verify: clientCertificates,
  };
  return { caPem: ca.certPem, client, config };
}

function serverAt(port: number, dir: string, setup: Setup): NatsServer & { start(): Promise<void> } {
  const { config, login: _, ...known } = setup;
  const host = `127.0.0.1:${port}`;
  const connectOptions = clientOptions(port, setup);
  let process: ServerProcess | undefined;
  const pause = async (): Promise<void> => {
    await process?.stop();
  };
  const start = async (): Promise<void> => {
    await Deno.writeTextFile(`${dir}/nats-${port}.conf`, JSON.stringify(config(port)));
    process = await startProcess({
      name: "nats-server",
      command: peerPath("nats-server"),
      args: ["--config", `${dir}/nats-${port}.conf`],
      ready: (started, signal) => answers(connectOptions, started, signal),
    });
  };
  const stop = async (): Promise<void> => {
    await pause();
    await Deno.remove(dir, { recursive: true }).catch(() => {});
  };
  return {
    ...known,
    url: `${setup.caPem === undefined ? "nats" : "tls"}://${host}`,
    host,
    port,
    connectOptions,
    pid: () => process?.pid ?? 0,
    log: () => process?.log() ?? "",
    pause,
    kill: async () => await process?.kill(),
    start,
    restart: async () => {
      await pause();
      await start();
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function clientOptions(port: number, { login, caPem, client }: Setup): NodeConnectionOptions {
  return {
    servers: `127.0.0.1:${port}`,
    ...login,
    ...(caPem === undefined
      ? {}
      : { tls: { ca: caPem, ...(client === undefined ? {} : { cert: client.certPem, key: client.keyPem }) } }),
  };
}

/** Makes a stream with a replica on each server, and takes it away: a leader is there before it has heard of all others. */
async function places({ connectOptions }: NatsServer, replicas: number, signal: AbortSignal): Promise<void> {
  const connection = await connect({ ...connectOptions, reconnect: false });
  try {
    const { streams } = await jetstreamManager(connection);
    for (;;) {
      signal.throwIfAborted();
      try {
        await streams.add({ name: "placed", subjects: ["placed"], num_replicas: replicas });
        await streams.delete("placed");
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
    }
  } finally {
    await connection.close();
  }
}

/** Connects until JetStream answers: in a cluster that is once it has a leader. */
async function answers(options: NodeConnectionOptions, process: ServerProcess, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    if (process.ended) throw new Error(`nats-server ended before it was ready:\n${process.log()}`);
    try {
      const connection = await connect({ ...options, reconnect: false, timeout: 1_000 });
      try {
        await jetstreamManager(connection, { timeout: 1_000 });
        return;
      } finally {
        await connection.close();
      }
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
}
