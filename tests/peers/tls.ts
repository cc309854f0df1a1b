/**
 * X.509 certificates for tests (RFC 5280, ECDSA P-256 with SHA-256), written here so that every odd one can be made:
 * expired, wrong name, a CA as server certificate, client certificates.
 *
 * @module
 */
/** A certificate with its private key. */
export interface Certificate {
  readonly certPem: string;
  /** PKCS #8. */
  readonly keyPem: string;
  readonly der: Uint8Array<ArrayBuffer>;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
}

/** What a certificate says. */
export interface CertificateOptions {
  /** Common name. */
  readonly name?: string;
  /** Host names and IPv4 addresses for the subjectAltName; by default localhost and 127.0.0.1. */
  readonly hosts?: readonly string[];
  /** Sets CA:TRUE. */
  readonly ca?: boolean;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

/** A certificate authority. */
export interface CertificateAuthority extends Certificate {
  /** Issues a certificate for servers and clients. */
  issue(options?: CertificateOptions): Promise<Certificate>;
}

const DAY_MS = 86_400_000;

/** Makes a private root (CA:TRUE). */
export async function createCa(name = "Outpost test root"): Promise<CertificateAuthority> {
  const root = await selfSigned({ name, ca: true, hosts: [] });
  return {
    ...root,
    issue: (options = {}) => build(options, { name, key: root.privateKey, publicKey: root.publicKey }),
  };
}

/** Makes a self-signed certificate; with `ca: true` the kind that `openssl req -x509` makes, which rustls refuses. */
export function selfSigned(options: CertificateOptions = {}): Promise<Certificate> {
  return build(options);
}

interface Issuer {
  readonly name: string;
  readonly key: CryptoKey;
  readonly publicKey: CryptoKey;
}

async function build(options: CertificateOptions, issuer?: Issuer): Promise<Certificate> {
  const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
  const name = options.name ?? "localhost";
  const signer = issuer ?? { name, key: pair.privateKey, publicKey: pair.publicKey };
  const spki = new Uint8Array(await crypto.subtle.exportKey("spki", pair.publicKey));
  const now = Date.now();
  const body = sequence(
    tag(0xa0, integer(Uint8Array.of(2))), // version 3
    integer(crypto.getRandomValues(new Uint8Array(16))),
    ECDSA_WITH_SHA256,
    distinguishedName(signer.name),
    sequence(time(options.notBefore ?? new Date(now - DAY_MS)), time(options.notAfter ?? new Date(now + 30 * DAY_MS))),
    distinguishedName(name),
    spki,
    tag(0xa3, sequence(...await extensions(options, pair.publicKey, signer.publicKey))),
  );
  const raw = new Uint8Array(await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, signer.key, body));
  const signature = sequence(integer(raw.subarray(0, 32)), integer(raw.subarray(32)));
  const der = sequence(body, ECDSA_WITH_SHA256, bitString(signature));
  const pkcs8 = new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey));
  return { certPem: pem("CERTIFICATE", der), keyPem: pem("PRIVATE KEY", pkcs8), der, ...pair };
}

async function extensions(
  options: CertificateOptions,
  own: CryptoKey,
  issuer: CryptoKey,
): Promise<Uint8Array<ArrayBuffer>[]> {
  const ca = options.ca === true;
  const hosts = options.hosts ?? ["localhost", "127.0.0.1"];
  const list = [
    // basicConstraints; DER leaves out the default CA:FALSE.
    extension("2.5.29.19", true, ca ? sequence(tag(0x01, Uint8Array.of(0xff))) : sequence()),
    // keyUsage: keyCertSign and cRLSign for a CA, else digitalSignature.
    extension("2.5.29.15", true, ca ? tag(0x03, Uint8Array.of(1, 0x06)) : tag(0x03, Uint8Array.of(7, 0x80))),
    extension("2.5.29.14", false, tag(0x04, await keyId(own))),
    extension("2.5.29.35", false, sequence(tag(0x80, await keyId(issuer)))),
  ];
  if (!ca) list.push(extension("2.5.29.37", false, sequence(oid("1.3.6.1.5.5.7.3.1"), oid("1.3.6.1.5.5.7.3.2"))));
  if (hosts.length > 0) list.push(extension("2.5.29.17", false, sequence(...hosts.map(generalName))));
  return list;
}

async function keyId(key: CryptoKey): Promise<Uint8Array<ArrayBuffer>> {
  const point = await crypto.subtle.exportKey("raw", key);
  return new Uint8Array(await crypto.subtle.digest("SHA-1", point));
}

function generalName(host: string): Uint8Array<ArrayBuffer> {
  const ipv4 = /^\d+\.\d+\.\d+\.\d+$/.test(host);
  return ipv4 ? tag(0x87, Uint8Array.from(host.split("."), Number)) : tag(0x82, text(host));
}

function extension(id: string, critical: boolean, value: Uint8Array): Uint8Array<ArrayBuffer> {
  return sequence(oid(id), ...(critical ? [tag(0x01, Uint8Array.of(0xff))] : []), tag(0x04, value));
}

function distinguishedName(name: string): Uint8Array<ArrayBuffer> {
  return sequence(tag(0x31, sequence(oid("2.5.4.3"), tag(0x0c, text(name)))));
}

/** RFC 5280 §4.1.2.5: UTCTime until 2049, GeneralizedTime after. */
function time(date: Date): Uint8Array<ArrayBuffer> {
  const digits = date.toISOString().replace(/[-:T]|\.\d+/g, "");
  return date.getUTCFullYear() < 2050 ? tag(0x17, text(digits.slice(2))) : tag(0x18, text(digits));
}

// DER, X.690.

function tag(kind: number, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const head = length < 128
    ? [kind, length]
    : length < 256
    ? [kind, 0x81, length]
    : [kind, 0x82, length >> 8, length & 0xff];
  const out = new Uint8Array(head.length + length);
  out.set(head);
  let at = head.length;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function sequence(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return tag(0x30, ...parts);
}

/** A positive INTEGER from big-endian bytes: no leading zeros but one where the top bit is set. */
function integer(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const first = bytes.findIndex((byte) => byte !== 0);
  const digits = first < 0 ? Uint8Array.of(0) : bytes.subarray(first);
  return tag(0x02, ...((digits[0] ?? 0) >= 0x80 ? [Uint8Array.of(0)] : []), digits);
}

function bitString(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return tag(0x03, Uint8Array.of(0), bytes);
}

function oid(dotted: string): Uint8Array<ArrayBuffer> {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const part of rest) {
    const groups = [part & 0x7f];
    for (let left = part >> 7; left > 0; left >>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return tag(0x06, Uint8Array.from(bytes));
}

const ECDSA_WITH_SHA256 = sequence(oid("1.2.840.10045.4.3.2"));

function text(value: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(value);
}

function pem(label: string, der: Uint8Array): string {
  const lines = der.toBase64().match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
