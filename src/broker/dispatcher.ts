/**
 * High availability mode: Snyk's dispatcher says which broker server this client belongs to (broker-protocol.md §9).
 *
 * @module
 */
import { OutpostError, toOutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock, Fetch, Logger } from "../core/ports.ts";
import { backoff } from "../lib/backoff.ts";
import { withDeadline } from "../lib/deadline.ts";
import { sha256Hex } from "../lib/sha256.ts";
import { isRecord, parseBoundedJson } from "./codec.ts";

/** What the dispatcher is told, and where it is. */
export interface DispatcherSettings {
  /** API_BASE_URL: Snyk's API; its path is ignored, as the reference ignores it. */
  readonly apiUrl: string;
  /** SNYK_DISPATCHER_URL_PREFIX, `/hidden/broker` for instance. */
  readonly pathPrefix: string;
  /** BROKER_CLIENT_LOCATION: where this client runs, in the operator's words. */
  readonly location: string;
}

/** Options of {@link Dispatcher}. */
export interface DispatcherOptions extends DispatcherSettings {
  readonly token: string;
  readonly clientId: string;
  readonly fetch: Fetch;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Version of the dispatcher's interface. */
const API_VERSION = "2022-12-01~experimental";

/** Asks the dispatcher until it answers; nobody has to wait for more than its first attempt. */
export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #asked = Promise.withResolvers<void>();
  #serverId: string | undefined;

  constructor(options: DispatcherOptions) {
    this.#options = options;
  }

  /** The broker server to name when connecting; undefined until the dispatcher has named one. */
  get serverId(): string | undefined {
    return this.#serverId;
  }

  /**
   * Resolves when the first attempt is over, well or not: within LIMITS.brokerDispatcherTimeoutMs. The reference stops
   * its whole process for hours; a connection without a server id works as well, only without the choice.
   */
  get asked(): Promise<void> {
    return this.#asked.promise;
  }

  /** Asks, with growing waits, until there is an answer or the signal aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#options;
    for (let failures = 1; !signal.aborted; failures++) {
      const failure = await this.#ask(signal).then((id) => void (this.#serverId = id), toOutpostError);
      this.#asked.resolve();
      if (failure === undefined) {
        return logger.info("The dispatcher has named a broker server", { serverId: this.#serverId });
      }
      if (signal.aborted) return;
      const waitMs = backoff(failures, {
        min: LIMITS.brokerDispatcherRetryMinMs,
        max: LIMITS.brokerDispatcherRetryMaxMs,
        random: clock.random(),
      });
      const { code, message: reason } = failure;
      logger.warn("Connecting without high availability for now", { code, reason, failures, waitMs });
      await clock.sleep(waitMs, signal).catch(() => {});
    }
    this.#asked.resolve();
  }

  async #ask(signal: AbortSignal): Promise<string> {
    const { clock } = this.#options;
    const deadline = { clock, ms: LIMITS.brokerDispatcherTimeoutMs, what: "The dispatcher's answer", signal };
    return await withDeadline(deadline, async (limited) => {
      const response = await this.#options.fetch(this.#request(limited)).catch((cause: unknown) => {
        limited.throwIfAborted();
        // No access token, for instance.
        if (cause instanceof OutpostError) throw cause;
        throw new OutpostError("CONNECTION_FAILED", "Cannot reach the dispatcher", { cause });
      });
      const { status } = response;
      if (!response.ok) {
        await response.body?.cancel();
        throw new OutpostError("BROKER_REFUSED", `Cannot use the dispatcher: it answered ${status}`);
      }
      const serverId = readServerId(await readText(response));
      if (serverId !== undefined) return serverId;
      throw new OutpostError("BROKER_REFUSED", "Cannot use the dispatcher: its answer names no server");
    });
  }

  #request(signal: AbortSignal): Request {
    const { apiUrl, pathPrefix, location, token, clientId } = this.#options;
    const hash = sha256Hex(token);
    const url = new URL(`${pathPrefix}/${hash}/connections/${clientId}`, apiUrl);
    url.searchParams.append("version", API_VERSION);
    const attributes = { deployment_location: location, broker_token_first_char: token.slice(0, 1) };
    return new Request(url, {
      method: "POST",
      headers: { "content-type": "application/vnd.api+json" },
      body: JSON.stringify({ data: { attributes } }),
      redirect: "manual",
      signal,
    });
  }
}

/** `data.attributes.server_id`, a number that is not negative, or its digits. */
function readServerId(text: string): string | undefined {
  const parsed = parseBoundedJson(text);
  const data = parsed.ok && isRecord(parsed.value) ? parsed.value["data"] : undefined;
  const attributes = isRecord(data) ? data["attributes"] : undefined;
  const id = isRecord(attributes) ? attributes["server_id"] : undefined;
  const digits = typeof id === "number" || typeof id === "string" ? String(id) : "";
  return /^\d{1,20}$/.test(digits) ? digits : undefined;
}

/** The body, unless it is longer than LIMITS.brokerDispatcherBytes. */
async function readText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > LIMITS.brokerDispatcherBytes) {
      throw new OutpostError("BROKER_REFUSED", "Cannot use the dispatcher: its answer is too long");
    }
  }
  return text;
}
