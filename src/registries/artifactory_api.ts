/**
 * Artifactory's REST API, as far as lists need it (JFrog, "Artifactory REST APIs" and "Artifactory Query Language").
 *
 * @module
 */
import { type Digest, isDigest } from "../core/digest.ts";
import { OutpostError } from "../core/errors.ts";
import { isTag } from "../core/image_ref.ts";
import { LIMITS } from "../core/limits.ts";
import type { TagInfo } from "../core/types.ts";
import { isRecord } from "../lib/bounded_json.ts";
import { mapBounded } from "../lib/map_bounded.ts";
import { protocolError } from "./errors.ts";
import type { FlavourContext, RegistryCalls } from "./flavour.ts";
import { recordsOf, textOf, timeOf } from "./json_source.ts";
import { byLink, restPages } from "./rest_pager.ts";

/** What {@link Artifactory} needs. */
export interface ArtifactoryOptions {
  readonly context: FlavourContext;
  readonly registry: RegistryCalls;
  /** Path of the application at the registry's origin, `/artifactory`. */
  readonly contextPath: string;
}

/** An image in a repository of Artifactory. */
export interface ArtifactoryImage {
  /** Key of the repository. */
  readonly key: string;
  /** Name of the image in it. */
  readonly path: string;
}

type Fields = Readonly<Record<string, unknown>>;

/** Files that are a tag's manifest; the list is what the tag stands for when both are there. */
const MANIFESTS = ["list.manifest.json", "manifest.json"] as const;
/** Folders of manifests without a tag, which an index refers to. */
const DIGEST_FOLDER = /^sha256__[0-9a-f]{64}$/;

/** Calls with the registry's login. */
export class Artifactory {
  readonly #options: ArtifactoryOptions;

  constructor(options: ArtifactoryOptions) {
    this.#options = options;
  }

  /**
   * Images of Docker repositories as `<repository>/<image>`, repository by repository. One that fails is left out, unless
   * all do.
   *
   * @param keys The repositories; by default all that the account sees.
   * @throws {OutpostError} what the last refusal means; RATE_LIMITED and CANCELLED at once.
   */
  async *images(keys: readonly string[], signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    const { logger } = this.#options.context;
    const all = keys.length > 0 ? keys : await this.#repositories(signal);
    let served = all.length === 0;
    let failure: unknown;
    for (const key of all) {
      try {
        yield* this.#catalog(key, signal);
        served = true;
      } catch (error) {
        const fatal = !(error instanceof OutpostError) || error.code === "RATE_LIMITED" || error.code === "CANCELLED";
        if (fatal) throw error;
        logger.warn("Images of a repository are not listed", { repository: key, code: error.code });
        failure = error;
      }
    }
    if (!served) throw failure;
  }

  /**
   * Tags of an image by one query for a thousand of them.
   *
   * @throws {OutpostError} REPO_NOT_FOUND when the query finds none, since it looks at no rights and at no remote
   * repositories; what the refusal means.
   */
  async *tagsByQuery(image: ArtifactoryImage, signal: AbortSignal): AsyncGenerator<readonly TagInfo[], void, void> {
    const action = this.#tagsAction(image);
    if (image.path === "") throw noTags(action);
    const found = new Map<string, TagInfo & { readonly list: boolean }>();
    for (let offset = 0, page = 0;; offset += LIMITS.tagsPageSize, page++) {
      const results = await this.#query(image, offset, action, signal);
      for (const fields of results) collect(found, image, fields);
      if (results.length < LIMITS.tagsPageSize) break;
      if (page >= LIMITS.pages) throw protocolError(action, "its pages do not end");
    }
    if (found.size === 0) throw noTags(action);
    yield [...found.values()].map(({ tag, digest, lastPushed }) => ({ tag, digest, lastPushed }));
  }

