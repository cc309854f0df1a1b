/**
 * The only place of retries: a gate per host that bounds requests, repeats idempotent ones, and lets one "too many
 * requests" slow down everybody who calls that host.
 *
 * Policy: registries.md §1.7. GET and HEAD only. 408, 429, 502, 503, 504 and broken connections up to LIMITS.attempts;
 * 500, a refused connection, an unresolved name and a timeout once. The wait is the server's `Retry-After` (RFC 9110
 * §10.2.3: seconds or a date), `X-Retry-After` (Unix seconds, Docker Hub) or `X-RateLimit-Reset` of a used-up budget (Unix
 * seconds, GitHub), else 1 s · 2^k with jitter. GitHub says 403 where others say 429; see {@link isRateLimit}.
 *
 * @module
 */
import { type ErrorCode, OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock, Logger } from "../core/ports.ts";
import { backoff } from "../lib/backoff.ts";

const RETRY_STATUS: Readonly<Record<number, "always" | "once">> = {
  408: "always",
  500: "once",
  502: "always",
  503: "always",
  504: "always",
};

const RETRY_CODE: Partial<Record<ErrorCode, "always" | "once">> = {
  CONNECTION_RESET: "always",
  CONNECTION_FAILED: "always",
  CONNECTION_REFUSED: "once",
  DNS: "once",
  TIMEOUT: "once",
};

/** Outcome of one attempt that got an answer. */
export interface Attempt {
  readonly status: number;
  readonly headers: Headers;
  /** Releases the answer's body; called when the answer is not handed on. */
  discard(): Promise<void>;
}

/** Options of {@link RequestGate.run}. */
export interface RunOptions {
  /** Whether the request may be sent again. */
  readonly idempotent: boolean;
  /** Most attempts; LIMITS.attempts by default. */
  readonly attempts?: number | undefined;
  readonly signal: AbortSignal;
}

/** What {@link RequestGate.run} gives back. */
export interface Answered<T> {
  readonly answer: T;
  /** Set when the server asked for a longer wait than a caller accepts: earliest retry, ms since the epoch. */
  readonly retryAt: number | undefined;
}

/**
 * The wait that an answer asks for, in milliseconds from `now` (ms since the epoch); undefined when it asks for none.
 */
export function retryAfterMs(headers: Headers, now: number): number | undefined {
  const value = headers.get("retry-after")?.trim();
  if (value !== undefined && /^\d{1,10}$/.test(value)) return Number(value) * 1000;
  // A date starts with the day's name (RFC 9110 §5.6.7); Date.parse takes far more than dates.
  const date = value !== undefined && /^[A-Z][a-z]{2,8},? /.test(value) ? Date.parse(value) : NaN;
  if (!Number.isNaN(date)) return Math.max(0, date - now);
  const unix = headers.get("x-retry-after")?.trim();
  if (unix !== undefined && /^\d{1,12}$/.test(unix)) return Math.max(0, Number(unix) * 1000 - now);
  // Elsewhere the field counts seconds from now; ten digits are a time.
  const reset = isUsedUp(headers) ? headers.get("x-ratelimit-reset")?.trim() : undefined;
  return reset !== undefined && /^\d{10}$/.test(reset) ? Math.max(0, Number(reset) * 1000 - now) : undefined;
}

/**
 * Whether an answer says "too many requests": 429, or a 403 that names a time or a used-up budget
 * (https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api).
 */
export function isRateLimit(status: number, headers: Headers): boolean {
  return status === 429 || (status === 403 && (headers.has("retry-after") || isUsedUp(headers)));
}

function isUsedUp(headers: Headers): boolean {
  return headers.get("x-ratelimit-remaining")?.trim() === "0";
}

/** The wait before attempt `failures + 1`, from LIMITS.retryMinMs to LIMITS.retryMaxMs. */
export function backoffMs(failures: number, clock: Clock): number {
  return backoff(Math.max(1, failures), { min: LIMITS.retryMinMs, max: LIMITS.retryMaxMs, random: clock.random() });
}

/** What the gate knows of one host. */
class Host {
  running = 0;
  /** Nobody calls before this time. */
  pausedUntil = 0;
  /** After a 429 one request at a time finds out whether the host serves again. */
  probing = false;
  readonly #waiting: (() => void)[] = [];

  get idle(): boolean {
    return this.running === 0 && this.#waiting.length === 0;
  }

  get #slots(): number {
    return this.probing ? 1 : LIMITS.requestsPerHost;
  }

  /** Waits for a slot, first come first served. */
  async enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.running < this.#slots && this.#waiting.length === 0) {
      this.running++;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const go = (): void => {
        signal.removeEventListener("abort", abort);
        this.running++;
        resolve();
      };
      const abort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1);
        reject(signal.reason);
      };
      signal.addEventListener("abort", abort, { once: true });
      this.#waiting.push(go);
    });
  }

  leave(): void {
    this.running--;
    while (this.running < this.#slots) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      next();
    }
  }
}

/** Bounds and repeats requests, per host. One gate serves all registries of the process. */
export class RequestGate {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #hosts = new Map<string, Host>();

