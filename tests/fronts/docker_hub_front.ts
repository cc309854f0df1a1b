/**
 * Docker Hub (registries.md §2.6): a token server of another host, a catalog for nobody, the API at hub.docker.com with its
 * own tokens, fields that tell how many pulls are left, blobs elsewhere.
 *
 * Shapes: Docker Hub's API reference (OpenAPI), Harbor's `dockerhub` adapter.
 *
 * @module
 */
import type { Front, FrontCall, FrontDefinition, Site } from "./front.ts";
import { askedScopes, covers, ociError, pageOf, parseV2, scopeOf, unsignedJwt } from "./parts.ts";

const LOGIN = { username: "outpost", password: "canary_dckr_pat_0123456789" };
const OWNER = "acme";
const PAGE = { page: "page", size: "page_size", cap: 100 };
const LIFETIME_S = 600;
const LIMITED = {
  "ratelimit-limit": "200;w=21600",
  "ratelimit-remaining": "180;w=21600",
  "docker-ratelimit-source": "u",
};
const API_LIMITS = { "x-ratelimit-limit": "180", "x-ratelimit-remaining": "179", "x-ratelimit-reset": "1700000000" };

/** A member of an organization with a personal access token. */
export const dockerHubFront: FrontDefinition = {
  type: "docker-hub",
  credentials: { type: "docker-hub", base: "docker.io", ...LOGIN },
  repository: (at) => `${OWNER}/app-${String(at).padStart(4, "0")}`,
  catalogPage: PAGE.cap,
  tagsPage: PAGE.cap,
  dates: true,
  blobs: "redirect",
  sites,
};

function sites(front: Front): Readonly<Record<string, Site>> {
  return {
    registry: { origin: "https://registry-1.docker.io", accepts: ["token"], handle: (call) => registry(front, call) },
    auth: { origin: "https://auth.docker.io", accepts: ["password"], handle: (call) => registryToken(front, call) },
    hub: { origin: "https://hub.docker.com", accepts: ["password", "token"], handle: (call) => hub(front, call) },
  };
}

async function registry(front: Front, call: FrontCall): Promise<Response> {
  if (call.headers.get("user-agent") === null) return new Response("Forbidden", { status: 403 });
  const path = parseV2(call.url.pathname);
  const scope = scopeOf(path);
  const token = front.token(call);
  const known = token !== undefined && !token.revoked;
  const enough = known && path.kind !== "catalog" && (scope === undefined || covers(token.scopes, scope));
  if (!enough) return challenged(call, scope, known ? "insufficient_scope" : "invalid_token");
  if (path.name === "ratelimitpreview/test") return new Response(null, { headers: LIMITED });
  const answer = await front.serve(call);
  return path.kind === "manifest" ? withFields(answer, LIMITED) : answer;
}

function withFields(answer: Response, fields: Readonly<Record<string, string>>): Response {
  const headers = new Headers(answer.headers);
  for (const [name, value] of Object.entries(fields)) headers.set(name, value);
  return new Response(answer.body, { status: answer.status, headers });
}

function challenged(call: FrontCall, scope: string | undefined, error: string): Response {
  const asked = scope === undefined ? "" : `,scope="${scope}"`;
  const wrong = call.bearer === undefined ? "" : `,error="${error}"`;
  const challenge = `Bearer realm="${call.originOf("auth")}/token",service="registry.docker.io"${asked}${wrong}`;
  return ociError(401, "UNAUTHORIZED", "authentication required", { "www-authenticate": challenge });
}

/** A token for who asks; nobody gets the catalog. */
function registryToken(front: Front, call: FrontCall): Response {
  if (call.url.pathname !== "/token") return new Response(null, { status: 404 });
  if (front.login(call) === "wrong") {
    return Response.json({ details: "incorrect username or password" }, { status: 401 });
  }
  if (front.state.expired) return Response.json({ details: "personal access token is expired" }, { status: 401 });
  const scopes = askedScopes(call).filter((scope) => scope.startsWith("repository:"));
  const { value } = front.issue(scopes);
  return Response.json({ token: value, access_token: value, expires_in: 300, issued_at: "2024-01-01T00:00:00Z" });
}

