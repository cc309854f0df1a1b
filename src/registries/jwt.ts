/**
 * JSON Web Tokens, as far as registries need them: how long one lives, whose it is, and signing one with a service account's key.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { isRecord, parseJsonBytes } from "../lib/bounded_json.ts";

/** Life of a token in milliseconds by its claims `iat` and `exp` (RFC 7519 §4.1); undefined when it does not tell. */
export function jwtLifetimeMs(token: string): number | undefined {
  const claims = claimsOf(token);
  if (claims === undefined) return undefined;
  const seconds = Number(claims["exp"]) - Number(claims["iat"] ?? claims["nbf"]);
  return seconds > 0 && Number.isFinite(seconds) ? seconds * 1000 : undefined;
}

/** Whose token it is, by its claim `sub`; undefined when it does not tell. */
export function jwtSubject(token: string): string | undefined {
  const subject = claimsOf(token)?.["sub"];
  return typeof subject === "string" && subject !== "" ? subject : undefined;
}

function claimsOf(token: string): Readonly<Record<string, unknown>> | undefined {
  const [, payload, signature] = token.split(".");
  if (payload === undefined || signature === undefined) return undefined;
  try {
    const claims = parseJsonBytes(Uint8Array.fromBase64(payload, { alphabet: "base64url" }));
    return isRecord(claims) ? claims : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Signs claims by RS256 (RFC 7515 appendix A.2).
 *
 * @param pem A PKCS #8 private key, as `private_key` of a service account's key file holds it.
 * @throws {OutpostError} CREDENTIALS_INVALID when the key cannot be used; nothing of it is repeated.
 */
export async function signRs256(claims: Readonly<Record<string, unknown>>, pem: string): Promise<string> {
  const key = await importKey(pem);
  const head = `${base64Url(JSON.stringify({ alg: "RS256", typ: "JWT" }))}.${base64Url(JSON.stringify(claims))}`;
  const signature = await crypto.subtle.sign("RSASSA-PKCS1-v1_5", key, new TextEncoder().encode(head));
  return `${head}.${base64Url(new Uint8Array(signature))}`;
}

async function importKey(pem: string): Promise<CryptoKey> {
  const body = /-----BEGIN PRIVATE KEY-----([\s\S]+?)-----END PRIVATE KEY-----/.exec(pem)?.[1];
  try {
    const bytes = Uint8Array.fromBase64((body ?? "").replace(/\s+/g, ""));
    return await crypto.subtle.importKey("pkcs8", bytes, { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }, false, [
      "sign",
    ]);
  } catch {
    throw new OutpostError("CREDENTIALS_INVALID", "Cannot use the registry credentials: their private key is damaged", {
      hint: "Use the key file as the vendor gave it, with its line ends.",
    });
  }
}

function base64Url(value: string | Uint8Array): string {
  const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}
