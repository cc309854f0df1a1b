/**
 * Logins of Google's registries, as far as the APIs beside `/v2` need them: an access token that is configured, or one
 * that Google gives for an assertion signed with a service account's key (registries.md §2.5).
 *
 * @module
 */
import type { RegistryCredentials } from "../core/ports.ts";
import { isRecord, parseJsonBytes } from "../lib/bounded_json.ts";
import { protocolError } from "./errors.ts";
import type { FlavourContext } from "./flavour.ts";
import { textOf } from "./json_source.ts";
import { signRs256 } from "./jwt.ts";
import { type Fetched, Renewed } from "./renewed.ts";
import { anonymous, type ApiAuthorization, exchangedBearer, fixedHeader } from "./vendor_api.ts";

/** A login at Google's APIs. */
export interface GoogleAccount {
  readonly authorization: ApiAuthorization;
  /** The project that the key belongs to; undefined for an access token. */
  readonly project: string | undefined;
}

/** What of a key file is needed. */
interface ServiceAccountKey {
  readonly email: string;
  readonly privateKey: string;
  readonly project: string | undefined;
}

/**
 * Where assertions are exchanged. It is not taken from the key file: what a request's credentials name must not decide
 * where this process connects to.
 */
const TOKEN_ORIGIN = "https://oauth2.googleapis.com";
const TOKEN_URL = `${TOKEN_ORIGIN}/token`;
const SCOPE = "https://www.googleapis.com/auth/cloud-platform.read-only";
/** The longest life of an assertion that Google takes, and the usual one of an access token. */
const HOUR_S = 3600;
/** User names that stand for an access token in the password. */
const TOKEN_USERS = new Set(["oauth2accesstoken", "_token"]);

/** The login that credentials hold for the APIs; undefined for anonymous access and for what is no key file. */
export function googleAccount(context: FlavourContext): GoogleAccount | undefined {
  const { username = "", password = "" } = context.credentials;
  if (TOKEN_USERS.has(username)) {
    return { authorization: fixedHeader("authorization", `Bearer ${password}`), project: undefined };
  }
  const key = keyOf(context.credentials);
  return key === undefined ? undefined : { authorization: byAssertion(key, context), project: key.project };
}

/** `_json_key` with the key file, or `_json_key_base64` with its base64. */
function keyOf({ username, password = "" }: RegistryCredentials): ServiceAccountKey | undefined {
  let value: unknown;
  try {
    value = parseJsonBytes(
      username === "_json_key_base64" ? Uint8Array.fromBase64(password) : new TextEncoder().encode(password),
    );
  } catch {
    return undefined;
  }
  const fields = isRecord(value) ? value : {};
  const email = textOf(fields["client_email"]);
  const privateKey = textOf(fields["private_key"]);
  if (email === undefined || privateKey === undefined) return undefined;
  return { email, privateKey, project: textOf(fields["project_id"]) };
}

/** RFC 7523 §2.1: an access token for a signed assertion. */
function byAssertion(key: ServiceAccountKey, context: FlavourContext): ApiAuthorization {
  const { clock, closed, endpoint } = context;
  const server = context.openApi({ origin: TOKEN_ORIGIN, authorization: anonymous, unauthorizedMeans: "login" });
  const action = `log in to ${endpoint.host}`;
  const exchange = async (signal: AbortSignal): Promise<Fetched<string>> => {
    const iat = Math.floor(clock.now() / 1000);
    const claims = { iss: key.email, scope: SCOPE, aud: TOKEN_URL, iat, exp: iat + HOUR_S };
    const form = new URLSearchParams({
      grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer",
      assertion: await signRs256(claims, key.privateKey),
    });
    const { value } = await server.call({ url: new URL(TOKEN_URL), action, subject: "login", form }, signal);
    const answer = isRecord(value) ? value : {};
    const token = textOf(answer["access_token"]);
    if (token === undefined) throw protocolError(action, "the answer of Google's token server holds no token");
    const seconds = Number(answer["expires_in"]);
    return { value: token, lifetimeMs: (seconds > 0 ? seconds : HOUR_S) * 1000 };
  };
  return exchangedBearer(new Renewed({ clock, closed, exchange }));
}
