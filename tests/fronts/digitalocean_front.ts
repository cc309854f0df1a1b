/**
 * DigitalOcean's registry (registries.md §2.10): a token server that is part of the API and takes GET only, lists by the
 * API, whose links leave the page's size out.
 *
 * Shapes: godo's `registry.go`, DigitalOcean's OpenAPI specification.
 *
 * @module
 */
import type { Front, FrontCall, FrontDefinition, Site } from "./front.ts";
import { askedScopes, covers, grantedScopes, ociError, pageOf, parseV2, scopeOf, windowOf } from "./parts.ts";

const TOKEN = "canary_dop_v1_0123456789abcdef";
const REGISTRY = "mine";
const PAGE = { page: "page", size: "per_page", cap: 100 };
const DEFAULT_SIZE = "20";
const LIMITS = { "ratelimit-limit": "5000", "ratelimit-remaining": "4999", "ratelimit-reset": "1700000000" };

/** An API token that may read the registry; it is user name and password. */
export const digitaloceanFront: FrontDefinition = {
  type: "digitalocean-cr",
  credentials: { type: "digitalocean-cr", base: "registry.digitalocean.com", username: TOKEN, password: TOKEN },
  wrong: { username: "canary-wrong", password: "canary-wrong" },
  repository: (at) => `${REGISTRY}/team/app-${String(at).padStart(4, "0")}`,
  catalogPage: PAGE.cap,
  tagsPage: PAGE.cap,
  dates: true,
  // The API does not tell why it does not take a token.
  expired: "BAD_CREDENTIALS",
  sites: (front) => sites(front, ["registries", "registry"]),
};

/** The same account, before there could be several registries. */
export const singleRegistryFront: FrontDefinition = {
  ...digitaloceanFront,
  variant: "single registry",
  sites: (front) => sites(front, ["registry"]),
};

function sites(front: Front, forms: readonly string[]): Readonly<Record<string, Site>> {
  return {
    registry: {
      origin: "https://registry.digitalocean.com",
      accepts: ["token"],
      handle: (call) => registry(front, call),
    },
    api: { origin: "https://api.digitalocean.com", accepts: ["password"], handle: (call) => api(front, forms, call) },
  };
}

async function registry(front: Front, call: FrontCall): Promise<Response> {
  const path = parseV2(call.url.pathname);
  const scope = scopeOf(path);
  const token = front.token(call);
  const enough = token !== undefined && !token.revoked && (scope === undefined || covers(token.scopes, scope));
  if (enough) return path.kind === "catalog" ? catalog(front, call) : await front.serve(call);
  const asked = scope === undefined ? "" : `,scope="${scope}"`;
  const realm = `${call.originOf("api")}/v2/registry/auth`;
  const challenge = `Bearer realm="${realm}",service="registry.digitalocean.com"${asked}`;
  return ociError(401, "UNAUTHORIZED", "authentication required", { "www-authenticate": challenge });
}

function catalog(front: Front, { url }: FrontCall): Response {
  const { items, last, n } = windowOf(url, front.library.names, (name) => name, PAGE);
  const link = `</v2/_catalog?last=${encodeURIComponent(last ?? "")}&n=${n}>; rel="next"`;
  return Response.json({ repositories: items }, last === undefined ? {} : { headers: { link } });
}

function api(front: Front, forms: readonly string[], call: FrontCall): Response {
  const { pathname } = call.url;
  if (pathname === "/v2/registry/auth") return registryToken(front, call);
  if (call.bearer !== TOKEN || front.state.expired) return refused(401, "Unauthorized", "Unable to authenticate you");
  if (!front.state.mayList) return refused(403, "forbidden", "You are not authorized to perform this operation");
  const [, form = "", name, path] = /^\/v2\/(registries|registry)(?:\/([^/]+)\/(.+))?$/.exec(pathname) ?? [];
  if (!forms.includes(form)) return notFound();
  if (name === undefined) return registries(form);
  if (name !== REGISTRY) return notFound();
  if (path === "repositoriesV2") return repositories(front, call);
  const repository = /^repositories\/([^/]+)\/tags$/.exec(path ?? "")?.[1];
  return repository === undefined ? notFound() : tags(front, call, decodeURIComponent(repository));
}

function registryToken(front: Front, call: FrontCall): Response {
  if (call.method !== "GET") return new Response(null, { status: 405 });
  if (front.login(call) !== "ok" || front.state.expired) {
    return refused(401, "Unauthorized", "Unable to authenticate you");
  }
  const { value } = front.issue(grantedScopes(front, askedScopes(call)));
  return Response.json({ token: value, expires_in: 3600, issued_at: "2024-01-01T00:00:00Z" });
}

function refused(status: number, id: string, message: string): Response {
  return Response.json({ id, message }, { status, headers: LIMITS });
}

function notFound(): Response {
  return refused(404, "not_found", "The resource you requested could not be found.");
}

function registries(form: string): Response {
  const one = { name: REGISTRY, created_at: "2024-01-01T00:00:00Z", region: "fra1" };
  return Response.json(form === "registries" ? { registries: [one] } : { registry: one }, { headers: LIMITS });
}

/** Pages with a total; the link to the next one does not say how long it shall be. */
function listing(call: FrontCall, member: string, all: readonly unknown[], link: (page: number) => string): Response {
  const url = new URL(call.url);
  if (!url.searchParams.has("per_page")) url.searchParams.set("per_page", DEFAULT_SIZE);
  const { items, page, more } = pageOf(url, all, PAGE);
  const next = `${call.originOf("api")}${url.pathname}?${link(page + 1)}`;
  const links = more ? { pages: { next } } : {};
  return Response.json({ [member]: items, links, meta: { total: all.length } }, { headers: LIMITS });
}

function repositories(front: Front, call: FrontCall): Response {
  const all = front.library.names.filter((name) => name.startsWith(`${REGISTRY}/`)).map((name) => ({
    registry_name: REGISTRY,
    name: name.slice(REGISTRY.length + 1),
    latest_manifest: { digest: `sha256:${"0".repeat(64)}`, tags: [], updated_at: "2024-01-01T00:00:00Z" },
    tag_count: front.library.tags(name)?.length ?? 0,
    manifest_count: 1,
  }));
  return listing(call, "repositories", all, (page) => `page=${page}&page_token=${btoa(`{"page":${page}}`)}`);
}

function tags(front: Front, call: FrontCall, repository: string): Response {
  const all = front.library.tags(`${REGISTRY}/${repository}`);
  if (all === undefined) return notFound();
  const entries = all.map(({ tag, digest, size, pushed }) => ({
    registry_name: REGISTRY,
    repository,
    tag,
    manifest_digest: digest,
    compressed_size_bytes: size,
    size_bytes: size,
    updated_at: pushed.replace(".000Z", "Z"),
  }));
  return listing(call, "tags", entries, (page) => `page=${page}`);
}
