/**
 * Type `gitlab-cr`: GitLab's container registry (registries.md §2.11; https://docs.gitlab.com/api/container_registry and
 * the registry's own API, docs/spec/gitlab/api.md of gitlab-org/container-registry).
 *
 * @module
 */
import { isDigest } from "../core/digest.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { TagInfo } from "../core/types.ts";
import { listByOwner, namedOwners, type OwnedListing } from "./by_owner.ts";
import { firstListing, type Listing } from "./first_listing.ts";
import {
  type CatalogSource,
  defineFlavour,
  type Flavour,
  type FlavourContext,
  type RegistryCalls,
  type TagSource,
} from "./flavour.ts";
import { type JsonSource, recordsOf, textOf, timeOf } from "./json_source.ts";
import { byHeader, byLink, type NextPage, restPages } from "./rest_pager.ts";
import { fixedHeader } from "./vendor_api.ts";

type Fields = Readonly<Record<string, unknown>>;

const PAGE_SIZE = LIMITS.catalogPageSize;
/** Reporter: the least role that sees a private project's registry. */
const REPORTER = 20;
/** User name of a CI job's token, which has a header of its own. */
const JOB_USER = "gitlab-ci-token";

/**
 * `registry.gitlab.com`, `registry.<host>` or `<host>:5050`, with or without a group. GitLab itself, whose API lists what
 * the account may see, is where the registry's token server is.
 */
export const gitlab: Flavour = defineFlavour({
  type: "gitlab-cr",
  title: "GitLab Container Registry",
  basePath: "namespace",
  sources: (context, registry) => {
    const catalog = catalogSource(context, registry);
    const tags = tagSource(context, registry);
    return catalog === undefined ? { tags } : { catalog, tags };
  },
  loginHint: "Use a personal, group or project access token, or a deploy token, with read_registry.",
  listHint: "Images can still be imported by name; to list them, use a token with read_api and the role Reporter " +
    "(as CR_TOKEN beside a deploy token), and name groups in CR_BASE or CR_NAMESPACES.",
});

/** GitLab's API first; `_catalog`, which is for instance administrators, after it. */
function catalogSource(context: FlavourContext, registry: RegistryCalls): CatalogSource | undefined {
  const { username, password, token } = context.credentials;
  const secret = textOf(token) ?? textOf(password);
  if (secret === undefined) return undefined;
  const job = username === JOB_USER && secret === password;
  const authorization = fixedHeader(job ? "job-token" : "private-token", secret);
  return (signal) => {
    const native = async function* (): AsyncGenerator<readonly string[], void, void> {
      const realm = await registry.tokenServer(signal);
      if (realm === undefined) {
        const problem = "the registry names no token server, so GitLab's address is not known";
        throw new OutpostError("CATALOG_UNSUPPORTED", `Cannot list the repositories of GitLab: ${problem}`);
      }
      const source = context.openApi({ origin: realm.origin, authorization, unauthorizedMeans: "rights" });
      // GitLab may be installed below a path, which the token server's URL then has too.
      const base = `${realm.origin}${realm.pathname.replace(/\/jwt\/auth\/?$/, "")}/api/v4`;
      yield* new RegistryListings(context, source, base, signal).all();
    };
    return firstListing([native, () => registry.catalog(signal)]);
  };
}

/** Offset pages name the next one in a header, keyset pages in a link. */
const nextPage: NextPage = (page) =>
  page.headers.has("x-next-page") ? byHeader("page", "x-next-page")(page) : byLink(page);

/** One walk through the repositories that GitLab's API shows. */
class RegistryListings {
  readonly #context: FlavourContext;
  readonly #source: JsonSource;
  readonly #base: string;
  readonly #signal: AbortSignal;

  constructor(context: FlavourContext, source: JsonSource, base: string, signal: AbortSignal) {
    this.#context = context;
    this.#source = source;
    this.#base = base;
    this.#signal = signal;
  }

