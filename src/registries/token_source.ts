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
import type { Clock, RegistryCredentials } from "../core/ports.ts";
import { isRecord, parseJsonBytes } from "../lib/bounded_json.ts";
import { abortable, cancelled } from "../net/body.ts";
import type { BufferedResponse, HttpClient } from "../net/http.ts";
import { checkRealm } from "../net/origin.ts";
import { basicAuthorization, hasLogin } from "./credentials.ts";
import type { Endpoint } from "./endpoint.ts";
import { type ErrorContext, protocolError, registryError } from "./errors.ts";
import type { Flavour } from "./flavour.ts";

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
  readonly credentials: RegistryCredentials;
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
    const { endpoint, flavour, credentials, authHosts, clock } = this.#options;
    const realm = checkRealm(new URL(endpoint.origin), request.realm, {
      authHosts: [...flavour.realmHosts, ...authHosts],
    });
    const first = credentials.username === REFRESH_TOKEN_USER ? "POST" : "GET";
    const methods = first === "POST" || hasLogin(credentials)
      ? [first, first === "GET" ? "POST" : "GET"] as const
      : ["GET"] as const;
    const asked = clock.now();
    for (const method of methods) {
      const response = method === "GET"
        ? await this.#byGet(realm, request, signal)
        : await this.#byPost(realm, request, signal);
      if (response.status !== 404 && response.status !== 405) return this.#read(response, realm, asked);
    }
    return undefined;
  }

  #byGet(realm: URL, request: TokenRequest, signal: AbortSignal): Promise<BufferedResponse> {
    const { client, credentials } = this.#options;
    const url = new URL(realm);
    if (request.service !== undefined) url.searchParams.set("service", request.service);
    for (const scope of request.scopes) url.searchParams.append("scope", scope);
    const login = hasLogin(credentials);
    if (login && credentials.username !== undefined) url.searchParams.set("account", credentials.username);
    const headers = login ? { authorization: basicAuthorization(credentials) } : {};
    return client.request({ method: "GET", url, headers }, LIMITS.tokenBodyBytes, signal);
  }

  #byPost(realm: URL, request: TokenRequest, signal: AbortSignal): Promise<BufferedResponse> {
    const { client, credentials } = this.#options;
    const grant: Record<string, string> = credentials.username === REFRESH_TOKEN_USER
      ? { grant_type: "refresh_token", refresh_token: credentials.password ?? "" }
      : { grant_type: "password", username: credentials.username ?? "", password: credentials.password ?? "" };
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
    const life = Math.min(seconds > 0 ? seconds * 1000 : LIMITS.tokenDefaultLifetimeMs, LIMITS.tokenLifetimeMs);
    const usable = Math.max(life - LIMITS.tokenMarginMs, life / 2);
    return { value, renewAt: Math.min(asked, clock.now()) + usable };
  }

  #context(action: string, realm: URL): ErrorContext {
    const { endpoint, flavour, credentials, redact } = this.#options;
    return {
      host: endpoint.host,
      action,
      subject: "login",
      flavour,
      origin: realm.origin,
      login: "none",
      hasCredentials: hasLogin(credentials),
      redact,
    };
  }
}
