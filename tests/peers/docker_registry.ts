/**
 * Debian's docker-registry (distribution 2.8) on a free loopback port, in the ways in which operators run it.
 *
 * @module
 */
import { hashSync } from "bcryptjs";
import { peerPath } from "./mod.ts";
import { freePort, type ServerProcess, startProcess } from "./process.ts";
import { type Certificate, createCa } from "./tls.ts";
import { startTokenServer, type TokenServer, type TokenServerOptions } from "./token_server.ts";

/** How the registry is run. */
export interface DockerRegistryOptions {
  /** Who may come in: everybody, HTTP Basic, bearer tokens of our token server, or everybody over TLS with a private CA. */
  readonly mode?: "open" | "htpasswd" | "token" | "tls";
  /** TLS in a mode other than "tls". */
  readonly tls?: boolean;
  /** With TLS, asks clients for a certificate of this PEM bundle. */
  readonly clientCaPem?: string;
  readonly username?: string;
  readonly password?: string;
  /** Folder for the blobs; it stays. By default a temporary one, removed by `stop()`. */
  readonly storage?: string;
  /** Path before `/v2/`, such as `/artifactory/api/docker/local/`. */
  readonly prefix?: string;
  /** Origin to which blob downloads are redirected (307). Its path part is dropped by docker-registry. */
  readonly redirectTo?: string;
  /** Allows DELETE. Default true. */
  readonly deletes?: boolean;
  /** Options of the token server in token mode. */
  readonly token?: Pick<TokenServerOptions, "ttl" | "grants">;
  /** Further users (password by name) in the modes htpasswd and token. */
  readonly users?: Readonly<Record<string, string>>;
}

/** A running registry. */
export interface DockerRegistry extends AsyncDisposable {
  /** Origin and prefix, without a slash at the end: `${url}/v2/`. */
  readonly url: string;
  /** `127.0.0.1:port`. */
  readonly host: string;
  readonly port: number;
  /** Empty in the modes without login. */
  readonly username: string;
  readonly password: string;
  /** Root certificate to trust, when it speaks TLS. */
  readonly caPem: string | undefined;
  /** Folder of the blobs: `docker/registry/v2/blobs/sha256/ab/ab…/data`. */
  readonly storage: string;
  /** The token server, in token mode. */
  readonly tokens: TokenServer | undefined;
  /** Value of an Authorization header for HTTP Basic; undefined without login. */
  readonly basic: string | undefined;
  /** What it printed since its last start; one access line per request. */
  log(): string;
  /** Of the process that runs now. */
  pid(): number;
  /** Stops the process only; `restart()` brings it back. */
  pause(): Promise<void>;
  /** Stops it and starts it again on the same port with the same blobs. */
  restart(): Promise<void>;
  /** Stops it and removes its temporary files. */
  stop(): Promise<void>;
}

const SERVICE = "outpost-test-registry";
const ISSUER = "outpost-test-issuer";
const START_ATTEMPTS = 3;

/**
 * Starts a registry and waits until it listens.
 *
 * @throws {Error} when docker-registry is not installed (ask `peer("docker-registry")` first) or does not start.
 */
