/**
 * Quay (registries.md §2.7; quay/quay: endpoints/v2, endpoints/api/{repository,tag}.py): tokens without catalog scope, an
 * encrypted cursor, absolute links, an API that wants an OAuth token.
 *
 * @module
 */
import type { Front, FrontCall, FrontDefinition } from "./front.ts";
import { askedScopes, covers, ociError, pageOf, parseV2, scopeOf, unsignedJwt, windowOf } from "./parts.ts";

const LOGIN = { username: "acme+outpost", password: "CANARYROBOTTOKEN0123456789" };
const HOST = "quay.io";
const PAGE_CAP = 100;
const LIFETIME_S = 3600;
const PUBLIC = "acme/public";

const ROBOT: FrontDefinition = {
  type: "quay-cr",
  variant: "robot account",
  credentials: { type: "quay-cr", base: HOST, ...LOGIN },
  repository: (at) => `acme/app-${String(at).padStart(4, "0")}`,
  catalogPage: PAGE_CAP,
  tagsPage: PAGE_CAP,
  dates: false,
  // Robots' tokens do not expire, and what they may not see is left out of lists.
  expired: null,
  noListRight: false,
  blobs: "redirect",
  sites: (front) => ({
    registry: {
      origin: `https://${HOST}`,
      accepts: ["password", "token", "api-token"],
      handle: (call) => handle(front, call),
    },
  }),
};

/** A robot account alone. */
export const quayRobotFront: FrontDefinition = ROBOT;

/** The same with an OAuth token for the API. */
export const quayFront: FrontDefinition = {
  ...ROBOT,
  variant: "OAuth token",
  credentials: { ...ROBOT.credentials, token: "CanaryOauthApplicationToken" },
  wrong: { password: "canary-wrong-password", token: "canary-wrong-token" },
  dates: true,
};

async function handle(front: Front, call: FrontCall): Promise<Response> {
  const { pathname } = call.url;
  if (pathname === "/v2/auth") return auth(front, call);
  if (pathname.startsWith("/api/v1/")) return api(front, call);
  const path = parseV2(pathname);
  const scope = path.kind === "catalog" ? undefined : scopeOf(path);
  const token = front.token(call);
  if (call.basic !== undefined) return Response.json({ error: "Invalid bearer token format" }, { status: 401 });
  if (token === undefined || token.revoked || (scope !== undefined && !covers(token.scopes, scope))) {
    return challenged(call, scope);
  }
  if (path.kind === "root") return new Response("true");
  if (path.kind === "catalog") return catalog(front, call);
  return path.kind === "tags" ? tagList(front, call, path.name) : await front.serve(call);
}

function challenged(call: FrontCall, scope: string | undefined): Response {
  const asked = scope === undefined ? "" : `,scope="${scope}"`;
  const challenge = `Bearer realm="${call.originOf("registry")}/v2/auth",service="${HOST}"${asked}`;
  if (call.url.pathname === "/v2/") {
    return new Response("true", { status: 401, headers: { "www-authenticate": challenge } });
  }
  return ociError(401, "UNAUTHORIZED", "access to the requested resource is not authorized", {
    "www-authenticate": challenge,
  });
}

/** Takes no catalog scope, and nobody without a login and without a scope. The answer does not say how long it lasts. */
function auth(front: Front, call: FrontCall): Response {
  const scopes = askedScopes(call);
  if (call.method !== "GET") return new Response(null, { status: 405 });
  if (front.login(call) === "wrong") {
    return ociError(401, "UNAUTHORIZED", "Could not find robot with specified username");
  }
  if (front.login(call) === "none" && scopes.length === 0) {
    return ociError(401, "UNAUTHORIZED", "access to the requested resource is not authorized");
  }
  const odd = scopes.find((scope) => !/^repository:[.\w/-]+:(?:push|pull|\*)(?:,(?:push|pull|\*))*$/.test(scope));
  if (odd !== undefined) {
    return ociError(400, "INVALID_REQUEST", `Unable to decode repository and actions: ${odd}`);
  }
  const granted = scopes.filter((scope) => front.login(call) === "ok" || scope.startsWith(`repository:${PUBLIC}:`));
  const iat = 1_700_000_000;
  const claims = { iss: "quay", aud: HOST, nbf: iat, iat, exp: iat + LIFETIME_S };
  return Response.json({ token: front.issue(granted, unsignedJwt(claims)).value });
}

