/**
 * What an operator can do about a websocket that does not open.
 *
 * @module
 */
import { classifyTls } from "../net/tls.ts";

/**
 * Advice for the text of a failed connection, undefined when there is none to give.
 *
 * @param detail what Deno said.
 * @param host `host[:port]` of the broker server.
 */
export function connectHint(detail: string, host: string): string | undefined {
  if (/proxy authentication required/i.test(detail)) {
    return "Put the proxy's user and password into its URL: HTTPS_PROXY=http://user:password@host:port.";
  }
  const failure = classifyTls(detail, host);
  if (failure?.code === "TLS_UNKNOWN_CA") {
    return "Give the authority's certificate in CA_CERT or NODE_EXTRA_CA_CERTS.";
  }
  if (failure?.code === "TLS_NAME") return "Use a name of the server's certificate in BROKER_SERVER_URL.";
  if (failure?.code === "TLS_SELF_SIGNED_CA_LEAF") {
    return "Re-issue the server's certificate with basicConstraints=CA:FALSE, or sign it with a private authority and give " +
      "that in CA_CERT or NODE_EXTRA_CA_CERTS.";
  }
  if (failure !== undefined) return failure.hint;
  if (/dns error|failed to lookup address/i.test(detail)) {
    return "Check BROKER_SERVER_URL and the DNS settings; behind a proxy, set HTTPS_PROXY.";
  }
  return undefined;
}
