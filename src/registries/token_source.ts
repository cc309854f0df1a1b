/**
 * Bearer tokens: fetched from the token server that a registry names, kept until shortly before they expire, and
 * fetched only once however many requests wait for the same one.
 *
 * Follows distribution's "Token Authentication Specification" (GET) and "Oauth2 Token Authentication" (POST).
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock } from "../core/ports.ts";
import { isRecord, parseJsonBytes } from "../lib/bounded_json.ts";
import { abortable, cancelled } from "../net/body.ts";
import type { BufferedResponse, HttpClient } from "../net/http.ts";
import { checkRealm } from "../net/origin.ts";
import { basicAuthorization } from "./credentials.ts";
import type { Endpoint } from "./endpoint.ts";
import { type ErrorContext, protocolError, registryError } from "./errors.ts";
import type { Flavour } from "./flavour.ts";
import { jwtLifetimeMs } from "./jwt.ts";
import type { Login, LoginSource } from "./login.ts";

/** Which token. */
export interface TokenRequest {
  /** The challenge's realm: the token server's URL. */
  readonly realm: string;
  readonly service: string | undefined;
  readonly scopes: readonly string[];
}

/** A token to send. */
export interface Token {
  readonly value: string;
  /** Whether it was kept from an earlier request. */
  readonly cached: boolean;
}

/** What {@link TokenSource} needs. */
export interface TokenSourceOptions {
  readonly client: HttpClient;
  readonly clock: Clock;
  readonly endpoint: Endpoint;
  readonly flavour: Flavour;
  readonly login: LoginSource;
  /** Hosts besides the registry's own that may receive logins (CR_AUTH_HOSTS). */
  readonly authHosts: readonly string[];
  readonly redact: (text: string) => string;
}

interface Kept {
  readonly value: string;
  readonly renewAt: number;
}

/** User name by which Docker clients say that the password is a refresh token. */
const REFRESH_TOKEN_USER = "<token>";

/** Tokens of one registry client, so for one set of credentials. */
export class TokenSource {
  readonly #options: TokenSourceOptions;
  readonly #kept = new Map<string, Kept>();
  readonly #flights = new Map<string, Promise<Kept | undefined>>();
  readonly #closing = new AbortController();

  constructor(options: TokenSourceOptions) {
    this.#options = options;
  }

  /**
   * A token for the scopes.
   *
   * @param stale A token that the registry refused: one of the same value is not given again.
   * @returns undefined when the token server has no such service (404 or 405 to GET and POST).
   * @throws {OutpostError} UNSAFE_REALM, BAD_CREDENTIALS, and what the connection or the answer gives.
   */
  async get(request: TokenRequest, signal: AbortSignal, stale?: string): Promise<Token | undefined> {
    const key = JSON.stringify([request.realm, request.service ?? null, request.scopes.toSorted()]);
    const kept = this.#kept.get(key);
    if (kept !== undefined && kept.value !== stale && kept.renewAt > this.#options.clock.now()) {
      return { value: kept.value, cached: true };
    }
    this.#kept.delete(key);
    const flight = this.#flights.get(key) ?? this.#depart(key, request);
    const fetched = await abortable(flight, signal).catch((error: unknown) => {
      throw signal.aborted ? cancelled(signal) : error;
    });
    return fetched === undefined ? undefined : { value: fetched.value, cached: false };
  }

  /**
   * The token server's URL, when it may get the login.
   *
   * @throws {OutpostError} UNSAFE_REALM, REGISTRY_PROTOCOL.
   */
  checkRealm(realm: string): URL {
    const { endpoint, flavour, authHosts } = this.#options;
    return checkRealm(new URL(endpoint.origin), realm, { authHosts: [...flavour.realmHosts, ...authHosts] });
  }

  /** Forgets all tokens and gives up requests for them. */
  close(): void {
    this.#kept.clear();
    this.#closing.abort(new OutpostError("CANCELLED", "The registry client was closed"));
  }

