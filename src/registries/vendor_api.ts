/**
 * A vendor's own API at another origin than the registry, over the same HTTP client: same retry budget, same gate per
 * host, refusals classified as the registry's are.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { Redactor } from "../lib/redact.ts";
import type { BufferedResponse, HttpClient } from "../net/http.ts";
import { type ErrorContext, registryError } from "./errors.ts";
import type { Flavour } from "./flavour.ts";
import { type JsonAnswer, type JsonCall, type JsonSource, readJson, requestOf } from "./json_source.ts";
import type { Renewed } from "./renewed.ts";

/** Header fields that authorise a call. */
export type AuthorizationHeaders = Readonly<Record<string, string>>;

/** How calls are authorised. */
export interface ApiAuthorization {
  headers(signal: AbortSignal): Promise<AuthorizationHeaders>;
  /** After a 401: other fields to try once, or undefined. */
  renew?(refused: AuthorizationHeaders, signal: AbortSignal): Promise<AuthorizationHeaders | undefined>;
}

/** What differs between APIs. */
export interface VendorApiOptions {
  /** `https://host[:port]`: calls to another origin are refused, and no redirect takes the login to one. */
  readonly origin: string;
  readonly authorization: ApiAuthorization;
  /** Sent with every call, such as a version of the API. */
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * What a 401 says: the login is wrong (it is the registry's own), or it lacks rights here although the registry may
   * take it (robots, deploy tokens).
   */
  readonly unauthorizedMeans: "login" | "rights";
}

/** What {@link VendorApi} needs of its registry client. */
export interface VendorApiContext {
  readonly client: HttpClient;
  readonly flavour: Flavour;
  /** `host[:port]` of the registry, for messages. */
  readonly host: string;
  readonly hasCredentials: boolean;
  readonly redactor: Redactor;
}

/** Calls without any login. */
export const anonymous: ApiAuthorization = { headers: () => Promise.resolve({}) };

/** The same field with every call: `fixedHeader("authorization", "Bearer …")`, `fixedHeader("private-token", "…")`. */
export function fixedHeader(name: string, value: string): ApiAuthorization {
  return { headers: () => Promise.resolve({ [name]: value }) };
}

/** `Authorization: Bearer` with a token that is exchanged for a lasting secret. */
export function exchangedBearer(token: Renewed<string>): ApiAuthorization {
  const fields = (value: string): AuthorizationHeaders => ({ authorization: `Bearer ${value}` });
  return {
    headers: async (signal) => fields(await token.get(signal)),
    renew: async (refused, signal) => {
      const stale = refused["authorization"]?.slice("Bearer ".length);
      const value = await token.get(signal, stale);
      return value === stale ? undefined : fields(value);
    },
  };
}

/** One API with one login. */
export class VendorApi implements JsonSource {
  readonly #context: VendorApiContext;
  readonly #options: VendorApiOptions;

  constructor(context: VendorApiContext, options: VendorApiOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** @throws {OutpostError} what the refusal means; LIMIT_EXCEEDED; how the connection failed. */
  async call(call: JsonCall, signal: AbortSignal): Promise<JsonAnswer> {
    const { authorization, unauthorizedMeans, origin } = this.#options;
    if (call.url.origin !== origin) throw new TypeError(`The API of ${origin} has no ${call.url.origin}`);
    let fields = await authorization.headers(signal);
    let response = await this.#send(call, fields, signal);
    if (response.status === 401 && response.url.origin === origin) {
      const other = await authorization.renew?.(fields, signal);
      if (other !== undefined) response = await this.#send(call, fields = other, signal);
    }
    if (response.status === 200) return readJson(response, call.action);
    const anonymousCall = Object.keys(fields).length === 0;
    const login = unauthorizedMeans === "rights" && !anonymousCall ? "token" : "none";
    throw registryError(response, this.#errorContext(call, login));
  }

  #send(call: JsonCall, fields: AuthorizationHeaders, signal: AbortSignal): Promise<BufferedResponse> {
    const { client, redactor } = this.#context;
    for (const value of Object.values(fields)) redactor.addTransient(value.slice(value.lastIndexOf(" ") + 1));
    const request = requestOf(call, { ...this.#options.headers, ...call.headers, ...fields });
    return client.request(request, LIMITS.pageBytes, signal);
  }

  #errorContext({ action, subject }: JsonCall, login: ErrorContext["login"]): ErrorContext {
    const { host, flavour, hasCredentials, redactor } = this.#context;
    const { origin } = this.#options;
    return { host, action, subject, flavour, origin, login, hasCredentials, redact: (text) => redactor.text(text) };
  }
}
