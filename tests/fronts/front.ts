/**
 * A flavour front: loopback servers in front of a real docker-registry 2.8, which serves the bytes. A front's definition
 * fakes what makes a vendor different: challenges, token endpoint, page caps, links with their bugs, error bodies, native
 * APIs. Everything that clients send is recorded.
 *
 * A front has *sites*, each an origin of its own with a server of its own: the registry, a token server, an API, a blob
 * store. Outpost reaches them under the vendors' real origins (`https://auth.docker.io`) through {@link Front.transport},
 * so that its rules about origins see what they see in production; other clients (skopeo) go to `127.0.0.1` directly.
 * {@link FrontCall.originOf} gives a site's origin as the client at hand must see it.
 *
 * @module
 */
import type { RegistryCredentials } from "../../src/core/ports.ts";
import { createDenoTransport } from "../../src/net/deno_transport.ts";
import type { HttpTransport, TransportOptions } from "../../src/net/transport.ts";
import type { RegistryOptions, RegistryType } from "../../src/registries/mod.ts";
import type { ErrorCode } from "../../src/core/errors.ts";
import { type DockerRegistry, startDockerRegistry } from "../peers/docker_registry.ts";
import type { Fault } from "./faults.ts";
import { Library } from "./library.ts";
import { basicOf, SecretFinder } from "./secrets.ts";

/** A request on its way through a front. */
export interface FrontCall {
  readonly site: string;
  readonly method: string;
  /** As the client sees it. */
  readonly url: URL;
  readonly headers: Headers;
  readonly body: string;
  /** Login of `Authorization: Basic`. */
  readonly basic: { readonly username: string; readonly password: string } | undefined;
  /** Token of `Authorization: Bearer`. */
  readonly bearer: string | undefined;
  /** The origin under which this client reaches a site. */
  originOf(site: string): string;
}

/** What a front remembers of a request. */
export interface FrontRecord {
  readonly site: string;
  /** Outpost, through the transport, or another client. */
  readonly client: "outpost" | "other";
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Names of the known secrets that stand anywhere in it, plainly or encoded. */
  readonly secrets: readonly string[];
  /** Status of the answer; 0 while there is none. */
  status: number;
}

/** One origin of a front. */
export interface Site {
  /** `https://host[:port]` under which Outpost reaches it. */
  readonly origin: string;
  /** Names of the secrets that may come here; `token` stands for all issued ones. None by default. */
  readonly accepts?: readonly string[];
  handle(call: FrontCall): Response | Promise<Response>;
}

/** A vendor to fake. */
export interface FrontDefinition {
  readonly type: RegistryType;
  /** Told in test names when a type has several fronts. */
  readonly variant?: string;
  /** The login that works; `username` and `password` are what {@link Front.login} compares with. */
  readonly credentials: RegistryCredentials;
  /** What makes the login wrong; a wrong password by default. */
  readonly wrong?: Partial<RegistryCredentials>;
  readonly options?: RegistryOptions;
  /** Names of the repositories that the suite makes, for `at` from 0, sorted as their numbers are. */
  repository(at: number): string;
  /** A repository's name in docker-registry's storage, where it is another than in {@link FrontDefinition.repository}. */
  stored?(name: string): string;
  /** Names per page of the repository list, and of tag lists, at which the vendor cuts. */
  readonly catalogPage: number;
  readonly tagsPage: number;
  /** Whether the type tells when a tag was pushed. */
  readonly dates: boolean;
  /** What an expired login gives; by default EXPIRED_CREDENTIALS. Null: the vendor's logins do not expire. */
  readonly expired?: ErrorCode | null;
  /** Whether there is no right to list apart from the right to pull. */
  readonly noListRight?: false;
  /** Where blobs come from; by default the registry itself. */
  readonly blobs?: "direct" | "redirect";
  /** The site that serves `/v2` to skopeo, `registry` by default; null where it cannot pull. */
  readonly skopeo?: string | null;
  /** `user:password` for skopeo, where that is not the login of `credentials`. */
  readonly skopeoLogin?: string;
  /** The origins. `sink` (a blob store) and `elsewhere` (a host that must get nothing) are added to them. */
  sites(front: Front): Readonly<Record<string, Site>>;
}

/** Circumstances that a test switches; definitions look at them. */
export interface FrontState {
  /** Whether the vendor calls the login expired. */
  expired: boolean;
  /** Whether the account may list repositories. */
  mayList: boolean;
}

/** A token that a front issued. */
export interface IssuedToken {
  readonly value: string;
  readonly scopes: readonly string[];
  /** What a registry answers to a token that it does not take any more. */
  revoked: boolean;
}

interface Injected {
  readonly match: RegExp;
  readonly fault: Fault;
  left: number;
}

const ORIGIN_HEADER = "x-front-origin";
const HOP_HEADERS = new Set(["host", "connection", "accept-encoding", "authorization", "cookie", "content-length"]);

