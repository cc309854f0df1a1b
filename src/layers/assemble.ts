/**
 * Applies layers to one another: {@link LayerFacts} of each, bottom first, become the view of the image.
 *
 * The rules are those of the OCI image specification, layer.md "Applying Changesets":
 *
 * - A whiteout hides its path, and all below it, of lower layers; an opaque directory hides all below itself of lower
 *   layers. Neither hides an entry of its own layer, whatever their order in the tar.
 * - Whatever is not a directory replaces a lower path, and all below it; so does a path known only by its hash.
 * - A hard link has the content that its target has at that point of the application.
 *
 * - A directory replaces what is not a directory at its path, and keeps what is below. A path that leads through a
 *   lower layer's link to a directory goes where the link leads, unless its own layer has a directory in the link's place.
 *
 * Paths that are known only by hash (replaced paths and directories) count as written: no link in them is followed.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { FilePattern, ImageView } from "../core/ports.ts";
import type { ExtractedFile, ImageFile, LayerEntry, LayerFacts, Problem } from "../core/types.ts";
import type { PathMatcher } from "./matcher.ts";
import { type Content, type PathNode, PathTree, type Place } from "./path_tree.ts";

type HardLink = Extract<LayerEntry, { readonly kind: "hardlink" }>;

/**
 * Applies layers, bottom first. The cost is linear in the entries, replaced paths and directories of all layers, times the length
 * of their paths. `problems` of the view are those of the merging alone: the layers' own are in their facts.
 *
 * `sought` are the files that the layers were read for once more because links lead to them, and `matcher` knows those
 * that they were read for in the first place: one that is still not there does not exist.
 *
 * @throws {OutpostError} LIMIT_EXCEEDED when the image has more than LIMITS.viewPaths paths that matter.
 */
export function assembleLayers(
  layers: readonly LayerFacts[],
  sought?: FilePattern,
  matcher: PathMatcher = () => 0,
): ImageView {
  const tree = new PathTree();
  layers.forEach((layer, index) => applyLayer(tree, layer, index));
  return new MergedView(tree, sought, matcher);
}

function applyLayer(tree: PathTree, layer: LayerFacts, index: number): void {
  const links = lowerLinkTargets(tree, layer);
  for (const entry of layer.entries) {
    if (entry.kind === "whiteout") tree.remove(entry.path);
    else if (entry.kind === "opaque") tree.clear(entry.path);
  }
  for (const hash of layer.replacedPaths) tree.removeHash(hash);
  for (const hash of layer.directories) tree.makeDirectory(hash);
  for (const [position, entry] of layer.entries.entries()) {
    switch (entry.kind) {
      case "file":
      case "extracted":
        tree.put(entry.path, { layer: index, position }, {
          kind: "file",
          size: entry.size,
          mode: entry.mode,
          bytes: entry.kind === "file" ? entry.content : undefined,
          facts: entry.facts,
        });
        break;
      case "oversize":
        tree.put(entry.path, { layer: index, position }, oversize(entry.size, entry.limit));
        break;
      case "symlink":
        tree.put(entry.path, { layer: index, position }, { kind: "symlink", target: entry.target });
        break;
      case "hardlink":
        putLink(tree, entry, { layer: index, position }, links.get(entry));
        break;
    }
  }
}

function putLink(tree: PathTree, link: HardLink, place: Place, lower: Content | undefined): void {
  const content = contentOf(tree, link) ?? lower;
  if (content === undefined && link.optional === true) tree.remove(link.path);
  else tree.put(link.path, place, content ?? noTarget(link));
}

/**
 * What hard links of a layer lead to before it is applied: an extractor meets a link before a whiteout of its target
 * as often as after it.
 */
function lowerLinkTargets(tree: PathTree, layer: LayerFacts): ReadonlyMap<HardLink, Content> {
  const found = new Map<HardLink, Content>();
  for (const entry of layer.entries) {
    const content = entry.kind === "hardlink" ? contentOf(tree, entry) : undefined;
    if (entry.kind === "hardlink" && content !== undefined) found.set(entry, content);
  }
  return found;
}

/** A hard link is another name of its target, even when that is a symbolic link: link(2) does not follow the last. */
function contentOf(tree: PathTree, link: HardLink): Content | undefined {
  return tree.resolve(link.target, { followLast: false }).node?.content;
}

/** In the extractor's own words, so that whoever gathers problems sees one, not two. */
function oversize(size: number, limit: number): Content {
  const message = `The file has ${size} bytes, more than the ${limit} that are read`;
  return { kind: "missing", code: "LIMIT_EXCEEDED", message };
}

function noTarget(link: HardLink): Content {
  return {
    kind: "missing",
    code: "ANALYSIS_FAILED",
    message: `The file was not read: it is a hard link to ${shown(link.target)}, which does not exist in this or a ` +
      `lower layer or was not kept`,
  };
}

