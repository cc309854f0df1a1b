/**
 * Keeps of a layer's tar members what {@link LayerFacts} remember.
 *
 * @module
 */
import type { LayerEntry, Problem } from "../core/types.ts";
import { hasPath, PathHashes } from "../lib/path_hash.ts";
import type { Fail } from "./fail.ts";
import type { PathMatcher } from "./matcher.ts";
import type { TarHeader, TarSink } from "./tar.ts";
import { cleanPath } from "./tar_path.ts";

/** The bounds that apply here, see core/limits.ts. */
export interface CollectorLimits {
  readonly layerEntries: number;
  readonly keptBytes: number;
  readonly layerLinkBytes: number;
  readonly layerProblems: number;
  readonly linkHops: number;
}

/** Options of {@link FactsCollector}. */
export interface CollectorOptions {
  readonly matcher: PathMatcher;
  /** Name of the layer, for problems. */
  readonly layer: string;
  readonly limits: CollectorLimits;
  /** Called with LIMIT_EXCEEDED. */
  readonly fail: Fail;
  /**
   * Paths that nobody wants, but to which wanted hard links point, with the largest size that one of them may have.
   * Known after a first pass only, see {@link FactsCollector.missingTargets}.
   */
  readonly linkTargets?: ReadonlyMap<string, number>;
}

/** What was collected. */
export interface CollectedFacts {
  readonly entryCount: number;
  readonly entries: readonly LayerEntry[];
  readonly replacedPaths: Float64Array;
  readonly directories: Float64Array;
  readonly problems: readonly Problem[];
}

type FileEntry = Extract<LayerEntry, { kind: "file" }>;

const WHITEOUT = ".wh.";
const WHITEOUT_META = ".wh..wh.";
const OPAQUE = ".wh..wh..opq";
/** What an entry costs in memory besides its strings and content, about. */
const ENTRY_BYTES = 160;
/** What a directory with entries costs. */
const DIRECTORY_BYTES = 256;

/**
 * A {@link TarSink} that applies members in tar order, as an unpacker would: the last occurrence of a path counts, and
 * what stands below a path that is no directory any more is gone.
 */
export class FactsCollector implements TarSink {
  readonly #options: CollectorOptions;
  readonly #entries = new Map<string, LayerEntry>();
  /** Contents of link targets that are not entries themselves. */
  readonly #targets = new Map<string, FileEntry>();
  /** Hard links that nobody wants: a wanted one may point to them. */
  readonly #otherLinks = new Map<string, string>();
  /** Wanted links whose content was not at hand, with their targets as of that moment, see `#chain`. */
  readonly #unresolved = new Map<string, readonly string[]>();
  /** What entries and their directories stand in each directory, so that a replacement finds what is below it. */
  readonly #children = new Map<string, Set<string>>();
  readonly #replaced = new PathHashes();
  readonly #directories = new PathHashes();
  readonly #problems: Problem[] = [];
  #moreProblems = 0;
  #forgottenLinks = 0;
  #entryCount = 0;
  #keptBytes = 0;
  #linkBytes = 0;
  #file: FileEntry | undefined;
  #fileAt = 0;

  constructor(options: CollectorOptions) {
    this.#options = options;
  }

  header(header: TarHeader): boolean {
    const { limits, fail } = this.#options;
    if (++this.#entryCount > limits.layerEntries) {
      throw fail("LIMIT_EXCEEDED", `it has more than ${limits.layerEntries} entries`);
    }
    const path = cleanPath(header.name);
    if (path === "" || header.type === "other" || path.startsWith(WHITEOUT_META)) {
      if (path === OPAQUE) this.#onWhiteout(path, 0);
      return false;
    }
    const base = path.lastIndexOf("/") + 1;
    if (path.startsWith(WHITEOUT, base)) {
      this.#onWhiteout(path, base);
      return false;
    }
    switch (header.type) {
      case "directory":
        this.#onDirectory(path);
        return false;
      case "symlink":
        this.#onSymlink(path, header.linkName);
        return false;
      case "hardlink":
        this.#onHardlink(path, cleanPath(header.linkName));
        return false;
      case "file":
        return this.#onFile(path, header);
      default:
        this.#replace(path);
        this.#replaced.add(path);
        return false;
    }
  }

