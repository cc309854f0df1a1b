/**
 * The {@link Registry} that every type is built on: any registry of the OCI distribution specification.
 *
 * @module
 */
import { type Digest, isDigest } from "../core/digest.ts";
import { OutpostError } from "../core/errors.ts";
import { isRepository, isTag } from "../core/image_ref.ts";
import { LIMITS } from "../core/limits.ts";
import type { ImageHandle, Registry, ResolvedManifest, ResolveOptions, ValidationReport } from "../core/ports.ts";
import type { Descriptor, ImageIndex, ImageManifest, TagInfo } from "../core/types.ts";
import { mapBounded } from "../lib/map_bounded.ts";
import { choosePlatform } from "../lib/platform.ts";
import { DistributionApi, type DistributionApiOptions } from "./distribution_api.ts";
import { firstListing } from "./first_listing.ts";
import { openImage } from "./image.ts";
import { assertImage, isIndexType, MANIFEST_TYPES } from "./manifest.ts";
import { validateRegistry } from "./validate.ts";

/** A resolved image with the index entries around it, among which its attestations are found. */
export interface ResolvedImage extends ResolvedManifest {
  readonly siblings: readonly Descriptor[];
}

/** A registry with one set of credentials. */
export class OciRegistry implements Registry {
  readonly host: string;
  readonly #api: DistributionApi;
  readonly #options: DistributionApiOptions;
  readonly #onClose: () => void;

  /**
   * @param onClose Called by {@link OciRegistry.close}.
   * @throws {OutpostError} CONFIG_INVALID when the registry's address cannot be used.
   */
  constructor(options: DistributionApiOptions, onClose: () => void = () => {}) {
    this.#options = options;
    this.#api = new DistributionApi(options);
    this.#onClose = onClose;
    this.host = this.#api.endpoint.host;
  }

  close(): void {
    this.#api.close();
    this.#onClose();
  }

