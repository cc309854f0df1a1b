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
import { type ComposerFacts, reduceComposer } from "./composer_manifest.ts";
import { isMapping, LockError, parseObject } from "./node_lock.ts";

/** The parser's own bound (MAX_PACKAGE_REPEATS). */
const MAX_MENTIONS = 150;
/** Requirements on the way to a package; real ones are below 30. */
const MAX_DEPTH = 1_000;
const NONE: readonly Interned[] = [];
const LABELS = { scope: "prod" };

/**
 * The graph of a project and what its composer.lock pins.
 *
 * @param defaultName Name of a project that does not tell its own.
 * @throws {LockError} When the text is no composer.lock, and LIMIT_EXCEEDED.
 */
export function composerGraph(manifest: ComposerFacts, lock: string, defaultName: string): AppGraphJson {
  if (tooManyValues(lock)) throw new LockError("it has too many values", "LIMIT_EXCEEDED");
  const { packages } = parseObject(lock);
  if (!Array.isArray(packages)) throw new LockError("it lists no packages");
  const dependencies = new ComposerTree(packages).dependenciesOf(manifest);
  const root = { name: manifest.name || defaultName, version: versionOf(manifest) || "0.0.0" };
  return {
    schemaVersion: "1.3.0",
    pkgManager: { name: "composer" },
    ...treeToGraph(root, dependencies),
  } as AppGraphJson;
}

/** Counts at least each member, object and list; commas in texts are few. */
function tooManyValues(text: string): boolean {
  let values = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if ((char === "," || char === "[" || char === "{") && ++values > LIMITS.composerValues) return true;
  }
  return false;
}

/** A package as it is required. */
interface Mention {
  readonly name: string;
  readonly version: string;
  readonly locked: ComposerFacts | undefined;
}

/** A tree, and the number that stands for it in the keys of those above. */
interface Interned {
  readonly serial: number;
  readonly tree: GraphTree;
}

class ComposerTree {
  readonly #packages = new Map<string, ComposerFacts>();
  readonly #requirements = new Map<ComposerFacts, readonly Mention[]>();
  readonly #mentions = new Map<string, number>();
  /** Names on the way from the root. */
  readonly #path = new Set<string | undefined>();
  readonly #trees = new Map<string, Interned>();
  #places = 0;

  constructor(packages: readonly unknown[]) {
    for (const entry of packages) {
      const facts = isMapping(entry) ? reduceComposer(entry) : {};
      if (facts.name !== undefined && !this.#packages.has(facts.name)) this.#packages.set(facts.name, facts);
    }
  }

  /** What stands below a package, or below the root. */
  dependenciesOf(facts: ComposerFacts): GraphTrees {
    return treesOf(this.#below(facts, 0));
  }

  #below(facts: ComposerFacts, depth: number): readonly Interned[] {
    const { name, require } = facts;
    if (require === undefined || this.#path.has(name)) return NONE;
    if ((name === undefined ? 0 : this.#mentions.get(name) ?? 0) >= MAX_MENTIONS) return NONE;
    if (depth > MAX_DEPTH) throw new LockError(`its dependencies are more than ${MAX_DEPTH} deep`, "LIMIT_EXCEEDED");
    this.#path.add(name);
    const below = this.#requirementsOf(facts).map((mention) => this.#mention(mention, depth));
    this.#path.delete(name);
    return below;
  }

  #mention(mention: Mention, depth: number): Interned {
    if (++this.#places > LIMITS.composerTreePlaces || this.#trees.size > LIMITS.composerGraphNodes) {
      throw new LockError("its dependencies lead to one another in too many ways", "LIMIT_EXCEEDED");
    }
    const { name, version, locked } = mention;
    this.#mentions.set(name, (this.#mentions.get(name) ?? 0) + 1);
    const below = locked === undefined ? NONE : this.#below(locked, depth + 1);
    let key = `${name}\n${version}`;
    for (const { serial } of below) key += `\n${serial}`;
    const known = this.#trees.get(key);
    if (known !== undefined) return known;
    const tree = { name, version, dependencies: treesOf(below), labels: LABELS };
    const interned = { serial: this.#trees.size, tree };
    this.#trees.set(key, interned);
    return interned;
  }

  #requirementsOf(facts: ComposerFacts): readonly Mention[] {
    const known = this.#requirements.get(facts);
    if (known !== undefined) return known;
    const requirements = Object.entries(facts.require ?? {}).map(([name, range]) => {
      const locked = this.#packages.get(name);
      const version = ((locked === undefined ? range : versionOf(locked)) ?? "").replace(/^v(\d)/, "$1");
      return { name, version, locked };
    });
    this.#requirements.set(facts, requirements);
    return requirements;
  }
}

function treesOf(interned: readonly Interned[]): GraphTrees {
  return Object.fromEntries(interned.map(({ tree }) => [tree.name, tree]));
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
