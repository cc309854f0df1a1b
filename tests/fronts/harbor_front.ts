/**
 * Harbor 2.x (registries.md §2.3): two kinds of challenge, a catalog for administrators only, the API of projects.
 *
 * @module
 */
import type { Front, FrontCall, FrontDefinition } from "./front.ts";
import { askedScopes, covers, ociError, pageOf, parseV2, scopeOf, windowOf } from "./parts.ts";

const LOGIN = { username: "robot$outpost", password: "canary-robot-secret" };
const ORIGIN = "https://harbor.example";
const SESSION = { "set-cookie": "sid=canary-session; Path=/; HttpOnly" };

/** A robot account, which sees its projects and no catalog. */
export const harborFront: FrontDefinition = {
  type: "harbor-cr",
  credentials: { type: "harbor-cr", base: "harbor.example", ...LOGIN },
  repository: (at) => `team/app/part-${String(at).padStart(4, "0")}`,
  catalogPage: 100,
  tagsPage: 1000,
  dates: true,
  expired: "BAD_CREDENTIALS",
  sites: (front) => ({
    registry: { origin: ORIGIN, accepts: ["password", "token"], handle: (call) => handle(front, call) },
  }),
};

async function handle(front: Front, call: FrontCall): Promise<Response> {
  const { pathname } = call.url;
  if (pathname === "/service/token") return serviceToken(front, call);
  if (pathname.startsWith("/api/v2.0/")) return api(front, call);
  return await v2(front, call);
}

function loggedIn(front: Front, call: FrontCall): boolean {
  return front.login(call) === "ok" && !front.state.expired;
}

function serviceToken(front: Front, call: FrontCall): Response {
  if (!loggedIn(front, call)) return unauthorized("unauthorized", 'Basic realm="harbor"');
  const { value } = front.issue(askedScopes(call));
  return Response.json({ token: value, access_token: "", expires_in: 1800, issued_at: "2024-01-01T00:00:00Z" });
}

function unauthorized(message: string, challenge: string): Response {
  return ociError(401, "UNAUTHORIZED", message, { ...SESSION, "www-authenticate": challenge });
}

async function v2(front: Front, call: FrontCall): Promise<Response> {
  const path = parseV2(call.url.pathname);
  // The catalog takes HTTP Basic only, and shows itself to system administrators.
  if (path.kind === "catalog") {
    const message = "unauthorized to list catalog: unauthorized to list catalog";
    return unauthorized(message, 'Basic realm="harbor"');
  }
  const scope = scopeOf(path);
  const token = front.token(call);
  const byToken = token !== undefined && !token.revoked && (scope === undefined || covers(token.scopes, scope));
  if (!byToken && !loggedIn(front, call)) return challenged(call);
  const project = path.name.split("/")[0];
  if (path.name !== "" && project !== "team") {
    return ociError(401, "UNAUTHORIZED", `project ${project} not found`, { "www-authenticate": "" });
  }
  if (path.kind === "tags") return tagList(front, call, path.name);
  const answer = await front.serve(call);
  const headers = new Headers(answer.headers);
  headers.append("set-cookie", SESSION["set-cookie"]);
  return new Response(answer.body, { status: answer.status, headers });
}

/** Bearer for those who sent nothing, Basic for those whose Authorization was refused. */
function challenged(call: FrontCall): Response {
  if (call.headers.has("authorization")) return unauthorized("unauthorized: unauthorized", 'Basic realm="harbor"');
  const scope = scopeOf(parseV2(call.url.pathname));
  const asked = scope === undefined ? "" : `,scope="${scope}"`;
  const realm = `${call.originOf("registry")}/service/token`;
  return unauthorized("unauthorized: unauthorized", `Bearer realm="${realm}",service="harbor-registry"${asked}`);
}

/** Sorted, and with a Link only when `n` is asked for. */
function tagList(front: Front, { url }: FrontCall, name: string): Response {
  const tags = front.library.tags(name)?.map(({ tag }) => tag);
  if (tags === undefined) return ociError(404, "NAME_UNKNOWN", `repository ${name} not found`);
  const window = url.searchParams.has("n")
    ? windowOf(url, tags, (tag) => tag, { cap: 10_000 })
    : { items: tags, last: undefined, n: 0 };
  const next = `/v2/${name}/tags/list?n=${window.n}&last=${encodeURIComponent(window.last ?? "")}`;
  const headers: Record<string, string> = window.last === undefined ? {} : { link: `<${next}>; rel="next"` };
  return Response.json({ name, tags: window.items.length === 0 ? null : window.items }, { headers });
}

function api(front: Front, call: FrontCall): Response {
  if (!loggedIn(front, call)) return unauthorized("unauthorized", 'Basic realm="harbor"');
  if (call.url.pathname === "/api/v2.0/repositories") return repositories(front, call);
  const match = /^\/api\/v2\.0\/projects\/([^/]+)\/repositories\/([^/]+)\/artifacts$/.exec(call.url.pathname);
  if (match === null) return apiError(404, "NOT_FOUND", "path not found");
  // One decoding is the router's, the other the handler's.
  return artifacts(front, call, `${match[1]}/${decodeURIComponent(decodeURIComponent(match[2] ?? ""))}`);
}

function apiError(status: number, code: string, message: string): Response {
  return Response.json({ errors: [{ code, message }] }, { status, headers: SESSION });
}

function repositories(front: Front, { url }: FrontCall): Response {
  if (!front.state.mayList) return apiError(403, "FORBIDDEN", "forbidden");
  const all = front.library.names.map((name, at) => ({
    id: at + 1,
    project_id: 1,
    name,
    artifact_count: front.library.tags(name)?.length ?? 0,
    pull_count: 0,
    creation_time: "2024-01-01T00:00:00.000Z",
    update_time: "2024-01-01T00:00:00.000Z",
  }));
  return numbered(url, all);
}

function artifacts(front: Front, { url }: FrontCall, name: string): Response {
  const tags = front.library.tags(name);
  if (tags === undefined) return apiError(404, "NOT_FOUND", `repository ${name} not found`);
  const digests = [...new Set(tags.map(({ digest }) => digest))];
  const all = digests.map((digest, at) => {
    const own = tags.filter((tag) => tag.digest === digest);
    return {
      id: at + 1,
      digest,
      media_type: "application/vnd.docker.container.image.v1+json",
      manifest_media_type: own[0]?.mediaType,
      size: own[0]?.size,
      push_time: own[0]?.pushed,
      pull_time: "0001-01-01T00:00:00.000Z",
      tags: own.map(({ tag, pushed }, id) => ({ id, name: tag, push_time: pushed, immutable: false })),
    };
  });
  return numbered(url, all);
}

/** Harbor's pages: at most 100, a total, a Link with the other parameters kept. */
function numbered(url: URL, all: readonly unknown[]): Response {
  const { items, page, size, more } = pageOf(url, all, { page: "page", size: "page_size", cap: 100 });
  const headers = new Headers({ "x-total-count": String(all.length), ...SESSION });
  if (more) headers.set("link", `<${url.pathname}?page=${page + 1}&page_size=${size}>; rel="next"`);
  return Response.json(items, { headers });
}
