/**
 * Which header fields cross the broker, in each direction (broker-protocol.md §2.6–2.7, §6; RFC 9110 §7.6.1).
 *
 * @module
 */

/** Fields about one connection, never about the message: they end at each hop. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "expect",
  "host",
]);

/** Fields of a brokered request that are not for the agent. */
const NOT_FOR_AGENT: ReadonlySet<string> = new Set([
  "x-forwarded-for",
  "x-forwarded-proto",
  "x-forwarded-host",
  "x-forwarded-port",
  "content-length",
  "content-encoding",
  "snyk-acting-group-public-id",
  "snyk-acting-org-public-id",
  "snyk-acting-user-public-id",
  "snyk-flow-name",
  "snyk-product-line",
  "snyk-project-type",
  "snyk-integration-type",
  "x-snyk-broker-context-id",
]);

/** Fields of a callback that describe the hop to us; the answer is wanted uncompressed. */
const NOT_FOR_UPSTREAM: ReadonlySet<string> = new Set(["content-length", "content-encoding", "accept-encoding"]);

type HeaderMap = Readonly<Record<string, string>>;

/** Names that the message's own Connection field adds to the hop-by-hop ones. */
function perHop(connection: string | undefined): (name: string) => boolean {
  const named = new Set((connection ?? "").toLowerCase().split(",").map((name) => name.trim()));
  return (name) => HOP_BY_HOP.has(name) || named.has(name);
}

/** Header fields for the agent. Names are lower case. */
export function headersForAgent(headers: HeaderMap, options: {
  readonly requestId: string;
  readonly version: string;
  readonly removeForwarded: boolean;
}): Record<string, string> {
  const hop = perHop(headers["connection"]);
  const forwarded = (name: string): boolean => name.startsWith("x-forwarded-") || name === "forwarded";
  const kept = Object.entries(headers).filter(([name]) =>
    !hop(name) && !NOT_FOR_AGENT.has(name) && !(options.removeForwarded && forwarded(name))
  );
  return {
    "x-request-id": options.requestId,
    ...Object.fromEntries(kept),
    "snyk-request-id": options.requestId,
    // Deno's fetch would decode what it offered to take, and leave content-encoding and content-length as they were.
    "accept-encoding": "identity",
    "x-broker-origin-ua": headers["user-agent"] ?? `Snyk Broker ${options.version}`,
    "user-agent": `Snyk Broker Client ${options.version}`,
  };
}

/** Header fields of a callback for Snyk. Names are lower case. */
export function headersForUpstream(headers: HeaderMap, requestId: string): Record<string, string> {
  const hop = perHop(headers["connection"]);
  const kept = Object.entries(headers).filter(([name]) => !hop(name) && !NOT_FOR_UPSTREAM.has(name));
  return { ...Object.fromEntries(kept), "snyk-request-id": requestId };
}

/**
 * Header fields of the agent's answer, names in lower case, as the server sets them on its caller's response: cookies,
 * which cannot be joined, as a list.
 */
export function headersForCaller(
  fields: readonly (readonly [name: string, value: string])[],
): Record<string, string | readonly string[]> {
  const connection = fields.filter(([name]) => name === "connection").map(([, value]) => value);
  const hop = perHop(connection.length === 0 ? undefined : connection.join());
  const kept = new Map<string, string>();
  const cookies: string[] = [];
  for (const [name, value] of fields) {
    if (name === "set-cookie") cookies.push(value);
    else if (!hop(name)) kept.set(name, kept.has(name) ? `${kept.get(name)}, ${value}` : value);
  }
  // Not by assignment: `__proto__` is a field name too.
  const headers: Record<string, string | readonly string[]> = Object.fromEntries(kept);
  if (cookies.length > 0) headers["set-cookie"] = cookies.length === 1 ? cookies[0] ?? "" : cookies;
  return headers;
}

/** Header fields of a callback's answer, for our own caller: the length is that of the body as we hold it. */
export function headersFromUpstream(headers: HeaderMap): Record<string, string> {
  const hop = perHop(headers["connection"]);
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !hop(name) && name !== "content-length"));
}
