/**
 * The tree of paths of a merged image: what is at each path, and how a path is resolved through symbolic links
 * without ever leaving the image's root.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { FileFacts } from "../core/types.ts";
import { pathHash } from "../lib/path_hash.ts";

/** What a path holds. Directories hold nothing: they are there because something is, or was, below them. */
export type Content =
  /** Without bytes when only facts of it were kept. */
  | {
    readonly kind: "file";
    readonly size: number;
    readonly mode: number;
    readonly bytes: Uint8Array | undefined;
    readonly facts: FileFacts | undefined;
  }
  | { readonly kind: "symlink"; readonly target: string }
  /** Known to exist, not available; `message` says why. */
  | { readonly kind: "missing"; readonly code: "LIMIT_EXCEEDED" | "ANALYSIS_FAILED"; readonly message: string };

/** Index of a layer, 0 = bottom, and of an entry in it. */
export interface Place {
  readonly layer: number;
  readonly position: number;
}

const ROOT_PLACE: Place = { layer: 0, position: 0 };

/** A path of the image. The root's path is empty and its parent is itself. */
export class PathNode {
  readonly name: string;
  readonly path: string;
  readonly parent: PathNode;
  readonly hash: number;
  /** Made with the first child: most nodes are leaves. */
  children: Map<string, PathNode> | undefined = undefined;
  content: Content | undefined = undefined;
  /** Where the content comes from. */
  place: Place = ROOT_PLACE;

  constructor(parent: PathNode | undefined, name: string) {
    this.parent = parent ?? this;
    this.name = name;
    this.path = parent === undefined || parent.path === "" ? name : `${parent.path}/${name}`;
    this.hash = pathHash(this.path);
  }
}

/** Where a path leads. */
export interface Resolution {
  /** What is there; undefined when nothing is known there. */
  readonly node: PathNode | undefined;
  /** The link that the path itself is, when its last part is one and links are followed to the end. */
  readonly link: PathNode | undefined;
  /** Where links led to, when nothing is known there. */
  readonly beyond: string | undefined;
  /** Where the path leads, known or not; undefined when it leads in circles or through something that is no directory. */
  readonly path: string | undefined;
}

/** The end of a walk: the last known node, the unknown parts after it, and whether no directory can be made there. */
interface End {
  readonly at: PathNode;
  readonly rest: readonly string[];
  readonly link: PathNode | undefined;
  /** Links were followed, in the middle of the path or at its end. */
  readonly linked: boolean;
  /** The path goes in circles, through too many links, or through something that is not a directory. */
  readonly dead: boolean;
}

/** What one operation may still spend on following links, so that no path costs more than a few of Linux' longest. */
interface Budget {
  steps: number;
  hops: number;
}

/**
 * A tree of path parts. An operation costs the length of its path plus the nodes that it makes or removes; a node is
 * removed at most once, so that applying layers is linear in what they hold.
 */
export class PathTree {
  readonly #root = new PathNode(undefined, "");
  readonly #byHash = new Map<number, PathNode>();
  #characters = 0;

