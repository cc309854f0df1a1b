/**
 * Type `docker-hub` (registries.md §2.6).
 *
 * @module
 */
import { isDigest } from "../core/digest.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { TagInfo } from "../core/types.ts";
import { isRecord } from "../lib/bounded_json.ts";
import { listByOwner, namedOwners, type OwnedListing } from "./by_owner.ts";
import { hasLogin } from "./credentials.ts";
import { type Endpoint, parseBase, qualifyName } from "./endpoint.ts";
import { protocolError } from "./errors.ts";
import { REFUSED } from "./first_listing.ts";
import { type CatalogSource, defineFlavour, type Flavour, type FlavourContext, type TagSource } from "./flavour.ts";
import { type JsonSource, recordsOf, textOf, timeOf } from "./json_source.ts";
import { jwtLifetimeMs } from "./jwt.ts";
import { pullBudget } from "./pull_budget.ts";
import { type Fetched, Renewed } from "./renewed.ts";
import { byUrl, restPages, totalInMember } from "./rest_pager.ts";
import { anonymous, type ApiAuthorization, exchangedBearer } from "./vendor_api.ts";

/** Names under which people write Docker Hub; the images are all at one place. */
const HUB = new Set([
  "",
  "docker.io",
  "www.docker.com",
  "index.docker.io",
  "registry-1.docker.io",
  "hub.docker.com",
  "registry.hub.docker.com",
]);
const REGISTRY = "https://registry-1.docker.io";
const API = "https://hub.docker.com";
/** Life of the API's tokens, where they do not tell it themselves (Harbor's `dockerhub` adapter). */
const TOKEN_LIFE_MS = 10 * 60_000;
const LIST_HINT =
  "Images can still be imported by name; to list them, use a personal access token with the right Read, " +
  "or an organization's token with scope-repository-list, and name other owners in CR_NAMESPACES.";

/** Docker Hub; another host in CR_BASE is taken as a mirror of it. Names without a namespace are official images. */
export const dockerHub: Flavour = defineFlavour({
  type: "docker-hub",
  title: "Docker Hub",
  endpoint: ({ base }) => {
    const written = base.trim();
    const given = written === "" || written === "undefined" ? undefined : parseBase(written, "namespace");
    if (given === undefined) return parseBase(REGISTRY, "namespace");
    return HUB.has(given.host) ? parseBase(`${REGISTRY}/${ownerIn(given)}`, "namespace") : given;
  },
  wireName: (endpoint, repository) =>
    endpoint.namePrefix !== "" || repository.includes("/")
      ? qualifyName(endpoint, repository)
      : `library/${repository}`,
  sources: (context) => context.endpoint.origin === REGISTRY ? hubSources(context) : {},
  remark: async (registry, { origin }, signal) =>
    origin === REGISTRY ? await pullBudget("Docker Hub", registry, signal) : undefined,
  realmHosts: ["auth.docker.io"],
  loginHint:
    "Check CR_USERNAME and CR_PASSWORD; use a personal access token with the right Read, which two factors and " +
    "single sign-on ask for, or an organization's name and access token.",
  expiredHint: "Create a new access token at Docker Hub and set CR_PASSWORD to it.",
  listHint: LIST_HINT,
});

/** The namespace of `docker.io/<namespace>`; paths of old configurations (`/v1/`) and of web pages are none. */
function ownerIn({ host, namePrefix }: Endpoint): string {
  return host === "hub.docker.com" || namePrefix === "v1" || namePrefix.includes("/") ? "" : namePrefix;
}

function hubSources(context: FlavourContext): { readonly catalog: CatalogSource; readonly tags: TagSource } {
  const authorization = hasLogin(context.credentials) ? byAccessToken(context) : anonymous;
  const api = context.openApi({ origin: API, authorization, unauthorizedMeans: "rights" });
  return {
    catalog: async function* (signal) {
      const owners = await ownersOf(context, api, signal);
      const listings = owners.map((owner): OwnedListing => ({ owner, list: () => repositories(api, owner, signal) }));
      yield* listByOwner(context, listings);
    },
    tags: (name, signal) => tags(api, name, signal),
  };
}

