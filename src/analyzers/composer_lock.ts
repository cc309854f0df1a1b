/**
 * Graphs of what composer.lock pins, as @snyk/composer-lockfile-parser 1.4.1 makes them without development dependencies
 * (scan-semantics §6, "php"). Imported when there is such a lock file.
 *
 * The parser walks the tree of packages, in which a package stands below each that requires it, but only its first 150
 * mentions have dependencies of their own. The walk is the same here; equal subtrees are one object.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { AppGraphJson } from "../lib/graph_builder.ts";
import { type GraphTree, type GraphTrees, treeToGraph } from "../lib/tree_graph.ts";
import type { ComposerFacts } from "./composer_manifest.ts";
import { reduceComposer } from "./composer_manifest.ts";
import { isMapping, LockError, parseObject } from "./node_lock.ts";

/** The parser's own bound (MAX_PACKAGE_REPEATS). */
const MAX_MENTIONS = 150;
/** Requirements on the way to a package; real ones are below 30. */
const MAX_DEPTH = 1_000;
const NONE: GraphTrees = {};
const LABELS = { scope: "prod" };

/**
 * The graph of a project and what its composer.lock pins.
 *
 * @param defaultName Name of a project that does not tell its own.
 * @throws {LockError} When the text is no composer.lock, and LIMIT_EXCEEDED.
 */
export function composerGraph(manifest: ComposerFacts, lock: string, defaultName: string): AppGraphJson {
  const { packages } = parseObject(lock);
  if (!Array.isArray(packages)) throw new LockError("it lists no packages");
  const dependencies = new ComposerTree(packages).dependenciesOf(manifest, 0);
  const root = { name: manifest.name || defaultName, version: versionOf(manifest) || "0.0.0" };
  return {
    schemaVersion: "1.3.0",
    pkgManager: { name: "composer" },
    ...treeToGraph(root, dependencies),
  } as AppGraphJson;
}

class ComposerTree {
  readonly #packages = new Map<string, ComposerFacts>();
  readonly #mentions = new Map<string, number>();
  /** Names on the way from the root. */
  readonly #path = new Set<string | undefined>();
  /** Trees by their content, and the number that stands for each in the content of those above. */
  readonly #trees = new Map<string, GraphTree>();
  readonly #serials = new Map<GraphTree, number>();
  #places = 0;

  constructor(packages: readonly unknown[]) {
    for (const entry of packages) {
      const facts = isMapping(entry) ? reduceComposer(entry) : {};
      if (facts.name !== undefined && !this.#packages.has(facts.name)) this.#packages.set(facts.name, facts);
    }
  }

  dependenciesOf({ name, require }: ComposerFacts, depth: number): GraphTrees {
    if (require === undefined || this.#path.has(name)) return NONE;
    if ((name === undefined ? 0 : this.#mentions.get(name) ?? 0) >= MAX_MENTIONS) return NONE;
    if (depth > MAX_DEPTH) throw new LockError(`its dependencies are more than ${MAX_DEPTH} deep`, "LIMIT_EXCEEDED");
    this.#path.add(name);
    const dependencies = Object.entries(require).map(([needed, range]) => this.#mention(needed, range, depth));
    this.#path.delete(name);
    return Object.fromEntries(dependencies);
  }

  #mention(name: string, range: string, depth: number): [name: string, tree: GraphTree] {
    if (++this.#places > LIMITS.composerTreePlaces || this.#trees.size > LIMITS.composerGraphNodes) {
      throw new LockError("its dependencies lead to one another in too many ways", "LIMIT_EXCEEDED");
    }
    const locked = this.#packages.get(name);
    const version = ((locked === undefined ? range : versionOf(locked)) ?? "").replace(/^v(\d)/, "$1");
    this.#mentions.set(name, (this.#mentions.get(name) ?? 0) + 1);
    const dependencies = locked === undefined ? NONE : this.dependenciesOf(locked, depth + 1);
    return [name, this.#interned({ name, version, dependencies, labels: LABELS })];
  }

  #interned(tree: GraphTree): GraphTree {
    const { name, version, dependencies } = tree;
    const serials = Object.values(dependencies).map((child) => this.#serials.get(child));
    const key = JSON.stringify([name, version, serials]);
    const known = this.#trees.get(key);
    if (known !== undefined) return known;
    this.#serials.set(tree, this.#trees.size);
    this.#trees.set(key, tree);
    return tree;
  }
}

/**
 * Version of a package: the alias of its branch, when it has one; without a version the first alias. Undefined when
 * there is nothing.
 */
function versionOf({ version = "", aliases = {} }: ComposerFacts): string | undefined {
  const branch = version.replace("dev-", "");
  if (Object.hasOwn(aliases, version)) return aliases[version];
  const known = Object.values(aliases);
  if (known.includes(branch)) return branch;
  return version || known.find((alias) => alias !== "");
}
