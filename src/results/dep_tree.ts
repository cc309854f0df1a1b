/**
 * The tree of operating-system packages that Snyk's dependency graph is made from (scan-semantics §5, 1–5 and 7).
 *
 * @module
 */
import type { OsPackage } from "../core/types.ts";
import { frequentPackages } from "./frequent_packages.ts";
import { fullName, indexPackages, type PackageIndex } from "./package_index.ts";

/** A package in the tree. The leaves of one package are one object. */
export interface TreeNode {
  readonly name: string;
  readonly version: string;
  readonly purl?: string;
  /** Set by user_instructions.ts. */
  labels?: Readonly<Record<string, string>>;
  readonly dependencies: TreeNodes;
}

/**
 * Children by full name. A plain object without prototype: its key order is the one that the plugin's objects have,
 * and order decides which keys the autoDetectedUserInstructions fact shows first.
 */
export type TreeNodes = Record<string, TreeNode>;

/**
 * Builds the tree and returns the direct dependencies of the image. A package is expanded where it is met first;
 * everywhere else it is a leaf. Packages installed on purpose come first as direct dependencies, then those that
 * nothing has led to. Too frequent packages are left out of the tree and become direct dependencies without children
 * or purl. `onBound` is called when LIMITS.dependencyPathSteps ended the search for them: no package is missing then,
 * but one that is too frequent may stand inside the tree.
 */
export function buildDepTree(packages: readonly OsPackage[], onBound: () => void = () => {}): TreeNodes {
  const index = indexPackages(packages);
  const { positions: frequent, complete } = frequentPackages(index);
  if (!complete) onBound();
  const builder = new TreeBuilder(index, frequent);
  const root = children();
  const attach = (positions: readonly number[]): void => {
    for (const position of positions) {
      const node = builder.expand(position);
      if (node !== undefined) root[node.name] = node;
    }
  };
  attach(index.standsFor.filter((_, entry) => packages[entry]?.autoInstalled !== true));
  attach(index.standsFor.filter((position) => !builder.visited(position)));
  for (const position of frequent) {
    const entry = packages[position];
    if (entry === undefined) continue;
    const name = fullName(entry);
    root[name] = { name, version: entry.version, dependencies: NONE };
  }
  return root;
}

function children(): TreeNodes {
  return Object.create(null);
}

const NONE: TreeNodes = Object.freeze(children());

class TreeBuilder {
  readonly #index: PackageIndex;
  readonly #skip: ReadonlySet<number>;
  readonly #visited: Uint8Array;
  readonly #ancestors = new Set<string>();
  /** One leaf for each package: a database of 200,000 relations has as many leaves. */
  readonly #leaves: TreeNode[] = [];

  constructor(index: PackageIndex, skip: ReadonlySet<number>) {
    this.#index = index;
    this.#skip = skip;
    this.#visited = new Uint8Array(index.packages.length);
  }

  visited(position: number): boolean {
    return this.#visited[position] === 1;
  }

  /** The package with everything below it that no earlier call has expanded; undefined when it is left out. */
  expand(position: number): TreeNode | undefined {
    const top = this.#node(position);
    // An explicit stack: a package database of 20,000 packages may be one long chain.
    const path: { readonly node: TreeNode; readonly targets: readonly number[]; next: number }[] = [];
    const enter = (node: TreeNode, at: number): void => {
      if (this.visited(at)) return;
      this.#visited[at] = 1;
      this.#ancestors.add(node.name);
      path.push({ node, targets: this.#index.dependencies[at] ?? [], next: 0 });
    };
    if (top !== undefined) enter(top, position);
    for (let frame = path.at(-1); frame !== undefined; frame = path.at(-1)) {
      const target = frame.targets[frame.next++];
      if (target === undefined) {
        this.#ancestors.delete(frame.node.name);
        path.pop();
        continue;
      }
      const node = this.#node(target);
      if (node === undefined) continue;
      frame.node.dependencies[node.name] ??= node;
      enter(node, target);
    }
    return top;
  }

  #node(position: number): TreeNode | undefined {
    const entry = this.#index.packages[position];
    if (entry === undefined || this.#skip.has(this.#index.standsFor[position] ?? position)) return undefined;
    const name = fullName(entry);
    if (this.#ancestors.has(name)) return undefined;
    const leaf = this.#leaves[position];
    if (leaf !== undefined) return leaf;
    const purl = entry.purl ? { purl: entry.purl } : {};
    const base = { name, version: entry.version, ...purl };
    if (this.visited(position)) return this.#leaves[position] = { ...base, dependencies: NONE };
    const isLast = this.#index.dependencies[position]?.length === 0;
    return { ...base, dependencies: isLast ? NONE : children() };
  }
}
