/**
 * JFrog Artifactory 7 (registries.md §2.2): one application path, Docker repositories below it, reached by path, by a
 * name of their own, or by the first part of an image's name; links that lack the repository's path; errors without
 * codes; AQL and the storage API.
 *
 * @module
 */
import type { Front, FrontCall, FrontDefinition } from "./front.ts";
import { askedScopes, covers, parseV2, scopeOf, type V2Path, windowOf } from "./parts.ts";

const LOGIN = { username: "outpost", password: "canary-artifactory-token" };
const ORIGIN = "https://artifactory.example";
const CONTEXT = "/artifactory";
/** The repository that holds the images of the library. */
export const LOCAL = "docker-local";
/** A remote repository that its upstream refuses to list. */
export const REMOTE = "docker-remote";
const VERSION = { "x-jfrog-version": "Artifactory/7.77.5 77705900" };
const CATALOG = { cap: 100 };

const LISTS = {
  type: "artifactory-cr",
  catalogPage: 100,
  tagsPage: 1000,
  dates: true,
  blobs: "redirect",
} as const;

const plainName = (at: number): string => `team/app-${String(at).padStart(4, "0")}`;

/** `host/artifactory/api/docker/<repository>`. */
export const artifactoryPathFront: FrontDefinition = {
  ...LISTS,
  variant: "repository path",
  credentials: { type: "artifactory-cr", base: `artifactory.example${CONTEXT}/api/docker/${LOCAL}`, ...LOGIN },
  repository: plainName,
  skopeo: "subdomain",
  sites: (front) => ({
    registry: { origin: ORIGIN, accepts: ["password", "token"], handle: (call) => application(front, call) },
    subdomain: { origin: `https://${LOCAL}.artifactory.example`, handle: (call) => docker(front, call, "", LOCAL) },
  }),
};

/** A name per repository, set up in the proxy, which passes on Artifactory's own paths, too. */
export const artifactorySubdomainFront: FrontDefinition = {
  ...LISTS,
  variant: "subdomain",
  credentials: { type: "artifactory-cr", base: `${LOCAL}.artifactory.example`, ...LOGIN },
  repository: plainName,
  sites: (front) => ({
    registry: {
      origin: `https://${LOCAL}.artifactory.example`,
      accepts: ["password", "token"],
      handle: (call) =>
        call.url.pathname.startsWith(`${CONTEXT}/`) ? application(front, call) : docker(front, call, "", LOCAL),
    },
  }),
};

/** The whole instance: the repository is the first part of a name. */
export const artifactoryInstanceFront: FrontDefinition = {
  ...LISTS,
  variant: "instance",
  credentials: { type: "artifactory-cr", base: `artifactory.example${CONTEXT}`, ...LOGIN },
  repository: (at) => `${LOCAL}/${plainName(at)}`,
  stored: (name) => name.slice(LOCAL.length + 1),
  sites: (front) => ({
    registry: { origin: ORIGIN, accepts: ["password", "token"], handle: (call) => application(front, call) },
  }),
};

async function application(front: Front, call: FrontCall): Promise<Response> {
  const { pathname } = call.url;
  const inPath = /^\/artifactory\/api\/docker\/([^/]+)(\/v2(?:\/.*)?)$/.exec(pathname);
  if (inPath !== null) {
    return await docker(front, call, pathname.slice(0, -(inPath[2] ?? "").length), inPath[1] ?? "");
  }
  if (pathname.startsWith(`${CONTEXT}/api/`)) return api(front, call);
  if (pathname === "/v2/" || pathname === "/v2") return await docker(front, call, "", LOCAL);
  const byName = /^\/v2\/([^/]+)\/.+\/(?:tags|manifests|blobs|referrers)\//.exec(pathname);
  if (byName === null) return failure(404, "The requested resource could not be found");
  return await docker(front, call, "", byName[1] ?? "", `/${byName[1]}`);
}

/**
 * A Docker repository.
 *
 * @param prefix What stands before `/v2`.
 * @param inName What stands before the image's name.
 */
async function docker(front: Front, call: FrontCall, prefix: string, key: string, inName = ""): Promise<Response> {
  const path = parseV2(call.url.pathname.replace(`/v2${inName}/`, "/v2/"), prefix);
  const refusal = refuse(front, call, parseV2(call.url.pathname, prefix), key);
  if (refusal !== undefined) return refusal;
  if (path.kind === "other" && call.url.pathname.endsWith("/v2/token")) return issued(front, call);
  if (key !== LOCAL && path.kind === "catalog") return failure(404, "Catalog API is not supported by the remote");
  if (key !== LOCAL) return failure(404, `No repository found for key ${key}`);
  if (path.kind === "catalog") return catalog(front, call);
  if (path.kind === "tags") return tagList(front, call, path.name);
  return await front.serve(
    call,
    call.url.pathname.slice(prefix.length).replace(`/v2${inName}/`, "/v2/") + call.url.search,
  );
}

function issued(front: Front, call: FrontCall): Response {
  const { value } = front.issue(askedScopes(call));
  return Response.json({ token: value, expires_in: 3600 }, { headers: VERSION });
}