  constructor(dependencies: { readonly clock: Clock; readonly logger: Logger }) {
    this.#clock = dependencies.clock;
    this.#logger = dependencies.logger;
  }

  /** Hosts that are being called or waited for now. */
  get activeHosts(): number {
    return this.#hosts.size;
  }

  /**
   * Runs an attempt, and again while the policy says so. The last answer is handed on whatever its status.
   *
   * @throws {OutpostError} RATE_LIMITED when the host has asked everybody to wait longer than LIMITS.retryAfterMaxMs;
   * otherwise what the last attempt threw.
   */
  async run<T extends Attempt>(host: string, options: RunOptions, attempt: () => Promise<T>): Promise<Answered<T>> {
    const attempts = options.idempotent ? options.attempts ?? LIMITS.attempts : 1;
    for (let n = 1;; n++) {
      const outcome = await this.#once(host, options.signal, attempt);
      const wait = this.#decide(outcome, n, attempts);
      if (typeof wait !== "number") {
        if ("error" in outcome) throw outcome.error;
        return { answer: outcome.answer, retryAt: wait?.retryAt };
      }
      if ("answer" in outcome) await outcome.answer.discard();
      this.#logger.debug("Request is repeated", { host, attempt: n, waitMs: wait });
      if (wait > 0) await this.#clock.sleep(wait, options.signal);
    }
  }

  /** One attempt inside a slot of the host. */
  async #once<T extends Attempt>(
    name: string,
    signal: AbortSignal,
    attempt: () => Promise<T>,
  ): Promise<{ readonly answer: T } | { readonly error: unknown }> {
    const host = this.#host(name);
    await this.#enter(name, host, signal);
    try {
      const answer = await attempt();
      this.#noteStatus(host, answer.status, answer.headers);
      return { answer };
    } catch (error) {
      return { error };
    } finally {
      host.leave();
      this.#forget(name, host);
    }
  }

  /** Waits for a slot and for the end of the host's pause; others wait behind in the meantime. */
  async #enter(name: string, host: Host, signal: AbortSignal): Promise<void> {
    for (;;) {
      await host.enter(signal);
      const pause = host.pausedUntil - this.#clock.now();
      if (pause <= 0) return;
      host.leave();
      if (pause > LIMITS.retryAfterMaxMs) throw tooManyRequests(name, host.pausedUntil);
      await this.#clock.sleep(pause, signal);
    }
  }

  /** A 429, or a 503 with a time, pauses the host for all; any other answer ends the probing. */
  #noteStatus(host: Host, status: number, headers: Headers): void {
    const now = this.#clock.now();
    const asked = retryAfterMs(headers, now);
    if (!pausesHost(status, headers, asked)) {
      host.probing = false;
      return;
    }
    host.probing = true;
    // Never longer than retryMaxMs without a look: the limit may be another account's, or have been raised.
    const pause = Math.min(asked ?? backoffMs(1, this.#clock), LIMITS.retryMaxMs);
    host.pausedUntil = Math.max(host.pausedUntil, now + pause);
  }

  /** Milliseconds to wait before the next attempt, or that there is none. */
  #decide(
    outcome: { readonly answer: Attempt } | { readonly error: unknown },
    n: number,
    attempts: number,
  ): number | { readonly retryAt: number } | undefined {
    if ("error" in outcome) {
      const { error } = outcome;
      const rule = error instanceof OutpostError ? RETRY_CODE[error.code] : undefined;
      return mayRepeat(rule, n, attempts) ? backoffMs(n, this.#clock) : undefined;
    }
    const { status, headers } = outcome.answer;
    const rule = isRateLimit(status, headers) ? "always" : RETRY_STATUS[status];
    if (rule === undefined) return undefined;
    const now = this.#clock.now();
    const asked = retryAfterMs(headers, now);
    if (asked !== undefined && asked > LIMITS.retryAfterMaxMs) return { retryAt: now + asked };
    if (!mayRepeat(rule, n, attempts)) return asked === undefined ? undefined : { retryAt: now + asked };
    // What pauses the whole host is waited for at its gate.
    if (asked !== undefined) return pausesHost(status, headers, asked) ? 0 : asked;
    return backoffMs(n, this.#clock);
  }

  #host(name: string): Host {
    const known = this.#hosts.get(name);
    if (known !== undefined) return known;
    const made = new Host();
    this.#hosts.set(name, made);
    return made;
  }

  #forget(name: string, host: Host): void {
    if (host.idle && !host.probing && host.pausedUntil <= this.#clock.now()) this.#hosts.delete(name);
  }
}

/** A rate limit, and a 503 that says for how long, concern everybody who calls the host. */
function pausesHost(status: number, headers: Headers, asked: number | undefined): boolean {
  return isRateLimit(status, headers) || (status === 503 && asked !== undefined);
}

function mayRepeat(rule: "always" | "once" | undefined, n: number, attempts: number): boolean {
  return rule !== undefined && n < Math.min(attempts, rule === "once" ? 2 : attempts);
}

function tooManyRequests(host: string, retryAt: number): OutpostError {
  return new OutpostError("RATE_LIMITED", `Cannot call ${host}: it limits requests`, {
    hint: `Try again after ${new Date(retryAt).toISOString()}.`,
    retryAt,
  });
}
