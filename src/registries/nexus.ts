/**
 * Type `nexus-cr`: Sonatype Nexus Repository 3 (registries.md §2.8; https://help.sonatype.com, "Search API").
 *
 * @module
 */
import { type Digest, isDigest } from "../core/digest.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { TagInfo } from "../core/types.ts";
import { isRecord } from "../lib/bounded_json.ts";
import type { Endpoint } from "./endpoint.ts";
import { protocolError } from "./errors.ts";
import { OTHER_SOURCE_MAY_WORK } from "./first_listing.ts";
import {
  type CatalogSource,
  defineFlavour,
  type Flavour,
  type FlavourContext,
  type RegistryCalls,
  type TagSource,
} from "./flavour.ts";
import { recordsOf, textOf, timeOf } from "./json_source.ts";
import { byCursor, restPages } from "./rest_pager.ts";

type Fields = Readonly<Record<string, unknown>>;

const LIST_HINT =
  "Images can still be imported by name; listing needs nx-repository-view-docker-<repository>-browse and -read.";

/**
 * A connector port, or `host/repository/<repository>` on the main port, where Nexus's REST API is too: it has the dates.
 * HTTP Basic everywhere: Nexus takes it even where it offers tokens.
 */
export const nexus: Flavour = defineFlavour({
  type: "nexus-cr",
  title: "Nexus",
  preferBasic: true,
  sources: (context, registry) => {
    const place = placeOf(context.endpoint);
    return place === undefined
      ? {}
      : { catalog: catalogSource(context, registry, place), tags: tagSource(context, registry, place) };
  },
  loginHint:
    "Check CR_USERNAME and CR_PASSWORD (or both parts of a user token); after several refusals Nexus refuses " +
    "the right password too, for some minutes.",
  listHint: LIST_HINT,
  baseHint: "Write CR_BASE as host:port of the repository's connector, or as host/repository/<repository>.",
});

/** A repository on the main port. */
interface Place {
  /** `https://host[/context]/service/rest/v1`. */
  readonly api: string;
  readonly repository: string;
}

function placeOf({ origin, basePrefix }: Endpoint): Place | undefined {
  const match = /^(.*)\/repository\/([^/]+)$/.exec(basePrefix);
  if (match === null) return undefined;
  return { api: `${origin}${match[1]}/service/rest/v1`, repository: decodeURIComponent(match[2] ?? "") };
}

/** `_catalog`; who may not browse a repository gets an empty one, which is told apart from a repository without images. */
function catalogSource({ endpoint }: FlavourContext, registry: RegistryCalls, place: Place): CatalogSource {
  return async function* (signal) {
    let any = false;
    for await (const page of registry.catalog(signal)) {
      any = true;
      yield page;
    }
    if (any || await mayBrowse(registry, place, signal)) return;
    const message = `Cannot list the repositories of ${endpoint.host}: the account may not browse ${place.repository}`;
    throw new OutpostError("NO_CATALOG_PERMISSION", message, { hint: LIST_HINT });
  };
}

/** Nexus lists the repositories that the account may browse. What it refuses to tell counts as yes. */
async function mayBrowse(registry: RegistryCalls, place: Place, signal: AbortSignal): Promise<boolean> {
  const action = `find out whether ${place.repository} may be browsed`;
  const url = new URL(`${place.api}/repositories`);
  try {
    const { value } = await registry.call({ url, action, subject: "catalog" }, signal);
    return recordsOf(value, undefined, action).some(({ name }) => name === place.repository);
  } catch (error) {
    if (error instanceof OutpostError && OTHER_SOURCE_MAY_WORK.has(error.code)) return true;
    throw error;
  }
}

/**
 * Names by `tags/list`, digests and dates by the search, fifty a request. Nexus's search index lags behind, so it is
 * used only when it knows every tag; otherwise the failure makes the tags be asked for one by one.
 */
function tagSource({ endpoint }: FlavourContext, registry: RegistryCalls, place: Place): TagSource {
  return async function* (name, signal) {
    const action = `list the tags of ${name} at ${endpoint.host}`;
    const tags: string[] = [];
    for await (const page of registry.tags(name, signal)) tags.push(...page);
    if (tags.length === 0) return;
    const known = await searched(registry, place, name, action, signal);
    const all = tags.flatMap((tag) => known.get(tag) ?? []);
    if (all.length < tags.length) {
      throw protocolError(action, `the search index knows ${all.length} of ${tags.length} tags`);
    }
    for (let at = 0; at < all.length; at += LIMITS.catalogPageSize) yield all.slice(at, at + LIMITS.catalogPageSize);
  };
}

/** What the search knows by tag; null for a tag of which members of a group have different images. */
async function searched(
  registry: RegistryCalls,
  place: Place,
  image: string,
  action: string,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, TagInfo | null>> {
  const query = `repository=${encodeURIComponent(place.repository)}&name=${encodeURIComponent(image)}`;
  const components = restPages({
    source: registry,
    call: { url: new URL(`${place.api}/search?${query}`), action, subject: "tags" },
    items: ({ value }) => recordsOf(value, "items", action),
    key: ({ id }) => String(id),
    next: byCursor("continuationToken", "continuationToken"),
  }, signal);
  const known = new Map<string, TagInfo | null>();
  for await (const page of components) {
    for (const info of page.flatMap((component) => component["name"] === image ? tagInfo(component) : [])) {
      const other = known.get(info.tag);
      known.set(info.tag, other === undefined || other?.digest === info.digest ? info : null);
    }
  }
  return known;
}

/** A component is a tag; its asset is the tag's manifest. */
function tagInfo(component: Fields): readonly TagInfo[] {
  const tag = textOf(component["version"]);
  const list: unknown = component["assets"];
  const assets = (Array.isArray(list) ? list : []).filter(isRecord);
  const manifest = assets.find(({ path }) => textOf(path)?.endsWith(`/manifests/${tag}`) === true);
  const digest = digestOf(manifest);
  return tag === undefined || digest === undefined
    ? []
    : [{ tag, digest, lastPushed: timeOf(manifest?.["lastModified"]) }];
}

function digestOf(asset: Fields | undefined): Digest | undefined {
  const checksum = asset?.["checksum"];
  const digest = `sha256:${isRecord(checksum) ? String(checksum["sha256"]) : ""}`;
  return isDigest(digest) ? digest : undefined;
}
