/**
 * Logs in to a registry: reads its challenges, fetches and keeps tokens, and repeats a request once it knows better.
 *
 * Follows RFC 9110 §11, distribution's token authentication specification, and registries.md §1.2.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { cancelBody } from "../net/body.ts";
import type { BufferedResponse, HttpClient, HttpRequest, HttpResponse, StreamedResponse } from "../net/http.ts";
import { type Challenge, parseChallenges, parseScopes } from "./challenge.ts";
import { basicAuthorization } from "./credentials.ts";
import { apiUrl, type Endpoint } from "./endpoint.ts";
import type { Flavour } from "./flavour.ts";
import type { Login as Account, LoginSource } from "./login.ts";
import type { TokenRequest, TokenSource } from "./token_source.ts";

/** Parts of a registry that may ask for different logins (Harbor's catalog does). */
export type Area = "api" | "catalog" | "repository";

/** A request and what it needs rights for. */
export interface AuthorizedRequest {
  readonly request: HttpRequest;
  readonly area: Area;
  /** Token scopes to ask for, such as `repository:team/app:pull`. */
  readonly scopes: readonly string[];
}

/** How a request was authorised in the end. */
export type LoginState = "none" | "basic" | "basic-accepted" | "token";

/** An answer with how it was obtained. */
export interface Authorized<R> {
  readonly response: R;
  readonly login: LoginState;
}

/** What {@link Authenticator} needs. */
export interface AuthenticatorOptions {
  readonly client: HttpClient;
  readonly tokens: TokenSource;
  readonly endpoint: Endpoint;
  readonly flavour: Flavour;
  readonly login: LoginSource;
}

interface Login {
  readonly kind: "none" | "basic" | "token";
  readonly authorization?: string;
  /** The token came from the cache: it may be stale. */
  readonly cached?: boolean;
  readonly scopes: readonly string[];
  /** What HTTP Basic was made from. */
  readonly account?: Account;
}

/** Times that one request is sent again with a better login: stale token, wider scope, other scheme. */
const ROUNDS = 3;

