/**
 * Where a registry is: CR_BASE taken apart, and the URLs of the OCI distribution API made from it.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";

/** Place of a registry's API: `{origin}{basePrefix}/v2/{namePrefix/}{name}/…`. */
export interface Endpoint {
  /** `https://host[:port]` or, only when written so, `http://host[:port]`. */
  readonly origin: string;
  /** `host[:port]`, for messages. */
  readonly host: string;
  /** Path before `/v2`, with a leading slash and none at the end; empty when there is none. */
  readonly basePrefix: string;
  /** Namespace in front of repository names, without slashes at its ends; empty when there is none. */
  readonly namePrefix: string;
}

/** What a path in CR_BASE means: a place before `/v2` (Artifactory, Nexus, proxies), or the owner of the images (GHCR). */
export type BasePath = "before-v2" | "namespace";

/**
 * Parses CR_BASE: `host`, `host:port` or a URL, in any letter case, with or without a path, a trailing slash or `/v2`.
 * HTTPS unless the text starts with `http://`.
 *
 * @throws {OutpostError} CONFIG_INVALID, without repeating user information or a query.
 */
export function parseBase(base: string, path: BasePath): Endpoint {
  const text = base.trim();
  const invalid = (why: string): OutpostError =>
    new OutpostError("CONFIG_INVALID", `Cannot use CR_BASE as the registry's address: ${why}`, {
      hint: "Write it as registry.example.com, registry.example.com:5000 or https://registry.example.com.",
    });
  if (text === "" || text === "undefined") throw invalid("it is empty");
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme !== undefined && scheme !== "https" && scheme !== "http") {
    throw invalid("only https and http are possible");
  }
  let url: URL;
  try {
    url = new URL(scheme === undefined ? `https://${text}` : text);
  } catch {
    throw invalid("it is not a host name");
  }
  if (url.username !== "" || url.password !== "") throw invalid("credentials do not belong into it");
  if (url.search !== "" || url.hash !== "") throw invalid("it has a query");
  if (url.hostname === "") throw invalid("it has no host name");
  const parts = url.pathname.split("/").filter((part) => part !== "");
  if (parts.at(-1) === "v2") parts.pop();
  const joined = parts.join("/");
  const before = path === "before-v2" && joined !== "";
  return {
    origin: url.origin,
    host: url.host,
    basePrefix: before ? `/${joined}` : "",
    namePrefix: path === "namespace" ? joined.toLowerCase() : "",
  };
}

/** The URL of an API path: `apiUrl(endpoint, "_catalog")`. An empty path gives the API's root, `…/v2/`. */
export function apiUrl(endpoint: Endpoint, path: string): URL {
  return new URL(`${endpoint.origin}${endpoint.basePrefix}/v2/${path}`);
}

/** A repository's name on the wire: the namespace of CR_BASE is put before names that do not start with it. */
export function qualifyName(endpoint: Endpoint, repository: string): string {
  const prefix = endpoint.namePrefix;
  return prefix === "" || repository.startsWith(`${prefix}/`) ? repository : `${prefix}/${repository}`;
}
