/**
 * Who may be called: origins, special addresses, redirects, token servers; and how a URL is shown.
 *
 * URLs are compared after WHATWG parsing, which turns every odd spelling of an IPv4 address (`0x7f.1`, `2130706433`,
 * `127.1`, full-width digits) into dotted decimal. IPv6 forms that embed an IPv4 address are taken apart here.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";

/** What an address is to somebody who decides whether to send a request there. */
export type AddressKind = "loopback" | "link-local" | "unspecified" | "private" | "public" | "name";

/** Names that cloud providers give to their metadata services. */
const METADATA_NAMES = new Set(["metadata.google.internal", "metadata", "instance-data"]);

/** Query keys whose values may be shown; all others may hold signatures, tokens or names of accounts. */
const SHOWN_QUERY = new Set(["n", "page", "page_size", "per_page", "service", "scope", "artifactType"]);

/**
 * Classifies the host of a parsed URL (`URL.hostname`, with or without brackets and trailing dot). Names are not
 * resolved: what a name points to is checked by the process' own network permissions.
 */
export function addressKind(hostname: string): AddressKind {
  const host = hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "").toLowerCase();
  const v4 = parseIpv4(host);
  if (v4 !== undefined) return ipv4Kind(v4);
  const v6 = host.includes(":") ? parseIpv6(host) : undefined;
  if (v6 !== undefined) return ipv6Kind(v6);
  if (host === "localhost" || host.endsWith(".localhost")) return "loopback";
  return METADATA_NAMES.has(host) ? "link-local" : "name";
}

/** Whether the host is this machine or its own link: where cloud metadata services and side cars live. */
export function isSpecialAddress(hostname: string): boolean {
  const kind = addressKind(hostname);
  return kind === "loopback" || kind === "link-local" || kind === "unspecified";
}

function parseIpv4(host: string): readonly number[] | undefined {
  const parts = host.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255)) return undefined;
  return parts.map(Number);
}

function ipv4Kind(bytes: readonly number[]): AddressKind {
  const [a = 0, b = 0] = bytes;
  if (a === 127) return "loopback";
  if (a === 0) return "unspecified";
  if (a === 169 && b === 254) return "link-local";
  if (a === 10 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168) || (a === 100 && b >= 64 && b < 128)) {
    return "private";
  }
  return "public";
}

/** Eight 16-bit groups of an IPv6 address in any text form, or undefined. */
function parseIpv6(host: string): readonly number[] | undefined {
  const text = host.replace(/%.*$/, "");
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  const v4 = dotted === null ? undefined : parseIpv4(dotted[2] ?? "");
  if (dotted !== null && v4 === undefined) return undefined;
  const [a = 0, b = 0, c = 0, d = 0] = v4 ?? [];
  const hex = v4 === undefined ? text : `${dotted?.[1]}${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  const halves = hex.split("::");
  if (halves.length > 2) return undefined;
  const [head = [], tail = []] = halves.map((half) => half === "" ? [] : half.split(":"));
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...Array<string>(missing).fill("0"), ...tail];
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/.test(group))) return undefined;
  return groups.map((group) => parseInt(group, 16));
}

function ipv6Kind(groups: readonly number[]): AddressKind {
  const [first = 0, second = 0] = groups;
  const zeros = (count: number): boolean => groups.slice(0, count).every((group) => group === 0);
  const embedded = (high = 0, low = 0): AddressKind => ipv4Kind([high >> 8, high & 255, low >> 8, low & 255]);
  if (zeros(7)) return groups[7] === 1 ? "loopback" : groups[7] === 0 ? "unspecified" : embedded(0, groups[7]);
  // IPv4-mapped (RFC 4291 §2.5.5.2), IPv4-compatible (§2.5.5.1), translated (RFC 2765).
  if (zeros(5) && groups[5] === 0xffff) return embedded(groups[6], groups[7]);
  if (zeros(6)) return embedded(groups[6], groups[7]);
  if (zeros(4) && groups[4] === 0xffff && groups[5] === 0) return embedded(groups[6], groups[7]);
  // NAT64 (RFC 6052) and 6to4 (RFC 3056) carry an IPv4 destination.
  if (first === 0x64 && second === 0xff9b) return embedded(groups[6], groups[7]);
  if (first === 0x2002) return embedded(second, groups[2]);
  if ((first & 0xffc0) === 0xfe80) return "link-local";
  // fd00:ec2::/32 holds the instance metadata service of AWS.
  if (first === 0xfd00 && second === 0x0ec2) return "link-local";
  return (first & 0xfe00) === 0xfc00 ? "private" : "public";
}

/** The URL without user information, and with the values of all but a few harmless query keys replaced by `…`. */
export function redactUrl(url: string | URL): string {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    return "(not a URL)";
  }
  const pairs = [...parsed.searchParams].map(([key, value]) =>
    `${encodeURIComponent(key)}=${SHOWN_QUERY.has(key) ? encodeURIComponent(value) : "…"}`
  );
  const query = pairs.length === 0 ? "" : `?${pairs.join("&")}`;
  return `${parsed.protocol}//${parsed.host}${parsed.pathname}${query}`;
}

/** How an origin stands in messages: `host[:port]`, with the scheme only when it is plain HTTP. */
export function showOrigin(url: URL): string {
  return url.protocol === "http:" ? `http://${url.host}` : url.host;
}

