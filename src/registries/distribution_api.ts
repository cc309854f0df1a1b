/**
 * The calls of the OCI distribution API, each verified and with its refusals classified (registries.md §1.1).
 *
 * @module
 */
import { type Digest, isDigest } from "../core/digest.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ByteSource, Clock, Logger, RegistryCredentials } from "../core/ports.ts";
import type { Descriptor, TagInfo } from "../core/types.ts";
import { isRecord, parseJsonBytes } from "../lib/bounded_json.ts";
import { readSource } from "../lib/byte_sources.ts";
import { Redactor } from "../lib/redact.ts";
import { readAll } from "../net/body.ts";
import type { BufferedResponse, HttpClient, HttpRequest, StreamedResponse } from "../net/http.ts";
import { type Area, Authenticator, type Authorized, type LoginState } from "./auth.ts";
import { openBlob } from "./blob_source.ts";
import { secretsOf } from "./credentials.ts";
import { apiUrl, type Endpoint } from "./endpoint.ts";
import { type ErrorContext, parseErrorBody, protocolError, registryError, type Subject } from "./errors.ts";
import type { Flavour, FlavourContext, RegistryCalls, Sources } from "./flavour.ts";
import { type JsonAnswer, type JsonCall, readJson, requestOf } from "./json_source.ts";
import { fixedLogin, type LoginSource } from "./login.ts";
import { digestOf, MANIFEST_TYPES, type ParsedManifest, parseManifest, verifyContent } from "./manifest.ts";
import { listPages, type PageAnswer } from "./pager.ts";
import { TokenSource } from "./token_source.ts";
import { VendorApi } from "./vendor_api.ts";

/** What {@link DistributionApi} needs. */
export interface DistributionApiOptions {
  readonly client: HttpClient;
  readonly flavour: Flavour;
  readonly credentials: RegistryCredentials;
  /** Hosts besides the registry's own that may receive its logins. */
  readonly authHosts: readonly string[];
  /** Owners whose repositories are listed (CR_NAMESPACES). */
  readonly namespaces?: readonly string[] | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A manifest with the digest of its verified bytes. */
export interface FetchedManifest {
  readonly digest: Digest;
  readonly parsed: ParsedManifest;
}

/** Options of a single call. */
export interface CallOptions {
  /** Most attempts; LIMITS.attempts by default. */
  readonly attempts?: number;
}

const RAW = { accept: "*/*", "accept-encoding": "identity" };
const ACCEPT_MANIFESTS = { accept: MANIFEST_TYPES.join(", ") };

/** Texts by which servers say that they do not like the page size. */
const SIZE_REFUSED = /PAGINATION_NUMBER_INVALID|maxResults|page[ _]?size|less than or equal to|\bparameter n\b|\bn=/i;

/** One registry with one set of credentials, call by call. */
export class DistributionApi implements RegistryCalls {
  readonly endpoint: Endpoint;
  /** Where the type's lists come from, as far as not from here. */
  readonly sources: Sources;
  readonly #options: DistributionApiOptions;
  readonly #tokens: TokenSource;
  readonly #auth: Authenticator;
  readonly #login: LoginSource;
  readonly #closing = new AbortController();
  readonly #redactor = new Redactor();

  /** @throws {OutpostError} CONFIG_INVALID when the registry's address cannot be used. */
  constructor(options: DistributionApiOptions) {
    const { flavour, credentials } = options;
    const endpoint = flavour.endpoint(credentials);
    for (const secret of secretsOf(credentials)) this.#redactor.add(secret);
    this.endpoint = endpoint;
    this.#options = options;
    const context = this.#flavourContext();
    const login = flavour.login?.(context) ?? fixedLogin(credentials);
    this.#login = login;
    this.#tokens = new TokenSource({ ...options, endpoint, login, redact: (text) => this.#redactor.text(text) });
    this.#auth = new Authenticator({ client: options.client, tokens: this.#tokens, endpoint, flavour, login });
    this.sources = flavour.sources?.(context, this) ?? {};
  }

  /** Forgets tokens. */
  close(): void {
    this.#tokens.close();
    this.#closing.abort(new OutpostError("CANCELLED", "The registry client was closed"));
  }

  async tokenServer(signal: AbortSignal): Promise<URL | undefined> {
    const realm = await this.#auth.realm(signal);
    return realm === undefined ? undefined : this.#tokens.checkRealm(realm);
  }