/** A path in a message: bounded, without control characters. */
function shown(path: string): string {
  // deno-lint-ignore no-control-regex
  const clean = path.replaceAll(/[\u0000-\u001f\u007f]/g, "\ufffd");
  return clean.length > 300 ? `${clean.slice(0, 300)}…` : clean;
}

class MergedView implements ImageView {
  readonly problems: Problem[] = [];
  readonly #tree: PathTree;
  /** Sorted by path. */
  readonly #files: readonly ImageFile[];
  /** Files of which extractors made something, newest layer first. */
  readonly #withFacts: PathNode[] = [];
  readonly #byNode = new Map<PathNode, ImageFile>();
  readonly #reported = new Set<PathNode>();
  readonly #sought: ReadonlySet<string>;
  readonly #matcher: PathMatcher;
  readonly #linkedFiles = new Set<string>();
  readonly #linkedDirectories = new Set<string>();

  constructor(tree: PathTree, sought: FilePattern | undefined, matcher: PathMatcher) {
    this.#tree = tree;
    this.#matcher = matcher;
    this.#sought = new Set([...sought?.paths ?? [], ...sought?.directories ?? []]);
    for (const node of tree.contents()) {
      const { content, path, place } = node;
      if (content?.kind === "file") {
        if (content.facts !== undefined) this.#withFacts.push(node);
        if (content.bytes === undefined) continue;
        this.#byNode.set(node, { path, content: content.bytes, mode: content.mode, ...place });
      } else if (content?.kind === "missing") {
        this.problems.push({ code: content.code, subject: path, message: content.message });
      }
    }
    this.#files = [...this.#byNode.values()].sort((a, b) => compare(a.path, b.path));
    this.#withFacts.sort(({ place: a }, { place: b }) => b.layer - a.layer || a.position - b.position);
    this.problems.sort((a, b) => compare(a.subject, b.subject));
  }

  /**
   * The file at a path. Its own `path` is where it really is: another than asked for when links lead to it. A path
   * that is a link to something that cannot be read is reported once in {@link problems}.
   */
  file(path: string): ImageFile | undefined {
    const { node, link, beyond } = this.#tree.resolve(path, { followLast: true });
    if (node !== undefined) return this.#byNode.get(node);
    if (beyond !== undefined && (this.#sought.has(beyond) || this.#matcher(beyond) > 0)) return undefined;
    if (beyond !== undefined) this.#linkedFiles.add(beyond);
    if (link !== undefined) this.#reportLink(link);
    return undefined;
  }

  realPath(path: string): string {
    return this.#tree.resolve(path, { followLast: true }).path ?? path;
  }

  linkedPaths(): FilePattern | undefined {
    if (this.#linkedFiles.size + this.#linkedDirectories.size === 0) return undefined;
    return {
      paths: [...this.#linkedFiles].sort(compare),
      directories: [...this.#linkedDirectories].sort(compare),
      maxBytes: LIMITS.packageDatabaseBytes,
    };
  }

  /** Kept files below a directory, links to the directory followed; `path` of each is where it really is. */
  filesIn(directory: string): readonly ImageFile[] {
    const { node, beyond } = this.#tree.resolve(directory, { followLast: true });
    if (beyond !== undefined && !this.#isSoughtDirectory(beyond)) this.#linkedDirectories.add(`${beyond}/`);
    if (node === undefined || node.content !== undefined) return [];
    if (node.path === "") return this.#files;
    // In code unit order, all paths below a directory stand together; "0" is the code unit after "/".
    return this.#files.slice(this.#indexOf(`${node.path}/`), this.#indexOf(`${node.path}0`));
  }

  files(): Iterable<ImageFile> {
    return this.#files;
  }

  extracted(extractor: string): readonly ExtractedFile[] {
    return this.#withFacts.flatMap(({ path, content, place }) => {
      const data = content?.kind === "file" ? content.facts?.[extractor] : undefined;
      return content?.kind !== "file" || data === undefined ? [] : [{ path, size: content.size, ...place, data }];
    });
  }

  /** Whether everything below a directory was to be kept: asked with a name that no other pattern names. */
  #isSoughtDirectory(path: string): boolean {
    return this.#sought.has(`${path}/`) || this.#matcher(`${path}/\0.\0`) > 0;
  }

  /** Index of the first file whose path is not before `path`. */
  #indexOf(path: string): number {
    let low = 0;
    let high = this.#files.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#files[middle]?.path ?? "") < path) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #reportLink(link: PathNode): void {
    if (this.#reported.has(link) || link.content?.kind !== "symlink") return;
    this.#reported.add(link);
    this.problems.push({
      code: "ANALYSIS_FAILED",
      subject: link.path,
      message: `The file was not read: it is a symbolic link to ${shown(link.content.target)}, which does not exist, ` +
        `leads in circles, or was not kept`,
    });
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
