/**
 * The outbound HTTP client. From the outside in: per-host gate and retries (retry.ts), redirects by our own rules
 * (origin.ts), time limits, the injected `fetch`, classified failures (classify.ts).
 *
 * Answers of any status are handed to the caller; only failures to get one are thrown.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock, Fetch, Logger } from "../core/ports.ts";
import { withDeadline } from "../lib/deadline.ts";
import { abortable, type AnswerBody, cancelBody, cancelled, readAll } from "./body.ts";
import { classifyTransportError } from "./classify.ts";
import type { DirectExchange, DirectResponse } from "./direct.ts";
import { checkRedirect, redactUrl } from "./origin.ts";
import type { Attempt, RequestGate } from "./retry.ts";

/** What is sent. Only what is idempotent is repeated. */
export interface HttpRequest {
  readonly method: "GET" | "HEAD" | "POST";
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  /** Body of a POST, sent as a form. */
  readonly form?: URLSearchParams;
  /** Body of a POST as text of another media type. */
  readonly content?: { readonly type: string; readonly text: string };
  /** Whether a POST may be repeated: one that only reads. GET and HEAD always may. */
  readonly idempotent?: boolean;
  /** Most attempts; LIMITS.attempts by default. */
  readonly attempts?: number | undefined;
  /** Longest wait for the response head; LIMITS.responseTimeoutMs by default. */
  readonly timeoutMs?: number | undefined;
}

/** Head of an answer. */
export interface HttpResponse {
  readonly status: number;
  readonly headers: Headers;
  /** What answered, after redirects. */
  readonly url: URL;
  /** Earliest retry that the server asked for, when that is too far away to wait here. */
  readonly retryAt: number | undefined;
}

/** An answer that was read whole. */
export interface BufferedResponse extends HttpResponse {
  readonly body: Uint8Array<ArrayBuffer>;
}

/** An answer whose body is still on its way. The owner must read it to the end or cancel it. */
export interface StreamedResponse extends HttpResponse {
  readonly body: AnswerBody | null;
}

/** What {@link HttpClient} needs. */
export interface HttpClientOptions {
  /** The `fetch` for a URL: a client certificate is for the registry's own origin only. */
  readonly fetchFor: (url: URL) => Fetch;
  /**
   * Connections of our own for an `http:` URL (docs/adr/008-direct-http.md); undefined where `fetch` is to be asked, whose rules
   * then hold, as of ports that are none of HTTP's. @default `fetch` for all
   */
  readonly exchangeFor?: ((url: URL) => DirectExchange | undefined) | undefined;
  readonly gate: RequestGate;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Value of `User-Agent`. */
  readonly userAgent: string;
}

/** Request headers that follow a redirect to another origin; all others may be credentials. */
const CROSS_ORIGIN_HEADERS = new Set(["accept", "accept-encoding", "range", "user-agent"]);

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

interface Reply extends Attempt {
  readonly url: URL;
  readonly body: AnswerBody | null;
}

/** What is sent of a request: to where its redirects lead, with the headers that may go there. */
interface Hop {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
}

interface BufferedReply extends Reply {
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Sends requests. One per registry client; all share the {@link RequestGate}. */
export class HttpClient {
  readonly #options: HttpClientOptions;

  constructor(options: HttpClientOptions) {
    this.#options = options;
  }

  /**
   * Sends a request and reads the whole answer; bodies of errors are cut at LIMITS.errorBodyBytes.
   *
   * @param maxBytes Bound of the body of a successful answer.
   * @throws {OutpostError} how the connection failed, LIMIT_EXCEEDED, UNSAFE_REDIRECT, RATE_LIMITED, CANCELLED.
   */
  async request(request: HttpRequest, maxBytes: number, signal: AbortSignal): Promise<BufferedResponse> {
    const { answer, retryAt } = await this.#run(request, signal, async (): Promise<BufferedReply> => {
      const reply = await this.#follow(request, signal);
      return { ...reply, bytes: await this.#buffer(reply, maxBytes, signal) };
    });
    return { status: answer.status, headers: answer.headers, url: answer.url, retryAt, body: answer.bytes };
  }

  /**
   * Sends a request and hands the body on as it comes. `signal` stays tied to the body.
   *
   * @throws {OutpostError} as {@link HttpClient.request}.
   */
  async stream(request: HttpRequest, signal: AbortSignal): Promise<StreamedResponse> {
    const { answer, retryAt } = await this.#run(request, signal, () => this.#follow(request, signal));
    return { status: answer.status, headers: answer.headers, url: answer.url, retryAt, body: answer.body };
  }

