/**
 * Lists of Google's registries: Artifact Registry's API, `/v2/_catalog` where it is served, and the walk over names
 * (registries.md §2.5).
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { listByOwner, type OwnedListing } from "./by_owner.ts";
import { firstListing, type Listing, OTHER_SOURCE_MAY_WORK, REFUSED } from "./first_listing.ts";
import type { FlavourContext, RegistryCalls, Sources } from "./flavour.ts";
import { type GoogleAccount, googleAccount } from "./google_account.ts";
import { googleTags, walkRepositories } from "./google_tags.ts";
import { type JsonCall, type JsonSource, recordsOf, textOf } from "./json_source.ts";
import { byCursor, restPages } from "./rest_pager.ts";

/** Where Artifact Registry keeps what a host shows. */
export interface GooglePlace {
  /** Location of its repositories, such as `europe-west1` or `us`. */
  readonly location: string;
  /** The one repository behind the host, whose name does not stand in image names; undefined when names have it. */
  readonly repository?: string;
}

const ARTIFACT_REGISTRY = "https://artifactregistry.googleapis.com";
const RESOURCE_MANAGER = "https://cloudresourcemanager.googleapis.com";

/** What to change when a Google registry refuses the login. */
export const GOOGLE_LOGIN_HINT = "Set CR_USERNAME to _json_key and CR_PASSWORD to the whole key file of a service " +
  "account; the key must be active, and this machine's clock right.";

/** What to change when the login has expired. */
export const GOOGLE_EXPIRED_HINT =
  "Access tokens live for an hour; use a service account's key: CR_USERNAME=_json_key " +
  "and CR_PASSWORD with the whole key file.";

/** What to change when repositories cannot be listed. */
export const GOOGLE_LIST_HINT = "Images can still be imported by name; to list them, give the account the role " +
  "Artifact Registry Reader, enable the Artifact Registry API, and name the project in CR_BASE or CR_NAMESPACES.";

/** The most that the API gives at once. */
const PAGE_SIZE = 1000;

/**
 * The sources of a Google registry.
 *
 * @param place Where its repositories are, as told by its host; undefined for a host that is not Google's own.
 */
export function googleSources(
  context: FlavourContext,
  registry: RegistryCalls,
  place: GooglePlace | undefined,
): Sources {
  const { namePrefix } = context.endpoint;
  const account = googleAccount(context);
  const native = place === undefined || account === undefined ? undefined : new Native(context, account, place);
  const roots = namePrefix === "" ? knownProjects(context, account).map(wireProject) : [namePrefix];
  const catalog = (signal: AbortSignal): AsyncIterable<readonly string[]> =>
    told(context, [
      ...(native === undefined ? [] : [() => native.repositories(signal)]),
      () => servedCatalog(context, registry, signal),
      ...(roots.length === 0 ? [] : [() => walkRepositories(context, registry, roots, signal)]),
    ]);
  return { catalog, tags: googleTags(context, registry) };
}

/** The first of the lists that works; when none does, the error that says most. */
async function* told(
  { endpoint }: FlavourContext,
  listings: readonly Listing<string>[],
): AsyncGenerator<readonly string[], void, void> {
  const refusals: OutpostError[] = [];
  try {
    yield* firstListing(listings, (error) => {
      refusals.push(error);
      return mayGoOn(error);
    });
  } catch (error) {
    if (!(error instanceof OutpostError) || !mayGoOn(error)) throw error;
    const all = [...refusals, error];
    const refused = all.find(({ code }) => code === "NO_CATALOG_PERMISSION");
    if (refused !== undefined) throw refused;
    if (!all.some(({ code }) => code.startsWith("REPO_"))) throw error;
    const problem = "the account may not list repositories";
    throw new OutpostError("NO_CATALOG_PERMISSION", `Cannot list the repositories of ${endpoint.host}: ${problem}`, {
      hint: GOOGLE_LIST_HINT,
      cause: error,
    });
  }
}

/** Container Registry's catalog may lead to a page of the documentation. */
function mayGoOn({ code }: OutpostError): boolean {
  return OTHER_SOURCE_MAY_WORK.has(code) || code === "LOGIN_PAGE";
}

/** `_catalog`, whose empty answer says nothing at Google. */
async function* servedCatalog(
  { endpoint }: FlavourContext,
  registry: RegistryCalls,
  signal: AbortSignal,
): AsyncGenerator<readonly string[], void, void> {
  let any = false;
  for await (const page of registry.catalog(signal)) {
    any = true;
    yield page;
  }
  if (any) return;
  const problem = `Cannot list the repositories of ${endpoint.host}: it keeps no such list`;
  throw new OutpostError("CATALOG_UNSUPPORTED", problem, { hint: GOOGLE_LIST_HINT });
}

/** Projects that the configuration names: by CR_BASE, else by CR_NAMESPACES, else by the key. */
function knownProjects(context: FlavourContext, account: GoogleAccount | undefined): readonly string[] {
  const { endpoint, namespaces } = context;
  const [first, second] = endpoint.namePrefix.split("/");
  // Projects of a domain, example.com:name, are written example.com/name in image names.
  if (first?.includes(".") && second !== undefined) return [`${first}:${second}`];
  if (first !== undefined && first !== "") return [first];
  if (namespaces.length > 0) return namespaces;
  return account?.project === undefined ? [] : [account.project];
}

