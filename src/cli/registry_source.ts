/**
 * Helpers of the commands that talk to a registry.
 *
 * @module
 */
import type { RegistryCredentials } from "../core/ports.ts";

/** `host[:port]` of a registry's base, in lower case; undefined when it has none. */
export function registryHost(credentials: RegistryCredentials): string | undefined {
  const url = credentials.base.includes("://") ? credentials.base : `https://${credentials.base}`;
  return credentials.base !== "" && URL.canParse(url) ? new URL(url).host : undefined;
}
