/**
 * Type `harbor-cr` (registries.md §2.3).
 *
 * @module
 */
import { isDigest } from "../core/digest.ts";
import { LIMITS } from "../core/limits.ts";
import type { TagInfo } from "../core/types.ts";
import { firstListing } from "./first_listing.ts";
import {
  type CatalogSource,
  defineFlavour,
  type Flavour,
  type FlavourContext,
  type RegistryCalls,
  type TagSource,
} from "./flavour.ts";
import { isRecord } from "../lib/bounded_json.ts";
import { recordsOf, textOf, timeOf } from "./json_source.ts";
import { byCounter, restPages, totalInHeader } from "./rest_pager.ts";

const PAGE_SIZE = LIMITS.catalogPageSize;

/**
 * HTTP Basic everywhere: Harbor's `_catalog` takes nothing else. Repositories by Harbor's own API, which shows every
 * account what it may see; `_catalog` is for system administrators and comes after it.
 */
export const harbor: Flavour = defineFlavour({
  type: "harbor-cr",
  title: "Harbor",
  basePath: "namespace",
  preferBasic: true,
  sources: (context, registry) => ({
    catalog: catalogSource(context, registry),
    tags: tagSource(context, registry),
  }),
  loginHint: "Check CR_USERNAME and CR_PASSWORD; robot names contain a $, which shells replace unless it is quoted; " +
    "users of single sign-on use their CLI secret.",
  listHint: "Images can still be imported by name; to list them, give the robot the permission to list repositories, " +
    "or make the user a member of the projects.",
});

function catalogSource({ endpoint }: FlavourContext, registry: RegistryCalls): CatalogSource {
  const action = `list the repositories of ${endpoint.host}`;
  const url = new URL(`${endpoint.origin}/api/v2.0/repositories?page=1&page_size=${PAGE_SIZE}`);
  return (signal) => {
    const native = (): AsyncIterable<readonly string[]> =>
      restPages({
        source: registry,
        call: { url, action, subject: "catalog" },
        items: ({ value }) => recordsOf(value, undefined, action).flatMap(({ name }) => textOf(name) ?? []),
        key: (name) => name,
        next: byCounter("page", PAGE_SIZE),
        total: totalInHeader("x-total-count"),
      }, signal);
    return firstListing([native, () => registry.catalog(signal)]);
  };
}

function tagSource({ endpoint }: FlavourContext, registry: RegistryCalls): TagSource {
  return (name, signal) => {
    const [project = "", ...rest] = name.split("/");
    // Harbor decodes the path once before it looks for slashes, so those of the name are encoded twice.
    const repository = encodeURIComponent(encodeURIComponent(rest.join("/")));
    const query = `with_tag=true&page=1&page_size=${PAGE_SIZE}&q=tags%3D*`;
    const path = `/api/v2.0/projects/${encodeURIComponent(project)}/repositories/${repository}/artifacts?${query}`;
    const action = `list the tags of ${name} at ${endpoint.host}`;
    return tagsOf(restPages({
      source: registry,
      call: { url: new URL(endpoint.origin + path), action, subject: "tags" },
      items: ({ value }) => recordsOf(value, undefined, action),
      key: ({ digest }) => String(digest),
      next: byCounter("page", PAGE_SIZE),
      total: totalInHeader("x-total-count"),
    }, signal));
  };
}

async function* tagsOf(
  artifacts: AsyncIterable<readonly Readonly<Record<string, unknown>>[]>,
): AsyncGenerator<readonly TagInfo[], void, void> {
  for await (const page of artifacts) yield page.flatMap(tagInfos);
}

/** The tags of one artifact: Harbor lists artifacts with their tags, not tags. */
function tagInfos(artifact: Readonly<Record<string, unknown>>): readonly TagInfo[] {
  const digest = isDigest(artifact["digest"]) ? artifact["digest"] : null;
  const tags: unknown = artifact["tags"];
  return (Array.isArray(tags) ? tags : []).filter(isRecord).flatMap((entry) => {
    const tag = textOf(entry["name"]);
    return tag === undefined ? [] : [{ tag, digest, lastPushed: timeOf(entry["push_time"]) }];
  });
}