function wireProject(project: string): string {
  return project.replace(":", "/");
}

/** Artifact Registry's own API. */
class Native {
  readonly #context: FlavourContext;
  readonly #account: GoogleAccount;
  readonly #place: GooglePlace;
  readonly #registries: JsonSource;
  readonly #projects: JsonSource;

  constructor(context: FlavourContext, account: GoogleAccount, place: GooglePlace) {
    const { authorization } = account;
    this.#context = context;
    this.#account = account;
    this.#place = place;
    this.#registries = context.openApi({ origin: ARTIFACT_REGISTRY, authorization, unauthorizedMeans: "login" });
    this.#projects = context.openApi({ origin: RESOURCE_MANAGER, authorization, unauthorizedMeans: "login" });
  }

  /** Wire names of all packages of all Docker repositories that the account may see. */
  async *repositories(signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    const projects = await this.#allProjects(signal);
    const listings = projects.map((owner): OwnedListing => ({ owner, list: () => this.#ofProject(owner, signal) }));
    yield* listByOwner(this.#context, listings);
  }

  async *#ofProject(project: string, signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    const { location, repository } = this.#place;
    const parent = `projects/${project}/locations/${location}/repositories`;
    if (repository !== undefined) {
      return yield* this.#packages(`${parent}/${repository}`, wireProject(project), signal);
    }
    const named = this.#context.endpoint.namePrefix.slice(wireProject(project).length + 1).split("/")[0] ?? "";
    const names = named === "" ? await this.#dockerRepositories(parent, signal) : [named];
    const listings = names.map((name): OwnedListing => ({
      owner: `${project}/${name}`,
      list: () => this.#packages(`${parent}/${name}`, `${wireProject(project)}/${name}`, signal),
    }));
    yield* listByOwner(this.#context, listings);
  }

  /** The configured projects, or the key's own and every other one that the account may see. */
  async #allProjects(signal: AbortSignal): Promise<readonly string[]> {
    const { endpoint, namespaces } = this.#context;
    const known = knownProjects(this.#context, this.#account);
    if (endpoint.namePrefix !== "" || namespaces.length > 0) return known;
    const url = new URL(`${RESOURCE_MANAGER}/v1/projects?filter=lifecycleState%3AACTIVE&pageSize=${PAGE_SIZE}`);
    const action = `list the projects of ${endpoint.host}`;
    try {
      const found = await all(this.#projects, { url, action, subject: "catalog" }, "projects", "projectId", signal);
      return [...new Set([...known, ...found])];
    } catch (error) {
      // Most accounts may not look for projects; their own one is enough.
      if (known.length === 0 || !(error instanceof OutpostError) || !REFUSED.has(error.code)) throw error;
      return known;
    }
  }

  /** IDs of the Docker repositories of a project and location. */
  async #dockerRepositories(parent: string, signal: AbortSignal): Promise<readonly string[]> {
    const url = new URL(`${ARTIFACT_REGISTRY}/v1/${parent}?pageSize=${PAGE_SIZE}`);
    const action = `list the repositories of ${this.#context.endpoint.host}`;
    const call: JsonCall = { url, action, subject: "catalog" };
    const names = await all(
      this.#registries,
      call,
      "repositories",
      "name",
      signal,
      ({ format }) => format === undefined || format === "DOCKER",
    );
    return names.map((name) => name.slice(name.lastIndexOf("/") + 1));
  }

  async *#packages(
    repository: string,
    wirePrefix: string,
    signal: AbortSignal,
  ): AsyncGenerator<readonly string[], void, void> {
    const url = new URL(`${ARTIFACT_REGISTRY}/v1/${repository}/packages?pageSize=${PAGE_SIZE}`);
    const action = `list the repositories of ${this.#context.endpoint.host}`;
    const pages = restPages({
      source: this.#registries,
      call: { url, action, subject: "catalog" },
      items: ({ value }) => recordsOf(value, "packages", action).flatMap(({ name }) => imageOf(name) ?? []),
      key: (name) => name,
      next: byCursor("pageToken", "nextPageToken"),
    }, signal);
    for await (const page of pages) yield page.map((image) => `${wirePrefix}/${image}`);
  }
}

/** `…/packages/team%2Fapp` is the image `team/app`. */
function imageOf(name: unknown): string | undefined {
  const last = textOf(name)?.split("/packages/")[1];
  try {
    return last === undefined ? undefined : decodeURIComponent(last);
  } catch {
    return undefined;
  }
}

/** A member of all items of a paged list. */
async function all(
  source: JsonSource,
  call: JsonCall,
  list: string,
  member: string,
  signal: AbortSignal,
  keep: (item: Readonly<Record<string, unknown>>) => boolean = () => true,
): Promise<readonly string[]> {
  const found: string[] = [];
  const pages = restPages({
    source,
    call,
    items: ({ value }) =>
      recordsOf(value, list, call.action).filter(keep).flatMap((item) => textOf(item[member]) ?? []),
    key: (name) => name,
    next: byCursor("pageToken", "nextPageToken"),
  }, signal);
  for await (const page of pages) found.push(...page);
  return found;
}