  async call(call: JsonCall, signal: AbortSignal): Promise<JsonAnswer> {
    const { url, subject, action, scopes = [] } = call;
    if (url.origin !== this.endpoint.origin) throw new TypeError(`${this.endpoint.origin} has no ${url.origin}`);
    const area: Area = subject === "catalog" ? "catalog" : "repository";
    const target = { request: requestOf(call), area, scopes };
    const { response, login } = await this.#auth.request(target, LIMITS.pageBytes, signal);
    if (response.status === 200 && !isHtml(response)) return readJson(response, action);
    throw registryError(response, this.#context(action, subject, login));
  }

  /** `GET /v2/` without a login: 200 or 401 is what a registry answers; anything else is thrown. */
  async probe(signal: AbortSignal, options: CallOptions = {}): Promise<{ readonly open: boolean }> {
    const request: HttpRequest = { method: "GET", url: apiUrl(this.endpoint, ""), attempts: options.attempts };
    const response = await this.#options.client.request(request, LIMITS.errorBodyBytes, signal);
    const context = this.#context(`reach the registry at ${this.endpoint.host}`, "api", "none");
    if (response.url.origin !== this.endpoint.origin && response.status !== 200) throw registryError(response, context);
    if (response.status === 401) return { open: false };
    if (response.status !== 200 || isHtml(response)) throw registryError(response, context);
    return { open: true };
  }

  /** `GET /v2/` with the login that the registry asks for. */
  async login(signal: AbortSignal): Promise<{ readonly login: LoginState }> {
    const action = `log in to ${this.endpoint.host}`;
    const request: HttpRequest = { method: "GET", url: apiUrl(this.endpoint, "") };
    const target = { request, area: "api" as const, scopes: [] };
    const { response, login } = await this.#auth.request(target, LIMITS.errorBodyBytes, signal);
    // A token that the token server gave proves the login, even where the API's root wants more.
    if (response.status === 200 || (login === "token" && response.status === 401)) return { login };
    throw registryError(response, this.#context(action, "login", login));
  }

  /** Names of `_catalog`, page by page. */
  catalog(signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    const { flavour } = this.#options;
    return this.#list({
      path: "_catalog",
      key: "repositories",
      action: `list the repositories of ${this.endpoint.host}`,
      subject: "catalog",
      scopes: flavour.catalogScope === undefined ? [] : [flavour.catalogScope],
      pageSize: flavour.catalogPageSize,
      lastMarker: true,
    }, signal);
  }

