/**
 * Nexus Repository 3 (registries.md §2.8; behaviour of 3.71): HTTP Basic or DockerToken, links without the repository's path
 * or with one too many, the search of its REST API, a catalog that is empty for those who may not browse.
 *
 * @module
 */
import type { Front, FrontCall, FrontDefinition } from "./front.ts";
import { ociError, parseV2, type V2Path, windowOf } from "./parts.ts";

const LOGIN = { username: "outpost", password: "canary-nexus-password" };
const REPOSITORY = "docker-hosted";
const PREFIX = `/nexus/repository/${REPOSITORY}`;
const REST = "/nexus/service/rest/v1";
/** Not configurable in Nexus. */
const SEARCH_PAGE = 50;
const BASIC = { "www-authenticate": 'BASIC realm="Sonatype Nexus Repository Manager"' };

const LISTS = {
  type: "nexus-cr",
  repository: (at: number) => `team/app-${String(at).padStart(4, "0")}`,
  catalogPage: 100,
  tagsPage: 1000,
  // Nexus does not say that a password has expired.
  expired: "BAD_CREDENTIALS",
} as const;

/** The repository's path on the main port, below a context path. The connector is there for Docker clients. */
export const nexusFront: FrontDefinition = {
  ...LISTS,
  variant: "repository path",
  credentials: { type: "nexus-cr", base: `nexus.example${PREFIX}`, ...LOGIN },
  dates: true,
  skopeo: "connector",
  sites: (front) => ({
    registry: { origin: "https://nexus.example", accepts: ["password"], handle: (call) => mainPort(front, call) },
    connector: { origin: "https://nexus.example:8082", accepts: ["password"], handle: (call) => byBasic(front, call) },
  }),
};

/** A connector port with the Docker Bearer Token realm and anonymous access, behind a TLS proxy that Nexus does not know of. */
export const nexusConnectorFront: FrontDefinition = {
  ...LISTS,
  variant: "connector, anonymous",
  credentials: { type: "nexus-cr", base: "nexus.example:5000" },
  dates: false,
  sites: (front) => ({
    registry: {
      origin: "https://nexus.example:5000",
      accepts: ["token"],
      handle: (call) => byDockerToken(front, call),
    },
  }),
};

async function mainPort(front: Front, call: FrontCall): Promise<Response> {
  if (front.login(call) !== "ok" || front.state.expired) return unauthorized();
  const { pathname, search } = call.url;
  if (pathname.startsWith(`${REST}/`)) return rest(front, call);
  const path = parseV2(pathname, PREFIX);
  // 3.71 leaves the repository's path out of its links.
  const link = `${call.originOf("registry")}${pathname.slice(PREFIX.length)}`;
  return lists(front, call, path, link) ?? await front.serve(call, pathname.slice(PREFIX.length) + search);
}

async function byBasic(front: Front, call: FrontCall): Promise<Response> {
  if (front.login(call) !== "ok" || front.state.expired) return unauthorized();
  return await connector(front, call);
}

async function byDockerToken(front: Front, call: FrontCall): Promise<Response> {
  const realm = `${call.originOf("registry").replace("https:", "http:")}/v2/token`;
  if (call.url.pathname === "/v2/token") {
    return Response.json({ token: front.issue(["*"], `DockerToken.${crypto.randomUUID()}`).value });
  }
  const token = front.token(call);
  if (token === undefined || token.revoked) {
    const challenge = `Bearer realm="${realm}",service="${realm}",scope="repository:*:pull"`;
    return ociError(401, "UNAUTHORIZED", "access to the requested resource is not authorized", {
      "www-authenticate": challenge,
    });
  }
  if (parseV2(call.url.pathname).kind === "catalog" && !front.state.mayList) {
    return ociError(403, "DENIED", "requested access to the resource is denied");
  }
  return await connector(front, call);
}

/** Links of a connector name the repository's path on the main port, which is not served there. */
async function connector(front: Front, call: FrontCall): Promise<Response> {
  const { pathname } = call.url;
  if (!pathname.startsWith("/v2")) return new Response("Not a docker request", { status: 400 });
  const link = `${call.originOf(call.site)}/repository/${REPOSITORY}${pathname}`;
  return lists(front, call, parseV2(pathname), link) ?? await front.serve(call);
}

function unauthorized(): Response {
  const body = { errors: [{ code: "UNAUTHORIZED", message: "access to the requested resource is not authorized" }] };
  return Response.json(body, { status: 401, headers: BASIC });
}

/** Both lists; `next` is where their links lead, without the query. */
function lists(front: Front, { url }: FrontCall, path: V2Path, next: string): Response | undefined {
  if (path.kind !== "catalog" && path.kind !== "tags") return undefined;
  const all = path.kind === "tags"
    ? front.library.tags(path.name)?.map(({ tag }) => tag)
    : front.state.mayList
    ? front.library.names
    : [];
  if (all === undefined) return ociError(404, "NAME_UNKNOWN", "repository name not known to registry");
  const { items, last, n } = windowOf(url, all, (name) => name, { cap: 10_000 });
  const body = path.kind === "tags" ? { name: path.name, tags: items } : { repositories: items };
  const link = `<${next}?n=${n}&last=${encodeURIComponent(last ?? "")}>; rel="next"`;
  return Response.json(body, last === undefined ? {} : { headers: { link } });
}

function rest(front: Front, call: FrontCall): Response {
  const { pathname, searchParams } = call.url;
  if (pathname === `${REST}/repositories`) {
    const url = `${call.originOf("registry")}${PREFIX}`;
    return Response.json(front.state.mayList ? [{ name: REPOSITORY, format: "docker", type: "hosted", url }] : []);
  }
  if (pathname !== `${REST}/search`) return new Response(null, { status: 404 });
  const name = searchParams.get("name") ?? "";
  const found = searchParams.get("repository") === REPOSITORY && front.state.mayList ? components(front, name) : [];
  const from = Number(searchParams.get("continuationToken") ?? "0");
  const token = found.length > from + SEARCH_PAGE ? String(from + SEARCH_PAGE) : null;
  return Response.json({ items: found.slice(from, from + SEARCH_PAGE), continuationToken: token });
}

/** A component per tag, with the manifest as its only asset. */
function components(front: Front, name: string): readonly unknown[] {
  return (front.library.tags(name) ?? []).map(({ tag, digest, mediaType, pushed }, at) => {
    const path = `/v2/${name}/manifests/${tag}`;
    const common = { repository: REPOSITORY, format: "docker" };
    const asset = {
      ...common,
      id: `asset-${at}`,
      path,
      downloadUrl: `https://nexus.example${PREFIX}${path}`,
      checksum: { sha1: "0".repeat(40), sha256: digest.slice("sha256:".length) },
      contentType: mediaType,
      lastModified: pushed.replace("Z", "+00:00"),
    };
    return { ...common, id: `component-${at}`, group: "", name, version: tag, assets: [asset] };
  });
}
