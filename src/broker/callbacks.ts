/**
 * Agent to server: a request under the public accept rules, sent as an acknowledged `request` event
 * (broker-protocol.md §6).
 *
 * @module
 */
import { concatBytes } from "../lib/bytes.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock, Logger } from "../core/ports.ts";
import { withDeadline } from "../lib/deadline.ts";
import { blockedAnswer } from "./answer.ts";
import { readBody, readHeaders } from "./brokered_request.ts";
import { isRecord } from "./codec.ts";
import type { BrokerEventSink } from "./events.ts";
import { isUuid } from "./handshake.ts";
import { OversizedText } from "./large_json.ts";
import { headersForUpstream, headersFromUpstream } from "./headers.ts";
import type { AcceptRules } from "./rules.ts";
import type { BrokerSession } from "./session.ts";
import { isWebhook, postWebhook, type WebhookApi } from "./webhooks.ts";

/** A request towards Snyk. */
export interface Callback {
  /** HTTP method, in any case. */
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  /** Names in any case. */
  readonly headers: Readonly<Record<string, string>>;
  /** At most LIMITS.brokerRequestBodyBytes after inflation; `content-encoding` gzip and deflate are inflated. */
  readonly body: Uint8Array<ArrayBuffer>;
}

/** What Snyk answered. */
export interface CallbackAnswer {
  /** HTTP status, whatever it is. */
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  /** The body whole. */
  readonly body: Uint8Array<ArrayBuffer>;
}

/** Options of {@link Callbacks}. */
export interface CallbacksOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly rules: () => AcceptRules;
  readonly randomId: () => string;
  readonly onEvent: BrokerEventSink;
  /** Identified sessions, the preferred one first. */
  readonly sessions: () => readonly BrokerSession[];
  /** Where webhooks go while no session is open; without it they are refused like every callback. */
  readonly webhooks?: WebhookApi | undefined;
}

const BLOCKED = "Request does not match any accept rule, blocking HTTP request";

const REQUEST_ID_HEADERS = [
  "x-akamai-request-id",
  "x-request-id",
  "snyk-request-id",
  "x-github-delivery",
  "x-gitlab-event-uuid",
];

/** Sends callbacks. Nothing is kept: a callback is answered or rejected. */
export class Callbacks {
  readonly #options: CallbacksOptions;

  constructor(options: CallbacksOptions) {
    this.#options = options;
  }

  /**
   * Sends a callback once. A path that no public rule accepts is answered 401 without asking anybody.
   *
   * @throws {OutpostError} BROKER_DISCONNECTED when no socket is open, or the socket is lost before the answer (Snyk
   *   may then have received the callback); TIMEOUT after LIMITS.brokerAckTimeoutMs; BODY_TOO_LARGE;
   *   REQUEST_INVALID when the body cannot be inflated; BROKER_REFUSED when the answer makes no sense.
   */
  async send(callback: Callback, signal: AbortSignal): Promise<CallbackAnswer> {
    const { clock, onEvent } = this.#options;
    const startedAt = clock.now();
    let status = 0;
    let allowed = true;
    try {
      const answer = await this.#exchange(callback, signal, () => allowed = false);
      status = answer.status;
      return answer;
    } finally {
      onEvent({ kind: "callback", allowed, status, ms: clock.now() - startedAt });
    }
  }