/** A running front. Stop it with `await using` or {@link Front.stop}. */
export class Front implements AsyncDisposable {
  readonly definition: FrontDefinition;
  readonly library: Library;
  readonly state: FrontState = { expired: false, mayList: true };
  /** Every request, oldest first. */
  readonly records: FrontRecord[] = [];
  /** Most requests of the registry site that were open at once. */
  mostInFlight = 0;
  readonly #registry: DockerRegistry;
  readonly #sites = new Map<string, Site>();
  readonly #servers = new Map<string, Deno.HttpServer<Deno.NetAddr>>();
  readonly #tokens = new Map<string, IssuedToken>();
  readonly #secrets = new SecretFinder();
  #faults: Injected[] = [];
  #inFlight = 0;

  constructor(definition: FrontDefinition, library: Library, registry: DockerRegistry) {
    this.definition = definition;
    this.library = library;
    this.#registry = registry;
    const { username, password, token } = definition.credentials;
    for (const [name, value] of Object.entries({ username, password, "api-token": token })) {
      if (value !== undefined) this.#secrets.add(name, value);
    }
    const sites = { ...this.#ownSites(), ...definition.sites(this) };
    for (const [name, site] of Object.entries(sites)) {
      this.#sites.set(name, site);
      const serve = (request: Request): Promise<Response> => this.#serve(name, request);
      // A body that breaks off on purpose is no error to report.
      const onError = (): Response => new Response(null, { status: 500 });
      this.#servers.set(name, Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {}, onError }, serve));
    }
  }

  /** Loopback host and port of a site, for clients that come directly. */
  host(site = "registry"): string {
    const server = this.#servers.get(site);
    if (server === undefined) throw new Error(`The front has no site ${site}`);
    return `127.0.0.1:${server.addr.port}`;
  }

  /** The site under its name. */
  site(name: string): Site {
    const site = this.#sites.get(name);
    if (site === undefined) throw new Error(`The front has no site ${name}`);
    return site;
  }

  /** A transport on which the sites' origins lead here, and all others to nowhere. */
  transport(): HttpTransport {
    const real = createDenoTransport({ fetch, createHttpClient: Deno.createHttpClient });
    return {
      open: (options: TransportOptions) => {
        const inner = real.open(options);
        return { fetch: (request) => this.#send(request, inner.fetch), close: () => inner.close() };
      },
    };
  }

  /** Puts a fault before the next answers to requests that look like `site METHOD /path?query`. */
  inject(match: RegExp, fault: Fault, times = 1): void {
    this.#faults.push({ match, fault, left: times });
  }

  /** Takes circumstances and faults back; records stay. */
  reset(): void {
    this.#faults = [];
    this.state.expired = false;
    this.state.mayList = true;
    this.mostInFlight = 0;
  }

  /** Requests of Outpost from the `from`-th record on, as `site METHOD /path?query`. */
  lines(from = 0): readonly string[] {
    return this.records.slice(from).filter(({ client }) => client === "outpost")
      .map(({ site, method, path }) => `${site} ${method} ${path}`);
  }

  /** Names a further secret, for {@link FrontRecord.secrets}. */
  addSecret(name: string, value: string): void {
    this.#secrets.add(name, value);
  }

  /** Remembers a token, by default an opaque one, as given to somebody who may do what the scopes say. */
  issue(scopes: readonly string[], value = `tok.${crypto.randomUUID()}`): IssuedToken {
    const token: IssuedToken = { value, scopes, revoked: false };
    this.#tokens.set(value, token);
    this.#secrets.add("token", value);
    return token;
  }

  /** The token that a call shows, unless it is unknown. */
  token(call: FrontCall): IssuedToken | undefined {
    return call.bearer === undefined ? undefined : this.#tokens.get(call.bearer);
  }

  /** Makes all tokens that were issued so far worthless. */
  revokeTokens(): void {
    for (const token of this.#tokens.values()) token.revoked = true;
  }

  /** What HTTP Basic of a call is worth. */
  login(call: FrontCall): "ok" | "none" | "wrong" {
    if (call.basic === undefined) return "none";
    const { username, password } = this.definition.credentials;
    return call.basic.username === username && call.basic.password === password ? "ok" : "wrong";
  }

  /**
   * Lets the real docker-registry answer.
   *
   * @param path Path and query there; by default the call's own.
   */
  async serve(call: FrontCall, path = call.url.pathname + call.url.search): Promise<Response> {
    const blob = /\/blobs\/(sha256:[0-9a-f]{64})$/.exec(path.split("?")[0] ?? "");
    if (blob !== null && this.definition.blobs === "redirect") {
      const location = `${call.originOf("sink")}${path}?X-Signature=${crypto.randomUUID()}`;
      return new Response(null, { status: 307, headers: { location } });
    }
    return await this.#backend(call, path);
  }

  /** Stops all servers and removes the storage. */
  async stop(): Promise<void> {
    await Promise.all([...this.#servers.values()].map((server) => server.shutdown()));
    await this.#registry.stop();
    await Deno.remove(this.library.storage, { recursive: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #ownSites(): Readonly<Record<string, Site>> {
    return {
      sink: {
        origin: "https://blobs.store.example",
        handle: (call) => call.headers.has("authorization") ? oneAuthOnly() : this.#backend(call, call.url.pathname),
      },
      elsewhere: { origin: "https://elsewhere.example", handle: signInPage },
    };
  }

  async #backend({ method, headers }: FrontCall, path: string): Promise<Response> {
    const kept = [...headers].filter(([name]) => !HOP_HEADERS.has(name));
    const sent = { method, headers: [...kept, ["accept-encoding", "identity"] as [string, string]] };
    const answer = await fetch(`${this.#registry.url}${path}`, { ...sent, redirect: "manual" });
    return new Response(answer.body, { status: answer.status, headers: answer.headers });
  }

  async #send(request: Request, inner: (request: Request) => Promise<Response>): Promise<Response> {
    const url = new URL(request.url);
    const [name] = [...this.#sites].find(([, { origin }]) => origin === url.origin) ?? [];
    if (name === undefined) {
      throw new TypeError("fetch failed", { cause: new Error(`dns error: no such host ${url.hostname}`) });
    }
    const headers = new Headers(request.headers);
    headers.set(ORIGIN_HEADER, url.origin);
    const body = request.method === "POST" ? await request.text() : undefined;
    const init = { method: request.method, headers, redirect: "manual" as const, signal: request.signal };
    const target = `http://${this.host(name)}${url.pathname}${url.search}`;
    return await inner(new Request(target, body === undefined ? init : { ...init, body }));
  }

  async #serve(site: string, request: Request): Promise<Response> {
    const call = await this.#read(site, request);
    const record = this.#record(call, request.headers.has(ORIGIN_HEADER) ? "outpost" : "other");
    this.records.push(record);
    if (site === "registry") this.mostInFlight = Math.max(this.mostInFlight, ++this.#inFlight);
    try {
      const response = await this.#answer(call, record);
      record.status = response.status;
      return response;
    } finally {
      if (site === "registry") this.#inFlight--;
    }
  }

  async #answer(call: FrontCall, { method, path }: FrontRecord): Promise<Response> {
    const line = `${call.site} ${method} ${path}`;
    const injected = this.#faults.find(({ match, left }) => left > 0 && match.test(line));
    const next = async (): Promise<Response> => await this.site(call.site).handle(call);
    if (injected === undefined) return await next();
    injected.left--;
    return await injected.fault(call, next);
  }

  async #read(site: string, request: Request): Promise<FrontCall> {
    const url = new URL(request.url);
    const virtual = request.headers.get(ORIGIN_HEADER);
    const headers = new Headers(request.headers);
    headers.delete(ORIGIN_HEADER);
    const authorization = headers.get("authorization") ?? "";
    return {
      site,
      method: request.method,
      url: new URL(url.pathname + url.search, virtual ?? url),
      headers,
      body: await request.text(),
      basic: basicOf(authorization),
      bearer: /^bearer (.+)$/i.exec(authorization)?.[1],
      originOf: (name) => virtual === null ? `http://${this.host(name)}` : this.site(name).origin,
    };
  }

  #record({ site, method, url, headers, body }: FrontCall, client: FrontRecord["client"]): FrontRecord {
    const path = url.pathname + url.search;
    const secrets = this.#secrets.find([path, body, ...headers.values()], headers.get("authorization") ?? "");
    return { site, client, method, path, headers: Object.fromEntries(headers), body, secrets, status: 0 };
  }
}

/** What stands at the end of a redirect to single sign-on. */
function signInPage(): Response {
  return new Response("<!doctype html><h1>Sign in</h1>", { headers: { "content-type": "text/html" } });
}

/** S3's answer to a request with two kinds of authentication. */
function oneAuthOnly(): Response {
  const body = "<?xml version='1.0'?><Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed" +
    "</Message></Error>";
  return new Response(body, { status: 400, headers: { "content-type": "application/xml" } });
}

/** A folder in memory where there is one: thousands of small files take seconds on some disks. */
async function makeStorage(): Promise<string> {
  const prefix = "outpost-front-";
  return await Deno.makeTempDir({ dir: "/dev/shm", prefix }).catch(() => Deno.makeTempDir({ prefix }));
}

/** Starts a front with an empty library. */
export async function startFront(definition: FrontDefinition): Promise<Front> {
  const storage = await makeStorage();
  const registry = await startDockerRegistry({ storage });
  return new Front(definition, new Library(storage), registry);
}
