/**
 * JSON calls to a vendor's own API: on the registry's origin with the registry's login (DistributionApi), or on another
 * origin with a login of its own (vendor_api.ts). Lists read both through {@link JsonSource}.
 *
 * @module
 */
import { isRecord, parseJsonBytes } from "../lib/bounded_json.ts";
import type { BufferedResponse, HttpRequest } from "../net/http.ts";
import { parseErrorBody, protocolError, type Subject } from "./errors.ts";

/** One call. */
export interface JsonCall {
  readonly url: URL;
  /** What is failing when this call fails, after "Cannot": `list the repositories of host`. */
  readonly action: string;
  /** What is asked for; decides what a refusal means. */
  readonly subject: Subject;
  /** Token scopes, where the registry's own login is used. */
  readonly scopes?: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
  /** Makes it a POST with a form. */
  readonly form?: URLSearchParams;
  /** Makes it a POST with a text of this type. */
  readonly content?: { readonly type: string; readonly text: string };
}

/** A successful answer. */
export interface JsonAnswer {
  readonly value: unknown;
  readonly headers: Headers;
}

/** Sends calls. Rejects with what a refusal means (registryError), after retries and renewed logins. */
export interface JsonSource {
  call(call: JsonCall, signal: AbortSignal): Promise<JsonAnswer>;
}

/** The request of a call; `more` are header fields that go over its own. */
export function requestOf(call: JsonCall, more: Readonly<Record<string, string>> = {}): HttpRequest {
  const { url, form, content } = call;
  const headers = { accept: "application/json", ...call.headers, ...more };
  if (form !== undefined) return { method: "POST", url, headers, form };
  return content === undefined ? { method: "GET", url, headers } : { method: "POST", url, headers, content };
}

/**
 * Reads the JSON of a successful answer.
 *
 * @throws {OutpostError} REGISTRY_PROTOCOL when it is a page or anything else.
 */
export function readJson(response: BufferedResponse, action: string): JsonAnswer {
  try {
    return { value: parseJsonBytes(response.body), headers: response.headers };
  } catch {
    const { html } = parseErrorBody(response.body, response.headers.get("content-type"));
    throw protocolError(action, html ? "the answer is a web page" : "the answer is not JSON");
  }
}

/**
 * The list that an answer holds: its member, or itself when no member is named. Elements that are no objects are dropped.
 *
 * @throws {OutpostError} REGISTRY_PROTOCOL when there is none.
 */
export function recordsOf(
  value: unknown,
  member: string | undefined,
  action: string,
): readonly Readonly<Record<string, unknown>>[] {
  const list = member === undefined ? value : isRecord(value) ? value[member] ?? [] : undefined;
  if (!Array.isArray(list)) throw protocolError(action, "the answer holds no list");
  return list.filter(isRecord);
}

/** A non-empty text, else undefined. */
export function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** A vendor's time (RFC 3339, RFC 5322, …) in RFC 3339 UTC; null when it is none. Go's zero time and the epoch are none. */
export function timeOf(value: unknown): string | null {
  const time = typeof value === "string" ? Date.parse(value) : NaN;
  return time > 0 ? new Date(time).toISOString() : null;
}
