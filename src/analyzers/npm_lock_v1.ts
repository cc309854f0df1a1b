/**
 * package-lock.json of npm 5 and 6 (lockfileVersion 1, or none), as buildDepTree of snyk-nodejs-lockfile-parser reads it:
 * packages in packages as they lie in node_modules, each with the names of what it requires.
 *
 * A cycle is cut where it comes back to a package: there the package is a leaf labelled `pruned: cyclic`. So a package of
 * a cycle has one tree for each package at which the cycle is entered.
 *
 * @module
 */
import type { AppGraphJson } from "../lib/graph_builder.ts";
import { type GraphTree, treeToGraph } from "../lib/tree_graph.ts";
import {
  isMapping,
  type LockBudget,
  type LockPair,
  type Manifest,
  type Mapping,
  memberOf,
  parseObject,
  textOf,
  wantedOf,
} from "./node_lock.ts";
import { cyclesOf } from "./node_cycles.ts";

interface Package {
  readonly name: string;
  readonly version: string | undefined;
  readonly scope: "prod" | "dev";
  readonly requires: readonly string[];
}

type Trees = Record<string, GraphTree>;

/** What each member of a tree costs of the work on a lock file: it stays in memory, so there may be fewer than steps. */
const STEPS_PER_TREE = 20;

/** The graph of an application with a package-lock.json of version 1. */
export function readNpmLockV1({ manifest, lock, budget }: LockPair): AppGraphJson {
  const json = parseObject(lock);
  const { name, version } = manifest;
  // Without a version npm is taken to be one that installs peer dependencies.
  const dependencies = new NpmLockV1(json, budget).trees(manifest, json.lockfileVersion !== 1);
  const graph = treeToGraph({ name, ...(version && { version }) }, dependencies);
  return { schemaVersion: "1.3.0", pkgManager: { name: "npm" }, ...graph } as AppGraphJson;
}

class NpmLockV1 {
  readonly #budget: LockBudget;
  /** By the names on the way through node_modules. */
  readonly #packages = new Map<string, Package>();
  /** Keys of what each requires, whether it is there or not. */
  readonly #edges = new Map<string, readonly string[]>();
  /** Number of the cycle that a package is in. */
  readonly #cycles: ReadonlyMap<string, number>;
  readonly #trees = new Map<string, GraphTree>();
  readonly #leaves = new Map<string, GraphTree>();

  constructor(json: Mapping, budget: LockBudget) {
    this.#budget = budget;
    this.#flatten(json.dependencies, "");
    for (const [key, { requires }] of this.#packages) {
      this.#edges.set(key, [...new Set(requires.map((name) => this.#find(key, name)))]);
    }
    this.#cycles = cyclesOf(this.#edges);
  }

  trees({ json }: Manifest, peers: boolean): Trees {
    const trees = emptyTrees();
    if (!isMapping(json.dependencies) || Object.keys(json.dependencies).length === 0) return trees;
    const wanted = [
      ...new Map([...wantedOf(json.dependencies), ...wantedOf(json.optionalDependencies)]),
      ...(peers ? wantedPeers(json) : []),
    ];
    for (const [name, { range }] of wanted) {
      if (this.#packages.has(name)) trees[name] = this.#tree(name, 0);
      else {
        const missing = range.startsWith("file:") ? undefined : { missingLockFileEntry: "true" };
        trees[name] = { name, version: range, labels: { scope: "prod", ...missing }, dependencies: NO_TREES };
      }
    }
    return trees;
  }

  #flatten(listed: unknown, parent: string): void {
    for (const [name, data] of isMapping(listed) ? Object.entries(listed) : []) {
      const key = `${parent}${name}`;
      const requires = memberOf(data, "requires");
      this.#packages.set(key, {
        name,
        version: textOf(memberOf(data, "version")),
        scope: memberOf(data, "dev") ? "dev" : "prod",
        requires: isMapping(requires) ? Object.keys(requires) : [],
      });
      this.#budget.spend(1 + key.length / 64, key.length / 4);
      this.#flatten(memberOf(data, "dependencies"), `${key}|`);
    }
  }

  /** What a package finds under a name: in itself, or in what it lies in. */
  #find(from: string, name: string): string {
    for (let place = from; place !== ""; place = place.slice(0, Math.max(0, place.lastIndexOf("|")))) {
      this.#budget.spend(1);
      const key = `${place}|${name}`;
      if (this.#packages.has(key)) return key;
    }
    return name;
  }

  #tree(key: string, depth: number): GraphTree {
    const known = this.#trees.get(key);
    if (known !== undefined) return known;
    const tree = this.#expand(key, [], depth);
    this.#trees.set(key, tree);
    return tree;
  }

  /** `path` are the packages of the same cycle on the way here. */
  #expand(key: string, path: readonly string[], depth: number): GraphTree {
    const edges = this.#edges.get(key) ?? [];
    this.#budget.spend(STEPS_PER_TREE * (2 + edges.length), depth);
    const { name, version, scope } = this.#packages.get(key) ?? missingPackage(key);
    const dependencies = emptyTrees();
    const cycle = this.#cycles.get(key);
    for (const edge of edges) {
      const child = this.#child(key, edge, cycle, path, scope, depth + 1);
      dependencies[child.name] = child;
    }
    return { name, version, labels: { scope }, dependencies };
  }

  #child(
    key: string,
    edge: string,
    cycle: number | undefined,
    path: readonly string[],
    scope: Package["scope"],
    depth: number,
  ): GraphTree {
    const data = this.#packages.get(edge);
    if (data === undefined) {
      const { name, version } = missingPackage(edge);
      return { name, version, labels: { missingLockFileEntry: "true", scope }, dependencies: NO_TREES };
    }
    if (cycle === undefined || this.#cycles.get(edge) !== cycle) return this.#tree(edge, depth);
    if (!path.includes(edge)) return this.#expand(edge, [...path, key], depth);
    return this.#pruned(edge, data);
  }

  /** Where a cycle comes back to a package. */
  #pruned(key: string, { name, version, scope }: Package): GraphTree {
    const leaf = this.#leaves.get(key) ??
      { name, version, labels: { scope, pruned: "cyclic" }, dependencies: NO_TREES };
    this.#leaves.set(key, leaf);
    return leaf;
  }
}

const NO_TREES: Trees = emptyTrees();

function emptyTrees(): Trees {
  return Object.create(null);
}

/** `name@version` is split, other names have no version that is known. */
function missingPackage(key: string): Package {
  const at = key.indexOf("@", 1);
  const name = at > 0 ? key.slice(0, at) : key;
  return { name, version: at > 0 ? key.slice(at + 1) : "unknown", scope: "prod", requires: [] };
}

/** Peer dependencies that are not optional. */
function wantedPeers({ peerDependencies, peerDependenciesMeta }: Mapping): ReturnType<typeof wantedOf> {
  const wanted = wantedOf(peerDependencies);
  for (const name of wanted.keys()) {
    if (memberOf(memberOf(peerDependenciesMeta, name), "optional")) wanted.delete(name);
  }
  return wanted;
}
