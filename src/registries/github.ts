/**
 * Type `github-cr`: GitHub's container registry, with the packages API of GitHub's REST API for its lists
 * (registries.md §2.9; https://docs.github.com/rest/packages/packages).
 *
 * @module
 */
import { isDigest } from "../core/digest.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { TagInfo } from "../core/types.ts";
import { isRecord } from "../lib/bounded_json.ts";
import { listByOwner, namedOwners, type OwnedListing } from "./by_owner.ts";
import { firstListing } from "./first_listing.ts";
import { defineFlavour, type Flavour, type FlavourContext, type Sources } from "./flavour.ts";
import { type JsonSource, recordsOf, textOf, timeOf } from "./json_source.ts";
import { byLink, restPages } from "./rest_pager.ts";
import { fixedHeader } from "./vendor_api.ts";

type Fields = Readonly<Record<string, unknown>>;

const PAGE_SIZE = LIMITS.catalogPageSize;
const API_HEADERS = { accept: "application/vnd.github+json", "x-github-api-version": "2022-11-28" };
const LIST_HINT = "Images can still be imported by name; to list them, use a classic personal access token with " +
  "read:packages, authorised for the organization's single sign-on, and name the owners in CR_BASE or CR_NAMESPACES " +
  "(finding organizations needs read:org).";

/**
 * `ghcr.io[/<owner>]`, or `containers.<host>` of an enterprise. The registry keeps no catalog; the packages API does, and
 * has digest and date of each version too.
 */
export const github: Flavour = defineFlavour({
  type: "github-cr",
  title: "GitHub Container Registry",
  basePath: "namespace",
  sources: packages,
  loginHint:
    "Use a classic personal access token with read:packages, authorised for single sign-on where that is used; " +
    "fine-grained tokens do not work.",
  listHint: LIST_HINT,
});

/** Where the REST API is: GitHub's, a ghe.com tenant's or a GitHub Enterprise Server's; undefined behind other names. */
function apiUrlOf(registry: string): string | undefined {
  const url = new URL(registry);
  if (url.host === "ghcr.io") return "https://api.github.com";
  const enterprise = /^containers\.(.+)$/.exec(url.host)?.[1];
  if (enterprise === undefined) return undefined;
  return enterprise.endsWith(".ghe.com") ? `https://api.${enterprise}` : `${url.protocol}//${enterprise}/api/v3`;
}

function packages(context: FlavourContext): Sources {
  const { endpoint, credentials } = context;
  const base = apiUrlOf(endpoint.origin);
  const token = textOf(credentials.token) ?? textOf(credentials.password);
  if (base === undefined || token === undefined) {
    const problem = base === undefined
      ? "the address of GitHub's API is not known"
      : "GitHub lists them for accounts only";
    return { catalog: () => unlisted(endpoint.host, problem) };
  }
  const source = context.openApi({
    origin: new URL(base).origin,
    authorization: fixedHeader("authorization", `Bearer ${token}`),
    headers: API_HEADERS,
    // A token of its own says nothing about the one that images are pulled with.
    unauthorizedMeans: textOf(credentials.token) === undefined ? "login" : "rights",
  });
  const api = new PackagesApi(context, source, base);
  return { catalog: (signal) => api.catalog(signal), tags: (name, signal) => api.tags(name, signal) };
}

// deno-lint-ignore require-yield
async function* unlisted(host: string, problem: string): AsyncGenerator<readonly string[], void, void> {
  await Promise.resolve();
  throw new OutpostError("CATALOG_UNSUPPORTED", `Cannot list the repositories of ${host}: ${problem}`, {
    hint: LIST_HINT,
  });
}

class PackagesApi {
  readonly #context: FlavourContext;
  readonly #source: JsonSource;
  readonly #base: string;

  constructor(context: FlavourContext, source: JsonSource, base: string) {
    this.#context = context;
    this.#source = source;
    this.#base = base;
  }

