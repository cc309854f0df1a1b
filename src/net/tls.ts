/**
 * TLS as an operator meets it: certificates that are trusted or shown, and what a failed handshake means.
 *
 * Failures are recognised by the texts of rustls, Deno's TLS library, which gives no codes. Every text has a test that
 * makes a real server fail in that way, so that an update that changes one is noticed.
 *
 * @module
 */
import { type ErrorCode, OutpostError } from "../core/errors.ts";

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/**
 * Takes the certificates out of a PEM bundle; comments around them are dropped.
 *
 * @param name Where the text comes from, for messages: a variable or a file name.
 * @throws {OutpostError} CONFIG_INVALID when there is no certificate in it.
 */
export function parseCertificates(text: string, name: string): readonly string[] {
  const found = text.match(CERTIFICATE);
  if (found !== null) return found.map((pem) => `${pem}\n`);
  const hint = text.includes("PRIVATE KEY")
    ? "It holds a private key; give the certificate of the authority that signed the registry's certificate."
    : "Give a PEM file: lines between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----.";
  throw new OutpostError("CONFIG_INVALID", `Cannot use the certificates of ${name}: there are none in it`, { hint });
}

/** A recognised TLS failure: which, and what to say about a host. */
export interface TlsFailure {
  readonly code: ErrorCode;
  /** What is wrong, as the rest of a sentence after "Cannot reach host: ". */
  readonly problem: string;
  readonly hint: string;
}

interface Rule {
  readonly code: ErrorCode;
  readonly text: RegExp;
  readonly problem: (match: RegExpExecArray, host: string) => string;
  readonly hint: (match: RegExpExecArray, host: string) => string;
}

const RULES: readonly Rule[] = [
  {
    code: "TLS_SELF_SIGNED_CA_LEAF",
    text: /CaUsedAsEndEntity/,
    problem: () => "its certificate is self-signed and marked as a certificate authority",
    hint: () =>
      "Re-issue it with basicConstraints=CA:FALSE and a subjectAltName, sign it with a private authority and give that in CR_CA_FILE, or take it as it comes with CR_TLS_INSECURE=true (bin/outpost).",
  },
  {
    code: "TLS_UNKNOWN_CA",
    text: /UnknownIssuer/,
    problem: () => "its certificate comes from an unknown authority",
    hint: () => "Give the authority's certificate in CR_CA_FILE or CA_CERT (or NODE_EXTRA_CA_CERTS).",
  },
  {
    code: "TLS_NAME",
    text: /certificate not valid for name|NotValidForName/,
    problem: (match) => {
      const names = dnsNames(match.input);
      return names.length === 0
        ? "its certificate is for another name"
        : `its certificate is for ${names.join(", ")}, not for this name`;
    },
    hint: () => "Use a name of the certificate in CR_BASE, or add this one to its subjectAltName.",
  },
  {
    code: "TLS_EXPIRED",
    text: /certificate expired(?:.*?not valid after (\d+))?|certificate not valid yet(?:.*?not valid before (\d+))?/,
    problem: ([, after, before]) =>
      after !== undefined
        ? `its certificate expired on ${day(after)}`
        : before !== undefined
        ? `its certificate is not valid before ${day(before)}`
        : "its certificate is outside its time of validity",
    hint: () => "Renew the certificate; if it is valid, check the clock of this machine.",
  },
  {
    code: "TLS_CLIENT_CERT",
    text: /fatal alert: (?:CertificateRequired|BadCertificate|UnknownCA|CertificateUnknown|AccessDenied)/,
    problem: () => "it asks for a client certificate and got none that it accepts",
    hint: (_, host) =>
      `Give the client certificate that ${host} accepts, and its key, in CR_CLIENT_CERT and CR_CLIENT_KEY.`,
  },
  {
    code: "HTTP_ONLY",
    text: /received corrupt message of type InvalidContentType/,
    problem: () => "it does not speak TLS on this port",
    hint: (_, host) =>
      `If it speaks plain HTTP, write CR_BASE as http://${host} (credentials then travel unencrypted), or put a TLS proxy before it.`,
  },
  {
    code: "TLS_OTHER",
    text: /invalid peer certificate|tls handshake eof|received fatal alert|peer is incompatible|peer misbehaved/i,
    problem: () => "the TLS handshake failed",
    hint: (_, host) => `Check with: openssl s_client -connect ${host}`,
  },
];

/** Recognises a TLS failure by the text of rustls' error; undefined when the text is about something else. */
export function classifyTls(text: string, host: string): TlsFailure | undefined {
  for (const rule of RULES) {
    const match = rule.text.exec(text);
    if (match !== null) return { code: rule.code, problem: rule.problem(match, host), hint: rule.hint(match, host) };
  }
  return undefined;
}

/** Names in rustls' "certificate is only valid for DnsName("a") or IpAddress(…)"; at most five. */
function dnsNames(text: string): readonly string[] {
  const listed = text.split("only valid for")[1] ?? "";
  return [...listed.matchAll(/(?:DnsName\("|IpAddress\()([A-Za-z0-9.*:_-]+)/g)].map((match) => match[1] ?? "").slice(
    0,
    5,
  );
}

function day(seconds: string): string {
  const date = new Date(Number(seconds) * 1000);
  return Number.isNaN(date.getTime()) ? "an unknown day" : date.toISOString().slice(0, 10);
}