/** A page in the order of identifiers; the cursor is a Fernet token, which only Quay can read. */
function catalog(front: Front, call: FrontCall): Response {
  const { url } = call;
  const names = front.library.names;
  const from = start(url);
  const n = Math.max(1, Math.min(Number(url.searchParams.get("n") ?? PAGE_CAP), PAGE_CAP));
  const body = { repositories: names.slice(from, from + n) };
  if (names.length <= from + n) return Response.json(body);
  const link = `<${call.originOf("registry")}/v2/_catalog?n=${n}&next_page=${cursor(from + n)}>; rel="next"`;
  return Response.json(body, { headers: { link } });
}

function cursor(start: number): string {
  return encodeURIComponent(`gAAAAA${btoa(JSON.stringify({ start_id: start }))}`);
}

/** What does not decrypt means the beginning. */
function start(url: URL): number {
  const token = url.searchParams.get("next_page") ?? url.searchParams.get("last") ?? "";
  if (!token.startsWith("gAAAAA")) return 0;
  const { start_id: id }: { readonly start_id: number } = JSON.parse(atob(token.slice("gAAAAA".length)));
  return id;
}

function tagList(front: Front, call: FrontCall, name: string): Response {
  const tags = front.library.tags(name)?.map(({ tag }) => tag);
  if (tags === undefined) return ociError(404, "NAME_UNKNOWN", "repository name not known to registry");
  const { items, last, n } = windowOf(call.url, tags, (tag) => tag, { cap: PAGE_CAP });
  const link = `<${call.originOf("registry")}/v2/${name}/tags/list?n=${n}&last=${last}>; rel="next"`;
  return Response.json({ name, tags: items }, last === undefined ? {} : { headers: { link } });
}

function apiError(status: number, type: string, message: string): Response {
  const body = { detail: message, error_message: message, error_type: type, title: type, status };
  return Response.json(body, { status, headers: { "content-type": "application/problem+json" } });
}

/** OAuth tokens only: a robot's login counts as none. */
function api(front: Front, call: FrontCall): Response {
  const known = call.bearer !== undefined && call.bearer === front.definition.credentials.token;
  if (call.bearer !== undefined && !known) {
    return apiError(401, "invalid_token", "The provided OAuth token is invalid");
  }
  if (call.url.pathname === "/api/v1/repository") return repositories(front, call, known);
  const name = /^\/api\/v1\/repository\/(.+)\/tag\/$/.exec(call.url.pathname)?.[1] ?? "";
  if (!known && name !== PUBLIC) return apiError(401, "invalid_token", "Requires authentication");
  const tags = front.library.tags(name);
  return tags === undefined ? apiError(404, "not_found", "Not Found") : tagPage(call, tags);
}

function repositories(front: Front, call: FrontCall, known: boolean): Response {
  const namespace = call.url.searchParams.get("namespace");
  if (namespace === null) {
    return apiError(400, "invalid_request", "namespace, starred or public are required for this API call");
  }
  if (!front.state.mayList) return apiError(403, "insufficient_scope", "Unauthorized");
  const names = front.library.names.filter((name) => name.startsWith(`${namespace}/`) && (known || name === PUBLIC));
  const from = start(call.url);
  const page = names.slice(from, from + PAGE_CAP).map((name) => ({
    namespace,
    name: name.slice(namespace.length + 1),
    description: null,
    is_public: name === PUBLIC,
    kind: "image",
    state: "NORMAL",
  }));
  const more = names.length > from + PAGE_CAP;
  return Response.json({
    repositories: page,
    ...(more ? { next_page: decodeURIComponent(cursor(from + PAGE_CAP)) } : {}),
  });
}

function tagPage({ url }: FrontCall, tags: NonNullable<ReturnType<Front["library"]["tags"]>>): Response {
  const { items, page, more } = pageOf(url, tags, { page: "page", size: "limit", cap: 100 });
  const entries = items.map(({ tag, digest, mediaType, pushed, size }) => ({
    name: tag,
    reversion: false,
    start_ts: Date.parse(pushed) / 1000,
    manifest_digest: digest,
    is_manifest_list: /index|list/.test(mediaType),
    size,
    last_modified: new Date(pushed).toUTCString().replace("GMT", "-0000"),
  }));
  return Response.json({ tags: entries, page, has_additional: more });
}
