/**
 * Access tokens of a universal client: OAuth 2.0 client credentials (RFC 6749 §4.4; broker-protocol.md §10).
 *
 * @module
 */
import { OutpostError, toOutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock, Fetch, Logger } from "../core/ports.ts";
import { backoff } from "../lib/backoff.ts";
import { withDeadline } from "../lib/deadline.ts";
import { abortable } from "../net/body.ts";
import { readApiJson } from "./api_answer.ts";
import type { RenewableAuthorization } from "./authorization.ts";
import { isRecord } from "./codec.ts";

/** Options of {@link AccessTokens}. */
export interface AccessTokensOptions {
  /** API_BASE_URL. */
  readonly apiUrl: string;
  /** CLIENT_ID. */
  readonly clientId: string;
  /** CLIENT_SECRET. */
  readonly clientSecret: string;
  readonly fetch: Fetch;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Gets every token before it is used, so that it is kept out of logs. */
  readonly onToken: (token: string) => void;
  /** A token could not be had. */
  readonly onFailure: () => void;
}

interface AccessToken {
  /** Value of `Authorization`. */
  readonly header: string;
  /** When to get the next one, in milliseconds since the epoch. */
  readonly renewAt: number;
}

/** One token for everybody, got anew LIMITS.brokerTokenMarginMs before it expires and after a refusal. */
export class AccessTokens implements RenewableAuthorization {
  readonly #options: AccessTokensOptions;
  readonly #life = new AbortController();
  #token: AccessToken | undefined;
  #asking: Promise<string> | undefined;

  constructor(options: AccessTokensOptions) {
    this.#options = options;
  }

  get current(): string | undefined {
    return this.#token?.header;
  }

  /**
   * The value of `Authorization`; callers at the same time share one request.
   *
   * @throws {OutpostError} BROKER_REFUSED when the API gives none (not retryable when it refuses CLIENT_ID and
   *   CLIENT_SECRET), CONNECTION_FAILED, TIMEOUT; the signal's reason when it aborts.
   */
  async header(signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    const token = this.#token;
    if (token !== undefined && this.#options.clock.now() < token.renewAt) return token.header;
    return await abortable(this.#renew(), signal);
  }

  rejected(header: string): void {
    if (this.#token?.header !== header) return;
    this.#token = { header, renewAt: 0 };
    this.#renew().catch(() => {});
  }

  /** Keeps a token at hand until the signal aborts, then gives up what is under way. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#options;
    const end = (): void => this.#life.abort(signal.reason);
    if (signal.aborted) end();
    signal.addEventListener("abort", end, { once: true });
    for (let failures = 0; !signal.aborted;) {
      const error = await this.header(signal).then(() => undefined, toOutpostError);
      failures = error === undefined ? 0 : failures + 1;
      if (signal.aborted) break;
      const waitMs = error === undefined ? this.#untilRenewal() : backoff(failures, {
        min: LIMITS.brokerApiRetryMinMs,
        max: LIMITS.brokerApiRetryMaxMs,
        random: clock.random(),
      });
      if (error !== undefined) {
        const { code, message: reason, hint } = error;
        logger.error("Cannot authorize the broker connections", { code, reason, hint, failures, waitMs });
      }
      await clock.sleep(waitMs, signal).catch(() => {});
    }
    await this.#asking?.catch(() => {});
  }

  #untilRenewal(): number {
    return Math.max(0, (this.#token?.renewAt ?? 0) - this.#options.clock.now());
  }

  #renew(): Promise<string> {
    return this.#asking ??= this.#ask().catch((error) => {
      if (!this.#life.signal.aborted) this.#options.onFailure();
      throw error;
    }).finally(() => this.#asking = undefined);
  }

  async #ask(): Promise<string> {
    const { clock, onToken, logger } = this.#options;
    const { signal } = this.#life;
    const limit = { clock, ms: LIMITS.brokerApiTimeoutMs, what: "The request for an access token", signal };
    const answer = await withDeadline(limit, (deadline) => this.#request(deadline));
    const token = isRecord(answer) ? answer["access_token"] : undefined;
    const type = isRecord(answer) ? answer["token_type"] : undefined;
    if (typeof token !== "string" || !VISIBLE.test(token) || typeof type !== "string" || !WORD.test(type)) {
      throw new OutpostError("BROKER_REFUSED", "Cannot get an access token: the answer holds none");
    }
    onToken(token);
    const lifetimeMs = lifetimeOf(isRecord(answer) ? answer["expires_in"] : undefined);
    // A token that lives shorter than the margin is renewed halfway.
    const renewAt = clock.now() + Math.max(lifetimeMs - LIMITS.brokerTokenMarginMs, lifetimeMs / 2);
    this.#token = { header: `${type} ${token}`, renewAt };
    logger.debug("Got an access token", { lifetimeMs });
    return this.#token.header;
  }

  async #request(signal: AbortSignal): Promise<unknown> {
    const { apiUrl, clientId, clientSecret, fetch: ask } = this.#options;
    const form = new URLSearchParams({
      grant_type: "client_credentials",
      client_id: clientId,
      client_secret: clientSecret,
    });
    const request = new Request(`${apiUrl.replace(/\/+$/, "")}/oauth2/token`, {
      method: "POST",
      headers: { accept: "application/json", "content-type": "application/x-www-form-urlencoded" },
      body: form.toString(),
      redirect: "manual",
      signal,
    });
    const response = await ask(request).catch((cause: unknown) => {
      signal.throwIfAborted();
      throw new OutpostError("CONNECTION_FAILED", "Cannot get an access token: the API cannot be reached", {
        hint: "Check API_BASE_URL; behind a proxy, set HTTPS_PROXY.",
        cause,
      });
    });
    if (response.ok) return await readApiJson(response, "Cannot get an access token");
    await response.body?.cancel();
    const refused = [400, 401, 403].includes(response.status);
    throw new OutpostError("BROKER_REFUSED", `Cannot get an access token: the API answered ${response.status}`, {
      retryable: !refused,
      ...(refused ? { hint: "Check CLIENT_ID and CLIENT_SECRET, and that API_BASE_URL is that of their region." } : {}),
    });
  }
}

/** A token has to fit a header field. */
const VISIBLE = /^[\x21-\x7e]{1,16384}$/;
const WORD = /^[A-Za-z]{1,32}$/;

function lifetimeOf(expiresIn: unknown): number {
  const ms = Number(expiresIn) * 1_000;
  return Number.isFinite(ms) && ms > 0
    ? Math.min(Math.max(ms, 1_000), LIMITS.brokerTokenLifetimeMaxMs)
    : LIMITS.brokerTokenLifetimeMs;
}