  validate(signal: AbortSignal): Promise<ValidationReport> {
    return validateRegistry(this.#api, this.#options.flavour, this.repositories(signal), signal);
  }

  async *repositories(signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    const prefix = this.#api.endpoint.namePrefix;
    const catalog = this.#api.sources.catalog ?? ((abort) => this.#api.catalog(abort));
    for await (const page of catalog(signal)) {
      const names = prefix === "" ? page : page.filter((name) => name.startsWith(`${prefix}/`));
      if (names.length > 0) yield names;
    }
  }

  tags(repository: string, signal: AbortSignal): AsyncGenerator<readonly string[], void, void> {
    return this.#api.tags(this.#name(repository), signal);
  }

  async *tagsWithMetadata(repository: string, signal: AbortSignal): AsyncGenerator<readonly TagInfo[], void, void> {
    const name = this.#name(repository);
    const byHead = (): AsyncGenerator<readonly TagInfo[], void, void> => this.#tagsByHead(name, signal);
    const native = this.#api.sources.tags;
    if (native === undefined) return yield* byHead();
    yield* firstListing([() => native(name, signal), byHead], (error) => {
      this.#options.logger.debug("Tags are listed by the distribution protocol", { host: this.host, code: error.code });
      return error.code !== "RATE_LIMITED" && error.code !== "CANCELLED";
    });
  }

  /** Tags by `tags/list`, and what a HEAD of each tells. */
  async *#tagsByHead(name: string, signal: AbortSignal): AsyncGenerator<readonly TagInfo[], void, void> {
    for await (const page of this.#api.tags(name, signal)) {
      // Answers go out in small groups, so that a long list is not a long silence.
      for (let at = 0; at < page.length; at += LIMITS.catalogPageSize) {
        const group = page.slice(at, at + LIMITS.catalogPageSize);
        yield await mapBounded(group, LIMITS.metadataRequests, (tag) => this.#api.tagInfo(name, tag, signal));
      }
    }
  }

  async resolve(repository: string, reference: string, options: ResolveOptions): Promise<ResolvedManifest> {
    const { siblings: _, ...resolved } = await this.#resolve(repository, reference, options);
    return resolved;
  }

  async image(repository: string, reference: string, options: ResolveOptions): Promise<ImageHandle> {
    const resolved = await this.#resolve(repository, reference, options);
    const name = this.#name(repository);
    const what = `${name}@${resolved.digests.manifest}`;
    assertImage(resolved.manifest, what);
    return await openImage({ api: this.#api, name, what, resolved, logger: this.#options.logger }, options.signal);
  }

  async #resolve(repository: string, reference: string, options: ResolveOptions): Promise<ResolvedImage> {
    const name = this.#name(repository);
    if (!isDigest(reference) && !isTag(reference)) {
      throw new OutpostError(
        "REFERENCE_INVALID",
        `Cannot read ${name}: "${reference.slice(0, 140)}" is no tag and no digest`,
        {
          hint:
            "A tag has letters, digits, dots, dashes and underscores; a digest is sha256: and 64 hexadecimal digits.",
        },
      );
    }
    const { digest, parsed } = await this.#api.manifest(name, reference, options.signal);
    if (parsed.kind === "image") {
      return this.#resolved(repository, { manifest: digest }, parsed.manifest, parsed.mediaType, undefined, []);
    }
    const entries = await this.#flatten(name, parsed.index, options.signal, 1);
    const chosen = choosePlatform(entries.filter(mayBeImage), options.platform, `the image index ${name}@${digest}`);
    const child = await this.#api.manifest(name, chosen.digest, options.signal, chosen.size);
    if (child.parsed.kind !== "image") {
      throw new OutpostError(
        "REGISTRY_PROTOCOL",
        `Cannot read ${name}@${chosen.digest}: its index calls it a manifest, but it is an index`,
      );
    }
    const digests = { manifest: child.digest, index: digest };
    return this.#resolved(repository, digests, child.parsed.manifest, child.parsed.mediaType, chosen, entries);
  }

  #resolved(
    repository: string,
    digests: { readonly manifest: Digest; readonly index?: Digest },
    manifest: ImageManifest,
    mediaType: string,
    chosen: Descriptor | undefined,
    siblings: readonly Descriptor[],
  ): ResolvedImage {
    return { repository, digests, manifest, mediaType, platform: chosen?.platform, siblings };
  }

  /** The entries of an index with those of the indexes inside it, down to LIMITS.indexDepth. */
  async #flatten(
    name: string,
    index: ImageIndex,
    signal: AbortSignal,
    depth: number,
  ): Promise<readonly Descriptor[]> {
    const entries: Descriptor[] = [];
    for (const entry of index.manifests) {
      if (!isIndexType(entry.mediaType)) {
        entries.push(entry);
        continue;
      }
      if (depth >= LIMITS.indexDepth) {
        throw new OutpostError(
          "LIMIT_EXCEEDED",
          `Cannot read ${name}: its indexes are nested deeper than ${LIMITS.indexDepth}`,
        );
      }
      const inner = await this.#api.manifest(name, entry.digest, signal, entry.size);
      if (inner.parsed.kind === "index") {
        entries.push(...await this.#flatten(name, inner.parsed.index, signal, depth + 1));
      }
      if (entries.length > LIMITS.layersPerImage) {
        throw new OutpostError(
          "LIMIT_EXCEEDED",
          `Cannot read ${name}: its indexes have more than ${LIMITS.layersPerImage} entries`,
        );
      }
    }
    return entries;
  }

  /** The repository's name on the wire. */
  #name(repository: string): string {
    const name = this.#options.flavour.wireName(this.#api.endpoint, repository);
    if (isRepository(name)) return name;
    throw new OutpostError("REFERENCE_INVALID", `Cannot use "${repository.slice(0, 255)}" as a repository name`, {
      hint:
        "A repository name has lower-case letters and digits, with dots, dashes, underscores and slashes in between.",
    });
  }
}

function mayBeImage(entry: Descriptor): boolean {
  return entry.mediaType === "" || (MANIFEST_TYPES as readonly string[]).includes(entry.mediaType);
}