export async function startDockerRegistry(options: DockerRegistryOptions = {}): Promise<DockerRegistry> {
  const program = peerPath("docker-registry");
  const dir = await Deno.makeTempDir({ prefix: "outpost-registry-" });
  const setup = await prepare(dir, options);
  let process: ServerProcess | undefined;
  const start = async (): Promise<void> => {
    process = await startProcess({
      name: "docker-registry",
      command: program,
      args: ["serve", `${dir}/config.json`],
      ready: (started, signal) => started.printed(/listening on 127\.0\.0\.1:\d+/, signal),
    });
  };
  const pause = async (): Promise<void> => await process?.stop();
  const stop = async (): Promise<void> => {
    await pause();
    await setup.tokens?.[Symbol.asyncDispose]();
    await Deno.remove(dir, { recursive: true });
  };
  let port = 0;
  for (let attempt = 1; process === undefined; attempt++) {
    port = freePort();
    await Deno.writeTextFile(`${dir}/config.json`, JSON.stringify(setup.config(port)));
    try {
      await start();
    } catch (error) {
      // Another process may have taken the port between looking and listening.
      if (attempt < START_ATTEMPTS && String(error).includes("address already in use")) continue;
      await stop();
      throw error;
    }
  }
  const host = `127.0.0.1:${port}`;
  const login = setup.username !== "";
  return {
    url: `${setup.caPem === undefined ? "http" : "https"}://${host}${(options.prefix ?? "").replace(/\/+$/, "")}`,
    host,
    port,
    username: setup.username,
    password: setup.password,
    caPem: setup.caPem,
    storage: setup.storage,
    tokens: setup.tokens,
    basic: login ? `Basic ${new TextEncoder().encode(`${setup.username}:${setup.password}`).toBase64()}` : undefined,
    log: () => process?.log() ?? "",
    pid: () => process?.pid ?? 0,
    pause,
    restart: async () => {
      await pause();
      await start();
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

interface Setup {
  readonly username: string;
  readonly password: string;
  readonly caPem: string | undefined;
  readonly storage: string;
  readonly tokens: TokenServer | undefined;
  /** The configuration for a port; docker-registry reads YAML, of which JSON is a part. */
  config(port: number): unknown;
}

async function prepare(dir: string, options: DockerRegistryOptions): Promise<Setup> {
  const mode = options.mode ?? "open";
  const login = mode === "htpasswd" || mode === "token";
  const username = login ? options.username ?? "outpost" : "";
  const password = login ? options.password ?? 'pa:ss wörd%20"\\' : "";
  const users = login ? { ...options.users, [username]: password } : {};
  const storage = options.storage ?? `${dir}/blobs`;
  const tls = mode === "tls" || options.tls === true ? await writeTls(dir, options.clientCaPem) : undefined;
  const token = mode === "token" ? await tokenAuth(dir, users, options) : undefined;
  const auth = mode === "htpasswd" ? await htpasswdAuth(dir, users) : token?.auth;
  const redirect = options.redirectTo;
  return {
    username,
    password,
    caPem: tls?.caPem,
    storage,
    tokens: token?.server,
    config: (port) => ({
      version: "0.1",
      log: { level: "info", formatter: "text", accesslog: { disabled: false } },
      storage: { filesystem: { rootdirectory: storage }, delete: { enabled: options.deletes ?? true } },
      http: {
        addr: `127.0.0.1:${port}`,
        ...(options.prefix === undefined ? {} : { prefix: `${options.prefix.replace(/\/+$/, "")}/` }),
        ...(tls === undefined ? {} : { tls: tls.config }),
      },
      ...(auth === undefined ? {} : { auth }),
      ...(redirect === undefined
        ? {}
        : { middleware: { storage: [{ name: "redirect", options: { baseurl: redirect } }] } }),
    }),
  };
}

async function htpasswdAuth(dir: string, users: Readonly<Record<string, string>>): Promise<unknown> {
  // Cost 4 is bcrypt's least: these passwords protect nothing, and every request pays for it.
  const lines = Object.entries(users).map(([name, password]) => `${name}:${hashSync(password, 4)}\n`);
  await Deno.writeTextFile(`${dir}/htpasswd`, lines.join(""));
  return { htpasswd: { realm: "Outpost test registry", path: `${dir}/htpasswd` } };
}

async function tokenAuth(
  dir: string,
  users: Readonly<Record<string, string>>,
  options: DockerRegistryOptions,
): Promise<{ readonly auth: unknown; readonly server: TokenServer }> {
  const ca = await createCa("Outpost token root");
  const certificate = await ca.issue({ name: "Outpost token signer", hosts: [] });
  await Deno.writeTextFile(`${dir}/token-root.pem`, ca.certPem);
  const server = startTokenServer({ users, certificate, issuer: ISSUER, service: SERVICE, ...options.token });
  const rootcertbundle = `${dir}/token-root.pem`;
  return { auth: { token: { realm: server.realm, service: SERVICE, issuer: ISSUER, rootcertbundle } }, server };
}

async function writeTls(
  dir: string,
  clientCaPem: string | undefined,
): Promise<{ readonly caPem: string; readonly config: unknown }> {
  const ca = await createCa();
  const leaf: Certificate = await ca.issue();
  await Deno.writeTextFile(`${dir}/server.pem`, leaf.certPem);
  await Deno.writeTextFile(`${dir}/server.key`, leaf.keyPem);
  if (clientCaPem !== undefined) await Deno.writeTextFile(`${dir}/clients.pem`, clientCaPem);
  const config = {
    certificate: `${dir}/server.pem`,
    key: `${dir}/server.key`,
    ...(clientCaPem === undefined ? {} : { clientcas: [`${dir}/clients.pem`] }),
  };
  return { caPem: ca.certPem, config };
}