  /** All nodes that hold something, in no useful order. */
  *contents(): Generator<PathNode> {
    for (const node of this.#byHash.values()) if (node.content !== undefined) yield node;
  }

  /**
   * Puts content at a path, replacing what is there and below. Missing directories are made. In the middle of the path
   * a link to a directory is followed, as an extractor follows it; anything else gives way to a directory.
   *
   * @throws {OutpostError} LIMIT_EXCEEDED when the tree or one of its paths grows too large.
   */
  put(path: string, place: Place, content: Content): void {
    const parts = split(path);
    const name = parts.pop();
    if (name === undefined || name === "..") return;
    const parent = this.#makeDirectory(parts);
    const existing = parent.children?.get(name);
    if (existing !== undefined) this.#remove(existing);
    const node = this.#add(parent, name);
    node.content = content;
    node.place = place;
  }

  /** Removes a path and all below it. Links in the middle of the path are followed, a link at its end is removed. */
  remove(path: string): void {
    const { node } = this.resolve(path, { followLast: false });
    if (node === undefined) return;
    if (node === this.#root) this.#removeChildren(node);
    else this.#remove(node);
  }

  /** Removes all below a directory. A link or a file at the path goes too: a directory takes its place. */
  clear(path: string): void {
    const { node } = this.resolve(path, { followLast: false });
    if (node?.content !== undefined) this.#remove(node);
    else if (node !== undefined) this.#removeChildren(node);
  }

  /** Removes the path that has this {@link pathHash}, and all below it. */
  removeHash(hash: number): void {
    const node = this.#byHash.get(hash);
    if (node !== undefined) this.#remove(node);
  }

  /** Removes what is not a directory at the path that has this {@link pathHash}: a directory takes its place. */
  makeDirectory(hash: number): void {
    const node = this.#byHash.get(hash);
    if (node?.content !== undefined) this.#remove(node);
  }

  /**
   * Finds what is at a path. Relative and absolute links are resolved inside the root; `..` of the root is the root.
   * A directory without anything known below it is not in the tree, therefore `unknown/..` means `.`.
   */
  resolve(path: string, options: { readonly followLast: boolean }): Resolution {
    const end = this.#walk(this.#root, split(path), options.followLast, newBudget());
    const unknown = end.rest.length > 0;
    const whole = end.dead ? undefined : unknown ? [...split(end.at.path), ...end.rest].join("/") : end.at.path;
    return {
      node: end.dead || unknown ? undefined : end.at,
      link: end.link,
      beyond: unknown && end.linked ? whole : undefined,
      path: whole,
    };
  }

  #walk(from: PathNode, path: readonly string[], followLast: boolean, budget: Budget): End {
    const parts = path.toReversed();
    const rest: string[] = [];
    let at = from;
    let link: PathNode | undefined;
    let linked = false;
    for (let name = parts.pop(); name !== undefined; name = parts.pop()) {
      if (--budget.steps < 0) return { at, rest, link, linked, dead: true };
      if (name === "..") {
        if (rest.pop() === undefined) at = at.parent;
        continue;
      }
      if (at.content !== undefined) return { at, rest, link, linked, dead: true };
      const child = rest.length > 0 ? undefined : at.children?.get(name);
      if (child === undefined) {
        rest.push(name);
      } else if (child.content?.kind === "symlink" && (parts.length > 0 || followLast)) {
        // The first link met with nothing left to walk is the path itself.
        if (parts.length === 0) link ??= child;
        linked = true;
        if (--budget.hops < 0) return { at, rest, link, linked, dead: true };
        if (child.content.target.startsWith("/")) at = this.#root;
        for (const part of split(child.content.target).toReversed()) parts.push(part);
      } else {
        at = child;
      }
    }
    return { at, rest, link, linked, dead: false };
  }

  #makeDirectory(parts: readonly string[]): PathNode {
    const budget = newBudget();
    let at = this.#root;
    for (const name of parts) {
      const child = at.children?.get(name);
      if (name === "..") at = at.parent;
      else if (child === undefined) at = this.#add(at, name);
      else if (child.content === undefined) at = child;
      else at = this.#directoryBehind(child, budget);
    }
    return at;
  }

  /** The directory that a link leads to, made when it is missing; a directory in the node's place if there can be none. */
  #directoryBehind(node: PathNode, budget: Budget): PathNode {
    const end = node.content?.kind === "symlink" ? this.#walk(node.parent, [node.name], true, budget) : undefined;
    if (end !== undefined && !end.dead && end.at.content === undefined) {
      return end.rest.reduce((directory, part) => this.#add(directory, part), end.at);
    }
    this.#remove(node);
    return this.#add(node.parent, node.name);
  }

  #add(parent: PathNode, name: string): PathNode {
    const node = new PathNode(parent, name);
    const length = node.path.length;
    if (length > LIMITS.pathBytes) throw tooLarge(`a path is longer than ${LIMITS.pathBytes} characters`);
    if (this.#byHash.size >= LIMITS.viewPaths) {
      throw tooLarge(`it has more than ${LIMITS.viewPaths} paths that matter`);
    }
    this.#characters += length;
    if (this.#characters > LIMITS.viewPathChars) {
      throw tooLarge(`its paths that matter have more than ${LIMITS.viewPathChars} characters`);
    }
    parent.children ??= new Map();
    parent.children.set(name, node);
    this.#byHash.set(node.hash, node);
    return node;
  }

  #remove(node: PathNode): void {
    node.parent.children?.delete(node.name);
    const doomed = [node];
    for (let next = doomed.pop(); next !== undefined; next = doomed.pop()) {
      this.#characters -= next.path.length;
      if (this.#byHash.get(next.hash) === next) this.#byHash.delete(next.hash);
      if (next.children !== undefined) { for (const child of next.children.values()) doomed.push(child); }
    }
  }

  #removeChildren(node: PathNode): void {
    for (const child of [...(node.children?.values() ?? [])]) this.#remove(child);
  }
}

function tooLarge(bound: string): OutpostError {
  return new OutpostError("LIMIT_EXCEEDED", `Cannot merge the layers of the image: ${bound}`);
}

function newBudget(): Budget {
  return { steps: LIMITS.pathBytes, hops: LIMITS.linkHops };
}

/** The parts of a path; empty parts and `.` mean nothing. */
function split(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}
