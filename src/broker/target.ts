/**
 * Where a brokered request goes: the rule's origin plus the request's path, and nothing else. The parsed target must
 * have the origin that the operator configured (SSRF, reliability.md X1).
 *
 * @module
 */
import { type AcceptRule, basicAuthorization } from "./rules.ts";

/** Outcome of {@link resolveTarget}. */
export type Target =
  | {
    readonly kind: "target";
    readonly url: URL;
    /** The agent is this process. */
    readonly internal: boolean;
    /** Authorization that the origin's user info asks for. */
    readonly authorization: string | undefined;
  }
  /** The path would lead elsewhere. */
  | { readonly kind: "blocked" }
  /** The rule has no usable origin: the operator's mistake. */
  | { readonly kind: "misconfigured"; readonly message: string };

/** Origin of requests that stay in this process; never resolved. */
export const INTERNAL_ORIGIN = "http://agent.internal";

const AGENT_URL = "${CR_AGENT_URL}";

/**
 * Resolves the target of a request that a rule has accepted. `${CR_AGENT_URL}` without a value means this process.
 *
 * @param path path and query as the broker server sent them.
 * @param expand fills in variables.
 */
export function resolveTarget(rule: AcceptRule, path: string, expand: (template: string) => string): Target {
  const template = (rule.origin ?? "").trim();
  const origin = expand(template).trim();
  const internal = origin === "" && template === AGENT_URL;
  if (origin === "" && !internal) return { kind: "misconfigured", message: "The accept rule's origin is empty" };
  const base = parseOrigin(internal ? INTERNAL_ORIGIN : origin);
  if (base === undefined) {
    return { kind: "misconfigured", message: "The accept rule's origin is not an http or https URL" };
  }
  const raw = path.split("#", 1)[0] ?? "";
  // deno-lint-ignore no-control-regex
  if (!raw.startsWith("/") || raw.startsWith("//") || /[\\\u0000-\u0020\u007f]/.test(raw)) return { kind: "blocked" };
  const prefix = base.pathname.replace(/\/+$/, "");
  const url = URL.parse(base.origin + prefix + raw);
  if (url === null || url.origin !== base.origin || url.username !== "" || url.password !== "") {
    return { kind: "blocked" };
  }
  if (!url.pathname.startsWith(`${prefix}/`)) return { kind: "blocked" };
  return { kind: "target", url, internal, authorization: userInfoAuthorization(base) };
}

function parseOrigin(origin: string): URL | undefined {
  const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(origin) ? origin : `https://${origin}`;
  const url = /^https?:/i.test(text) ? URL.parse(text) : null;
  return url !== null && url.search === "" && url.hash === "" ? url : undefined;
}

/** `user:pass@` means Basic, `tok@` means `token tok`. */
function userInfoAuthorization(base: URL): string | undefined {
  if (base.username === "" && base.password === "") return undefined;
  const [username, password] = [decode(base.username), decode(base.password)];
  return base.password === "" ? `token ${username}` : basicAuthorization(`${username}:${password}`);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
