/**
 * The `request` event of the broker server, read tolerantly (broker-protocol.md §2).
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import { isRecord } from "./codec.ts";
import { OversizedText } from "./large_json.ts";
import { isUuid } from "./handshake.ts";

/** A request on its way to the agent. */
export interface BrokeredRequest {
  /** Path and query, with the leading `/ctx/<uuid>` already removed. */
  readonly url: string;
  readonly method: string;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer> | undefined;
  /** Id of the answer's stream; empty when there is none. */
  readonly streamingId: string;
  /** UUID under which everybody logs this request. */
  readonly requestId: string;
  /** The context of the connection that it is for, in lower case; undefined for the connection itself. */
  readonly contextId: string | undefined;
}

const CONTEXT = /^\/ctx\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?=\/)/i;

/**
 * Reads the event's argument. `randomId` gives a request id when the server sent none.
 *
 * @returns undefined when it is not a request, or its URL or header fields are larger than those of any.
 */
export function readRequest(argument: unknown, randomId: () => string): BrokeredRequest | undefined {
  if (!isRecord(argument)) return undefined;
  const { url, method, body } = argument;
  if (typeof url !== "string" || typeof method !== "string" || !/^[A-Za-z]{1,32}$/.test(method)) return undefined;
  const fields = argument["headers"];
  const isOversized = (one: unknown): boolean => one instanceof OversizedText;
  if (isOversized(body) || (isRecord(fields) && Object.values(fields).flat().some(isOversized))) return undefined;
  const headers = readHeaders(fields);
  if (url.length > LIMITS.brokerUrlChars || sizeOf(headers) > LIMITS.brokerHeaderChars) return undefined;
  const requestId = headers["snyk-request-id"];
  const contextId = CONTEXT.exec(url)?.[1] ?? headers["x-snyk-broker-context-id"];
  return {
    url: url.replace(CONTEXT, ""),
    method: method.toUpperCase(),
    headers,
    body: readBody(body),
    streamingId: streamingIdOf(argument),
    requestId: isUuid(requestId) ? requestId : randomId(),
    contextId: contextId?.toLowerCase(),
  };
}

function sizeOf(headers: Readonly<Record<string, string>>): number {
  return Object.entries(headers).reduce((size, [name, value]) => size + name.length + value.length, 0);
}

/** The stream's id, also of a request that cannot be read otherwise; empty when there is none. */
export function streamingIdOf(argument: unknown): string {
  const id = isRecord(argument) ? argument["streamingID"] : undefined;
  return typeof id === "string" && id.length <= 200 ? id : "";
}

/** Header fields as a map of lower-case names; values of several fields are joined, other values are left out. */
export function readHeaders(value: unknown): Record<string, string> {
  if (!isRecord(value)) return {};
  const entries: (readonly [string, string])[] = [];
  for (const [name, inner] of Object.entries(value)) {
    const text = Array.isArray(inner) ? inner.filter((part) => typeof part === "string").join(", ") : inner;
    if (typeof text === "string" || typeof text === "number") entries.push([name.toLowerCase(), String(text)]);
  }
  return Object.fromEntries(entries);
}

/** Body bytes of any of the forms that occur: `$binary`, text, a JSON value; an empty object means no body. */
export function readBody(value: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (value === undefined || value === null) return undefined;
  if (value instanceof Uint8Array) return value as Uint8Array<ArrayBuffer>;
  if (typeof value === "string") return new TextEncoder().encode(value);
  if (isRecord(value) && Object.keys(value).length === 0) return undefined;
  return new TextEncoder().encode(JSON.stringify(value));
}
