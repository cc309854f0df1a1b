/**
 * GitLab (registries.md §2.11; gitlab-org/gitlab: lib/api/*container_repositories.rb; docs/spec/gitlab/api.md of
 * gitlab-org/container-registry): a token server at GitLab itself, a catalog for administrators, the REST API, and the
 * registry's own API where it has a metadata database.
 *
 * @module
 */
import type { Front, FrontCall, FrontDefinition } from "./front.ts";
import { askedScopes, covers, ociError, pageOf, parseV2, scopeOf, windowOf } from "./parts.ts";

const LOGIN = { username: "outpost", password: "glpat-canaryPersonalToken" };
const PAGE = { page: "page", size: "per_page", cap: 100 };
const SERVICE = "container_registry";

interface Place {
  readonly registry: string;
  readonly gitlab: string;
  /** Path below which GitLab is installed. */
  readonly root: string;
  /** Whether the registry has a metadata database. */
  readonly database: boolean;
}

function definition(place: Place): FrontDefinition {
  return {
    type: "gitlab-cr",
    credentials: { type: "gitlab-cr", base: new URL(place.registry).host, ...LOGIN },
    repository: (at) => `team/app/part-${String(at).padStart(4, "0")}`,
    catalogPage: PAGE.cap,
    tagsPage: 1000,
    dates: place.database,
    // The token server does not tell an expired token from a wrong one; the API does.
    expired: "BAD_CREDENTIALS",
    blobs: place.database ? "redirect" : "direct",
    sites: (front) => ({
      registry: { origin: place.registry, accepts: ["token"], handle: (call) => registry(front, place, call) },
      gitlab: {
        origin: place.gitlab,
        accepts: ["password", "api-token"],
        handle: (call) => gitlab(front, place, call),
      },
    }),
  };
}

/** As gitlab.com is set up. */
export const gitlabFront: FrontDefinition = definition({
  registry: "https://registry.gitlab.example",
  gitlab: "https://gitlab.example",
  root: "",
  database: true,
});

/** A self-managed GitLab below a path, with the registry on a port of the same host and without a metadata database. */
export const selfManagedFront: FrontDefinition = {
  ...definition({
    registry: "https://git.corp.example:5050",
    gitlab: "https://git.corp.example",
    root: "/gitlab",
    database: false,
  }),
  variant: "self-managed",
};

async function registry(front: Front, place: Place, call: FrontCall): Promise<Response> {
  const { pathname } = call.url;
  const native = /^\/gitlab\/v1\/repositories\/(.+)\/tags\/list\/$/.exec(pathname)?.[1];
  const path = parseV2(pathname);
  const scope = native === undefined ? scopeOf(path) : `repository:${native}:pull`;
  const refusal = refuse(front, place, call, scope);
  if (refusal !== undefined) return refusal;
  if (native !== undefined) return place.database ? nativeTags(front, call, native) : notFound();
  return path.kind === "tags" ? tagList(front, call, path.name) : await front.serve(call);
}

function notFound(): Response {
  return new Response("404 page not found\n", { status: 404 });
}

function refuse(front: Front, { root }: Place, call: FrontCall, scope: string | undefined): Response | undefined {
  const token = front.token(call);
  const known = token !== undefined && !token.revoked;
  if (known && (scope === undefined || covers(token.scopes, scope))) return undefined;
  const asked = scope === undefined ? "" : `,scope="${scope}"`;
  const error = call.bearer === undefined ? "" : `,error="${known ? "insufficient_scope" : "invalid_token"}"`;
  const challenge = `Bearer realm="${call.originOf("gitlab")}${root}/jwt/auth",service="${SERVICE}"${asked}${error}`;
  return ociError(401, "UNAUTHORIZED", "authentication required", { "www-authenticate": challenge });
}

function tagList(front: Front, { url }: FrontCall, name: string): Response {
  const tags = front.library.tags(name)?.map(({ tag }) => tag);
  if (tags === undefined) return ociError(404, "NAME_UNKNOWN", "repository name not known to registry");
  const { items, last, n } = windowOf(url, tags, (tag) => tag, { cap: 1000 });
  const link = `</v2/${name}/tags/list?last=${last}&n=${n}>; rel="next"`;
  return Response.json({ name, tags: items }, last === undefined ? {} : { headers: { link } });
}

/** An absolute link that keeps the slash at the end, and another one backwards. */
function nativeTags(front: Front, { url, originOf }: FrontCall, name: string): Response {
  const tags = front.library.tags(name);
  if (tags === undefined) return ociError(404, "NAME_UNKNOWN", "repository name not known to registry");
  const { items, last, n } = windowOf(url, tags, ({ tag }) => tag, { cap: 1000, fallback: 100 });
  const at = `${originOf("registry")}${url.pathname}?n=${n}`;
  const previous = url.searchParams.has("last") ? [`<${at}&before=${items[0]?.tag}>; rel="previous"`] : [];
  const links = [...previous, ...(last === undefined ? [] : [`<${at}&last=${last}>; rel="next"`])];
  const body = items.map(({ tag, digest, mediaType, size, pushed }) => ({
    name: tag,
    digest,
    config_digest: digest,
    media_type: mediaType,
    size_bytes: size,
    created_at: "2023-01-01T00:00:00.000Z",
    updated_at: pushed,
    published_at: pushed,
  }));
  return Response.json(body, links.length === 0 ? {} : { headers: { link: links.join(", ") } });
}

