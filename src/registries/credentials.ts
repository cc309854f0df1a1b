/**
 * Credentials as they come: from a brokered request, from the configuration; and back into the broker's form.
 *
 * Broker clients build the JSON of CR_CREDENTIALS by pasting values between quotes, so that a password with a quote or a
 * backslash gives JSON that no parser takes. Those texts are taken apart by the known order of their members
 * (registries.md §2.5).
 *
 * @module
 */
import { CR_TYPE_ALIASES, CR_TYPES } from "../config/schema.ts";
import { OutpostError } from "../core/errors.ts";
import type { RegistryCredentials } from "../core/ports.ts";
import { isRecord } from "../lib/bounded_json.ts";
import { sha256Hex } from "../lib/sha256.ts";

/** Names of the registry types, as CR_TYPE has them. */
export type RegistryType = typeof CR_TYPES[number];

/** Configuration values from which credentials are made; names are those of the variables without `CR_`. */
export interface ConfiguredRegistry {
  readonly type?: string | undefined;
  readonly base?: string | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly token?: string | undefined;
  readonly roleArn?: string | undefined;
  readonly region?: string | undefined;
  readonly externalId?: string | undefined;
  /** CR_CREDENTIALS: goes before all others. */
  readonly credentials?: string | undefined;
}

/** The JSON that broker clients make, when it is no JSON because the values were pasted in unescaped. */
const PASTED = /^\{"type":"([^"]*)", ?"username":"(.*?)", ?"password":"(.*)", ?"registryBase":"(.*)"\}\s*$/s;
const PASTED_ECR =
  /^\{"type":"([^"]*)", ?"roleArn":"(.*?)", ?"extra":\{"region":"(.*?)", ?"externalId":"(.*)"\}\}\s*$/s;

/** Resolves a type's name, an old one (`DockerHub`) or one in other letter case included; undefined when it is unknown. */
export function resolveType(name: string): RegistryType | undefined {
  const lower = name.trim().toLowerCase();
  const alias = Object.entries(CR_TYPE_ALIASES).find(([old]) => old.toLowerCase() === lower)?.[1];
  return CR_TYPES.find((type) => type === (alias ?? lower));
}

/**
 * Reads the credentials of a brokered request: base64 of the JSON, as broker clients put it into `Authorization`, bare or
 * behind `Basic ` or `Bearer `; the JSON itself is understood too.
 *
 * @throws {OutpostError} CREDENTIALS_INVALID, which repeats nothing of the value.
 */
export function parseBrokeredCredentials(header: string): RegistryCredentials {
  const value = header.trim().replace(/^(?:basic|bearer)\s+/i, "");
  const json = value.startsWith("{") ? value : decodeBase64(value);
  return fromMembers(parseJson(json) ?? parsePasted(json));
}

/**
 * Makes credentials from configuration values. Without a type the registry is a plain OCI one.
 *
 * @returns undefined when no registry is configured.
 * @throws {OutpostError} CREDENTIALS_INVALID for CR_CREDENTIALS, CONFIG_INVALID for the others, naming the variable.
 */
export function configuredCredentials(values: ConfiguredRegistry): RegistryCredentials | undefined {
  if (given(values.credentials)) return parseBrokeredCredentials(values.credentials);
  if (!given(values.type) && !given(values.base)) return undefined;
  const type = resolveType(values.type ?? "oci");
  if (type === undefined) {
    throw new OutpostError("CONFIG_INVALID", `Cannot use the registry: CR_TYPE is not a known type`, {
      hint: `Use one of ${CR_TYPES.join(", ")}.`,
    });
  }
  const login = type === "digitalocean-cr" && given(values.token)
    ? { username: values.token, password: values.token }
    : { username: values.username, password: values.password };
  return compact({
    type,
    base: values.base ?? "",
    ...login,
    token: type === "digitalocean-cr" ? undefined : values.token,
    roleArn: values.roleArn,
    region: values.region,
    externalId: values.externalId,
  });
}

/**
 * Writes credentials as CR_CREDENTIALS: base64 of one line of JSON with the members, their order and the blanks that
 * Snyk's broker client gives them, but with its values escaped as JSON needs. A token of the vendor's API, which that
 * client does not have, stands behind them.
 */
export function encodeCredentials(credentials: RegistryCredentials): string {
  const q = (text: string | undefined): string => JSON.stringify(text ?? "");
  const json = credentials.type === "ecr"
    ? `{"type":"ecr","roleArn":${q(credentials.roleArn)},"extra":{"region":${q(credentials.region)},` +
      `"externalId":${q(credentials.externalId)}}}`
    : `{"type":${q(credentials.type)}, "username":${q(credentials.username)}, "password":${q(credentials.password)}, ` +
      `"registryBase":${q(credentials.base)}${
        credentials.token === undefined ? "" : `, "token":${q(credentials.token)}`
      }}`;
  return new TextEncoder().encode(`${json}\n`).toBase64();
}