function refuse(front: Front, call: FrontCall, path: V2Path, key: string): Response | undefined {
  if (front.state.expired) return failure(401, "Token failed verification: expired");
  const scope = scopeOf(path);
  const token = front.token(call);
  const byToken = token !== undefined && !token.revoked && (scope === undefined || covers(token.scopes, scope));
  const login = front.login(call);
  if (login === "wrong") return failure(401, "Wrong username was used");
  if (login === "none" && !byToken) {
    const asked = scope === undefined ? "" : `,scope="${scope}"`;
    const realm = `${call.originOf(call.site)}${CONTEXT}/api/docker/${key}/v2/token`;
    const challenge = `Bearer realm="${realm}",service="${call.url.host}"${asked}`;
    return failure(401, "Authentication is required", { "www-authenticate": challenge });
  }
  return path.kind === "catalog" && !front.state.mayList ? failure(403, "Forbidden") : undefined;
}

/** Artifactory's errors have a status where others have a code. */
function failure(status: number, message: string, headers: Readonly<Record<string, string>> = {}): Response {
  return Response.json({ errors: [{ status, message }] }, { status, headers: { ...VERSION, ...headers } });
}

/** Links lack everything before `/v2` (RTFACT-18971). */
function linked(path: string, last: string | undefined, n: number, body: unknown): Response {
  const link = `<${path}?last=${encodeURIComponent(last ?? "")}&n=${n}>; rel="next"`;
  return Response.json(body, { headers: last === undefined ? VERSION : { ...VERSION, link } });
}

function catalog(front: Front, { url }: FrontCall): Response {
  const { items, last, n } = windowOf(url, front.library.names, (name) => name, CATALOG);
  return linked("/v2/_catalog", last, n, { repositories: items });
}

function tagList(front: Front, { url }: FrontCall, name: string): Response {
  const tags = front.library.tags(name);
  if (tags === undefined) return failure(404, `Could not find image ${name}`);
  const { items, last, n } = windowOf(url, tags, ({ tag }) => tag, { cap: 1000 });
  return linked(`/v2/${name}/tags/list`, last, n, { name, tags: items.map(({ tag }) => tag) });
}

function api(front: Front, call: FrontCall): Response {
  if (front.state.expired) return failure(401, "Token failed verification: expired");
  if (front.login(call) !== "ok") {
    return failure(401, "Bad credentials", { "www-authenticate": 'Basic realm="Artifactory Realm"' });
  }
  const path = call.url.pathname.slice(`${CONTEXT}/api`.length);
  if (path === "/repositories") return repositories(call);
  if (path === "/search/aql") return aql(front, call);
  const stored = /^\/storage\/([^/]+)\/(.+)\/([^/]+)\/((?:list\.)?manifest\.json)$/.exec(path);
  return stored === null ? failure(404, "Not found") : storage(front, stored.slice(1));
}

function repositories({ url }: FrontCall): Response {
  if (url.searchParams.get("packageType") !== "docker") return failure(400, "Bad package type");
  const entry = (key: string, type: string): Readonly<Record<string, string>> => ({
    key,
    type,
    url: `${ORIGIN}${CONTEXT}/${key}`,
    packageType: "Docker",
  });
  return Response.json([entry(LOCAL, "LOCAL"), entry(REMOTE, "REMOTE")], { headers: VERSION });
}

/** The file that a tag is kept in. */
function fileOf(mediaType: string): string {
  return /index|manifest\.list/.test(mediaType) ? "list.manifest.json" : "manifest.json";
}

/** Understands the one query that lists ask, in any order of its parts, and nothing else. */
function aql(front: Front, call: FrontCall): Response {
  const match =
    /^items\.find\((\{.*?\})\)\.include\(([^)]*)\)\.sort\(\{"\$asc":\["path","name"\]\}\)\.offset\((\d+)\)\.limit\((\d+)\)$/
      .exec(call.body);
  if (call.method !== "POST" || call.headers.get("content-type") !== "text/plain" || match === null) {
    return failure(400, `Failed to parse query: ${call.body}`);
  }
  const [, criteria = "", fields = "", offset, limit] = match;
  if (!["repo", "path", "name"].every((name) => fields.includes(`"${name}"`))) {
    return failure(403, "This query may be executed by admins only: include repo, path and name");
  }
  const { repo, path } = JSON.parse(criteria) as { readonly repo: string; readonly path: { readonly $match: string } };
  const folder = path.$match.slice(0, -1);
  const results = (repo === LOCAL ? front.library.names : []).flatMap((name) =>
    (front.library.tags(name) ?? []).map(({ tag, digest, mediaType, pushed }) => ({
      repo,
      path: `${name}/${tag}`,
      name: fileOf(mediaType),
      modified: pushed,
      sha256: digest.slice("sha256:".length),
    }))
  ).filter((item) => item.path.startsWith(folder));
  const page = results.slice(Number(offset), Number(offset) + Number(limit));
  const range = { start_pos: Number(offset), end_pos: Number(offset) + page.length, total: page.length };
  return Response.json({ results: page, range }, { headers: VERSION });
}

function storage(front: Front, [repo = "", name = "", tag = "", file = ""]: readonly string[]): Response {
  const kept = repo === LOCAL ? front.library.tags(name)?.find((candidate) => candidate.tag === tag) : undefined;
  if (kept === undefined || fileOf(kept.mediaType) !== file) return failure(404, "Unable to find item");
  const lastModified = kept.pushed.replace("Z", "+0000");
  return Response.json({
    repo,
    path: `/${name}/${tag}/${file}`,
    created: lastModified,
    lastModified,
    size: String(kept.size),
    checksums: { sha256: kept.digest.slice("sha256:".length) },
    uri: `${ORIGIN}${CONTEXT}/api/storage/${repo}/${name}/${tag}/${file}`,
  }, { headers: VERSION });
}