  data(bytes: Uint8Array): void {
    this.#file?.content.set(bytes, this.#fileAt);
    this.#fileAt += bytes.length;
  }

  end(): void {
    const file = this.#file;
    this.#file = undefined;
    if (file !== undefined) this.#keep(file);
  }

  /**
   * Paths of this layer whose contents its wanted hard links need and that were not kept: a second pass that gets them
   * as `linkTargets` can resolve those links.
   */
  missingTargets(): Map<string, number> {
    const missing = new Map<string, number>();
    if (this.#unresolved.size === 0) return missing;
    const sorted = this.#replaced.sorted();
    for (const [path, chain] of this.#unresolved) {
      const last = chain[chain.length - 1] ?? "";
      if (this.#entries.get(path)?.kind !== "hardlink") continue;
      if (!hasPath(sorted, last) && !this.#entries.has(last)) continue;
      const limit = this.#options.matcher(path);
      for (const target of chain) missing.set(target, Math.max(limit, missing.get(target) ?? 0));
    }
    return missing;
  }

  /** The facts, once the archive is complete. */
  finish(): CollectedFacts {
    if (this.#forgottenLinks > 0) {
      this.#problem(this.#options.layer, `${this.#forgottenLinks} of its symbolic links were not kept`);
    }
    if (this.#moreProblems > 0) {
      const { layer } = this.#options;
      const message = `${this.#moreProblems} more problems were found`;
      this.#problems.push({ code: "LIMIT_EXCEEDED", subject: layer, message });
    }
    return {
      entryCount: this.#entryCount,
      entries: [...this.#entries.values()],
      replacedPaths: this.#replaced.sorted(),
      directories: this.#directories.sorted(),
      problems: this.#problems,
    };
  }

  /** The target, and where it leads when it is a hard link itself. */
  #chain(target: string): string[] {
    const chain = [target];
    let at = target;
    while (chain.length <= this.#options.limits.linkHops) {
      const entry = this.#entries.get(at);
      const next = entry?.kind === "hardlink" ? entry.target : this.#otherLinks.get(at);
      if (next === undefined || chain.includes(next)) break;
      chain.push(next);
      at = next;
    }
    return chain;
  }

  /** Takes away what the layer had at the path, and below it. */
  #replace(path: string): void {
    this.#forget(path);
    const children = this.#children.get(path);
    if (children === undefined) return;
    this.#children.delete(path);
    for (const child of children) this.#replace(child);
  }

  #forget(path: string): void {
    if (this.#entries.delete(path)) this.#replaced.add(path);
    this.#targets.delete(path);
    this.#otherLinks.delete(path);
  }

  #onDirectory(path: string): void {
    this.#directories.add(path);
    this.#forget(path);
  }

  #onFile(path: string, header: TarHeader): boolean {
    const limit = this.#options.matcher(path);
    const targetLimit = this.#options.linkTargets?.get(path) ?? 0;
    this.#replace(path);
    if (limit === 0) this.#replaced.add(path);
    else if (header.size > limit) this.#keepOversize(path, header.size, limit);
    if (header.size > Math.max(limit, targetLimit) || Math.max(limit, targetLimit) === 0) return false;
    this.#charge(header.size + path.length + ENTRY_BYTES);
    const { size, mode } = header;
    this.#file = { kind: "file", path, size, mode, content: new Uint8Array(size) };
    this.#fileAt = 0;
    return true;
  }

  /** Keeps a complete file: as an entry when it is wanted, as a link target when only a link wants it. */
  #keep(file: FileEntry): void {
    if (file.size <= this.#options.matcher(file.path)) this.#set(file.path, file);
    if (this.#options.linkTargets?.has(file.path) === true) this.#setTarget(file.path, file);
  }

  #setTarget(path: string, file: FileEntry): void {
    this.#targets.set(path, file);
    this.#register(path);
  }

