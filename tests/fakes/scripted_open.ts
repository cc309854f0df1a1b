/**
 * Opens registries on a {@link ScriptedRegistry}, and writes the lines of a script that every login has.
 *
 * @module
 */
import { LIMITS } from "../../src/core/limits.ts";
import type { Registry, RegistryCredentials } from "../../src/core/ports.ts";
import {
  type ClosableRegistryProvider,
  createRegistryProvider,
  type RegistryOptions,
} from "../../src/registries/mod.ts";
import { BackoffClock } from "./clock.ts";
import { RecordingLogger } from "./logger.ts";
import type { Exchange, ScriptedRegistry } from "./scripted_registry.ts";

/** A signal that never aborts. */
export const signal = new AbortController().signal;
/** Credentials of `open` when a test names no others. */
export const LOGIN = { username: "user", password: "canary-password" };
/** Credentials without a login. */
export const ANONYMOUS = { username: "", password: "" };
/** {@link LOGIN} as HTTP Basic. */
export const BASIC = `Basic ${btoa("user:canary-password")}`;
/** The token server, allowed by CR_AUTH_HOSTS. */
export const REALM = "https://auth.example/token";
/** A challenge that names it. */
export const BEARER = `Bearer realm="${REALM}",service="registry.example"`;
/** Query of a token request for pulling repository `a`. */
export const A_PULL = "scope=repository%3Aa%3Apull";
/** The first request for the tags of repository `a`. */
export const TAGS = "GET /v2/a/tags/list?n=1000";
/** An answer to it. */
export const TAGS_REPLY = { body: { name: "a", tags: ["1"] } };

/** A provider on the script. */
export function provider(
  script: ScriptedRegistry,
  options: RegistryOptions = {},
  clock = new BackoffClock([LIMITS.responseTimeoutMs]),
): ClosableRegistryProvider {
  const settings = { authHosts: ["auth.example"], ...options };
  return createRegistryProvider({ transport: script, clock, logger: new RecordingLogger(), options: settings });
}

/** The registry `registry.example` on the script, as user {@link LOGIN}. */
export function open(
  script: ScriptedRegistry,
  credentials: Partial<RegistryCredentials> = {},
  options: RegistryOptions = {},
  clock?: BackoffClock,
): Registry {
  return provider(script, options, clock).open({ type: "oci", base: "registry.example", ...LOGIN, ...credentials });
}

/** A line that answers an unauthorised request with a challenge. */
export function challenge(match: string, header: string, more: Partial<Exchange> = {}): Exchange {
  return {
    match,
    headers: { authorization: null },
    reply: { status: 401, headers: { "www-authenticate": header } },
    ...more,
  };
}

/** A line of the token server: a token for {@link LOGIN}, once. */
export function token(query: string, value: string, more: Record<string, unknown> = {}): Exchange {
  return {
    match: `GET ${REALM}?service=registry.example&${query}&account=user`,
    headers: { authorization: BASIC },
    reply: { body: { token: value, expires_in: 300, ...more } },
    once: true,
  };
}
