/**
 * Type `digitalocean-cr` (registries.md §2.10).
 *
 * @module
 */
import { isDigest } from "../core/digest.ts";
import { type ErrorCode, OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { TagInfo } from "../core/types.ts";
import { isRecord } from "../lib/bounded_json.ts";
import { listByOwner, type OwnedListing } from "./by_owner.ts";
import { firstListing, OTHER_SOURCE_MAY_WORK } from "./first_listing.ts";
import { defineFlavour, type Flavour, type FlavourContext, type RegistryCalls, type Sources } from "./flavour.ts";
import { type JsonSource, recordsOf, textOf, timeOf } from "./json_source.ts";
import { byUrl, type RestPage, restPages, totalInMember } from "./rest_pager.ts";
import { fixedHeader } from "./vendor_api.ts";

const HOST = "registry.digitalocean.com";
const API = "https://api.digitalocean.com";
const LIST = `list the repositories of ${HOST}`;
const PAGE = `per_page=${LIMITS.catalogPageSize}`;

/**
 * `registry.digitalocean.com[/<registry>]`; an API token is user name and password. Credentials of
 * `docker-credentials` pull as well, but may not call the API: then `/v2/_catalog` is what they may list.
 */
export const digitalocean: Flavour = defineFlavour({
  type: "digitalocean-cr",
  title: "DigitalOcean Container Registry",
  basePath: "namespace",
  sources: (context, registry) => sources(context, registry),
  loginHint: "Check CR_TOKEN: an API token that may read the registry (scope registry:read).",
  expiredHint: "Create a new API token at DigitalOcean and set CR_TOKEN to it.",
  listHint: "Images can still be imported by name; to list them, use an API token with the scope registry:read, and " +
    "check the registry's name in CR_BASE.",
});

function sources(context: FlavourContext, registry: RegistryCalls): Sources {
  const { endpoint, credentials } = context;
  const { password = "" } = credentials;
  if (endpoint.host !== HOST || password === "") return {};
  const authorization = fixedHeader("authorization", `Bearer ${password}`);
  // The registry takes credentials that the API does not.
  const api = context.openApi({ origin: API, authorization, unauthorizedMeans: "rights" });
  return {
    catalog: (signal) =>
      firstListing(
        [() => repositories(context, api, signal), () => registry.catalog(signal)],
        ({ code }) => code !== "CATALOG_UNSUPPORTED" && OTHER_SOURCE_MAY_WORK.has(code),
      ),
    tags: (name, signal) => bothForms((form) => tagsOf(api, form, name, signal)),
  };
}

async function* repositories(
  context: FlavourContext,
  api: JsonSource,
  signal: AbortSignal,
): AsyncGenerator<readonly string[], void, void> {
  const [named = ""] = context.endpoint.namePrefix.split("/");
  const names = named === "" ? await registryNames(api, signal) : [named];
  const listings = names.map((owner): OwnedListing => ({
    owner,
    list: () => bothForms((form) => repositoriesOf(api, form, owner, signal)),
  }));
  yield* listByOwner(context, listings);
}

/** The API for up to ten registries, and the older one for a single registry. */
type Form = "registries" | "registry";

/** The list of the newer form, or of the older one where that is not found. */
function bothForms<T>(list: (form: Form) => AsyncIterable<readonly T[]>): AsyncIterable<readonly T[]> {
  const notThere = new Set<ErrorCode>(["CATALOG_UNSUPPORTED", "REPO_NOT_FOUND"]);
  return firstListing([() => list("registries"), () => list("registry")], ({ code }) => notThere.has(code));
}

/** Names of the account's registries. */
async function registryNames(api: JsonSource, signal: AbortSignal): Promise<readonly string[]> {
  const names: string[] = [];
  try {
    for await (const page of bothForms((form) => registries(api, form, signal))) names.push(...page);
  } catch (error) {
    if (!(error instanceof OutpostError) || error.code !== "CATALOG_UNSUPPORTED") throw error;
  }
  if (names.length > 0) return names;
  throw new OutpostError("CATALOG_UNSUPPORTED", `Cannot ${LIST}: the account has no registry`, {
    hint: "Create a registry at DigitalOcean, or check which team CR_TOKEN belongs to.",
  });
}

async function* registries(
  api: JsonSource,
  form: Form,
  signal: AbortSignal,
): AsyncGenerator<readonly string[], void, void> {
  const { value } = await api.call({ url: new URL(`${API}/v2/${form}`), action: LIST, subject: "catalog" }, signal);
  const fields = isRecord(value) ? value : {};
  // In the reference the newer form's text says `registries`, its schema `registry`; the older form has a single one.
  const found = fields["registries"] ?? fields["registry"] ?? [];
  const list: readonly unknown[] = Array.isArray(found) ? found : [found];
  yield list.filter(isRecord).flatMap(({ name }) => textOf(name) ?? []);
}

function repositoriesOf(
  api: JsonSource,
  form: Form,
  registry: string,
  signal: AbortSignal,
): AsyncIterable<readonly string[]> {
  const action = `list the repositories of ${HOST}/${registry}`;
  return restPages({
    source: api,
    call: { url: registryUrl(form, registry, `repositoriesV2?${PAGE}`), action, subject: "catalog" },
    items: ({ value }) =>
      recordsOf(value, "repositories", action).flatMap(({ name }) => {
        const repository = textOf(name);
        return repository === undefined ? [] : [`${registry}/${repository}`];
      }),
    key: (name) => name,
    next: nextPage,
    total: totalInMember("meta", "total"),
  }, signal);
}

function tagsOf(api: JsonSource, form: Form, name: string, signal: AbortSignal): AsyncIterable<readonly TagInfo[]> {
  const [registry = "", ...rest] = name.split("/");
  const action = `list the tags of ${name} at ${HOST}`;
  const repository = encodeURIComponent(rest.join("/"));
  return restPages({
    source: api,
    call: { url: registryUrl(form, registry, `repositories/${repository}/tags?${PAGE}`), action, subject: "tags" },
    items: ({ value }) => recordsOf(value, "tags", action).flatMap(tagInfo),
    key: ({ tag }) => tag,
    next: nextPage,
    total: totalInMember("meta", "total"),
  }, signal);
}

/** Links may leave the page's size out, which is 20 then. */
function nextPage(page: RestPage): URL | undefined {
  const next = byUrl("links", "pages", "next")(page);
  if (next !== undefined && !next.searchParams.has("per_page")) next.search += `&${PAGE}`;
  return next;
}

function registryUrl(form: Form, registry: string, path: string): URL {
  return new URL(`${API}/v2/${form}/${encodeURIComponent(registry)}/${path}`);
}

function tagInfo(entry: Readonly<Record<string, unknown>>): readonly TagInfo[] {
  const tag = textOf(entry["tag"]);
  const digest = entry["manifest_digest"];
  if (tag === undefined) return [];
  return [{ tag, digest: isDigest(digest) ? digest : null, lastPushed: timeOf(entry["updated_at"]) }];
}
