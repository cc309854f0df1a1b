/**
 * The parts of Snyk's API that a universal client asks, on a loopback port: OAuth, the connections of a deployment, the
 * renewal of sockets, the dispatcher. It answers only to what the reference sends (broker-protocol.md §9, §10) and keeps
 * what was wrong.
 *
 * @module
 */
import { createHash } from "node:crypto";

/** A connection as the API tells it. */
export interface ApiConnection {
  readonly id?: string;
  readonly attributes: {
    readonly name: string;
    readonly identifier: string | null;
    readonly configuration: Readonly<Record<string, unknown>>;
  };
  readonly relationships?: readonly { readonly id: string; readonly attributes: { readonly context: unknown } }[];
}

/** A renewal that was asked for. */
export interface Renewal {
  readonly identifier: string;
  readonly role: string | null;
  readonly serverId: string | null;
  readonly clientId: string;
  readonly bearer: string;
  readonly status: number;
}

/** Options of {@link startSnykApi}. */
export interface SnykApiOptions {
  /** The broker server that renewals are handed to, as Snyk's gateway does; without it they are just answered 201. */
  readonly brokerServer?: () => string;
  /** Seconds for which a token is said to hold. */
  readonly expiresIn?: number;
  /** What the dispatcher answers. */
  readonly serverId?: number;
}

/** A running API. */
export interface SnykApi extends AsyncDisposable {
  /** For API_BASE_URL. */
  readonly url: string;
  /** CLIENT_ID, CLIENT_SECRET and DEPLOYMENT_ID that it knows. */
  readonly credentials: { readonly clientId: string; readonly clientSecret: string; readonly deploymentId: string };
  /** The deployment's connections; a test may replace them. */
  connections: readonly ApiConnection[];
  /** Tokens that were given out, oldest first. */
  readonly tokens: readonly string[];
  /** Reads of the connections, by the bearer that they came with. */
  readonly reads: readonly string[];
  readonly renewals: readonly Renewal[];
  /** Requests to the dispatcher, by their bearer. */
  readonly dispatched: readonly string[];
  /** What was wrong with requests; a test that expects something takes it away. */
  readonly problems: string[];
  /** Answers instead while it is set: by `token`, `connections`, `renewal`, `dispatcher`. */
  readonly instead: Partial<Record<"token" | "connections" | "renewal" | "dispatcher", () => Response>>;
  /** Whether the token was given out and not revoked. */
  accepts(bearer: string): boolean;
  /** Makes every token so far worthless. */
  revoke(): void;
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const JSON_API = "application/vnd.api+json";

/** Starts the API. */
export function startSnykApi(options: SnykApiOptions = {}): SnykApi {
  return new Api(options);
}

class Api implements SnykApi {
  readonly credentials = {
    clientId: crypto.randomUUID(),
    clientSecret: `canary-secret-${crypto.randomUUID()}`,
    deploymentId: crypto.randomUUID(),
  };
  connections: readonly ApiConnection[] = [];
  readonly tokens: string[] = [];
  readonly reads: string[] = [];
  readonly renewals: Renewal[] = [];
  readonly dispatched: string[] = [];
  readonly problems: string[] = [];
  readonly instead: SnykApi["instead"] = {};
  readonly #options: SnykApiOptions;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #valid = new Set<string>();

  constructor(options: SnykApiOptions) {
    this.#options = options;
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      async (request) => await this.#route(request),
    );
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  accepts(bearer: string): boolean {
    return this.#valid.has(bearer);
  }

  revoke(): void {
    this.#valid.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  async #route(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const body = await request.text();
    const { deploymentId } = this.credentials;
    if (url.pathname === "/oauth2/token") return this.#token(request, body);
    if (url.pathname === `/hidden/brokers/deployments/${deploymentId}/connections`) return this.#list(request, url);
    const renewed = /^\/hidden\/brokers\/connections\/([^/]+)\/auth\/refresh$/.exec(url.pathname)?.[1];
    if (renewed !== undefined) return await this.#renew(request, url, renewed, body);
    const dispatched = /^\/hidden\/brokers\/([0-9a-f]{64})\/connections\/([^/]+)$/.exec(url.pathname);
    if (dispatched !== null) return this.#dispatch(request, url, dispatched[1] ?? "", body);
    if (url.pathname === "/rest/openapi") return Response.json([]);
    this.problems.push(`nothing at ${request.method} ${url.pathname}`);
    return new Response(null, { status: 404 });
  }