  /** One request for all who wait: it does not belong to any one of them, so none of them cancels it. */
  #depart(key: string, request: TokenRequest): Promise<Kept | undefined> {
    const flight = this.#fetch(request, this.#closing.signal).then((kept) => {
      if (kept !== undefined && !this.#closing.signal.aborted) this.#keep(key, kept);
      return kept;
    }).finally(() => this.#flights.delete(key));
    this.#flights.set(key, flight);
    return flight;
  }

  #keep(key: string, kept: Kept): void {
    this.#kept.set(key, kept);
    const oldest = this.#kept.keys().next().value;
    if (this.#kept.size > LIMITS.tokens && oldest !== undefined) this.#kept.delete(oldest);
  }

  async #fetch(request: TokenRequest, signal: AbortSignal): Promise<Kept | undefined> {
    const { login: source, clock } = this.#options;
    const realm = this.checkRealm(request.realm);
    const login = source.present ? await source.get(signal) : undefined;
    const first = login?.username === REFRESH_TOKEN_USER ? "POST" : "GET";
    const methods = login !== undefined ? [first, first === "GET" ? "POST" : "GET"] as const : ["GET"] as const;
    const asked = clock.now();
    for (const method of methods) {
      const response = method === "GET"
        ? await this.#byGet(realm, request, login, signal)
        : await this.#byPost(realm, request, login ?? { username: "", password: "" }, signal);
      if (response.status !== 404 && response.status !== 405) return this.#read(response, realm, asked);
    }
    return undefined;
  }

  #byGet(
    realm: URL,
    request: TokenRequest,
    login: Login | undefined,
    signal: AbortSignal,
  ): Promise<BufferedResponse> {
    const { client } = this.#options;
    const url = new URL(realm);
    if (request.service !== undefined) url.searchParams.set("service", request.service);
    for (const scope of request.scopes) url.searchParams.append("scope", scope);
    const account = login === undefined || login.username === login.password ? "" : login.username;
    // A token that is user name and password at once does not belong into a URL.
    if (account !== "") url.searchParams.set("account", account);
    const headers = login === undefined ? {} : { authorization: basicAuthorization(login) };
    return client.request({ method: "GET", url, headers }, LIMITS.tokenBodyBytes, signal);
  }

  #byPost(realm: URL, request: TokenRequest, login: Login, signal: AbortSignal): Promise<BufferedResponse> {
    const { client } = this.#options;
    const grant: Record<string, string> = login.username === REFRESH_TOKEN_USER
      ? { grant_type: "refresh_token", refresh_token: login.password }
      : { grant_type: "password", username: login.username, password: login.password };
    const form = new URLSearchParams({ ...grant, client_id: "outpost" });
    if (request.service !== undefined) form.set("service", request.service);
    if (request.scopes.length > 0) form.set("scope", request.scopes.join(" "));
    return client.request({ method: "POST", url: realm, form }, LIMITS.tokenBodyBytes, signal);
  }

  #read(response: BufferedResponse, realm: URL, asked: number): Kept {
    const { endpoint, clock } = this.#options;
    const action = `log in to ${endpoint.host}`;
    if (response.status !== 200) throw registryError(response, this.#context(action, realm));
    let answer: unknown;
    try {
      answer = parseJsonBytes(response.body);
    } catch {
      throw registryError(response, this.#context(action, realm));
    }
    const fields = isRecord(answer) ? answer : {};
    const value = [fields["token"], fields["access_token"]].find((token) => typeof token === "string" && token !== "");
    if (typeof value !== "string" || !/^[\x21-\x7e]+$/.test(value)) {
      throw protocolError(action, "the answer of its token server holds no token");
    }
    const seconds = Number(fields["expires_in"]);
    const stated = seconds > 0 ? seconds * 1000 : jwtLifetimeMs(value);
    const life = Math.min(stated ?? LIMITS.tokenDefaultLifetimeMs, LIMITS.tokenLifetimeMs);
    const usable = Math.max(life - LIMITS.tokenMarginMs, life / 2);
    return { value, renewAt: Math.min(asked, clock.now()) + usable };
  }

  #context(action: string, realm: URL): ErrorContext {
    const { endpoint, flavour, login, redact } = this.#options;
    return {
      host: endpoint.host,
      action,
      subject: "login",
      flavour,
      origin: realm.origin,
      login: "none",
      hasCredentials: login.present,
      redact,
    };
  }
}
