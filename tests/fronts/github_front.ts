/**
 * GitHub's container registry and its packages API (registries.md §2.9): a challenge with a placeholder scope, no catalog,
 * tags in the order of their pushes, blobs elsewhere; links of the API name organizations by number.
 *
 * @module
 */
import type { Front, FrontCall, FrontDefinition } from "./front.ts";
import { askedScopes, covers, ociError, pageOf, parseV2, scopeOf } from "./parts.ts";

const LOGIN = { username: "octo-bot", password: "ghp_canaryPersonalAccessToken" };
const PAGE = { page: "page", size: "per_page", cap: 100 };
const DOCS = "https://docs.github.com/rest/packages/packages";
/** What the API calls the owner; names of images are lower case. */
const ORGANIZATION = "Octo";

/** A classic token with read:packages, and the organization in CR_NAMESPACES. */
export const githubFront: FrontDefinition = {
  type: "github-cr",
  credentials: { type: "github-cr", base: "ghcr.io", ...LOGIN },
  options: { namespaces: [ORGANIZATION] },
  repository: (at) => `octo/app-${String(at).padStart(4, "0")}`,
  catalogPage: PAGE.cap,
  tagsPage: 1000,
  dates: true,
  // GitHub says "Bad credentials" of expired tokens too.
  expired: "BAD_CREDENTIALS",
  blobs: "redirect",
  sites: (front) => ({
    registry: { origin: "https://ghcr.io", accepts: ["password", "token"], handle: (call) => registry(front, call) },
    api: { origin: "https://api.github.com", accepts: ["password", "api-token"], handle: (call) => api(front, call) },
  }),
};

async function registry(front: Front, call: FrontCall): Promise<Response> {
  if (call.url.pathname === "/token") return token(front, call);
  const path = parseV2(call.url.pathname);
  const scope = path.kind === "catalog" ? undefined : scopeOf(path);
  const shown = front.token(call);
  if (shown === undefined || shown.revoked || (scope !== undefined && !covers(shown.scopes, scope))) {
    const asked = scope ?? "repository:user/image:pull";
    const challenge = `Bearer realm="${call.originOf("registry")}/token",service="ghcr.io",scope="${asked}"`;
    return ociError(401, "UNAUTHORIZED", "authentication required", { "www-authenticate": challenge });
  }
  if (path.kind === "catalog") return new Response("404 page not found\n", { status: 404 });
  return path.kind === "tags" ? tagList(front, call, path.name) : await front.serve(call);
}

function token(front: Front, call: FrontCall): Response {
  if (front.login(call) !== "ok" || front.state.expired) return ociError(403, "DENIED", "denied");
  return Response.json({ token: front.issue(askedScopes(call)).value });
}

/** Oldest push first; `last` is a tag wherever it stands. */
function tagList(front: Front, { url }: FrontCall, name: string): Response {
  const tags = front.library.tags(name)?.toSorted((a, b) => a.pushed < b.pushed ? -1 : 1).map(({ tag }) => tag);
  if (tags === undefined) return ociError(404, "NAME_UNKNOWN", "repository name not known to registry");
  const n = Number(url.searchParams.get("n") ?? "1000");
  const from = tags.indexOf(url.searchParams.get("last") ?? "") + 1;
  const page = tags.slice(from, from + n);
  const next = `</v2/${name}/tags/list?last=${page.at(-1)}&n=${n}>; rel="next"`;
  return Response.json({ name, tags: page }, tags.length > from + n ? { headers: { link: next } } : {});
}

function apiError(status: number, message: string): Response {
  return Response.json({ message, documentation_url: DOCS, status: String(status) }, { status });
}

function api(front: Front, call: FrontCall): Response {
  const { password, token: other } = front.definition.credentials;
  if (call.bearer === undefined) return apiError(401, "Requires authentication");
  if (![password, other].includes(call.bearer) || front.state.expired) return apiError(401, "Bad credentials");
  const { pathname } = call.url;
  if (pathname === "/user/orgs") {
    return apiError(403, "You need at least read:org scope or user scope to list your organizations");
  }
  if (!front.state.mayList && pathname.endsWith("/packages")) {
    return apiError(403, "You need at least read:packages scope to list packages.");
  }
  if (pathname === "/user/packages") return numbered(call, pathname, ownedBy(front, LOGIN.username));
  const [, kind, owner = "", name] =
    /^\/(orgs|users)\/([^/]+)\/packages(?:\/container\/([^/]+)\/versions)?$/.exec(pathname) ?? [];
  const known = owner === LOGIN.username ? "users" : owner.toLowerCase() === ORGANIZATION.toLowerCase() ? "orgs" : "";
  if (kind !== known) return apiError(404, "Not Found");
  if (name === undefined) return numbered(call, "/organizations/9919/packages", ownedBy(front, owner));
  const image = `${owner}/${decodeURIComponent(name)}`.toLowerCase();
  const all = versions(front, image);
  return all === undefined
    ? apiError(404, "Package not found.")
    : numbered(call, `/organizations/9919/packages/container/${name}/versions`, all);
}

function ownedBy(front: Front, owner: string): readonly unknown[] {
  return front.library.names.filter((name) => name.startsWith(`${owner.toLowerCase()}/`)).map((name, at) => ({
    id: at + 1,
    name: name.slice(owner.length + 1),
    package_type: "container",
    owner: { login: owner === LOGIN.username ? owner : ORGANIZATION, id: 9919, type: "Organization" },
    version_count: front.library.tags(name)?.length ?? 0,
    visibility: "private",
    created_at: "2024-01-01T00:00:00Z",
    updated_at: "2024-01-01T00:00:00Z",
  }));
}

/** One version per manifest, newest first; each is followed by the untagged one of its attestation. */
function versions(front: Front, name: string): readonly unknown[] | undefined {
  const tags = front.library.tags(name)?.toSorted((a, b) => a.pushed < b.pushed ? 1 : -1);
  return tags === undefined ? undefined : [...new Set(tags.map(({ digest }) => digest))].flatMap((digest, at) => {
    const own = tags.filter((tag) => tag.digest === digest);
    return [version(2 * at + 1, digest, own.map(({ tag }) => tag), own[0]?.pushed ?? ""), untagged(2 * at + 2)];
  });
}

/** A version without tags, such as GitHub shows for parts of indexes. */
export function untagged(id: number): unknown {
  return version(id, `sha256:${String(id).padStart(64, "0")}`, [], "2024-01-01T00:00:00Z");
}

function version(id: number, name: string, tags: readonly string[], updated: string): unknown {
  const metadata = { package_type: "container", container: { tags } };
  return { id, name, created_at: "2024-01-01T00:00:00Z", updated_at: updated.replace(".000Z", "Z"), metadata };
}

/** A page with links whose path names the organization by number. */
function numbered({ url, originOf }: FrontCall, path: string, all: readonly unknown[]): Response {
  const { items, page, size, more } = pageOf(url, all, PAGE);
  const at = (number: number): string => {
    const query = new URLSearchParams(url.searchParams);
    query.set("page", String(number));
    return `<${originOf("api")}${path}?${query}>`;
  };
  const links = [
    ...(page > 1 ? [`${at(page - 1)}; rel="prev"`, `${at(1)}; rel="first"`] : []),
    ...(more ? [`${at(page + 1)}; rel="next"`, `${at(Math.ceil(all.length / size))}; rel="last"`] : []),
  ];
  return Response.json(items, links.length > 0 ? { headers: { link: links.join(", ") } } : {});
}