/** SHA-256 of credentials, in hexadecimal: the key of caches, which must not hold the secret itself. */
export function credentialHash(credentials: RegistryCredentials): string {
  const { type, base, username, password, token, roleArn, region, externalId } = credentials;
  const fields = [type, base, username, password, token, roleArn, region, externalId].map((field) => field ?? null);
  return sha256Hex(JSON.stringify(fields));
}

/** The secret parts of credentials, in the forms in which an answer might repeat them. */
export function secretsOf(credentials: RegistryCredentials): readonly string[] {
  return [credentials.username, credentials.password, credentials.token, credentials.externalId].filter(given);
}

/** Whether credentials hold a user name or a password. */
export function hasLogin(credentials: RegistryCredentials): boolean {
  return (credentials.username ?? "") !== "" || (credentials.password ?? "") !== "";
}

/** The value of `Authorization` for HTTP Basic (RFC 7617), in UTF-8. */
export function basicAuthorization(login: { readonly username: string; readonly password: string }): string {
  const pair = `${login.username}:${login.password}`;
  return `Basic ${new TextEncoder().encode(pair).toBase64()}`;
}

function decodeBase64(value: string): string {
  const packed = value.replace(/\s+/g, "").replaceAll("-", "+").replaceAll("_", "/").replace(/=+$/, "");
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.fromBase64(packed));
  } catch {
    throw invalid("they are not base64");
  }
}

function parseJson(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch {
    return undefined;
  }
}

function parsePasted(text: string): unknown {
  const [, type, username, password, registryBase] = PASTED.exec(text) ?? [];
  if (type !== undefined) return { type, username, password, registryBase };
  const [, ecr, roleArn, region, externalId] = PASTED_ECR.exec(text) ?? [];
  return ecr === undefined ? undefined : { type: ecr, roleArn, extra: { region, externalId } };
}

function fromMembers(value: unknown): RegistryCredentials {
  if (!isRecord(value)) throw invalid("they are not the JSON that a broker client makes");
  const name = member(value, "type");
  const type = resolveType(name ?? "");
  if (type === undefined) {
    throw new OutpostError("CREDENTIALS_INVALID", "Cannot use the registry credentials: their type is not known", {
      hint: `Set CR_TYPE to one of ${CR_TYPES.join(", ")}.`,
    });
  }
  const extra = isRecord(value["extra"]) ? value["extra"] : {};
  const base = member(value, "registryBase");
  const username = member(value, "username");
  const password = member(value, "password");
  return compact({
    type,
    // Broker clients write "undefined" for a CR_BASE that is not set.
    base: base === undefined || base === "undefined" ? "" : base,
    username,
    password: username?.startsWith("_json_key") === true && password !== undefined ? repairKey(password) : password,
    token: member(value, "token"),
    roleArn: member(value, "roleArn"),
    region: member(extra, "region"),
    externalId: member(extra, "externalId"),
  });
}

/**
 * A service-account key whose line ends were expanded on the way is JSON again once they are escaped. Anything else
 * stays as it is.
 */
function repairKey(password: string): string {
  if (parseJson(password) !== undefined) return password;
  const repaired = password.replace(
    /("private_key"\s*:\s*")([^"]*)/,
    (_, start: string, key: string) => start + key.replace(/\r?\n/g, "\\n"),
  );
  return parseJson(repaired) === undefined ? password : repaired;
}

function member(value: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const found = value[name];
  if (found === undefined || found === null || typeof found === "string") return found ?? undefined;
  throw invalid(`their member ${name} is not a text`);
}

/** Drops empty members, as the interface wants absent ones. */
function compact(
  fields: { readonly type: string; readonly base: string } & Readonly<Record<string, string | undefined>>,
): RegistryCredentials {
  const { type, base, ...rest } = fields;
  const kept = Object.fromEntries(Object.entries(rest).filter(([, value]) => given(value)));
  return { type, base: base.trim(), ...kept };
}

function given(value: string | undefined): value is string {
  return value !== undefined && value !== "";
}

function invalid(why: string): OutpostError {
  return new OutpostError("CREDENTIALS_INVALID", `Cannot use the registry credentials: ${why}`, {
    hint: "Send base64 of the JSON that CR_CREDENTIALS holds, or leave it out to use the CR_* configuration.",
  });
}
