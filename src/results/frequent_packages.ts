/**
 * Which packages are dependencies so often that Snyk's graph lifts them to its root.
 *
 * The plugin counts, for every package, the simple dependency paths that end at it, over all packages as starting
 * points, by walking all of them: exponential work on a dense package database. Only "more than 100" is observable,
 * so this module does the same walk but turns back where no package that still needs counting can be reached any more.
 * Every step down then ends in a useful count, of which there are at most 101 for each package:
 * - in the acyclic parts of a database the work is at most 101 looks at each dependency;
 * - inside a cycle the path itself may bar the way, so each step searches the rest of its cycle for a way on. That is
 *   polynomial, but in hostile input not small; LIMITS.dependencyPathSteps ends it.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { PackageIndex } from "./package_index.ts";
import { components } from "./strong_components.ts";

/** Packages with more paths than this are lifted (snyk-docker-plugin, DEP_FREQ_THRESHOLD). */
export const FREQUENT_PATHS = 100;

/** Outcome of {@link frequentPackages}. */
export interface FrequentPackages {
  /** Positions of the lifted packages: of each name, the entry that stands for it. */
  readonly positions: ReadonlySet<number>;
  /** False when the bound on steps ended the count: some packages with more than 100 paths may be missing. */
  readonly complete: boolean;
}

/** Finds the packages with more than {@link FREQUENT_PATHS} simple dependency paths that end at them. */
export function frequentPackages(
  index: PackageIndex,
  maxSteps: number = LIMITS.dependencyPathSteps,
): FrequentPackages {
  const walk = new PathCount(index, maxSteps);
  for (const start of index.standsFor) {
    if (!walk.from(start)) return { positions: walk.frequent, complete: false };
  }
  return { positions: walk.frequent, complete: true };
}

class PathCount {
  readonly frequent = new Set<number>();
  readonly #index: PackageIndex;
  readonly #counts: Int32Array;
  /** By name (standing position): 1 while an entry of that name is on the path. */
  readonly #onPath: Uint8Array;
  readonly #component: Int32Array;
  readonly #sizes: Int32Array;
  /** By component: names in it that still need counting, plus edges to other components that have such names below. */
  readonly #open: Int32Array;
  readonly #exits: Int32Array;
  readonly #parents: number[][];
  readonly #seen: Int32Array;
  #search = 0;
  #steps: number;

  constructor(index: PackageIndex, maxSteps: number) {
    const n = index.packages.length;
    this.#index = index;
    this.#steps = maxSteps;
    this.#counts = new Int32Array(n);
    this.#onPath = new Uint8Array(n);
    this.#seen = new Int32Array(n);
    // Entries of one name bar each other from a path, so they must share a component: link them.
    const linked = index.dependencies.map((targets, from) => [...targets, index.standsFor[from] ?? from]);
    index.standsFor.forEach((to, from) => to !== from && linked[to]?.push(from));
    const { component, count } = components(linked);
    this.#component = component;
    this.#sizes = new Int32Array(count);
    this.#open = new Int32Array(count);
    this.#exits = new Int32Array(count);
    this.#parents = Array.from({ length: count }, () => []);
    for (let from = 0; from < n; from++) {
      const c = component[from] ?? 0;
      this.#sizes[c] = (this.#sizes[c] ?? 0) + 1;
      if (index.standsFor[from] === from) this.#open[c] = (this.#open[c] ?? 0) + 1;
      for (const to of index.dependencies[from] ?? []) {
        const target = component[to] ?? 0;
        if (target === c) continue;
        this.#exits[c] = (this.#exits[c] ?? 0) + 1;
        this.#parents[target]?.push(c);
      }
    }
  }

  /** Walks the paths from one start; false when the steps ran out. */
  from(start: number): boolean {
    const path: { readonly at: number; next: number }[] = [];
    const enter = (at: number): void => {
      this.#count(at);
      if (!this.#leadsOn(at)) return;
      this.#onPath[this.#name(at)] = 1;
      path.push({ at, next: 0 });
    };
    enter(start);
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      if (--this.#steps < 0) return false;
      const to = this.#index.dependencies[top.at]?.[top.next++];
      if (to === undefined) {
        path.pop();
        this.#onPath[this.#name(top.at)] = 0;
      } else if (this.#onPath[this.#name(to)] === 0) enter(to);
    }
    return true;
  }

  #name(at: number): number {
    return this.#index.standsFor[at] ?? at;
  }

  #count(at: number): void {
    const name = this.#name(at);
    const count = (this.#counts[name] ?? 0) + 1;
    if (count > FREQUENT_PATHS + 1) return;
    this.#counts[name] = count;
    if (count <= FREQUENT_PATHS) return;
    this.frequent.add(name);
    this.#settle(this.#component[at] ?? 0);
  }

  /** One name less to count in a component; a component that is closed thereby is no exit for its parents any more. */
  #settle(first: number): void {
    this.#open[first] = (this.#open[first] ?? 0) - 1;
    const closed = this.#isOpen(first) ? [] : [first];
    for (let c = closed.pop(); c !== undefined; c = closed.pop()) {
      for (const parent of this.#parents[c] ?? []) {
        this.#exits[parent] = (this.#exits[parent] ?? 0) - 1;
        if (!this.#isOpen(parent)) closed.push(parent);
      }
    }
  }

  #isOpen(component: number): boolean {
    return (this.#open[component] ?? 0) > 0 || (this.#exits[component] ?? 0) > 0;
  }

  /** Whether some package that still needs counting can be reached from here without crossing the path. */
  #leadsOn(at: number): boolean {
    const home = this.#component[at] ?? 0;
    if (!this.#isOpen(home)) return false;
    if (this.#sizes[home] === 1) return (this.#exits[home] ?? 0) > 0;
    const search = ++this.#search;
    this.#seen[at] = search;
    const queue = [at];
    for (let from = queue.pop(); from !== undefined; from = queue.pop()) {
      for (const to of this.#index.dependencies[from] ?? []) {
        this.#steps--;
        const c = this.#component[to] ?? 0;
        if (c !== home) {
          if (this.#isOpen(c)) return true;
          continue;
        }
        const name = this.#name(to);
        if (this.#seen[to] === search || this.#onPath[name] === 1 || name === this.#name(at)) continue;
        if ((this.#counts[name] ?? 0) <= FREQUENT_PATHS) return true;
        this.#seen[to] = search;
        queue.push(to);
      }
    }
    return false;
  }
}
