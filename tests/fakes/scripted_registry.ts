/**
 * A registry that follows a script: a list of expected requests with their answers. A request that nothing in the script
 * matches is remembered and fails the test, and so does a scripted answer that was never asked for.
 *
 * @module
 */
import { expect } from "vitest";
import type { HttpTransport } from "../../src/net/transport.ts";

/** A request as the script saw it. */
export interface SeenRequest {
  readonly method: string;
  /** Origin, path and query. */
  readonly url: string;
  readonly headers: Headers;
  readonly body: string;
}

/** An answer: a shorthand, or a function of the request. It may throw what `fetch` would. */
export type Reply = ReplyFields | ((request: SeenRequest, signal: AbortSignal) => Response | Promise<Response>);

/** Shorthand of an answer; an object as body is sent as JSON. */
export interface ReplyFields {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array<ArrayBuffer> | Readonly<Record<string, unknown>> | ReadableStream<Uint8Array>;
}

/** One line of the script. */
export interface Exchange {
  /** `GET /v2/`, or with an origin `GET https://blobs.example/x`; the query counts when it is written. */
  readonly match: string;
  /** Request headers that must be there with exactly this value; null: must be absent. */
  readonly headers?: Readonly<Record<string, string | null>>;
  readonly reply: Reply;
  /** Answers once and is used up; else it answers any number of times, and need not be used. */
  readonly once?: boolean;
}

/** The base of scripts' URLs without an origin. */
export const REGISTRY_ORIGIN = "https://registry.example";

/** Plays a script as a transport. */
export class ScriptedRegistry implements HttpTransport {
  /** Every request, oldest first. */
  readonly requests: SeenRequest[] = [];
  /** Most requests that were without an answer at the same time. */
  mostInFlight = 0;
  #inFlight = 0;
  #script: Exchange[];
  readonly #unmatched: string[] = [];

  constructor(script: readonly Exchange[]) {
    this.#script = [...script];
  }

  open(): { fetch: (request: Request) => Promise<Response>; close(): void } {
    return { fetch: (request) => this.#answer(request), close: () => {} };
  }

  /** `METHOD path?query` of every request, for counting. */
  get lines(): readonly string[] {
    return this.requests.map(({ method, url }) => `${method} ${url.replace(REGISTRY_ORIGIN, "")}`);
  }

  /** Fails when a request was not in the script, or a line that answers once was never used. */
  assertDone(): void {
    expect(this.#unmatched, "requests that the script does not have").toEqual([]);
    const unused = this.#script.filter(({ once }) => once === true).map(({ match }) => match);
    expect(unused, "lines that nobody asked for").toEqual([]);
  }

  async #answer(request: Request): Promise<Response> {
    request.signal.throwIfAborted();
    const seen: SeenRequest = {
      method: request.method,
      url: request.url,
      headers: request.headers,
      body: await request.text(),
    };
    this.requests.push(seen);
    this.mostInFlight = Math.max(this.mostInFlight, ++this.#inFlight);
    try {
      const exchange = this.#script.find((candidate) => matches(candidate, seen));
      if (exchange === undefined) {
        this.#unmatched.push(`${seen.method} ${seen.url}`);
        return new Response("not in the script", { status: 418 });
      }
      if (exchange.once === true) this.#script = this.#script.filter((candidate) => candidate !== exchange);
      const { reply } = exchange;
      return typeof reply === "function" ? await reply(seen, request.signal) : response(reply);
    } finally {
      this.#inFlight--;
    }
  }
}

function matches(exchange: Exchange, seen: SeenRequest): boolean {
  const [method, target = ""] = exchange.match.split(" ");
  const url = new URL(seen.url);
  const found = target.startsWith("/") ? seen.url.replace(REGISTRY_ORIGIN, "") : seen.url;
  const wanted = target.includes("?") ? found : found.slice(0, found.length - url.search.length);
  if (method !== seen.method || target !== wanted) return false;
  return Object.entries(exchange.headers ?? {}).every(([name, value]) => seen.headers.get(name) === value);
}

function response({ status = 200, headers = {}, body }: ReplyFields): Response {
  const plain = body === undefined || typeof body === "string" || body instanceof Uint8Array ||
    body instanceof ReadableStream;
  const content = plain ? body ?? null : JSON.stringify(body);
  return new Response(status === 204 || status === 304 ? null : content, {
    status,
    headers: plain ? headers : { "content-type": "application/json", ...headers },
  });
}

/** A body that breaks as a lost connection does, after the bytes. */
export function brokenAfter(bytes: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array<ArrayBuffer>> {
  let sent = false;
  return new ReadableStream({
    pull(controller): void {
      if (sent) controller.error(new TypeError("error reading a body from connection"));
      else controller.enqueue(bytes);
      sent = true;
    },
  }, { highWaterMark: 0 });
}

/** A body that sends the bytes and then nothing, for ever. */
export function stalledAfter(bytes: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({ start: (controller) => controller.enqueue(bytes) });
}
