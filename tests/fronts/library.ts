/**
 * What a registry holds, written straight into the storage folder of a docker-registry 2.8 and remembered here, so that
 * the native APIs that a front fakes tell the same story as the real `/v2` behind it.
 *
 * The layout is distribution's `registry/storage/paths.go`: links below `repositories/<name>`, bytes below `blobs`. A
 * thousand tags take a tenth of a second, which no upload over HTTP does.
 *
 * @module
 */
import type { Digest } from "../../src/core/digest.ts";
import type { BuiltContent } from "../../src/lib/oci_builder.ts";

/** A tag as native APIs show it. */
export interface LibraryTag {
  readonly tag: string;
  readonly digest: Digest;
  readonly mediaType: string;
  /** Size of the manifest in bytes. */
  readonly size: number;
  /** RFC 3339 UTC; every tag has another one. */
  readonly pushed: string;
}

const FIRST_PUSH = Date.UTC(2024, 0, 1);
const MINUTE_MS = 60_000;

/** Repositories with their tags. Reads of docker-registry see every change at once. */
export class Library {
  /** Root directory for docker-registry's filesystem driver. */
  readonly storage: string;
  readonly #repositories = new Map<string, Map<string, LibraryTag>>();
  readonly #blobs = new Set<string>();
  #pushes = 0;

  constructor(storage: string) {
    this.storage = storage;
  }

  /** Names, sorted. */
  get names(): readonly string[] {
    return [...this.#repositories.keys()].toSorted();
  }

  /** Tags of a repository, sorted by name; undefined when there is no such repository. */
  tags(repository: string): readonly LibraryTag[] | undefined {
    const tags = this.#repositories.get(repository);
    return tags === undefined
      ? undefined
      : [...tags.values()].toSorted((a, b) => a.tag < b.tag ? -1 : a.tag > b.tag ? 1 : 0);
  }

  /** Adds tags to a repository, which is made when it is new: without tags it is one whose tags were all deleted. */
  put(repository: string, tags: Readonly<Record<string, BuiltContent>> = {}): void {
    const known = this.#repositories.get(repository) ?? new Map<string, LibraryTag>();
    this.#repositories.set(repository, known);
    const path = this.#path(repository);
    // docker-registry's catalog looks for `_layers`, its tag list for `_manifests/tags`.
    for (const folder of ["_layers", "_manifests/tags", "_manifests/revisions"]) mkdir(`${path}/${folder}`);
    for (const content of new Set(Object.values(tags))) this.#write(path, content);
    for (const [tag, { descriptor }] of Object.entries(tags)) {
      const { digest, mediaType, size } = descriptor;
      link(`${path}/_manifests/tags/${tag}/current`, digest);
      const pushed = new Date(FIRST_PUSH + this.#pushes++ * MINUTE_MS).toISOString();
      known.set(tag, { tag, digest, mediaType, size, pushed });
    }
  }

  /** Removes every repository. */
  clear(): void {
    this.#repositories.clear();
    const root = `${this.storage}/docker/registry/v2/repositories`;
    mkdir(root);
    for (const entry of Deno.readDirSync(root)) Deno.removeSync(`${root}/${entry.name}`, { recursive: true });
  }

  #path(repository: string): string {
    return `${this.storage}/docker/registry/v2/repositories/${repository}`;
  }

  #write(path: string, content: BuiltContent): void {
    const manifests = new Set(content.manifests.map(({ digest }) => digest));
    for (const [digest, bytes] of content.blobs) {
      link(`${path}/${manifests.has(digest) ? "_manifests/revisions" : "_layers"}/sha256/${digest.slice(7)}`, digest);
      if (this.#blobs.has(digest)) continue;
      this.#blobs.add(digest);
      const folder = `${this.storage}/docker/registry/v2/blobs/sha256/${digest.slice(7, 9)}/${digest.slice(7)}`;
      mkdir(folder);
      Deno.writeFileSync(`${folder}/data`, bytes);
    }
  }
}

function mkdir(path: string): void {
  Deno.mkdirSync(path, { recursive: true });
}

function link(folder: string, digest: Digest): void {
  mkdir(folder);
  Deno.writeTextFileSync(`${folder}/link`, digest);
}