  /** Tag names, page by page. `name` is the wire name. */
  tags(name: string, signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    const { flavour } = this.#options;
    return this.#list({
      path: `${name}/tags/list`,
      key: "tags",
      action: `list the tags of ${name} at ${this.endpoint.host}`,
      subject: "tags",
      scopes: [`repository:${name}:${flavour.tagsActions}`],
      pageSize: flavour.tagsPageSize,
      lastMarker: flavour.tagsLastMarker,
    }, signal);
  }

  /**
   * Fetches a manifest or index by tag or digest. The bytes are checked against the digest of the reference, else against
   * the one that the registry states; `size` is checked when it is known.
   */
  async manifest(
    name: string,
    reference: string,
    signal: AbortSignal,
    size?: number,
  ): Promise<FetchedManifest> {
    const { what, response } = await this.#getManifest(name, reference, signal);
    const stated = response.headers.get("docker-content-digest");
    const expected = isDigest(reference) ? reference : isDigest(stated) ? stated : undefined;
    const digest = expected ?? digestOf(response.body, "sha256:");
    verifyContent(response.body, { digest, ...(size === undefined ? {} : { size }) }, `the manifest of ${what}`);
    return { digest, parsed: parseManifest(response.body, response.headers.get("content-type"), what) };
  }

  async #getManifest(
    name: string,
    reference: string,
    signal: AbortSignal,
  ): Promise<{ readonly what: string; readonly response: BufferedResponse }> {
    const what = isDigest(reference) ? `${name}@${reference}` : `${name}:${reference}`;
    const url = apiUrl(this.endpoint, `${name}/manifests/${reference}`);
    const target = this.#repositoryTarget(name, { method: "GET", url, headers: ACCEPT_MANIFESTS });
    const { response, login } = await this.#auth.request(target, LIMITS.manifestBytes, signal);
    if (response.status === 200 && !isHtml(response)) return { what, response };
    throw registryError(response, this.#context(`read ${what} from ${this.endpoint.host}`, "manifest", login));
  }

  /**
   * Digest and date of a tag, by HEAD where the registry can. A tag that is gone has neither.
   *
   * @throws {OutpostError} for refusals that concern more than this tag.
   */
  async tagInfo(name: string, tag: string, signal: AbortSignal): Promise<TagInfo> {
    const { response, login } = await this.#headManifest(name, tag, signal);
    const digest = response.headers.get("docker-content-digest");
    if (response.status === 200 && isDigest(digest)) return { tag, digest, lastPushed: lastModified(response.headers) };
    if (![200, 400, 401, 403, 404, 405, 501].includes(response.status)) {
      const action = `read ${name}:${tag} from ${this.endpoint.host}`;
      throw registryError(response, this.#context(action, "manifest", login));
    }
    return await this.#tagInfoByGet(name, tag, signal);
  }

  async manifestHeaders(name: string, reference: string, signal: AbortSignal): Promise<Headers> {
    const { response, login } = await this.#headManifest(name, reference, signal, 1);
    if (response.status === 200) return response.headers;
    const action = `read ${name}:${reference} from ${this.endpoint.host}`;
    throw registryError(response, this.#context(action, "manifest", login));
  }

  #headManifest(
    name: string,
    reference: string,
    signal: AbortSignal,
    attempts?: number,
  ): Promise<Authorized<BufferedResponse>> {
    const url = apiUrl(this.endpoint, `${name}/manifests/${reference}`);
    const target = this.#repositoryTarget(name, { method: "HEAD", url, headers: ACCEPT_MANIFESTS, attempts });
    return this.#auth.request(target, 0, signal);
  }

  async #tagInfoByGet(name: string, tag: string, signal: AbortSignal): Promise<TagInfo> {
    try {
      const { what, response } = await this.#getManifest(name, tag, signal);
      const stated = response.headers.get("docker-content-digest");
      const digest = isDigest(stated) ? stated : digestOf(response.body, "sha256:");
      verifyContent(response.body, { digest }, `the manifest of ${what}`);
      return { tag, digest, lastPushed: lastModified(response.headers) };
    } catch (error) {
      if (error instanceof OutpostError && error.code === "TAG_NOT_FOUND") {
        return { tag, digest: null, lastPushed: null };
      }
      throw error;
    }
  }

  /**
   * Reads a small blob whole, and checks size and digest.
   *
   * @param what What it is, for messages: `the configuration of team/app:1.0`.
   * @throws {OutpostError} LIMIT_EXCEEDED above `maxBytes`, INTEGRITY, and what the registry's refusal means.
   */
  async blob(
    name: string,
    descriptor: Descriptor,
    maxBytes: number,
    what: string,
    signal: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>> {
    if (descriptor.size > maxBytes) {
      const problem = `it has ${descriptor.size} bytes, more than ${maxBytes}`;
      throw new OutpostError("LIMIT_EXCEEDED", `Cannot read ${what}: ${problem}`);
    }
    const bytes = await readSource(await this.openBlob(name, descriptor, signal));
    verifyContent(bytes, descriptor, what);
    return bytes;
  }

  /** Opens a blob; see blob_source.ts. */
  openBlob(name: string, descriptor: Descriptor, signal: AbortSignal): Promise<ByteSource> {
    const { clock, logger } = this.#options;
    const request = (range: string | undefined): Promise<StreamedResponse> =>
      this.#getBlob(name, descriptor, range, signal);
    return openBlob({ descriptor, request, clock, logger, signal });
  }

  /** Whether the registry itself has a blob. */
  async hasBlob(name: string, descriptor: Descriptor, signal: AbortSignal): Promise<boolean> {
    const url = apiUrl(this.endpoint, `${name}/blobs/${descriptor.digest}`);
    const target = this.#repositoryTarget(name, { method: "HEAD", url, headers: RAW });
    const { response } = await this.#auth.request(target, 0, signal);
    return response.status === 200;
  }

  async #getBlob(
    name: string,
    descriptor: Descriptor,
    range: string | undefined,
    signal: AbortSignal,
  ): Promise<StreamedResponse> {
    const url = apiUrl(this.endpoint, `${name}/blobs/${descriptor.digest}`);
    const headers = range === undefined ? RAW : { ...RAW, range };
    const { response, login } = await this.#auth.stream(
      this.#repositoryTarget(name, { method: "GET", url, headers }),
      signal,
    );
    if (response.status === 200 || response.status === 206 || response.status === 416) return response;
    const body = response.body === null ? new Uint8Array(0) : await readAll(response.body, LIMITS.errorBodyBytes, {
      clock: this.#options.clock,
      url: response.url,
      signal,
      truncate: true,
    }).catch(() => new Uint8Array(0));
    const action = `read blob ${descriptor.digest} of ${name} from ${this.endpoint.host}`;
    throw registryError({ ...response, body }, this.#context(action, "blob", login));
  }

  #repositoryTarget(
    name: string,
    request: HttpRequest,
  ): { readonly request: HttpRequest; readonly area: Area; readonly scopes: readonly string[] } {
    return { request, area: "repository", scopes: [`repository:${name}:${this.#options.flavour.pullActions}`] };
  }

  #list(list: ListRequest, signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    return listPages({
      url: apiUrl(this.endpoint, list.path),
      pageSize: list.pageSize,
      lastMarker: list.lastMarker,
      action: list.action,
      fetchPage: async (url) => {
        const area: Area = list.subject === "catalog" ? "catalog" : "repository";
        const target = { request: { method: "GET" as const, url }, area, scopes: list.scopes };
        return this.#page(await this.#auth.request(target, LIMITS.pageBytes, signal), list);
      },
    });
  }

  #page({ response, login }: Authorized<BufferedResponse>, list: ListRequest): PageAnswer {
    if (response.status === 200 && !isHtml(response)) {
      return { kind: "page", items: parsePage(response, list), link: response.headers.get("link") };
    }
    const error = registryError(response, this.#context(list.action, list.subject, login));
    const { codes, message } = parseErrorBody(response.body, response.headers.get("content-type"));
    const says = [...codes, message ?? ""].join(" ");
    if ((response.status === 400 || response.status === 405) && SIZE_REFUSED.test(says)) {
      return { kind: "size-refused", error };
    }
    if (response.status === 400 || response.status === 404) return { kind: "refused", error };
    throw error;
  }

  #context(action: string, subject: Subject, login: LoginState): ErrorContext {
    const { flavour } = this.#options;
    return {
      host: this.endpoint.host,
      action,
      subject,
      flavour,
      origin: this.endpoint.origin,
      login,
      hasCredentials: this.#login.present,
      redact: (text) => this.#redactor.text(text),
    };
  }

  #flavourContext(): FlavourContext {
    const { client, flavour, credentials, clock, logger, namespaces = [] } = this.#options;
    const { endpoint } = this;
    const redactor = this.#redactor;
    const hasCredentials = secretsOf(credentials).length > 0;
    return {
      endpoint,
      credentials,
      namespaces,
      clock,
      logger,
      closed: this.#closing.signal,
      client,
      redactor,
      openApi: (options) => new VendorApi({ client, flavour, host: endpoint.host, hasCredentials, redactor }, options),
    };
  }
}

interface ListRequest {
  readonly path: string;
  /** Member of the answer that holds the names. */
  readonly key: "repositories" | "tags";
  readonly action: string;
  readonly subject: "catalog" | "tags";
  readonly scopes: readonly string[];
  readonly pageSize: number;
  readonly lastMarker: boolean;
}

function parsePage(response: BufferedResponse, list: ListRequest): readonly string[] {
  let value: unknown;
  try {
    value = parseJsonBytes(response.body);
  } catch {
    throw protocolError(list.action, "the answer is not JSON");
  }
  const items = isRecord(value) ? value[list.key] ?? [] : undefined;
  if (!Array.isArray(items)) throw protocolError(list.action, `the answer has no ${list.key}`);
  return items.filter((item: unknown): item is string => typeof item === "string" && item !== "" && item.length <= 512);
}

function isHtml(response: BufferedResponse): boolean {
  return parseErrorBody(response.body.subarray(0, LIMITS.errorBodyBytes), response.headers.get("content-type")).html;
}

/** `Last-Modified` as an RFC 3339 time; null when there is none. */
function lastModified(headers: Headers): string | null {
  const time = Date.parse(headers.get("last-modified") ?? "");
  return Number.isNaN(time) ? null : new Date(time).toISOString();
}