  #token(request: Request, body: string): Response {
    const { clientId, clientSecret } = this.credentials;
    const form = Object.fromEntries(new URLSearchParams(body));
    const expected = { grant_type: "client_credentials", client_id: clientId, client_secret: clientSecret };
    this.#check("token", request.method === "POST", "POST");
    this.#check("token", same(form, expected), "the client's credentials as a form");
    this.#check("token", is(request, "content-type", "application/x-www-form-urlencoded"), "a form");
    if (this.instead.token !== undefined) return this.instead.token();
    const part = (value: unknown): string =>
      new TextEncoder().encode(JSON.stringify(value)).toBase64({
        alphabet: "base64url",
        omitPadding: true,
      });
    // The broker server compares who a handshake's and an answer's token were given to (azp).
    const payload = { azp: clientId, jti: crypto.randomUUID() };
    const token = `${part({ alg: "none" })}.${part(payload)}.c2lnbmF0dXJl`;
    this.tokens.push(token);
    this.#valid.add(token);
    return Response.json({ access_token: token, token_type: "bearer", expires_in: this.#options.expiresIn ?? 3_600 });
  }

  #list(request: Request, url: URL): Response {
    const bearer = bearerOf(request);
    this.reads.push(bearer);
    this.#check("connections", request.method === "GET", "GET");
    this.#check("connections", url.searchParams.get("version") === "2024-02-08~experimental", "the version");
    this.#check("connections", UUID.test(request.headers.get("x-broker-client-id") ?? ""), "a client id");
    this.#check("connections", is(request, "x-broker-client-version", "5.22.14"), "a client version");
    if (this.instead.connections !== undefined) return this.instead.connections();
    if (!this.accepts(bearer)) return new Response(null, { status: 401 });
    return Response.json({ data: this.connections });
  }

  async #renew(request: Request, url: URL, identifier: string, body: string): Promise<Response> {
    const bearer = bearerOf(request);
    const { data } = JSON.parse(body);
    const clientId = String(data?.attributes?.broker_client_id);
    this.#check("renewal", request.method === "POST" && is(request, "content-type", JSON_API), "a POST of JSON:API");
    this.#check("renewal", data?.type === "broker_connection" && UUID.test(clientId), "a client id");
    const answer = await this.#renewed(url, body, bearer);
    const role = url.searchParams.get("connection_role");
    const serverId = url.searchParams.get("server_id");
    this.renewals.push({ identifier, role, serverId, clientId, bearer, status: answer.status });
    return answer;
  }

  async #renewed(url: URL, body: string, bearer: string): Promise<Response> {
    if (this.instead.renewal !== undefined) return this.instead.renewal();
    if (!this.accepts(bearer)) return new Response(null, { status: 401 });
    const server = this.#options.brokerServer?.();
    if (server === undefined) return new Response("OK", { status: 201 });
    const headers = { authorization: `bearer ${bearer}`, "content-type": JSON_API };
    const response = await fetch(server + url.pathname + url.search, { method: "POST", headers, body });
    return new Response(await response.text(), { status: response.status });
  }

  #dispatch(request: Request, url: URL, hash: string, body: string): Response {
    const bearer = bearerOf(request);
    this.dispatched.push(bearer);
    const known = this.connections.map(({ attributes }) => sha256(attributes.identifier ?? ""));
    this.#check("dispatcher", known.includes(hash), "the hash of an identifier");
    this.#check("dispatcher", url.searchParams.get("version") === "2022-12-01~experimental", "the version");
    this.#check("dispatcher", typeof JSON.parse(body).data?.attributes?.deployment_location === "string", "a location");
    if (this.instead.dispatcher !== undefined) return this.instead.dispatcher();
    if (!this.accepts(bearer)) return new Response(null, { status: 401 });
    return Response.json({ data: { attributes: { server_id: this.#options.serverId ?? 7 } } });
  }

  #check(what: string, ok: boolean, expected: string): void {
    if (!ok) this.problems.push(`${what}: not ${expected}`);
  }
}

function bearerOf(request: Request): string {
  return /^bearer (.+)$/i.exec(request.headers.get("authorization") ?? "")?.[1] ?? "";
}

function is(request: Request, name: string, value: string): boolean {
  return request.headers.get(name) === value;
}

function same(one: Readonly<Record<string, string>>, other: Readonly<Record<string, string>>): boolean {
  return JSON.stringify(Object.entries(one).toSorted()) === JSON.stringify(Object.entries(other).toSorted());
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** A connection of the API's with a login. */
export function apiConnection(
  name: string,
  identifier: string | null,
  required: Readonly<Record<string, unknown>> = {},
  contexts: Readonly<Record<string, unknown>> = {},
): ApiConnection {
  return {
    id: crypto.randomUUID(),
    attributes: {
      name,
      identifier,
      configuration: {
        type: "docker-hub",
        default: {},
        required: { cr_base: "registry.example", cr_username: "canary-user", cr_password: "canary-pass", ...required },
      },
    },
    relationships: Object.entries(contexts).map(([id, context]) => ({ id, attributes: { context } })),
  };
}