function gitlab(front: Front, { root }: Place, call: FrontCall): Response {
  const path = call.url.pathname;
  if (path === `${root}/jwt/auth`) return jwtAuth(front, call);
  return path.startsWith(`${root}/api/v4/`)
    ? api(front, call, path.slice(`${root}/api/v4/`.length))
    : Response.json({ error: "404 Not Found" }, { status: 404 });
}

/** Gives everybody with a login a token, with what they may do in it: nothing for the catalog. */
function jwtAuth(front: Front, call: FrontCall): Response {
  if (call.method !== "GET") return new Response(null, { status: 404 });
  if (front.login(call) !== "ok" || front.state.expired) {
    const message = "HTTP Basic: Access denied. If a password was provided for Git authentication, the password was " +
      "incorrect or you're required to use a token instead of a password.";
    return ociError(401, "UNAUTHORIZED", message);
  }
  const { value } = front.issue(askedScopes(call).filter((scope) => scope.startsWith("repository:")));
  return Response.json({ token: value });
}

function api(front: Front, call: FrontCall, path: string): Response {
  const { password, token = password } = front.definition.credentials;
  const shown = call.headers.get("private-token") ?? call.headers.get("job-token");
  if (shown !== token) return Response.json({ message: "401 Unauthorized" }, { status: 401 });
  if (front.state.expired) {
    const description = "Token is expired. You can either do re-authorization or token refresh.";
    return Response.json({ error: "invalid_token", error_description: description }, { status: 401 });
  }
  if (!front.state.mayList) {
    const description = "The request requires higher privileges than provided by the access token.";
    const body = { error: "insufficient_scope", error_description: description, scope: "api read_api" };
    return Response.json(body, { status: 403 });
  }
  return answer(front, call, path);
}

/** Groups are first parts of names, projects the first two. */
function answer(front: Front, call: FrontCall, path: string): Response {
  const first = (count: number): string[] => [
    ...new Set(front.library.names.map((name) => name.split("/").slice(0, count).join("/"))),
  ];
  if (path === "groups") return offsetPage(call, first(1).map((full_path, id) => ({ id, full_path })));
  if (path === "projects") return keysetPage(call, first(2).map(project));
  const [, kind, encoded = ""] = /^(groups|projects)\/([^/]+)\/registry\/repositories$/.exec(path) ?? [];
  const owner = decodeURIComponent(encoded);
  if (kind === undefined || !first(kind === "groups" ? 1 : 2).includes(owner)) {
    return Response.json({ message: `404 ${kind === "groups" ? "Group" : "Project"} Not Found` }, { status: 404 });
  }
  const names = front.library.names.filter((name) => name === owner || name.startsWith(`${owner}/`));
  const host = new URL(call.originOf("registry")).host;
  return offsetPage(call, names.map((name, id) => repository(name, id, host)));
}

function project(path: string, id: number): { readonly id: number; readonly path_with_namespace: string } {
  return { id: id + 1, path_with_namespace: path, ...{ container_registry_access_level: "enabled" } };
}

function repository(path: string, id: number, host: string): unknown {
  const name = path.split("/").slice(2).join("/");
  return {
    id,
    name,
    path,
    project_id: 9,
    location: `${host}/${path}`,
    created_at: "2019-01-10T13:38:57.391Z",
    status: null,
  };
}

/** Offset pages with their headers; a header that is empty marks the end. */
export function offsetPage({ url }: FrontCall, all: readonly unknown[]): Response {
  const { items, page, size, more } = pageOf(url, all, PAGE);
  const headers = {
    "x-page": String(page),
    "x-next-page": more ? String(page + 1) : "",
    "x-per-page": String(size),
    "x-total": String(all.length),
  };
  return Response.json(items, { headers });
}

/** Keyset pages with a link only. */
export function keysetPage({ url, originOf }: FrontCall, all: readonly { readonly id: number }[]): Response {
  const after = Number(url.searchParams.get("id_after") ?? "0");
  const rest = all.filter(({ id }) => id > after);
  const items = rest.slice(0, Math.min(PAGE.cap, Number(url.searchParams.get("per_page") ?? "20")));
  const next = new URLSearchParams(url.searchParams);
  next.set("id_after", String(items.at(-1)?.id));
  const link = `<${originOf("gitlab")}${url.pathname}?${next}>; rel="next"`;
  return Response.json(items, rest.length > items.length ? { headers: { link } } : {});
}
