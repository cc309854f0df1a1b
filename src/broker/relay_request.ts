/**
 * What the agent is asked: a brokered request after rules and substitution, as a `Request` or as a form (broker-protocol.md §2).
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { parseBoundedJson } from "./codec.ts";
import type { Substituted } from "./substitute.ts";

/** What the agent is told beside the request. */
export interface DispatchInfo {
  /** The agent is this process: the request's origin is only a name. */
  readonly internal: boolean;
  /** Where variables were filled in: these values may be secrets and must not be echoed. */
  readonly substituted: Substituted;
  /** The context of the connection that the request is for, if it is for one. */
  readonly contextId?: string | undefined;
}

/** What the agent is asked. */
export interface Prepared {
  readonly url: URL;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer> | undefined;
  readonly info: DispatchInfo;
}

/**
 * A request for `fetch`, which follows no redirect.
 *
 * @throws {OutpostError} REQUEST_INVALID for a method that no client may send, or a header with CR, LF or NUL.
 */
export function toRequest({ url, method, headers, body }: Prepared, signal: AbortSignal): Request {
  try {
    const init = { method, headers: new Headers(headers), redirect: "manual" as const, signal };
    return new Request(url, body === undefined ? init : { ...init, body });
  } catch (cause) {
    throw new OutpostError("REQUEST_INVALID", "Cannot pass the brokered request on", { cause });
  }
}

/** Turns a URL to plain HTTP, Snyk's own hosts excepted (INSECURE_DOWNSTREAM). A port that was not named follows the scheme. */
export function useHttp(url: URL): void {
  if (url.hostname !== "snyk.io" && !url.hostname.endsWith(".snyk.io")) url.protocol = "http:";
}

/** Media type of a form. */
export const FORM = "application/x-www-form-urlencoded";

/**
 * A JSON object as a form (§2.7); undefined when the body is none.
 *
 * @throws {OutpostError} BODY_TOO_LARGE above LIMITS.brokerTextBytes.
 */
export function toForm(body: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | undefined {
  if (body.length > LIMITS.brokerTextBytes) {
    throw new OutpostError("BODY_TOO_LARGE", "Cannot make a form of the request's body: it is larger than 4 MiB");
  }
  const parsed = parseBoundedJson(new TextDecoder().decode(body));
  if (!parsed.ok || typeof parsed.value !== "object" || parsed.value === null) return undefined;
  const pairs = Object.entries(parsed.value).map(([key, value]) => [key, String(value)]);
  return new TextEncoder().encode(new URLSearchParams(pairs).toString());
}