function hub(front: Front, call: FrontCall): Response {
  const { pathname } = call.url;
  if (call.headers.get("user-agent") === null) return new Response("Forbidden", { status: 403 });
  if (pathname === "/v2/auth/token") return apiToken(front, call);
  const token = front.token(call);
  if (call.bearer !== undefined && (token === undefined || token.revoked)) return refused(401, "unauthorized");
  const account = token !== undefined;
  if (pathname === "/v2/repositories/namespaces") {
    if (!account) return refused(401, "unauthorized");
    return front.state.mayList ? Response.json({ namespaces: [OWNER, LOGIN.username] }) : refused(403, "forbidden");
  }
  const match = /^\/v2\/namespaces\/([^/]+)\/repositories(?:\/([^/]+)\/tags)?$/.exec(pathname);
  if (match === null) return refused(404, "object not found");
  const [, owner = "", image] = match;
  if (image !== undefined) return tags(front, call, `${owner}/${decodeURIComponent(image)}`);
  return front.state.mayList ? repositories(front, call, owner) : refused(403, "forbidden");
}

function refused(status: number, message: string): Response {
  return Response.json({ errinfo: null, message }, { status, headers: API_LIMITS });
}

function apiToken(front: Front, call: FrontCall): Response {
  if (call.method !== "POST" || call.headers.get("content-type") !== "application/json") {
    return refused(400, "bad request");
  }
  const { identifier, secret } = JSON.parse(call.body) as Record<string, unknown>;
  if (identifier !== LOGIN.username || secret !== LOGIN.password) {
    return Response.json({ detail: "Incorrect authentication credentials" }, { status: 401 });
  }
  if (front.state.expired) return refused(401, "personal access token is expired");
  const iat = 1_700_000_000;
  const jwt = unsignedJwt({ aud: "https://hub.docker.com", iat, exp: iat + LIFETIME_S });
  return Response.json({ access_token: front.issue(["hub"], jwt).value });
}

/** Pages with a count, and with whole URLs of their neighbours. */
function listing(call: FrontCall, all: readonly unknown[]): Response {
  const { items, page, size, more } = pageOf(call.url, all, PAGE);
  const at = (number: number): string => {
    const url = new URL(call.originOf("hub") + call.url.pathname);
    url.search = `?page=${number}&page_size=${size}`;
    return url.href;
  };
  const next = more ? at(page + 1) : null;
  const previous = page > 1 ? at(page - 1) : null;
  return Response.json({ count: all.length, next, previous, results: items }, { headers: API_LIMITS });
}

function repositories(front: Front, call: FrontCall, owner: string): Response {
  const names = front.library.names.filter((name) => name.startsWith(`${owner}/`));
  const all = names.map((name) => ({
    name: name.slice(owner.length + 1),
    namespace: owner,
    repository_type: "image",
    status: 1,
    is_private: true,
    last_updated: "2024-01-01T00:00:00.000000Z",
    media_types: [],
    content_types: ["image"],
  }));
  return listing(call, all);
}

function tags(front: Front, call: FrontCall, name: string): Response {
  const all = front.library.tags(name);
  if (all === undefined) return refused(404, "object not found");
  const entries = all.map(({ tag, digest, mediaType, pushed }, at) => ({
    id: at + 1,
    name: tag,
    last_updated: "2030-01-01T00:00:00.000000Z",
    tag_status: "active",
    tag_last_pushed: pushed.replace(".000Z", ".000000Z"),
    media_type: mediaType,
    digest,
    images: [{ architecture: "amd64", os: "linux", digest, size: 1, last_pushed: pushed }],
  }));
  return listing(call, entries);
}