  /** The tags that `/v2` lists, each with what is kept about its manifest. */
  async *tagsByStorage(
    image: ArtifactoryImage,
    tags: AsyncIterable<readonly string[]>,
    atOnce: number,
    signal: AbortSignal,
  ): AsyncGenerator<readonly TagInfo[], void, void> {
    if (image.path === "") throw noTags(this.#tagsAction(image));
    let begun = false;
    for await (const page of tags) {
      for (let at = 0; at < page.length; at += LIMITS.catalogPageSize) {
        const group = page.slice(at, at + LIMITS.catalogPageSize);
        yield await mapBounded(group, atOnce, (tag) => this.#stored(image, tag, signal, begun));
        begun = true;
      }
    }
  }

  async #repositories(signal: AbortSignal): Promise<readonly string[]> {
    const { host } = this.#options.context.endpoint;
    const action = `list the repositories of ${host}`;
    const url = this.#url("/api/repositories?packageType=docker");
    const { value } = await this.#options.registry.call({ url, action, subject: "catalog" }, signal);
    return recordsOf(value, undefined, action).flatMap(({ key }) => textOf(key) ?? []);
  }

  #catalog(key: string, signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    const action = `list the images of ${key} at ${this.#options.context.endpoint.host}`;
    const url = this.#url(`/api/docker/${encodeURIComponent(key)}/v2/_catalog?n=${LIMITS.catalogPageSize}`);
    return restPages({
      source: this.#options.registry,
      call: { url, action, subject: "catalog" },
      items: ({ value }) => namesOf(value).map((name) => `${key}/${name}`),
      key: (name) => name,
      // Its path lacks the repository: only the query counts.
      next: byLink,
    }, signal);
  }

  async #query(
    { key, path }: ArtifactoryImage,
    offset: number,
    action: string,
    signal: AbortSignal,
  ): Promise<readonly Fields[]> {
    const criteria = { repo: key, path: { $match: `${path}/*` }, $or: MANIFESTS.map((name) => ({ name })) };
    // Whoever is no administrator has to ask for the first three fields.
    const text = `items.find(${JSON.stringify(criteria)}).include("repo","path","name","modified","sha256")` +
      `.sort({"$asc":["path","name"]}).offset(${offset}).limit(${LIMITS.tagsPageSize})`;
    const call = { url: this.#url("/api/search/aql"), action, subject: "tags", content: { type: "text/plain", text } };
    const { value } = await this.#options.registry.call({ ...call, subject: "tags" }, signal);
    return recordsOf(value, "results", action);
  }

  /** @param mayBeGone Whether a tag that is not kept has been deleted meanwhile, rather than never been kept here. */
  async #stored(
    { key, path }: ArtifactoryImage,
    tag: string,
    signal: AbortSignal,
    mayBeGone: boolean,
  ): Promise<TagInfo> {
    const [list, manifest] = MANIFESTS.map((file) => this.#url(`/api/storage/${key}/${path}/${tag}/${file}`));
    const action = `read what is kept of ${key}/${path}:${tag}`;
    const read = async (url: URL | undefined): Promise<unknown> => {
      if (url === undefined) return undefined;
      return (await this.#options.registry.call({ url, action, subject: "manifest" }, signal)).value;
    };
    const isGone = (error: unknown): boolean => error instanceof OutpostError && error.code === "TAG_NOT_FOUND";
    const value = await read(manifest).catch(async (error: unknown) => {
      if (isGone(error)) return await read(list);
      throw error;
    }).catch((error: unknown) => {
      if (isGone(error) && mayBeGone) return undefined;
      throw error;
    });
    const fields = isRecord(value) ? value : {};
    const checksums = isRecord(fields["checksums"]) ? fields["checksums"] : {};
    return { tag, digest: digestOf(checksums["sha256"]), lastPushed: timeOf(fields["lastModified"]) };
  }

  #tagsAction({ path }: ArtifactoryImage): string {
    return `list the tags of ${path} at ${this.#options.context.endpoint.host}`;
  }

  #url(path: string): URL {
    const { context, contextPath } = this.#options;
    return new URL(`${context.endpoint.origin}${contextPath}${path}`);
  }
}

/** A `_catalog` page; anything else has no names. */
function namesOf(value: unknown): readonly string[] {
  const names = isRecord(value) ? value["repositories"] : undefined;
  return Array.isArray(names) ? names.flatMap((name) => textOf(name) ?? []) : [];
}

function collect(
  found: Map<string, TagInfo & { readonly list: boolean }>,
  { path }: ArtifactoryImage,
  fields: Fields,
): void {
  const folder = textOf(fields["path"]) ?? "";
  const tag = folder.startsWith(`${path}/`) ? folder.slice(path.length + 1) : "";
  // Deeper folders belong to images whose names begin with this one's.
  if (!isTag(tag) || DIGEST_FOLDER.test(tag)) return;
  const list = fields["name"] === MANIFESTS[0];
  if (!list && found.get(tag)?.list === true) return;
  found.set(tag, { tag, list, digest: digestOf(fields["sha256"]), lastPushed: timeOf(fields["modified"]) });
}

function digestOf(sha256: unknown): Digest | null {
  const digest = `sha256:${String(sha256)}`;
  return isDigest(digest) ? digest : null;
}

function noTags(action: string): OutpostError {
  return new OutpostError("REPO_NOT_FOUND", `Cannot ${action}: Artifactory keeps none of them itself`);
}
