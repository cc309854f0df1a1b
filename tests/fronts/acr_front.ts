/**
 * Azure Container Registry (registries.md §2.4): OAuth2 endpoints on the registry's host, the action metadata_read, links
 * that end in `orderby=`, the `/acr/v1` API, blobs elsewhere.
 *
 * @module
 */
import type { Front, FrontCall, FrontDefinition } from "./front.ts";
import {
  askedScopes,
  covers,
  grantedScopes,
  ociError,
  parseV2,
  scopeOf,
  unsignedJwt,
  type Window,
  windowOf,
} from "./parts.ts";

const LOGIN = { username: "4f3c2b1a-0000-4000-8000-000000000001", password: "canary~client.secret" };
const HOST = "mine.azurecr.io";
const PAGE = { cap: 100 };
const LIFETIME_S = 4500;

/** A service principal with AcrPull. */
export const acrFront: FrontDefinition = {
  type: "acr",
  credentials: { type: "acr", base: HOST, ...LOGIN },
  repository: (at) => `team/app-${String(at).padStart(4, "0")}`,
  catalogPage: PAGE.cap,
  tagsPage: PAGE.cap,
  dates: true,
  // Azure does not say that a secret has expired.
  expired: "BAD_CREDENTIALS",
  blobs: "redirect",
  sites: (front) => ({
    registry: { origin: `https://${HOST}`, accepts: ["password", "token"], handle: (call) => handle(front, call) },
  }),
};

async function handle(front: Front, call: FrontCall): Promise<Response> {
  const { pathname } = call.url;
  if (pathname === "/oauth2/token") return accessToken(front, call);
  const tags = /^\/acr\/v1\/(.+)\/_tags$/.exec(pathname)?.[1];
  const v2 = parseV2(pathname);
  const name = tags === undefined ? v2.name : decodeURIComponent(tags);
  const scope = tags !== undefined || v2.kind === "tags" ? `repository:${name}:metadata_read` : scopeOf(v2);
  const refusal = refuse(front, call, scope);
  if (refusal !== undefined) return refusal;
  if (tags !== undefined) return nativeTags(front, call, name);
  if (v2.kind === "catalog" || pathname === "/acr/v1/_catalog") return catalog(front, call);
  return v2.kind === "tags" ? tagList(front, call, name) : await front.serve(call);
}

/** A token by HTTP Basic or by form; its answer has neither `token` nor `expires_in`. */
function accessToken(front: Front, call: FrontCall): Response {
  const form = new URLSearchParams(call.body);
  const { username, password } = LOGIN;
  const byForm = call.method === "POST" && form.get("grant_type") === "password" &&
    form.get("username") === username && form.get("password") === password;
  if ((front.login(call) !== "ok" && !byForm) || front.state.expired) {
    return ociError(
      401,
      "UNAUTHORIZED",
      "authentication required, visit https://aka.ms/acr/authorization for more information.",
    );
  }
  const iat = 1_700_000_000;
  const jwt = unsignedJwt({ aud: HOST, iat, exp: iat + LIFETIME_S, grant_type: "access_token" });
  const { value } = front.issue(grantedScopes(front, askedScopes(call)), jwt);
  return Response.json({ access_token: value });
}

function refuse(front: Front, call: FrontCall, scope: string | undefined): Response | undefined {
  const token = front.token(call);
  const known = token !== undefined && !token.revoked;
  if (known && (scope === undefined || covers(token.scopes, scope))) return undefined;
  const asked = scope === undefined ? "" : `,scope="${scope}"`;
  const error = call.bearer === undefined ? "" : `,error="${known ? "insufficient_scope" : "invalid_token"}"`;
  const realm = `${call.originOf("registry")}/oauth2/token`;
  const challenge = `Bearer realm="${realm}",service="${HOST}"${asked}${error}`;
  const message = "authentication required, visit https://aka.ms/acr/authorization for more information.";
  return ociError(401, "UNAUTHORIZED", message, { "www-authenticate": challenge });
}

function linked(path: string, { last, n }: Window<unknown>, body: unknown): Response {
  const next = `${path}?last=${encodeURIComponent(last ?? "")}&n=${n}&orderby=`;
  return Response.json(body, last === undefined ? {} : { headers: { link: `<${next}>; rel="next"` } });
}

function catalog(front: Front, { url }: FrontCall): Response {
  const window = windowOf(url, front.library.names, (name) => name, PAGE);
  return linked(url.pathname, window, { repositories: window.items.length === 0 ? null : window.items });
}

function tagList(front: Front, { url }: FrontCall, name: string): Response {
  const tags = front.library.tags(name);
  if (tags === undefined) return unknownName(name);
  const window = windowOf(url, tags, ({ tag }) => tag, PAGE);
  const names = window.items.map(({ tag }) => tag);
  return linked(url.pathname, window, { name, tags: names.length === 0 ? null : names });
}

function nativeTags(front: Front, { url }: FrontCall, name: string): Response {
  const tags = front.library.tags(name);
  if (tags === undefined) return unknownName(name);
  const window = windowOf(url, tags, ({ tag }) => tag, PAGE);
  const entries = window.items.map(({ tag, digest, pushed }) => ({
    name: tag,
    digest,
    createdTime: pushed.replace(".000Z", ".0000000Z"),
    lastUpdateTime: pushed.replace(".000Z", ".0000000Z"),
    signed: false,
    changeableAttributes: { deleteEnabled: true, writeEnabled: true, readEnabled: true, listEnabled: true },
  }));
  const body = { registry: HOST, imageName: name, tags: entries.length === 0 ? null : entries };
  return linked(url.pathname, window, body);
}

function unknownName(name: string): Response {
  return ociError(404, "NAME_UNKNOWN", `repository "${name}" is not found`);
}