  catalog(signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    const named = namedOwners(this.#context).map((prefix) => this.#owned(prefix.split("/")[0] ?? prefix, signal));
    return listByOwner(this.#context, named.length > 0 ? named : this.#visible(signal));
  }

  /** Tags with the digest of their version and when that was last changed; versions without tags are parts of others. */
  async *tags(name: string, signal: AbortSignal): AsyncGenerator<readonly TagInfo[], void, void> {
    const [owner = "", ...rest] = name.split("/");
    const path = `packages/container/${encodeURIComponent(rest.join("/"))}/versions?state=active&per_page=${PAGE_SIZE}`;
    const action = `list the tags of ${name} at ${this.#context.endpoint.host}`;
    const versions = firstListing(
      this.#kinds(owner).map((kind) => () =>
        restPages({
          source: this.#source,
          call: { url: new URL(`${this.#base}/${kind}/${encodeURIComponent(owner)}/${path}`), action, subject: "tags" },
          items: ({ value }) => recordsOf(value, undefined, action),
          key: ({ id, name: digest }) => String(id ?? digest),
          next: byLink,
        }, signal)
      ),
    );
    for await (const page of versions) yield page.flatMap(tagInfos);
  }

  /** The account's own packages, then those of its organizations. */
  async *#visible(signal: AbortSignal): AsyncGenerator<OwnedListing, void, void> {
    yield { owner: this.#context.credentials.username ?? "", list: () => this.#packages("user", undefined, signal) };
    const { endpoint, logger } = this.#context;
    const action = `list the organizations of the account at ${endpoint.host}`;
    try {
      const pages = restPages({
        source: this.#source,
        call: { url: new URL(`${this.#base}/user/orgs?per_page=${PAGE_SIZE}`), action, subject: "catalog" },
        items: ({ value }) => recordsOf(value, undefined, action).flatMap(({ login }) => textOf(login) ?? []),
        key: (login) => login,
        next: byLink,
      }, signal);
      for await (const page of pages) {
        for (const login of page) {
          yield { owner: login, list: () => this.#packages(`orgs/${encodeURIComponent(login)}`, login, signal) };
        }
      }
    } catch (error) {
      if (!(error instanceof OutpostError) || error.code !== "NO_CATALOG_PERMISSION") throw error;
      logger.warn("Organizations cannot be found: name them in CR_NAMESPACES, or give the token read:org", {
        host: endpoint.host,
      });
    }
  }

  /** GitHub has a list for organizations and one for users, and answers 404 for the wrong one. */
  #owned(owner: string, signal: AbortSignal): OwnedListing {
    const lists = this.#kinds(owner).map((kind) => () =>
      this.#packages(`${kind}/${encodeURIComponent(owner)}`, owner, signal)
    );
    return { owner, list: () => firstListing(lists, isMissing) };
  }

  #kinds(owner: string): readonly ("orgs" | "users")[] {
    const own = this.#context.credentials.username?.toLowerCase() === owner;
    return own ? ["users", "orgs"] : ["orgs", "users"];
  }

  #packages(
    path: string,
    owner: string | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<readonly string[], void, void> {
    const { host } = this.#context.endpoint;
    const action = `list the repositories of ${owner ?? "the account"} at ${host}`;
    const query = `package_type=container&per_page=${PAGE_SIZE}`;
    return restPages({
      source: this.#source,
      call: { url: new URL(`${this.#base}/${path}/packages?${query}`), action, subject: "catalog" },
      items: ({ value }) => recordsOf(value, undefined, action).flatMap((entry) => repositoryName(entry, owner)),
      key: (name) => name,
      next: byLink,
    }, signal);
  }
}

function isMissing({ status }: OutpostError): boolean {
  return status === 404;
}

function repositoryName(entry: Fields, asked: string | undefined): readonly string[] {
  const owner = (isRecord(entry["owner"]) ? textOf(entry["owner"]["login"]) : undefined) ?? asked;
  const name = textOf(entry["name"]);
  const image = (entry["package_type"] ?? "container") === "container";
  return owner === undefined || name === undefined || !image ? [] : [`${owner}/${name}`.toLowerCase()];
}

function tagInfos(version: Fields): readonly TagInfo[] {
  const metadata = isRecord(version["metadata"]) ? version["metadata"]["container"] : undefined;
  const tags: unknown = isRecord(metadata) ? metadata["tags"] : undefined;
  const digest = isDigest(version["name"]) ? version["name"] : null;
  const lastPushed = timeOf(version["updated_at"]);
  return (Array.isArray(tags) ? tags : []).flatMap((tag: unknown) => {
    const text = textOf(tag);
    return text === undefined ? [] : [{ tag: text, digest, lastPushed }];
  });
}