  async #exchange(callback: Callback, signal: AbortSignal, onBlocked: () => void): Promise<CallbackAnswer> {
    signal.throwIfAborted();
    const { rules, logger, clock, webhooks } = this.#options;
    const headers = readHeaders(callback.headers);
    const requestId = this.#requestId(headers);
    const body = await inflate(callback.body, headers["content-encoding"]);
    const rule = rules().match("public", { method: callback.method, url: callback.url, headers, body });
    const path = callback.url.split(/[?#]/, 1)[0]?.slice(0, LIMITS.errorMessageChars);
    if (rule === undefined) {
      onBlocked();
      logger.warn("Blocked a callback", { method: callback.method, path, reason: BLOCKED });
      return jsonAnswer(blockedAnswer(callback.url, BLOCKED), requestId);
    }
    const session = this.#options.sessions()[0];
    if (session === undefined && webhooks !== undefined && isWebhook(callback)) {
      logger.warn("Sending a webhook to the API: no broker connection is open", { requestId, path });
      return await postWebhook(
        webhooks,
        { ...callback, body, headers: headersForUpstream(headers, requestId) },
        signal,
      );
    }
    if (session === undefined) {
      throw new OutpostError("BROKER_DISCONNECTED", "Cannot send the callback: no broker connection is open", {
        hint: "It reconnects by itself; /healthcheck shows the sockets.",
      });
    }
    const argument = {
      url: callback.url,
      method: callback.method.toUpperCase(),
      body,
      headers: headersForUpstream(headers, requestId),
      streamingID: "",
      requestId,
    };
    const args = await withDeadline(
      { clock, ms: LIMITS.brokerAckTimeoutMs, what: "The callback", signal },
      (deadline) => session.request("request", argument, deadline),
    );
    const answer = readAnswer(args[0], requestId);
    logger.debug("Sent a callback", { requestId, method: argument.method, path, status: answer.status });
    return answer;
  }

  #requestId(headers: Readonly<Record<string, string>>): string {
    return REQUEST_ID_HEADERS.map((name) => headers[name]).find(isUuid) ?? this.#options.randomId();
  }
}

function readAnswer(value: unknown, requestId: string): CallbackAnswer {
  const status = isRecord(value) ? value["status"] : undefined;
  if (!isRecord(value) || typeof status !== "number" || !Number.isInteger(status) || status < 200 || status > 599) {
    throw new OutpostError("BROKER_REFUSED", "Cannot read the callback's answer: it has no HTTP status");
  }
  if (value["body"] instanceof OversizedText) {
    throw new OutpostError("BROKER_REFUSED", "Cannot read the callback's answer: its body is too large");
  }
  const body = readBody(value["body"]) ?? new Uint8Array(0);
  const headers = headersFromUpstream(readHeaders(value["headers"]));
  return { status, headers: { ...headers, "snyk-request-id": requestId }, body };
}

function jsonAnswer(answer: ReturnType<typeof blockedAnswer>, requestId: string): CallbackAnswer {
  const value = answer.body.kind === "json" ? answer.body.value : {};
  const body = new TextEncoder().encode(JSON.stringify(value));
  return {
    status: answer.status,
    headers: { "content-type": "application/json", "snyk-request-id": requestId },
    body,
  };
}

/** The body without its content coding, never more than LIMITS.brokerRequestBodyBytes of it. */
async function inflate(
  body: Uint8Array<ArrayBuffer>,
  encoding: string | undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  const coding = encoding?.trim().toLowerCase();
  if (coding === undefined || coding === "" || coding === "identity") {
    if (body.length > LIMITS.brokerRequestBodyBytes) throw tooLarge();
    return body;
  }
  if (coding !== "gzip" && coding !== "x-gzip" && coding !== "deflate") {
    throw new OutpostError("REQUEST_INVALID", `Cannot send the callback: its content coding is not known`, {
      hint: "Send it plain, or with gzip or deflate.",
      status: 415,
    });
  }
  return await inflateBounded(body, coding === "deflate" ? "deflate" : "gzip");
}

async function inflateBounded(
  body: Uint8Array<ArrayBuffer>,
  format: CompressionFormat,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of new Blob([body]).stream().pipeThrough(new DecompressionStream(format))) {
      size += chunk.length;
      if (size > LIMITS.brokerRequestBodyBytes) throw tooLarge();
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof OutpostError) throw error;
    throw new OutpostError("REQUEST_INVALID", `Cannot send the callback: its body is not ${format}`, { cause: error });
  }
  return concatBytes(chunks);
}

function tooLarge(): OutpostError {
  return new OutpostError("BODY_TOO_LARGE", "Cannot send the callback: its body is larger than 10 MiB");
}
