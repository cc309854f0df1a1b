/**
 * Keeps of a layer's tar members what {@link LayerFacts} remember.
 *
 * @module
 */
import type { ExtractorContext, SyncInflaterFactory } from "../core/ports.ts";
import type { LayerEntry, Problem } from "../core/types.ts";
import { hasPath, PathHashes } from "../lib/path_hash.ts";
import { ExtractorRun } from "./extractor_run.ts";
import { ENTRY_BYTES, FactsMemory, type FactsMemoryOptions, type MemoryLimits } from "./facts_memory.ts";
import type { WantMatcher } from "./matcher.ts";
import type { TarHeader, TarSink } from "./tar.ts";
import { type KeptLines, LineFilter } from "./kept_lines.ts";
import { cleanPath } from "./tar_path.ts";
import { entryOf, fileOf, freeContent, NOTHING, type ReadFile, union, type Want } from "./want.ts";

/** The bounds that apply here, see core/limits.ts. */
export interface CollectorLimits extends MemoryLimits {
  readonly layerProblems: number;
  readonly linkHops: number;
  readonly wholeTextBytes: number;
  readonly layerUnpackedBytes: number;
}

/** Options of {@link FactsCollector}. */
export interface CollectorOptions extends FactsMemoryOptions {
  readonly wants: WantMatcher;
  /** What extractors unpack with. Without it there are none: files are only kept whole. */
  readonly fileInflater?: SyncInflaterFactory | undefined;
  /** Which lines are kept of large texts. @default all */
  readonly lines?: KeptLines | undefined;
  /** Name of the layer, for problems. */
  readonly layer: string;
  readonly limits: CollectorLimits;
  /**
   * Paths to which wanted hard links point, with what the links want beyond what is wanted of the path itself. Known
   * after a first pass only, see {@link FactsCollector.missingTargets}.
   */
  readonly linkTargets?: ReadonlyMap<string, Want>;
}

/** What was collected. */
export interface CollectedFacts {
  readonly entryCount: number;
  readonly entries: readonly LayerEntry[];
  readonly replacedPaths: Float64Array;
  readonly directories: Float64Array;
  readonly problems: readonly Problem[];
}

const WHITEOUT = ".wh.";
const WHITEOUT_META = ".wh..wh.";
const OPAQUE = ".wh..wh..opq";
/** Where a hard link leads, as of the moment at which it was made: what stands there later is another file. */
interface Link {
  readonly target: string;
  /** When the target was a hard link itself. */
  readonly next: Link | undefined;
}

/** What a directory with entries costs. */
const DIRECTORY_BYTES = 256;

/**
 * A {@link TarSink} that applies members in tar order, as an unpacker would: the last occurrence of a path counts, and
 * what stands below a path that is no directory any more is gone.
 */
export class FactsCollector implements TarSink {
  readonly #options: CollectorOptions;
  readonly #memory: FactsMemory;
  readonly #entries = new Map<string, LayerEntry>();
  /** Contents of link targets that are not entries themselves. */
  readonly #targets = new Map<string, ReadFile>();
  /** Hard links that nobody wants: a wanted one may point to them. */
  readonly #otherLinks = new Map<string, Link>();
  /** Wanted links whose content was not at hand. */
  readonly #unresolved = new Map<string, Link>();
  /** What entries and their directories stand in each directory, so that a replacement finds what is below it. */
  readonly #children = new Map<string, Set<string>>();
  readonly #replaced = new PathHashes();
  readonly #directories = new PathHashes();
  readonly #problems: Problem[] = [];
  #moreProblems = 0;
  #forgottenLinks = 0;
  #file: ReadFile | undefined;
  #fileAt = 0;
  /** What is kept of the file, when that is some of its lines. */
  #lines: LineFilter | undefined;
  #run: ExtractorRun | undefined;
  readonly #context: ExtractorContext | undefined;
  #unpackedBytes = 0;

  constructor(options: CollectorOptions) {
    this.#options = options;
    this.#memory = new FactsMemory(options);
    const { fileInflater, limits } = options;
    this.#context = fileInflater && {
      inflater: fileInflater,
      spend: (bytes) => (this.#unpackedBytes += bytes) <= limits.layerUnpackedBytes,
    };
  }

  header(header: TarHeader): boolean {
    this.#memory.countEntry();
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
    this.#file?.content?.set(bytes, this.#fileAt);
    this.#lines?.push(bytes);
    this.#fileAt += bytes.length;
    this.#run?.data(bytes);
  }

