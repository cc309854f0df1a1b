/**
 * Type `acr`: Azure Container Registry (registries.md §2.4).
 *
 * @module
 */
import type { TagInfo } from "../core/types.ts";
import { isDigest } from "../core/digest.ts";
import { LIMITS } from "../core/limits.ts";
import { defineFlavour, type Flavour, type FlavourContext, type RegistryCalls, type TagSource } from "./flavour.ts";
import { recordsOf, textOf, timeOf } from "./json_source.ts";
import { byLink, restPages } from "./rest_pager.ts";

/** Tags need the action metadata_read beside pull; one token with both serves a repository's lists and pulls. */
const ACTIONS = "pull,metadata_read";

/** Pulls and the catalog by `/v2`; digests and dates of tags by `/acr/v1`, in one call for a hundred tags. */
export const acr: Flavour = defineFlavour({
  type: "acr",
  title: "Azure Container Registry",
  basePath: "namespace",
  tagsActions: ACTIONS,
  pullActions: ACTIONS,
  sources: (context, registry) => ({ tags: tagSource(context, registry) }),
  loginHint:
    "Check CR_USERNAME and CR_PASSWORD: application ID and secret of a service principal, the admin user, or a token.",
  listHint: "Images can still be imported by name; to list, the account needs the role AcrPull " +
    "(with ABAC also Container Registry Repository Catalog Lister).",
});

function tagSource({ endpoint }: FlavourContext, registry: RegistryCalls): TagSource {
  return (name, signal) => {
    const url = new URL(`${endpoint.origin}/acr/v1/${name}/_tags?n=${LIMITS.catalogPageSize}&orderby=timedesc`);
    const action = `list the tags of ${name} at ${endpoint.host}`;
    return restPages({
      source: registry,
      call: { url, action, subject: "tags", scopes: [`repository:${name}:${ACTIONS}`] },
      items: ({ value }) => recordsOf(value, "tags", action).flatMap(tagInfo),
      key: ({ tag }) => tag,
      next: byLink,
    }, signal);
  };
}

function tagInfo(entry: Readonly<Record<string, unknown>>): readonly TagInfo[] {
  const tag = textOf(entry["name"]);
  const digest = entry["digest"];
  if (tag === undefined) return [];
  return [{ tag, digest: isDigest(digest) ? digest : null, lastPushed: timeOf(entry["lastUpdateTime"]) }];
}