  async #run<T extends Attempt>(
    request: HttpRequest,
    signal: AbortSignal,
    attempt: () => Promise<T>,
  ): Promise<{ readonly answer: T; readonly retryAt: number | undefined }> {
    const idempotent = request.method !== "POST" || request.idempotent === true;
    const options = { idempotent, attempts: request.attempts, signal };
    try {
      return await this.#options.gate.run(request.url.host, options, attempt);
    } catch (error) {
      throw signal.aborted ? cancelled(signal) : error;
    }
  }

  /** One exchange with the redirects that it leads to. */
  async #follow(request: HttpRequest, signal: AbortSignal): Promise<Reply> {
    let url = request.url;
    let headers: Readonly<Record<string, string>> = { ...request.headers, "user-agent": this.#options.userAgent };
    for (let hop = 0;; hop++) {
      const reply = await this.#exchange(request, { url, headers }, signal);
      const location = reply.headers.get("location");
      if (request.method === "POST" || !REDIRECTS.has(reply.status) || location === null) return reply;
      await reply.discard();
      if (hop === LIMITS.redirects) throw tooManyRedirects(request.url);
      const target = resolveLocation(location, url);
      checkRedirect(request.url, url, target);
      if (target.origin !== url.origin) headers = withoutCredentials(headers);
      url = target;
    }
  }

  async #exchange(request: HttpRequest, hop: Hop, signal: AbortSignal): Promise<Reply> {
    const { clock, logger } = this.#options;
    const { url } = hop;
    const ms = request.timeoutMs ?? LIMITS.responseTimeoutMs;
    const began = clock.now();
    try {
      const limit = { clock, ms, what: `The request to ${url.host}`, signal };
      const answer = await withDeadline(
        limit,
        async (deadline) =>
          await this.#direct(request, hop, signal, deadline) ?? await this.#fetch(request, hop, deadline),
      );
      logger.debug("HTTP", {
        method: request.method,
        url: redactUrl(url),
        status: answer.status,
        ms: clock.now() - began,
      });
      return answer;
    } catch (error) {
      const failure = signal.aborted ? cancelled(signal) : this.#explain(error, url, ms);
      logger.debug("HTTP failed", { method: request.method, url: redactUrl(url), code: failure.code });
      throw failure;
    }
  }

  async #fetch(request: HttpRequest, { url, headers }: Hop, deadline: AbortSignal): Promise<Reply> {
    const type = request.content === undefined ? {} : { "content-type": request.content.type };
    const body = request.form ?? request.content?.text;
    const init = { method: request.method, redirect: "manual" as const, signal: deadline };
    const withHeaders = { ...init, headers: { ...headers, ...type } };
    const sent = new Request(url, body === undefined ? withHeaders : { ...withHeaders, body });
    const response = await abortable(this.#options.fetchFor(url)(sent), deadline);
    return replyOf(response.status, response.headers, url, response.body);
  }

  /**
   * The same without `fetch`, which takes twice the time for a layer where there is no TLS. When no answer comes, or one that
   * is to be decoded, `fetch` is asked, which decodes and explains failures.
   */
  async #direct(
    { method }: HttpRequest,
    { url, headers }: Hop,
    signal: AbortSignal,
    deadline: AbortSignal,
  ): Promise<Reply | undefined> {
    const exchange = method === "POST" || url.protocol !== "http:" ? undefined : this.#options.exchangeFor?.(url);
    if (exchange === undefined) return undefined;
    let response: DirectResponse | undefined;
    try {
      response = await exchange({ method, url, fields: Object.entries(headers), signal, headSignal: deadline });
      if (response === undefined) return undefined;
      const found = new Headers(response.fields.map(([name, value]): [string, string] => [name, value]));
      if (!found.has("content-encoding") || headers["accept-encoding"] === "identity") {
        return replyOf(response.status, found, url, response.body);
      }
    } catch {
      signal.throwIfAborted();
      deadline.throwIfAborted();
    }
    response?.body.cancel();
    return undefined;
  }

  #explain(error: unknown, url: URL, ms: number): OutpostError {
    if (!(error instanceof OutpostError) || error.code !== "TIMEOUT") return classifyTransportError(error, url);
    return new OutpostError("TIMEOUT", `Cannot reach ${url.host}: it did not answer within ${ms / 1000} s`, {
      hint: "Check for a firewall in between, and whether a proxy is needed (HTTPS_PROXY).",
      cause: error,
    });
  }

  /** Reads a body; that of an error as far as it goes, since only its text is of interest. */
  async #buffer(reply: Reply, maxBytes: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    if (reply.body === null) return new Uint8Array(0);
    const options = { clock: this.#options.clock, url: reply.url, signal };
    if (reply.status < 400) return await readAll(reply.body, maxBytes, options);
    try {
      return await readAll(reply.body, LIMITS.errorBodyBytes, { ...options, truncate: true });
    } catch (error) {
      if (signal.aborted) throw error;
      return new Uint8Array(0);
    }
  }
}

function replyOf(status: number, headers: Headers, url: URL, body: AnswerBody | null): Reply {
  return { status, headers, url, body, discard: () => cancelBody(body) };
}

function withoutCredentials(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => CROSS_ORIGIN_HEADERS.has(name.toLowerCase())));
}

function resolveLocation(location: string, base: URL): URL {
  try {
    return new URL(location, base);
  } catch {
    throw new OutpostError("UNSAFE_REDIRECT", `Cannot follow the redirect of ${base.host}: its target is not a URL`);
  }
}

function tooManyRedirects(url: URL): OutpostError {
  return new OutpostError("UNSAFE_REDIRECT", `Cannot call ${url.host}: more than ${LIMITS.redirects} redirects`, {
    hint: "Check the registry's proxy: its redirects lead in a circle.",
  });
}