  end(): void {
    const file = this.#file;
    const facts = this.#run?.end();
    const lines = this.#lines?.finish();
    this.#file = undefined;
    this.#lines = undefined;
    this.#run = undefined;
    if (facts !== undefined) this.#memory.charge(2 * JSON.stringify(facts).length + ENTRY_BYTES);
    if (file === undefined) return;
    this.#keep({ ...file, content: lines ?? file.content, facts });
  }

  /** Releases what reading holds; may be called twice. */
  close(): void {
    this.#run?.close();
    this.#run = undefined;
  }

  /**
   * Frees what was kept when nobody will get it: a reading that gives way to others must not leave its memory to the
   * garbage collector.
   */
  discard(): void {
    for (const file of [...this.#entries.values(), ...this.#targets.values(), this.#file]) freeContent(file);
    this.#file = undefined;
    this.#entries.clear();
    this.#targets.clear();
  }

  /**
   * Paths of this layer whose contents its wanted hard links need and that were not kept: a second pass that gets them
   * as `linkTargets` can resolve those links.
   */
  missingTargets(): Map<string, Want> {
    const missing = new Map<string, Want>();
    if (this.#unresolved.size === 0) return missing;
    const sorted = this.#replaced.sorted();
    for (const [path, link] of this.#unresolved) {
      const chain = this.#chain(link);
      const last = chain[chain.length - 1] ?? "";
      if (this.#entries.get(path)?.kind !== "hardlink") continue;
      if (!hasPath(sorted, last) && !this.#entries.has(last)) continue;
      const want = this.#want(path);
      if (want.limit === 0 && this.#extractorsSee(last, want)) continue;
      for (const target of chain) missing.set(target, union(want, missing.get(target) ?? NOTHING));
    }
    return missing;
  }

  /** The facts, once the archive is complete. */
  finish(): CollectedFacts {
    this.#dropEmptyLinks();
    if (this.#forgottenLinks > 0) {
      this.#problem(this.#options.layer, `${this.#forgottenLinks} of its symbolic links were not kept`);
    }
    if (this.#moreProblems > 0) {
      const { layer } = this.#options;
      const message = `${this.#moreProblems} more problems were found`;
      this.#problems.push({ code: "LIMIT_EXCEEDED", subject: layer, message });
    }
    return {
      entryCount: this.#memory.entries,
      entries: [...this.#entries.values()],
      replacedPaths: this.#replaced.take(),
      directories: this.#directories.take(),
      problems: this.#problems,
    };
  }

  #link(target: string): Link {
    const wanted = this.#entries.get(target)?.kind === "hardlink" ? this.#unresolved.get(target) : undefined;
    return { target, next: wanted ?? this.#otherLinks.get(target) };
  }

  /** The targets of a link, one behind the other. */
  #chain(link: Link): readonly string[] {
    const chain: string[] = [];
    for (
      let at: Link | undefined = link;
      at !== undefined && chain.length <= this.#options.limits.linkHops;
      at = at.next
    ) {
      chain.push(at.target);
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
    const { size, mode } = header;
    const own = this.#want(path);
    const whole = union(own, this.#options.linkTargets?.get(path) ?? NOTHING);
    const content = whole.limit > 0 && size <= whole.limit;
    const extractors = size > 0 ? whole.extractors : whole.extractors.filter(({ emptyFiles }) => emptyFiles === true);
    const extracted = extractors.length > 0;
    this.#replace(path);
    if (own.limit > 0 && size > own.limit) this.#keepOversize(path, size, own.limit);
    else if (!content && !extracted) this.#replaced.add(path);
    if (!content && !extracted) return false;
    const { lines, limits } = this.#options;
    const beginnings = content && size > limits.wholeTextBytes ? lines?.get(path) : undefined;
    const held = content && beginnings === undefined;
    if (content) this.#memory.charge((held ? size : 0) + path.length + ENTRY_BYTES);
    this.#lines = beginnings && new LineFilter(beginnings, this.#memory.linesOf(path));
    this.#file = { path, size, mode, content: held ? new Uint8Array(size) : undefined };
    this.#fileAt = 0;
    if (extracted && this.#context !== undefined) this.#run = new ExtractorRun(extractors, size, this.#context);
    return true;
  }

  /** Keeps a complete file: as an entry what is wanted of it, and all of it as a link target when a link wants more. */
  #keep(file: ReadFile): void {
    const { path } = file;
    const entry = entryOf(file, path, this.#want(path));
    if (entry !== undefined) this.#set(path, entry);
    else if (!this.#entries.has(path)) this.#replaced.add(path);
    if (this.#options.linkTargets?.has(path) === true) this.#setTarget(path, file);
  }

  #want(path: string): Want {
    return this.#options.wants(path);
  }

  /** Whether all extractors that want a link want its target too. */
  #extractorsSee(target: string, { extractors }: Want): boolean {
    const own = union(this.#want(target), this.#options.linkTargets?.get(target) ?? NOTHING);
    return extractors.every((extractor) => own.extractors.includes(extractor));
  }

  /** Links to files of this layer in which extractors found nothing: there is nothing to know of them either. */
  #dropEmptyLinks(): void {
    const sorted = this.#unresolved.size === 0 ? undefined : this.#replaced.sorted();
    for (const [path, link] of this.#unresolved) {
      const chain = this.#chain(link);
      const entry = this.#entries.get(path);
      const inLayer = sorted !== undefined && hasPath(sorted, chain[chain.length - 1] ?? "");
      if (inLayer && entry?.kind === "hardlink" && entry.optional === true) this.#forget(path);
    }
  }

  #setTarget(path: string, file: ReadFile): void {
    this.#targets.set(path, file);
    this.#register(path);
  }

  #keepOversize(path: string, size: number, limit: number): void {
    this.#memory.charge(path.length + ENTRY_BYTES);
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
      this.#memory.charge(DIRECTORY_BYTES);
      this.#children.set(parent, new Set([child]));
      child = parent;
    }
  }

  #onSymlink(path: string, target: string): void {
    this.#replace(path);
    if (this.#memory.chargeLink(path.length + target.length)) this.#set(path, { kind: "symlink", path, target });
    else {
      this.#forgottenLinks++;
      this.#replaced.add(path);
    }
  }

  /** The content is taken at this moment: a later member at the target's path is another file. */
  #onHardlink(path: string, target: string): void {
    if (path === target) return;
    const want = this.#want(path);
    const entry = this.#entries.get(target);
    const linked = this.#targets.get(target) ?? fileOf(entry);
    const link = this.#link(target);
    this.#replace(path);
    if (entry?.kind === "symlink") {
      this.#onSymlink(path, entry.target);
      return;
    }
    if (linked !== undefined && this.#options.linkTargets?.has(path) === true) this.#setTarget(path, linked);
    if (want.limit === 0 && want.extractors.length === 0) {
      this.#replaced.add(path);
      if (!this.#memory.chargeLink(path.length + target.length)) return;
      this.#otherLinks.set(path, link);
      this.#register(path);
      return;
    }
    this.#memory.charge(path.length + target.length + ENTRY_BYTES);
    const seen = this.#extractorsSee(target, want);
    const whole = seen && (want.limit === 0 || linked?.content !== undefined);
    const size = linked?.size ?? (entry?.kind === "oversize" ? entry.size : 0);
    if (want.limit > 0 && size > want.limit) this.#keepOversize(path, size, want.limit);
    else if (linked !== undefined && whole) this.#setOrReplace(path, entryOf(linked, path, want));
    else {
      this.#unresolved.set(path, link);
      const optional = seen && want.limit === 0;
      this.#set(path, { kind: "hardlink", path, target, ...(optional && { optional }) });
    }
  }

  #setOrReplace(path: string, entry: LayerEntry | undefined): void {
    if (entry === undefined) this.#replaced.add(path);
    else this.#set(path, entry);
  }

  /** OCI image specification, layer.md "Whiteouts". Other `.wh..wh.` names are AUFS' own and mean nothing. */
  #onWhiteout(path: string, base: number): void {
    const name = path.slice(base + WHITEOUT.length);
    const parent = path.slice(0, Math.max(0, base - 1));
    if (path.startsWith(WHITEOUT_META, base)) {
      if (path.slice(base) !== OPAQUE) return;
      if (this.#memory.chargeLink(parent.length)) {
        this.#entries.set(`${parent}\0opaque`, { kind: "opaque", path: parent });
      } else throw this.#options.fail("LIMIT_EXCEEDED", "it has too many opaque directories and links");
      return;
    }
    if (name === "" || name === "." || name === "..") {
      this.#problem(path, "The whiteout names no file and was ignored", "LAYER_CORRUPT");
      return;
    }
    const hidden = path.slice(0, base) + name;
    // A path hash hides the same of the lower layers as a whiteout does, so nothing is lost without the entry.
    if (!this.#memory.chargeLink(hidden.length)) this.#replaced.add(hidden);
    else this.#entries.set(`${hidden}\0whiteout`, { kind: "whiteout", path: hidden });
  }

  #problem(subject: string, message: string, code: "LIMIT_EXCEEDED" | "LAYER_CORRUPT" = "LIMIT_EXCEEDED"): void {
    if (this.#problems.length < this.#options.limits.layerProblems) this.#problems.push({ code, subject, message });
    else this.#moreProblems++;
  }
}
