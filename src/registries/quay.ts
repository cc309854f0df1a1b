/**
 * Type `quay-cr`: Quay and quay.io (registries.md §2.7; quay/quay, endpoints/v2 and endpoints/api).
 *
 * @module
 */
import { isDigest } from "../core/digest.ts";
import { LIMITS } from "../core/limits.ts";
import type { TagInfo } from "../core/types.ts";
import { isRecord } from "../lib/bounded_json.ts";
import { listByOwner, namedOwners, type OwnedListing } from "./by_owner.ts";
import { firstListing } from "./first_listing.ts";
import {
  type CatalogSource,
  defineFlavour,
  type Flavour,
  type FlavourContext,
  type RegistryCalls,
  type TagSource,
} from "./flavour.ts";
import { type JsonSource, recordsOf, textOf, timeOf } from "./json_source.ts";
import { byCounter, byCursor, type NextPage, restPages } from "./rest_pager.ts";
import { anonymous, fixedHeader } from "./vendor_api.ts";

const PAGE_SIZE = LIMITS.catalogPageSize;
/** User name by which Quay's registry takes an OAuth token as password (quay/quay, auth/credential_consts.py). */
const OAUTH_USER = "$oauthtoken";

/**
 * Quay refuses a token request with a catalog scope; a token without scope lists what the account may see. Its API wants
 * an OAuth token (CR_TOKEN), which robots do not have; public repositories need none.
 */
export const quay: Flavour = defineFlavour({
  type: "quay-cr",
  title: "Quay",
  basePath: "namespace",
  catalogScope: undefined,
  tagsPageSize: 100,
  tagsLastMarker: false,
  sources: (context, registry) => {
    const token = textOf(context.credentials.token) ??
      (context.credentials.username === OAUTH_USER ? textOf(context.credentials.password) : undefined);
    const api = context.openApi({
      origin: context.endpoint.origin,
      authorization: token === undefined ? anonymous : fixedHeader("authorization", `Bearer ${token}`),
      unauthorizedMeans: "rights",
    });
    const tags = tagSource(context, api);
    return token === undefined ? { tags } : { tags, catalog: catalogSource(context, registry, api) };
  },
  loginHint: "Check CR_USERNAME and CR_PASSWORD; use a robot account (namespace+robot) and its token.",
  listHint: "Images can still be imported by name; to list them, give the robot account read rights on the " +
    "repositories, or set CR_TOKEN to an OAuth token with repo:read.",
});

/** The namespaces that are named, else the robot's own, by the API; `_catalog` after that. */
function catalogSource(context: FlavourContext, registry: RegistryCalls, api: JsonSource): CatalogSource {
  const robot = /^([^+]+)\+/.exec(context.credentials.username ?? "")?.[1];
  const named = namedOwners(context);
  const owners = named.length > 0 ? named : robot === undefined ? [] : [robot];
  return (signal) => {
    const catalog = (): AsyncIterable<readonly string[]> => registry.catalog(signal);
    if (owners.length === 0) return catalog();
    const lists = owners.map((path) => listOf(context, api, path.split("/")[0] ?? path, signal));
    return firstListing([() => listByOwner(context, lists), catalog]);
  };
}

function listOf({ endpoint }: FlavourContext, api: JsonSource, owner: string, signal: AbortSignal): OwnedListing {
  const action = `list the repositories of ${owner} at ${endpoint.host}`;
  const url = new URL(`${endpoint.origin}/api/v1/repository?namespace=${encodeURIComponent(owner)}&public=true`);
  const list = (): AsyncIterable<readonly string[]> =>
    restPages({
      source: api,
      call: { url, action, subject: "catalog" },
      items: ({ value }) =>
        recordsOf(value, "repositories", action).flatMap(({ namespace, name }) => {
          const [space, own] = [textOf(namespace), textOf(name)];
          return space === undefined || own === undefined ? [] : [`${space}/${own}`];
        }),
      key: (name) => name,
      next: byCursor("next_page", "next_page"),
    }, signal);
  return { owner, list };
}

function tagSource({ endpoint }: FlavourContext, api: JsonSource): TagSource {
  return (name, signal) => {
    const action = `list the tags of ${name} at ${endpoint.host}`;
    const query = `onlyActiveTags=true&limit=${PAGE_SIZE}&page=1`;
    return restPages({
      source: api,
      call: { url: new URL(`${endpoint.origin}/api/v1/repository/${name}/tag/?${query}`), action, subject: "tags" },
      items: ({ value }) => recordsOf(value, "tags", action).flatMap(tagInfo),
      key: ({ tag }) => tag,
      next: whileMore,
    }, signal);
  };
}

const nextNumber = byCounter("page", 1);

/** Quay says by `has_additional` whether there is another page. */
const whileMore: NextPage = (page) =>
  isRecord(page.value) && page.value["has_additional"] === true ? nextNumber(page) : undefined;

function tagInfo(entry: Readonly<Record<string, unknown>>): readonly TagInfo[] {
  const tag = textOf(entry["name"]);
  const digest = entry["manifest_digest"];
  if (tag === undefined) return [];
  return [{ tag, digest: isDigest(digest) ? digest : null, lastPushed: timeOf(entry["last_modified"]) }];
}