/** Sends requests of one registry client with the authorisation that the registry wants. */
export class Authenticator {
  readonly #options: AuthenticatorOptions;
  readonly #known = new Map<Area, readonly Challenge[]>();
  #basicAccepted = false;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
  }

  /** Whether there is anything to log in with. */
  get hasCredentials(): boolean {
    return this.#options.login.present;
  }

  /** The token server that the registry names at `/v2/`, as it stands in the challenge. */
  async realm(signal: AbortSignal): Promise<string | undefined> {
    const known = this.#known.get("api") ?? await this.#probe(signal);
    return known.find(({ scheme }) => scheme === "bearer")?.parameters.get("realm");
  }

  /** Sends a request, logs in as asked, and reads the whole answer. */
  request(target: AuthorizedRequest, maxBytes: number, signal: AbortSignal): Promise<Authorized<BufferedResponse>> {
    const { client } = this.#options;
    return this.#run(target, (request) => client.request(request, maxBytes, signal), () => Promise.resolve(), signal);
  }

  /** The same for an answer that is read by the caller as it comes. */
  stream(target: AuthorizedRequest, signal: AbortSignal): Promise<Authorized<StreamedResponse>> {
    const drop = (response: StreamedResponse): Promise<void> => cancelBody(response.body);
    return this.#run(target, (request) => this.#options.client.stream(request, signal), drop, signal);
  }

  async #run<R extends HttpResponse>(
    target: AuthorizedRequest,
    send: (request: HttpRequest) => Promise<R>,
    drop: (response: R) => Promise<void>,
    signal: AbortSignal,
  ): Promise<Authorized<R>> {
    const sendWith = (login: Login): Promise<R> => send(withAuthorization(target.request, login.authorization));
    let login = await this.#prepare(target, signal);
    let response = await sendWith(login);
    for (let round = 0; response.status === 401 && round < ROUNDS; round++) {
      // A challenge of another origin, reached by a redirect, is none of our registry's.
      if (response.url.origin !== this.#options.endpoint.origin) break;
      const next = await this.#answerChallenge(response.headers, target, login, signal);
      if (next === undefined) break;
      await drop(response);
      login = next;
      response = await sendWith(login);
    }
    const renewed = await this.#renew(response, login, signal);
    if (renewed !== undefined) {
      await drop(response);
      login = renewed;
      response = await sendWith(login);
    }
    if (login.kind === "basic" && response.status !== 401) this.#basicAccepted = true;
    return { response, login: login.kind === "basic" && this.#basicAccepted ? "basic-accepted" : login.kind };
  }

  /** Another HTTP Basic login, once the registry refuses a short-lived one (ECR says 403). */
  async #renew(response: HttpResponse, tried: Login, signal: AbortSignal): Promise<Login | undefined> {
    const { login, endpoint } = this.#options;
    const refused = (response.status === 401 || response.status === 403) && response.url.origin === endpoint.origin;
    if (!refused || tried.account === undefined || login.renew === undefined) return undefined;
    const account = await login.renew(tried.account, signal);
    return account === undefined ? undefined : basicLogin(account, tried.scopes);
  }

  /** The login to try first. */
  async #prepare(target: AuthorizedRequest, signal: AbortSignal): Promise<Login> {
    if (this.#options.flavour.preferBasic && this.hasCredentials) return await this.#basic(target.scopes, signal);
    const known = this.#known.get(target.area) ?? this.#known.get("api");
    if (known !== undefined) return await this.#login(known, target.scopes, signal) ?? none(target.scopes);
    if (!this.hasCredentials || target.area === "api") return none(target.scopes);
    // With an account, learn first how to log in: what anonymous users may see could be less than the account may.
    return await this.#login(await this.#probe(signal), target.scopes, signal) ?? none(target.scopes);
  }

  async #probe(signal: AbortSignal): Promise<readonly Challenge[]> {
    const { client, endpoint } = this.#options;
    const request: HttpRequest = { method: "GET", url: apiUrl(endpoint, "") };
    const { status, headers, url } = await client.request(request, LIMITS.errorBodyBytes, signal);
    const challenges = status === 401 && url.origin === endpoint.origin
      ? parseChallenges(headers.get("www-authenticate"))
      : [];
    this.#known.set("api", challenges);
    return challenges;
  }

  /** The login that challenges allow; undefined when none of them can be answered. */
  async #login(
    challenges: readonly Challenge[],
    scopes: readonly string[],
    signal: AbortSignal,
    stale?: string,
  ): Promise<Login | undefined> {
    const bearer = challenges.find((challenge) => challenge.scheme === "bearer");
    const basic = challenges.some((challenge) => challenge.scheme === "basic") && this.hasCredentials;
    if (bearer === undefined) return basic ? await this.#basic(scopes, signal) : undefined;
    const request: TokenRequest = {
      realm: bearer.parameters.get("realm") ?? "",
      service: bearer.parameters.get("service"),
      scopes,
    };
    const token = await this.#options.tokens.get(request, signal, stale);
    if (token !== undefined) {
      return { kind: "token", authorization: `Bearer ${token.value}`, cached: token.cached, scopes };
    }
    if (basic) return await this.#basic(scopes, signal);
    throw new OutpostError(
      "REGISTRY_PROTOCOL",
      `Cannot log in to ${this.#options.endpoint.host}: its token server does not serve tokens`,
      { hint: this.#options.flavour.baseHint },
    );
  }

  /** The next login to try after a 401; undefined when there is nothing new to try. */
  async #answerChallenge(
    headers: Headers,
    target: AuthorizedRequest,
    tried: Login,
    signal: AbortSignal,
  ): Promise<Login | undefined> {
    const challenges = parseChallenges(headers.get("www-authenticate"));
    if (challenges.length === 0) return undefined;
    this.#known.set(target.area, challenges);
    const bearer = challenges.find((challenge) => challenge.scheme === "bearer");
    if (tried.kind === "none") return await this.#login(challenges, target.scopes, signal);
    if (tried.kind === "basic") {
      return bearer === undefined ? undefined : await this.#login([bearer], target.scopes, signal);
    }
    const wider = widen(tried.scopes, parseScopes(bearer?.parameters.get("scope")));
    const insufficient = bearer?.parameters.get("error") === "insufficient_scope";
    if (bearer !== undefined && insufficient && wider !== undefined) return await this.#login([bearer], wider, signal);
    if (bearer !== undefined && tried.cached === true) {
      return await this.#login([bearer], tried.scopes, signal, tried.authorization?.slice("Bearer ".length));
    }
    if (bearer !== undefined && wider !== undefined) return await this.#login([bearer], wider, signal);
    const basic = challenges.some((challenge) => challenge.scheme === "basic") && this.hasCredentials;
    return basic ? await this.#basic(target.scopes, signal) : undefined;
  }

  async #basic(scopes: readonly string[], signal: AbortSignal): Promise<Login> {
    return basicLogin(await this.#options.login.get(signal), scopes);
  }
}

function basicLogin(account: Account, scopes: readonly string[]): Login {
  return { kind: "basic", authorization: basicAuthorization(account), scopes, account };
}

function none(scopes: readonly string[]): Login {
  return { kind: "none", scopes };
}

function withAuthorization(request: HttpRequest, authorization: string | undefined): HttpRequest {
  return authorization === undefined ? request : { ...request, headers: { ...request.headers, authorization } };
}

/** The challenge's scopes before our own, since some servers read only the first; undefined when they add nothing. */
function widen(own: readonly string[], asked: readonly string[]): readonly string[] | undefined {
  const added = asked.filter((scope) => !own.includes(scope));
  return added.length === 0 ? undefined : [...added, ...own];
}