  all(): AsyncGenerator<readonly string[], void, void> {
    const named = namedOwners(this.#context).map((owner) => ({ owner, list: () => this.#named(owner) }));
    return listByOwner(this.#context, named.length > 0 ? named : this.#visible());
  }

  /** A group, a project, one of a project's images, or a user: GitLab answers 404 for what it is not. */
  #named(path: string): AsyncIterable<readonly string[]> {
    const parts = path.split("/");
    const projects = parts.slice(1).map((_, at) => parts.slice(0, parts.length - at).join("/"));
    return firstListing([
      () => this.#repositories("groups", path),
      ...projects.map((project): Listing<string> => () => this.#repositories("projects", project)),
      ...(parts.length === 1 ? [(): AsyncIterable<readonly string[]> => this.#ofUser(path)] : []),
    ], ({ status }) => status === 404);
  }

  #ofUser(user: string): AsyncGenerator<readonly string[], void, void> {
    return listByOwner(this.#context, this.#projects(`users/${encodeURIComponent(user)}/projects?`, new Set()));
  }

  /** The topmost groups in which the account reports, with all below them, then projects that lie in none of them. */
  async *#visible(): AsyncGenerator<OwnedListing, void, void> {
    const groups = new Set<string>();
    for await (const page of this.#pages(`groups?min_access_level=${REPORTER}&per_page=${PAGE_SIZE}`)) {
      for (const { full_path: path } of page) groups.add(String(path));
    }
    const covered = new Set<string>();
    for (const group of groups) {
      if (ancestors(group).some((ancestor) => groups.has(ancestor))) continue;
      const list = (): AsyncIterable<readonly string[]> => this.#whole(group, covered);
      yield { owner: group, list };
    }
    yield* this.#projects(`projects?membership=true&min_access_level=${REPORTER}&`, covered);
  }

  /** A group's list; the group counts as covered once it has been read to its end. */
  async *#whole(group: string, covered: Set<string>): AsyncGenerator<readonly string[], void, void> {
    yield* this.#repositories("groups", group);
    covered.add(group);
  }

  async *#projects(list: string, covered: ReadonlySet<string>): AsyncGenerator<OwnedListing, void, void> {
    const query = `pagination=keyset&order_by=id&sort=asc&per_page=${PAGE_SIZE}`;
    for await (const page of this.#pages(list + query)) {
      for (const project of page) {
        const path = String(project["path_with_namespace"]);
        if (!hasRegistry(project) || ancestors(path).some((group) => covered.has(group))) continue;
        yield { owner: path, list: () => this.#repositories("projects", path) };
      }
    }
  }

  async *#repositories(kind: "groups" | "projects", path: string): AsyncGenerator<readonly string[], void, void> {
    const list = `${kind}/${encodeURIComponent(path)}/registry/repositories?per_page=${PAGE_SIZE}`;
    for await (const page of this.#pages(list)) {
      yield page.flatMap((entry) => String(entry["status"]).startsWith("delete_") ? [] : textOf(entry["path"]) ?? []);
    }
  }

  #pages(path: string): AsyncGenerator<readonly Fields[], void, void> {
    const action = `list the repositories of ${this.#context.endpoint.host}`;
    return restPages({
      source: this.#source,
      call: { url: new URL(`${this.#base}/${path}`), action, subject: "catalog" },
      items: ({ value }) => recordsOf(value, undefined, action),
      key: ({ id }) => String(id),
      next: nextPage,
    }, this.#signal);
  }
}

function hasRegistry({ container_registry_access_level: level, container_registry_enabled: enabled }: Fields): boolean {
  return level !== "disabled" && enabled !== false;
}

/** The groups above a path: `a/b` and `a` for `a/b/c`. */
function ancestors(path: string): readonly string[] {
  const parts = path.split("/");
  return parts.slice(1).map((_, at) => parts.slice(0, at + 1).join("/"));
}

/**
 * Tags by the registry's own API, a thousand a request, which registries with a metadata database have. GitLab's REST API
 * is not used for tags: without that database its `created_at` is the build time of the image's configuration, not a push.
 */
function tagSource({ endpoint }: FlavourContext, registry: RegistryCalls): TagSource {
  return (name, signal) => {
    const url = new URL(`${endpoint.origin}/gitlab/v1/repositories/${name}/tags/list/?n=${LIMITS.tagsPageSize}`);
    const action = `list the tags of ${name} at ${endpoint.host}`;
    return restPages({
      source: registry,
      call: { url, action, subject: "tags", scopes: [`repository:${name}:pull`] },
      items: ({ value }) => recordsOf(value, undefined, action).flatMap(tagInfo),
      key: ({ tag }) => tag,
      next: byLink,
    }, signal);
  };
}

function tagInfo(entry: Fields): readonly TagInfo[] {
  const tag = textOf(entry["name"]);
  const digest = entry["digest"];
  const times = [entry["published_at"], entry["updated_at"], entry["created_at"]].map(timeOf);
  if (tag === undefined) return [];
  return [{ tag, digest: isDigest(digest) ? digest : null, lastPushed: times.find((time) => time !== null) ?? null }];
}
