/**
 * Checks AWS signatures, version 4 (AWS General Reference, "Signature Version 4 signing process"), as the services do:
 * over what arrived, with the secret that belongs to the access key.
 *
 * @module
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";

/** What arrived. */
export interface SignedRequest {
  readonly method: string;
  /** As the client sees it: its host is what was signed. */
  readonly url: URL;
  readonly headers: Headers;
  readonly body: string;
}

/** A key pair, with the session token that has to come with it. */
export interface AwsKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

/** The parts of an `Authorization` field. */
export interface AwsScope {
  readonly accessKeyId: string;
  readonly day: string;
  readonly region: string;
  readonly service: string;
}

/** Outcome: the key that signed, or why it is refused, by the names that AWS gives to it. */
export type Verdict =
  | { readonly ok: true; readonly key: AwsKey; readonly scope: AwsScope }
  | {
    readonly ok: false;
    readonly error: "MissingAuthenticationToken" | "InvalidClientTokenId" | "SignatureDoesNotMatch";
  };

const FIELD =
  /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/;
/** Difference of clocks that AWS allows. */
const SKEW_MS = 5 * 60_000;

/** Checks a request that is for one service and region. */
export function verifySignature(
  request: SignedRequest,
  keys: readonly AwsKey[],
  expected: { readonly service: string; readonly region: string },
  now: number = Date.now(),
): Verdict {
  const match = FIELD.exec(request.headers.get("authorization") ?? "");
  if (match === null) return { ok: false, error: "MissingAuthenticationToken" };
  const [, accessKeyId = "", day = "", region = "", service = "", names = "", signature = ""] = match;
  const scope = { accessKeyId, day, region, service };
  const key = keys.find((candidate) => candidate.accessKeyId === accessKeyId);
  if (key === undefined || key.sessionToken !== (request.headers.get("x-amz-security-token") ?? undefined)) {
    return { ok: false, error: "InvalidClientTokenId" };
  }
  const time = request.headers.get("x-amz-date") ?? "";
  const signedNames = names.split(";");
  const fits = service === expected.service && region === expected.region && time.startsWith(day) &&
    isRecent(time, now) &&
    signedNames.includes("host") && coversAmz(request.headers, signedNames);
  const computed = sign(key, scope, time, canonicalRequest(request, signedNames));
  return fits && timingSafeEqual(Buffer.from(computed), Buffer.from(signature))
    ? { ok: true, key, scope }
    : { ok: false, error: "SignatureDoesNotMatch" };
}

function isRecent(time: string, now: number): boolean {
  const at = Date.parse(time.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"));
  return Math.abs(now - at) <= SKEW_MS;
}

/** Every `x-amz-` field has to be signed; that of the library's name is not. */
function coversAmz(headers: Headers, signed: readonly string[]): boolean {
  return [...headers.keys()].filter((name) => name.startsWith("x-amz-") && name !== "x-amz-user-agent")
    .every((name) => signed.includes(name));
}

function canonicalRequest({ method, url, headers, body }: SignedRequest, names: readonly string[]): string {
  const fields = names.map((name) => {
    const value = name === "host" ? url.host : headers.get(name) ?? "";
    return `${name}:${value.trim().replace(/ +/g, " ")}\n`;
  });
  const query = [...url.searchParams].map(([name, value]) => `${encode(name)}=${encode(value)}`).toSorted().join("&");
  const path = url.pathname.split("/").map(encode).join("/");
  return [method, path, query, fields.join(""), names.join(";"), sha256(body)].join("\n");
}

function sign(
  { secretAccessKey }: AwsKey,
  { day, region, service }: AwsScope,
  time: string,
  canonical: string,
): string {
  const text = ["AWS4-HMAC-SHA256", time, `${day}/${region}/${service}/aws4_request`, sha256(canonical)].join("\n");
  const parts = [day, region, service, "aws4_request"];
  const signingKey = parts.reduce<Uint8Array>(
    (key, part) => createHmac("sha256", key).update(part).digest(),
    new TextEncoder().encode(`AWS4${secretAccessKey}`),
  );
  return createHmac("sha256", signingKey).update(text).digest("hex");
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** RFC 3986, as AWS wants it. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}
