/**
 * `/systemcheck` in the broker client's form: asks BROKER_CLIENT_VALIDATION_URL once with each credential
 * (broker-protocol §7). Unlike the reference it keeps its time limit.
 *
 * @module
 */
import type { ValidationConfig } from "../config/load.ts";
import { toOutpostError } from "../core/errors.ts";
import type { Clock, Fetch } from "../core/ports.ts";
import { withDeadline } from "../lib/deadline.ts";

/** What the check asks with. */
export interface Validation {
  readonly target: ValidationConfig;
  /** Used when the configuration names no credential: CR_CREDENTIALS. */
  readonly fallback: string | undefined;
  readonly fetch: Fetch;
  readonly clock: Clock;
  /** `user-agent` of the request; the agent's own check recognises it. */
  readonly userAgent: string;
}

/** Outcome with one credential, in the reference's form. */
export interface ValidationResult {
  readonly brokerClientValidationUrl: string;
  readonly brokerClientValidationMethod: string;
  readonly brokerClientValidationTimeoutMs: number;
  readonly brokerClientValidationUrlStatusCode?: number;
  readonly ok: boolean;
  readonly error?: string;
  /** First and last three characters; null when there was none. */
  readonly maskedCredentials: string | null;
}

interface Credential {
  readonly authorization: string | undefined;
  readonly masked: string | null;
}

/** Whether a request comes from a broker client's own check, so that answering it with another would go in a circle. */
export function isValidationRequest(userAgent: string | undefined): boolean {
  return userAgent?.startsWith("Snyk Broker Client") === true;
}

/** Asks with each credential, one after the other. */
export async function validate(validation: Validation, signal: AbortSignal): Promise<readonly ValidationResult[]> {
  const results: ValidationResult[] = [];
  for (const credential of credentialsOf(validation)) results.push(await ask(validation, credential, signal));
  return results;
}

async function ask(validation: Validation, credential: Credential, signal: AbortSignal): Promise<ValidationResult> {
  const { target, fetch: send, clock, userAgent } = validation;
  const { url, method, timeoutMs: ms } = target;
  const shown = {
    brokerClientValidationUrl: url.origin + url.pathname,
    brokerClientValidationMethod: method,
    brokerClientValidationTimeoutMs: ms,
  };
  const maskedCredentials = credential.masked;
  try {
    const status = await withDeadline({ clock, ms, what: `The answer of ${url.host}`, signal }, async (deadline) => {
      const plain = new URL(url);
      plain.username = plain.password = "";
      const authorization = credential.authorization === undefined ? {} : { authorization: credential.authorization };
      const headers = { "user-agent": userAgent, ...authorization };
      const response = await send(new Request(plain, { method, headers, redirect: "manual", signal: deadline }));
      await response.body?.cancel();
      return response.status;
    });
    const answered = { ...shown, brokerClientValidationUrlStatusCode: status };
    if (status >= 200 && status <= 299) return { ...answered, ok: true, maskedCredentials };
    const refused = status === 401 || status === 403;
    const error = refused ? "Failed due to invalid credentials" : "Status code is not 2xx";
    return { ...answered, ok: false, error, maskedCredentials };
  } catch (cause) {
    signal.throwIfAborted();
    const { code, message } = toOutpostError(cause);
    const error = code === "INTERNAL" ? `${url.host} cannot be reached` : message;
    return { ...shown, ok: false, error, maskedCredentials };
  }
}

function credentialsOf({ target, fallback }: Validation): readonly Credential[] {
  const headers = target.authorizations.map((secret) => secret.reveal());
  if (headers.length === 0) {
    const users = target.basic.map((secret) => secret.reveal());
    if (users.length > 0) return users.map((user) => ({ authorization: basic(user), masked: mask(user) }));
    const { username, password } = target.url;
    if (username !== "") {
      const user = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
      return [{ authorization: basic(user), masked: mask(user) }];
    }
    if (fallback === undefined) return [{ authorization: undefined, masked: null }];
    headers.push(fallback);
  }
  return headers.map((header) => ({ authorization: header, masked: mask(header.replace(/^\S+ /, "")) }));
}

function basic(user: string): string {
  return `Basic ${new TextEncoder().encode(user).toBase64()}`;
}

function mask(credential: string): string {
  return credential.length <= 6 ? "***" : `${credential.slice(0, 3)}***${credential.slice(-3)}`;
}
