/**
 * Answers to brokered requests: the agent's, and the ones that the broker makes itself (broker-protocol.md §3.4).
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import type { ByteStream } from "../core/ports.ts";
import type { DirectResponse } from "../net/direct.ts";
import { type PulledBody, streamFrom } from "../net/pulled_body.ts";
import { headersForCaller } from "./headers.ts";

/** What the server gives to its caller. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  /** Label for the server's logs, absent on success. */
  readonly errorType: string | undefined;
  readonly body: AnswerBody;
}

/** The body: the agent's bytes, or a JSON value of our own. */
export type AnswerBody =
  | { readonly kind: "stream"; readonly stream: ByteStream }
  | { readonly kind: "pulled"; readonly pulled: PulledBody }
  | { readonly kind: "json"; readonly value: Readonly<Record<string, unknown>> }
  | { readonly kind: "none" };

/** Wraps the agent's response. */
export function agentAnswer(response: Response): Answer {
  return {
    status: response.status,
    headers: headersForCaller([...response.headers]),
    errorType: statusLabel(response.status),
    body: response.body === null ? { kind: "none" } : { kind: "stream", stream: response.body },
  };
}

/** Wraps the agent's answer as it came over a direct connection. */
export function directAnswer({ status, fields, body }: DirectResponse): Answer {
  return {
    status,
    headers: headersForCaller(fields),
    errorType: statusLabel(status),
    body: { kind: "pulled", pulled: body },
  };
}

/** The agent's bytes as a stream; undefined when the body is none of the agent's. */
export function bodyStream(body: AnswerBody): ByteStream | undefined {
  if (body.kind === "stream") return body.stream;
  return body.kind === "pulled" ? streamFrom(body.pulled) : undefined;
}

/** Gives the agent's bytes up, where nobody reads them. */
export function cancelBody(body: AnswerBody): void {
  if (body.kind === "pulled") body.pulled.cancel();
  if (body.kind === "stream" && !body.stream.locked) body.stream.cancel().catch(() => {});
}

/** An answer of our own; `errorType` is the code. */
export function errorAnswer(
  status: number,
  code: string,
  message: string,
  more: Readonly<Record<string, unknown>> = {},
): Answer {
  return {
    status,
    headers: { "content-type": "application/json" },
    errorType: code,
    body: { kind: "json", value: { code, message, ...more } },
  };
}

/** No accept rule matches; `where` is the reference's text for the direction. */
export function blockedAnswer(url: string, where: string): Answer {
  return errorAnswer(401, "FILTER_BLOCKED", "blocked", { reason: where, url });
}

/** The agent could not be asked. Messages of unknown errors stay out: they may quote an address with a password. */
export function failureAnswer(error: unknown): Answer {
  const known = error instanceof OutpostError ? error : undefined;
  const message = known?.message ?? "Cannot reach the agent";
  if (known?.code === "BODY_TOO_LARGE") return errorAnswer(413, known.code, message);
  if (known?.code === "TIMEOUT" || (error instanceof DOMException && error.name === "TimeoutError")) {
    return errorAnswer(504, "DOWNSTREAM_TIMEOUT", message);
  }
  if (messagesOf(error).some((text) => /timed out|os error 110/.test(text))) {
    return errorAnswer(504, "DOWNSTREAM_TIMEOUT", message);
  }
  return known?.code === "CONNECTION_REFUSED" || known?.code === "DNS" || isConnectFailure(error)
    ? errorAnswer(502, "DOWNSTREAM_UNREACHABLE", message)
    : errorAnswer(502, "DOWNSTREAM_ERROR", message);
}

/** Label of a status that the agent gave itself; undefined where none is needed. */
export function statusLabel(status: number): string | undefined {
  if (status === 401) return "DOWNSTREAM_UNAUTHORIZED";
  if (status === 403) return "DOWNSTREAM_FORBIDDEN";
  if (status === 429) return "DOWNSTREAM_RATE_LIMITED";
  if (status >= 500) return "DOWNSTREAM_SERVER_ERROR";
  return status >= 400 && status !== 404 ? "DOWNSTREAM_UNEXPECTED" : undefined;
}

/**
 * Whether the connection never stood, so that nothing of the request can have arrived: a classified error, or Deno's
 * own (`client error (Connect)`, in the error or below it, names every failure before the connection is up).
 */
export function isConnectFailure(error: unknown): boolean {
  if (error instanceof OutpostError) return error.code === "DNS" || error.code === "CONNECTION_REFUSED";
  return messagesOf(error).some((text) => text.includes("client error (Connect)"));
}

/** Messages of an error and of what lies below it. */
function messagesOf(error: unknown): readonly string[] {
  const messages: string[] = [];
  let level = error;
  for (let depth = 0; level instanceof Error && depth < 5; depth++) {
    messages.push(level.message);
    level = level.cause;
  }
  return messages;
}
