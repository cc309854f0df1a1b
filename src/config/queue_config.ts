/**
 * OUTPOST_QUEUE…: the NATS servers that several daemons share their work on.
 *
 * @module
 */
import { Secret } from "../lib/secret.ts";
import type { Environment } from "./schema.ts";

/** The shared queue. */
export interface QueueConfig {
  /** `nats://host:port` or `tls://host:port` of each server, without user and password. */
  readonly servers: readonly string[];
  readonly user: string | undefined;
  readonly password: Secret | undefined;
  readonly token: Secret | undefined;
  /** Content of the .creds file. */
  readonly credentials: Secret | undefined;
  /** Authorities for NATS alone, in PEM. */
  readonly caCerts: readonly string[];
  /** What this process shows NATS, in PEM. */
  readonly clientCert: { readonly cert: string; readonly key: string } | undefined;
  /** Servers that keep each message; undefined leaves that as it is. */
  readonly replicas: number | undefined;
  /** What credentials that come with requests are sealed with, the same for all daemons. */
  readonly key: Secret | undefined;
}

/** Contents of the files that are named. */
export interface QueueFiles {
  readonly credentials: string | undefined;
  readonly ca: string | undefined;
  readonly clientCert: { readonly cert: string; readonly key: string } | undefined;
}

/** What says nothing without OUTPOST_QUEUE. */
const ALONE = [
  "OUTPOST_QUEUE_CREDS",
  "OUTPOST_QUEUE_CA",
  "OUTPOST_QUEUE_CLIENT_CERT",
  "OUTPOST_QUEUE_CLIENT_KEY",
  "OUTPOST_QUEUE_REPLICAS",
  "OUTPOST_QUEUE_KEY",
] as const;
const SCHEME = "OUTPOST_QUEUE must list URLs such as nats://host:4222 or tls://host:4222";
/** Shorter ones are guessed. */
const MIN_KEY_CHARS = 16;

/** Reads the settings; undefined without OUTPOST_QUEUE. Problems name the variable and hold no secret. */
export function queueConfig(env: Environment, files: QueueFiles, problems: string[]): QueueConfig | undefined {
  const { OUTPOST_QUEUE_REPLICAS: replicas, OUTPOST_QUEUE_KEY: key } = env;
  const given = (env.OUTPOST_QUEUE ?? "").split(",").map((part) => part.trim()).filter((part) => part !== "");
  if (given.length === 0) {
    for (const name of ALONE) {
      if (env[name] !== undefined) problems.push(`${name} is set without OUTPOST_QUEUE`);
    }
    return undefined;
  }
  const urls = given.flatMap((text) => parse(text) ?? []);
  if (urls.length < given.length) problems.push(SCHEME);
  const logins = new Set(urls.map(({ username, password }) => `${username}:${password}`).filter((one) => one !== ":"));
  if (logins.size > 1) problems.push("OUTPOST_QUEUE has different logins: its servers are those of one cluster");
  const login = urls.find(({ username }) => username !== "");
  if (login !== undefined && files.credentials !== undefined) {
    problems.push("OUTPOST_QUEUE has a login and OUTPOST_QUEUE_CREDS is set: keep one");
  }
  if (files.credentials !== undefined && !files.credentials.includes("-----BEGIN NATS USER JWT-----")) {
    problems.push("OUTPOST_QUEUE_CREDS names a file that is no credentials file of NATS");
  }
  if (key !== undefined && key.length < MIN_KEY_CHARS) {
    problems.push(`OUTPOST_QUEUE_KEY must have at least ${MIN_KEY_CHARS} characters, best 32 random bytes in base64`);
  }
  return {
    servers: urls.map(({ protocol, hostname, port }) => `${protocol}//${hostname}:${port === "" ? "4222" : port}`),
    ...loginOf(login),
    credentials: secret(files.credentials),
    caCerts: files.ca === undefined ? [] : [files.ca],
    clientCert: files.clientCert,
    replicas,
    key: secret(key),
  };
}

/** Every secret in them, for the redactor. */
export function queueSecrets(env: Environment, files: QueueFiles): readonly string[] {
  const urls = (env.OUTPOST_QUEUE ?? "").split(",").flatMap((text) => parse(text.trim()) ?? []);
  const passwords = urls.flatMap(({ username, password }) => password === "" ? [username] : [password]);
  // Seeds of NATS' keys are one word on a line of their own.
  const seeds = files.credentials?.match(/^S[A-Z2-7]{50,}$/gm) ?? [];
  const found = [...passwords, ...passwords.map(decoded), ...seeds, env.OUTPOST_QUEUE_KEY, files.credentials];
  return found.filter((one) => one !== undefined && one !== "") as string[];
}

/** One word before the @ is a token, as all clients of NATS read it. */
function loginOf(url: URL | undefined): Pick<QueueConfig, "user" | "password" | "token"> {
  if (url === undefined) return { user: undefined, password: undefined, token: undefined };
  const user = decoded(url.username);
  return url.password === ""
    ? { user: undefined, password: undefined, token: new Secret(user) }
    : { user, password: new Secret(decoded(url.password)), token: undefined };
}

function parse(text: string): URL | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  const plain = url.pathname === "" || url.pathname === "/";
  return /^(?:nats|tls):$/.test(url.protocol) && url.hostname !== "" && plain ? url : undefined;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function secret(value: string | undefined): Secret | undefined {
  return value === undefined ? undefined : new Secret(value);
}
