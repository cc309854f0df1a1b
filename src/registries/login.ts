/**
 * What a registry client logs in with: mostly the configured user name and password, at some vendors a short-lived pair
 * that their own API gives (registries.md §2.4, §2.12).
 *
 * @module
 */
import type { RegistryCredentials } from "../core/ports.ts";
import { hasLogin } from "./credentials.ts";

/** User name and password for HTTP Basic and for token servers. */
export interface Login {
  readonly username: string;
  readonly password: string;
}

/** Gives the login of one registry client. Secrets live in its closures only. */
export interface LoginSource {
  /** Whether there is anything to log in with. */
  readonly present: boolean;
  /** The login to use now. */
  get(signal: AbortSignal): Promise<Login>;
  /**
   * Called once per request when the registry refused `stale` by HTTP Basic (401 or 403): another login to try, or
   * undefined when there is none. A source whose logins do not change leaves it out.
   */
  renew?(stale: Login, signal: AbortSignal): Promise<Login | undefined>;
}

/** The login that credentials hold; it never changes. */
export function fixedLogin(credentials: RegistryCredentials): LoginSource {
  const { username = "", password = "" } = credentials;
  return { present: hasLogin(credentials), get: () => Promise.resolve({ username, password }) };
}
