/**
 * Webhooks of source control while no websocket is open: they go to Snyk's API by HTTP (broker-protocol.md §6).
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock, Fetch } from "../core/ports.ts";
import { concatBytes } from "../lib/bytes.ts";
import { withDeadline } from "../lib/deadline.ts";
import type { Callback, CallbackAnswer } from "./callbacks.ts";
import { readHeaders } from "./brokered_request.ts";
import { headersFromUpstream } from "./headers.ts";
import { resolveTarget } from "./target.ts";

/** The API that takes webhooks. */
export interface WebhookApi {
  /** API_BASE_URL; a path in it is ignored, as the reference ignores it. */
  readonly apiUrl: string;
  readonly fetch: Fetch;
  readonly clock: Clock;
  /** The token as logs show it: it tells the API which client this is. */
  readonly maskedToken: string;
}

/** Whether a callback is one that may go by HTTP. */
export function isWebhook({ method, url }: Pick<Callback, "method" | "url">): boolean {
  return method.toUpperCase() === "POST" && url.startsWith("/webhook/");
}

/**
 * Posts a webhook that a public rule has accepted. Header fields are those for Snyk; redirects are not followed.
 *
 * @throws {OutpostError} REQUEST_INVALID when the path leads elsewhere; BROKER_DISCONNECTED when the API cannot be
 *   reached; TIMEOUT after LIMITS.brokerAckTimeoutMs; BROKER_REFUSED when its answer is larger than a callback may be.
 */
export async function postWebhook(api: WebhookApi, webhook: Callback, signal: AbortSignal): Promise<CallbackAnswer> {
  const target = resolveTarget({ origin: new URL(api.apiUrl).origin }, webhook.url, (origin) => origin);
  if (target.kind !== "target") {
    throw new OutpostError("REQUEST_INVALID", "Cannot send the webhook: its path is invalid");
  }
  const limit = { clock: api.clock, ms: LIMITS.brokerAckTimeoutMs, what: "The webhook", signal };
  return await withDeadline(limit, async (deadline) => {
    const request = new Request(target.url, {
      method: "POST",
      headers: { ...webhook.headers, "x-snyk-broker": api.maskedToken },
      body: webhook.body,
      redirect: "manual",
      signal: deadline,
    });
    const response = await api.fetch(request).catch((cause: unknown) => {
      deadline.throwIfAborted();
      throw new OutpostError("BROKER_DISCONNECTED", "Cannot send the webhook: neither broker nor API can be reached", {
        cause,
      });
    });
    const headers = headersFromUpstream(readHeaders(Object.fromEntries(response.headers)));
    const requestId = webhook.headers["snyk-request-id"] ?? "";
    return {
      status: response.status,
      headers: { ...headers, "snyk-request-id": requestId },
      body: await bodyOf(response),
    };
  });
}

async function bodyOf(response: Response): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > LIMITS.brokerRequestBodyBytes) {
      throw new OutpostError("BROKER_REFUSED", "Cannot read the webhook's answer: it is larger than 10 MiB");
    }
    chunks.push(chunk);
  }
  return concatBytes(chunks);
}