/** A token for user name and password, personal access token, or organization and its access token. */
function byAccessToken({ credentials, clock, closed, endpoint, openApi }: FlavourContext): ApiAuthorization {
  const { username: identifier, password: secret } = credentials;
  const action = `log in to ${endpoint.host}`;
  const server = openApi({ origin: API, authorization: anonymous, unauthorizedMeans: "login" });
  const content = { type: "application/json", text: JSON.stringify({ identifier, secret }) };
  const exchange = async (signal: AbortSignal): Promise<Fetched<string>> => {
    const url = new URL(`${API}/v2/auth/token`);
    const { value } = await server.call({ url, action, subject: "login", content }, signal);
    const token = isRecord(value) ? textOf(value["access_token"]) : undefined;
    if (token === undefined) throw protocolError(action, "the answer of Docker Hub's API holds no token");
    return { value: token, lifetimeMs: jwtLifetimeMs(token) ?? TOKEN_LIFE_MS };
  };
  return exchangedBearer(new Renewed({ clock, closed, exchange }));
}

/** The configured owners, else all that the account belongs to, else itself. */
async function ownersOf(context: FlavourContext, api: JsonSource, signal: AbortSignal): Promise<readonly string[]> {
  const named = namedOwners(context);
  if (named.length > 0) return named;
  const { credentials, endpoint } = context;
  const action = `list the repositories of ${endpoint.host}`;
  if (!hasLogin(credentials)) {
    throw new OutpostError("CATALOG_UNSUPPORTED", `Cannot ${action}: without a login it does not tell whose to list`, {
      hint: "Set CR_USERNAME and CR_PASSWORD, or name the owners in CR_NAMESPACES.",
    });
  }
  const account = (credentials.username ?? "").toLowerCase();
  try {
    const url = new URL(`${API}/v2/repositories/namespaces`);
    const { value } = await api.call({ url, action, subject: "catalog" }, signal);
    const list: unknown = isRecord(value) ? value["namespaces"] : undefined;
    if (!Array.isArray(list)) throw protocolError(action, "the answer holds no namespaces");
    const found = list.filter((item: unknown) => typeof item === "string" && item !== "");
    return found.length > 0 ? found : [account];
  } catch (error) {
    // An undocumented call: tokens of organizations, whose name the account is, may not make it.
    if (error instanceof OutpostError && REFUSED.has(error.code)) return [account];
    throw error;
  }
}

function repositories(api: JsonSource, owner: string, signal: AbortSignal): AsyncIterable<readonly string[]> {
  const action = `list the repositories of ${owner} at Docker Hub`;
  const url = new URL(`${API}/v2/namespaces/${encodeURIComponent(owner)}/repositories`);
  url.search = `?page=1&page_size=${LIMITS.catalogPageSize}`;
  return restPages({
    source: api,
    call: { url, action, subject: "catalog" },
    items: ({ value }) =>
      recordsOf(value, "results", action).flatMap(({ name, namespace }) => {
        const image = textOf(name);
        return image === undefined ? [] : [`${textOf(namespace) ?? owner}/${image}`];
      }),
    key: (name) => name,
    next: byUrl("next"),
    total: totalInMember("count"),
  }, signal);
}

function tags(api: JsonSource, name: string, signal: AbortSignal): AsyncIterable<readonly TagInfo[]> {
  const [owner = "", ...rest] = name.split("/");
  const action = `list the tags of ${name} at Docker Hub`;
  const path = `${encodeURIComponent(owner)}/repositories/${encodeURIComponent(rest.join("/"))}/tags`;
  return restPages({
    source: api,
    call: {
      url: new URL(`${API}/v2/namespaces/${path}?page=1&page_size=${LIMITS.catalogPageSize}`),
      action,
      subject: "tags",
    },
    items: ({ value }) => recordsOf(value, "results", action).flatMap(tagInfo),
    key: ({ tag }) => tag,
    next: byUrl("next"),
    total: totalInMember("count"),
  }, signal);
}

function tagInfo(entry: Readonly<Record<string, unknown>>): readonly TagInfo[] {
  const tag = textOf(entry["name"]);
  const digest = entry["digest"];
  if (tag === undefined) return [];
  return [{ tag, digest: isDigest(digest) ? digest : null, lastPushed: timeOf(entry["tag_last_pushed"]) }];
}