  #keepOversize(path: string, size: number, limit: number): void {
    this.#charge(path.length + ENTRY_BYTES);
    this.#set(path, { kind: "oversize", path, size, limit });
    this.#problem(path, `The file has ${size} bytes, more than the ${limit} that are read`);
  }

  #set(path: string, entry: LayerEntry): void {
    this.#entries.delete(path);
    this.#entries.set(path, entry);
    this.#register(path);
  }

  #register(path: string): void {
    let child = path;
    for (let slash = child.lastIndexOf("/"); slash > 0; slash = child.lastIndexOf("/")) {
      const parent = child.slice(0, slash);
      const siblings = this.#children.get(parent);
      if (siblings !== undefined) {
        siblings.add(child);
        return;
      }
      this.#charge(DIRECTORY_BYTES);
      this.#children.set(parent, new Set([child]));
      child = parent;
    }
  }

  #onSymlink(path: string, target: string): void {
    this.#replace(path);
    if (this.#chargeLink(path.length + target.length)) this.#set(path, { kind: "symlink", path, target });
    else {
      this.#forgottenLinks++;
      this.#replaced.add(path);
    }
  }

  /** The content is taken at this moment: a later member at the target's path is another file. */
  #onHardlink(path: string, target: string): void {
    if (path === target) return;
    const limit = this.#options.matcher(path);
    const linked = this.#targets.get(target) ?? this.#entries.get(target);
    const chain = this.#chain(target);
    this.#replace(path);
    if (linked?.kind === "symlink") {
      this.#onSymlink(path, linked.target);
      return;
    }
    if (linked?.kind === "file" && this.#options.linkTargets?.has(path) === true) {
      this.#setTarget(path, { ...linked, path });
    }
    if (limit === 0) {
      this.#replaced.add(path);
      if (!this.#chargeLink(path.length + target.length)) return;
      this.#otherLinks.set(path, target);
      this.#register(path);
      return;
    }
    this.#charge(path.length + target.length + ENTRY_BYTES);
    if (linked !== undefined && "size" in linked && linked.size > limit) this.#keepOversize(path, linked.size, limit);
    else if (linked?.kind === "file") this.#set(path, { ...linked, path });
    else {
      this.#unresolved.set(path, chain);
      this.#set(path, { kind: "hardlink", path, target });
    }
  }

  /** OCI image specification, layer.md "Whiteouts". Other `.wh..wh.` names are AUFS' own and mean nothing. */
  #onWhiteout(path: string, base: number): void {
    const name = path.slice(base + WHITEOUT.length);
    const parent = path.slice(0, Math.max(0, base - 1));
    if (path.startsWith(WHITEOUT_META, base)) {
      if (path.slice(base) !== OPAQUE) return;
      if (this.#chargeLink(parent.length)) this.#entries.set(`${parent}\0opaque`, { kind: "opaque", path: parent });
      else throw this.#options.fail("LIMIT_EXCEEDED", "it has too many opaque directories and links");
      return;
    }
    if (name === "" || name === "." || name === "..") {
      this.#problem(path, "The whiteout names no file and was ignored", "LAYER_CORRUPT");
      return;
    }
    const hidden = path.slice(0, base) + name;
    // A path hash hides the same of the lower layers as a whiteout does, so nothing is lost without the entry.
    if (!this.#chargeLink(hidden.length)) this.#replaced.add(hidden);
    else this.#entries.set(`${hidden}\0whiteout`, { kind: "whiteout", path: hidden });
  }

  /** Memory is charged once and never given back: a replaced file may live on in a hard link to it. */
  #charge(bytes: number): void {
    this.#keptBytes += bytes;
    const { limits, fail } = this.#options;
    if (this.#keptBytes > limits.keptBytes) {
      throw fail("LIMIT_EXCEEDED", `its wanted files are larger than ${limits.keptBytes} bytes together`);
    }
  }

  #chargeLink(bytes: number): boolean {
    if (this.#linkBytes + bytes + ENTRY_BYTES > this.#options.limits.layerLinkBytes) return false;
    this.#linkBytes += bytes + ENTRY_BYTES;
    return true;
  }

  #problem(subject: string, message: string, code: "LIMIT_EXCEEDED" | "LAYER_CORRUPT" = "LIMIT_EXCEEDED"): void {
    if (this.#problems.length < this.#options.limits.layerProblems) this.#problems.push({ code, subject, message });
    else this.#moreProblems++;
  }
}
