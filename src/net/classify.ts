/**
 * What a failed connection means. Deno's `fetch` says it in texts only: this is the one place that knows them.
 *
 * @module
 */
import { type ErrorCode, OutpostError } from "../core/errors.ts";
import { classifyTls } from "./tls.ts";

interface Rule {
  readonly code: ErrorCode;
  readonly text: RegExp;
  readonly problem: string;
  readonly hint: string;
}

/** In the order in which they are tried; `{host}` stands for `host[:port]`. */
const RULES: readonly Rule[] = [
  {
    code: "BLOCKED_PORT",
    text: /Requests to port \d+ are blocked/,
    problem: "its port is one that HTTP clients refuse (the list of bad ports in the Fetch standard)",
    hint: "Serve the registry on another port, for instance 443 or 5000.",
  },
  {
    code: "DNS",
    text: /dns error|failed to lookup address/,
    problem: "its name cannot be resolved from here",
    hint: "Check the name, and the DNS settings of this machine or container.",
  },
  {
    code: "CONNECTION_REFUSED",
    text: /Connection refused/,
    problem: "nothing answers on this port",
    hint: "Check that it runs, and that host and port are right.",
  },
  {
    code: "TIMEOUT",
    text: /timed out|ETIMEDOUT/i,
    problem: "it did not answer in time",
    hint: "Check for a firewall in between, and whether a proxy is needed (HTTPS_PROXY).",
  },
  {
    code: "CONNECTION_RESET",
    text:
      /connection closed before message completed|error reading a body from connection|reset by peer|broken pipe|unexpected end of file|IncompleteMessage|stream closed|Connection aborted/i,
    problem: "the connection broke",
    hint: "Try again; if it stays so, look at the proxies and firewalls in between.",
  },
  {
    code: "CONNECTION_FAILED",
    text: /Network is unreachable|No route to host|os error \d+|tunnel|proxy|client error \(Connect\)/i,
    problem: "no connection could be made",
    hint: "Check the route, the firewall and the proxy settings (HTTPS_PROXY, NO_PROXY).",
  },
];

/**
 * Turns what a transport threw into a classified error. An {@link OutpostError} stays as it is, so that a reason given
 * to an abort signal comes through.
 *
 * @param error What was thrown; its text may hold the whole URL and is never shown.
 * @param url The URL that was called.
 */
export function classifyTransportError(error: unknown, url: URL): OutpostError {
  if (error instanceof OutpostError) return error;
  if (error instanceof DOMException && error.name === "AbortError") {
    return new OutpostError("CANCELLED", "The operation was cancelled", { cause: error });
  }
  const text = errorText(error);
  const tls = classifyTls(text, url.host);
  if (tls !== undefined) {
    return new OutpostError(tls.code, `Cannot reach ${url.host}: ${tls.problem}`, { hint: tls.hint, cause: error });
  }
  if (/invalid HTTP version parsed|invalid URI|HTTP status code parsed|invalid HTTP/i.test(text)) {
    return notHttp(error, url);
  }
  if (error instanceof DOMException && error.name === "TimeoutError") return known("TIMEOUT", error, url);
  const rule = RULES.find(({ text: pattern }) => pattern.test(text));
  return known(rule?.code ?? "CONNECTION_FAILED", error, url);
}

/** All messages along the chain of causes. */
function errorText(error: unknown): string {
  const texts: string[] = [];
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth++) {
    texts.push(at.message);
  }
  return texts.join(": ");
}

function known(code: ErrorCode, error: unknown, url: URL): OutpostError {
  const rule = RULES.find((candidate) => candidate.code === code);
  return new OutpostError(code, `Cannot reach ${url.host}: ${rule?.problem ?? "no connection could be made"}`, {
    hint: rule?.hint,
    cause: error,
  });
}

/** A TLS server that is spoken to in plain HTTP answers with a TLS alert, which is no HTTP. */
function notHttp(error: unknown, url: URL): OutpostError {
  if (url.protocol === "http:") {
    return new OutpostError("HTTPS_NEEDED", `Cannot reach ${url.host}: it does not speak plain HTTP on this port`, {
      hint: `If it speaks TLS, write CR_BASE as https://${url.host}.`,
      cause: error,
    });
  }
  return new OutpostError("NOT_A_REGISTRY", `Cannot reach ${url.host}: it does not speak HTTP on this port`, {
    hint: "Check host and port.",
    cause: error,
  });
}
