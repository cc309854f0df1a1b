/**
 * Fronts of the plain types: distribution with its token authentication (challenges as docker-registry 2.8 writes them),
 * zot's HTTP Basic, and nothing at all over plain HTTP. Lists, manifests and errors are docker-registry's own.
 *
 * @module
 */
import type { Front, FrontCall, FrontDefinition } from "./front.ts";
import { askedScopes, covers, grantedScopes, ociError, parseV2, scopeOf } from "./parts.ts";

const LOGIN = { username: "reader", password: 'canary-pa:ss wörd%20"\\' };
const API_VERSION = { "docker-distribution-api-version": "registry/2.0" };
const repository = (at: number): string => `team/app-${String(at).padStart(4, "0")}`;
const LISTS = { repository, catalogPage: 100, tagsPage: 1000, dates: false } as const;

/** Token authentication by a server of its own host. */
export const distributionFront: FrontDefinition = {
  ...LISTS,
  type: "docker-registry",
  credentials: { type: "docker-registry", base: "registry.example", ...LOGIN },
  expired: null,
  sites: (front) => ({
    registry: { origin: "https://registry.example", accepts: ["token"], handle: (call) => byToken(front, call) },
    auth: { origin: "https://auth.registry.example", accepts: ["password"], handle: (call) => tokens(front, call) },
  }),
};

async function byToken(front: Front, call: FrontCall): Promise<Response> {
  const scope = scopeOf(parseV2(call.url.pathname));
  const token = front.token(call);
  const enough = token !== undefined && !token.revoked && (scope === undefined || covers(token.scopes, scope));
  if (enough) return await front.serve(call);
  const error = call.bearer === undefined
    ? ""
    : token === undefined || token.revoked
    ? ',error="invalid_token"'
    : ',error="insufficient_scope"';
  const asked = scope === undefined ? "" : `,scope="${scope}"`;
  const challenge = `Bearer realm="${call.originOf("auth")}/token",service="registry.example"${asked}${error}`;
  return ociError(401, "UNAUTHORIZED", "authentication required", { ...API_VERSION, "www-authenticate": challenge });
}

function tokens(front: Front, call: FrontCall): Response {
  if (call.method !== "GET") return new Response(null, { status: 405 });
  if (front.login(call) !== "ok") return Response.json({ details: "incorrect username or password" }, { status: 401 });
  const token = front.issue(grantedScopes(front, askedScopes(call)));
  return Response.json({ token: token.value, access_token: token.value, expires_in: 300 });
}

/** HTTP Basic as zot asks for it; who may not list is refused by the proxy in front of it. */
export const basicFront: FrontDefinition = {
  ...LISTS,
  type: "oci",
  variant: "HTTP Basic",
  credentials: { type: "oci", base: "zot.example:5000/cache", ...LOGIN },
  expired: null,
  skopeo: null,
  sites: (front) => ({
    registry: { origin: "https://zot.example:5000", accepts: ["password"], handle: (call) => byBasic(front, call) },
  }),
};

async function byBasic(front: Front, call: FrontCall): Promise<Response> {
  const path = parseV2(call.url.pathname, "/cache");
  if (front.login(call) !== "ok") {
    const headers = { "www-authenticate": 'Basic realm="Authorization Required"' };
    return Response.json({ code: "UNAUTHORIZED", message: "authentication required" }, { status: 401, headers });
  }
  if (path.kind === "catalog" && !front.state.mayList) return ociError(403, "DENIED", "requested access is denied");
  return await front.serve(call, call.url.pathname.slice("/cache".length) + call.url.search);
}

/** Plain HTTP without any login. */
export const openFront: FrontDefinition = {
  ...LISTS,
  type: "oci",
  variant: "plain HTTP",
  credentials: { type: "oci", base: "http://registry.example:5000" },
  sites: (front) => ({ registry: { origin: "http://registry.example:5000", handle: (call) => front.serve(call) } }),
};