/**
 * Decides whether a redirect may be followed. Where it leads is chosen by whoever answered, so it may not lead to this
 * machine, to a link-local address or out of TLS. `first` is the URL that the chain of redirects started with.
 *
 * @throws {OutpostError} UNSAFE_REDIRECT.
 */
export function checkRedirect(first: URL, from: URL, to: URL): void {
  const refuse = (why: string): never => {
    throw new OutpostError("UNSAFE_REDIRECT", `Cannot follow the redirect of ${from.host} to ${to.host}: ${why}`, {
      hint: `Check what ${first.host} redirects to; a registry sends clients only to its own blob store.`,
    });
  };
  if (to.protocol !== "https:" && to.protocol !== "http:") refuse("it is not HTTP");
  if (to.username !== "" || to.password !== "") refuse("it carries credentials");
  if (from.protocol === "https:" && to.protocol === "http:") refuse("it leaves TLS");
  if (to.hostname === first.hostname || !isSpecialAddress(to.hostname)) return;
  if (addressKind(to.hostname) === "link-local" || !isSpecialAddress(first.hostname)) {
    refuse("it leads to an address of this machine or of its link");
  }
}

/** Options of {@link checkRealm}. */
export interface RealmOptions {
  /** Hosts that the operator (CR_AUTH_HOSTS) or the registry type allows: `host` or `host:port`. */
  readonly authHosts: readonly string[];
}

/**
 * Decides whether a token server that a registry names may get the registry's credentials: it speaks HTTPS (HTTP only
 * for a registry of plain HTTP) and its host is the registry's, a sub- or super-domain of it, of the same registrable
 * domain, or allowed by name.
 *
 * A realm on the registry's own host that says `http` although the registry is reached by HTTPS comes from a TLS proxy
 * that the registry does not know of; it is called by HTTPS.
 *
 * @returns The URL to call.
 * @throws {OutpostError} UNSAFE_REALM, or REGISTRY_PROTOCOL when the realm is not a URL.
 */
export function checkRealm(registry: URL, realm: string, options: RealmOptions): URL {
  let url: URL;
  try {
    url = new URL(realm);
  } catch {
    throw new OutpostError("REGISTRY_PROTOCOL", `Cannot log in to ${registry.host}: its token server is not a URL`);
  }
  const refuse = (why: string): never => {
    throw new OutpostError(
      "UNSAFE_REALM",
      `Cannot log in to ${registry.host}: it sends logins to ${showOrigin(url)}, ${why}`,
      { hint: `If that is right, set CR_AUTH_HOSTS=${url.host}.` },
    );
  };
  url.hash = "";
  if (url.protocol !== "https:" && url.protocol !== "http:") refuse("which is not HTTP");
  if (url.username !== "" || url.password !== "") refuse("a URL that carries credentials");
  if (registry.protocol === "https:" && url.protocol === "http:" && registry.host === url.host) url.protocol = "https:";
  if (registry.protocol === "https:" && url.protocol === "http:") refuse("which is not encrypted");
  if (url.hostname === registry.hostname) return url;
  if (addressKind(url.hostname) === "link-local") refuse("which is a link-local address");
  const allowed = options.authHosts.map((host) => host.trim().toLowerCase());
  if (allowed.includes(url.host) || allowed.includes(url.hostname)) return url;
  if (isSpecialAddress(url.hostname)) refuse("which is an address of this machine");
  if (!related(registry.hostname, url.hostname)) refuse("which is not part of it");
  return url;
}

/** Second-level labels under which country registries sell names: `co.uk`, `com.au`. */
const SECOND_LEVEL = new Set(["ac", "co", "com", "edu", "go", "gob", "gov", "gouv", "mil", "ne", "net", "or", "org"]);

/** Domains whose names belong to different customers. */
const SHARED_DOMAINS = new Set([
  "amazonaws.com",
  "amazonaws.com.cn",
  "appspot.com",
  "azurecr.cn",
  "azurecr.io",
  "azurecr.us",
  "azurewebsites.net",
  "cloudapp.net",
  "cloudfront.net",
  "fly.dev",
  "github.io",
  "gitlab.io",
  "herokuapp.com",
  "jfrog.io",
  "netlify.app",
  "ngrok.io",
  "onrender.com",
  "pages.dev",
  "pkg.dev",
  "run.app",
  "vercel.app",
  "web.app",
  "workers.dev",
]);

/**
 * Whether two host names belong together. The rule is the last two labels, so that `registry.corp.local` and
 * `git.corp.local` work without a list of private suffixes; one label more under country second levels and under
 * domains that many customers share.
 */
function related(a: string, b: string): boolean {
  const labels = [a, b].map((host) => host.replace(/\.$/, "").toLowerCase().split("."));
  const [first = [], second = []] = labels;
  if ([a, b].some((host) => addressKind(host) !== "name")) return false;
  const domain = registrable(first);
  return domain !== undefined && domain === registrable(second);
}

function registrable(labels: readonly string[]): string | undefined {
  const shared = [3, 2].find((count) => SHARED_DOMAINS.has(labels.slice(-count).join(".")));
  const [second = "", top = ""] = labels.slice(-2);
  const suffix = shared ?? (top.length === 2 && SECOND_LEVEL.has(second) ? 2 : 1);
  return labels.length > suffix ? labels.slice(-suffix - 1).join(".") : undefined;
}
