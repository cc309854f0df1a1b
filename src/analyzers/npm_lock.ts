/**
 * package-lock.json of npm 7 and later (lockfileVersion 2 and 3).
 *
 * The file says what lies where in node_modules; which of several copies a package gets is found by name, range and the
 * packages on the way, as parseNpmLockV2Project of snyk-nodejs-lockfile-parser finds it.
 *
 * @module
 */
import { posix } from "node:path";
import { compileGlob } from "../lib/glob.ts";
import { type AppGraphJson, GraphBuilder } from "../lib/graph_builder.ts";
import { isInRange, isRange, isSubset } from "../lib/semver.ts";
import {
  type Alias,
  isMapping,
  labels,
  type LockBudget,
  LockError,
  type LockPair,
  type Mapping,
  memberOf,
  parseAlias,
  parseObject,
  textOf,
  topLevel,
  type Wanted,
  wantedOf,
  type WantedPackages,
} from "./node_lock.ts";

/** A package on the way from the application to a dependency. */
interface Ancestor {
  readonly id: string;
  readonly name: string;
  readonly version: string | undefined;
  /** Where it lies: `node_modules/a/node_modules/b`; empty for the application. */
  readonly key: string;
  readonly inBundle: boolean;
}

interface Node extends Ancestor {
  readonly dependencies: WantedPackages;
  readonly alias?: Alias | undefined;
  readonly missing?: boolean;
}

const NOTHING: WantedPackages = new Map();
const FOLDER = "node_modules/";
const MODULES = `/${FOLDER}`;
/** Longest pattern of `workspaces` that is looked at: real ones are directories. */
const MAX_PATTERN_CHARS = 1000;

/** The graph of an application with a package-lock.json of version 2 or 3. */
export function readNpmLock(pair: LockPair): AppGraphJson {
  const { packages } = parseObject(pair.lock);
  if (!isMapping(packages)) throw new LockError("it has no packages");
  return new NpmLockReader(pair, packages).read();
}

class NpmLockReader {
  readonly #manifest: LockPair["manifest"];
  readonly #packages: Mapping;
  readonly #budget: LockBudget;
  readonly #overrides: unknown;
  readonly #builder: GraphBuilder;
  readonly #visited = new Set<string>();
  readonly #keys = new Map<string, string[]>();
  readonly #chains = new Map<string, readonly string[]>();
  readonly #isWorkspace: (path: string) => boolean;

  constructor({ manifest, budget }: LockPair, packages: Mapping) {
    this.#manifest = manifest;
    this.#budget = budget;
    this.#packages = packages;
    this.#overrides = manifest.json.overrides;
    this.#builder = new GraphBuilder("npm", manifest);
    this.#isWorkspace = workspaces(memberOf(memberOf(packages, ""), "workspaces"));
    for (const key of Object.keys(packages)) {
      const folder = key.slice(key.lastIndexOf(FOLDER) < 0 ? 0 : key.lastIndexOf(FOLDER) + FOLDER.length);
      if (folder === "") continue;
      const name = textOf(memberOf(this.#package(key), "name"));
      for (const each of new Set([folder, name || folder])) this.#keys.set(each, [...this.#keys.get(each) ?? [], key]);
    }
  }

  read(): AppGraphJson {
    const { name, version } = this.#manifest;
    const dependencies = topLevel(this.#manifest, { optional: true, peer: true });
    const root = { id: this.#builder.rootNodeId, name, version, dependencies, key: "", inBundle: false };
    this.#visit(root, [root]);
    return this.#builder.build();
  }

  /** `path` ends with the node itself. */
  #visit(node: Node, path: readonly Ancestor[]): void {
    this.#visited.add(node.id);
    for (const [name, wanted] of node.dependencies) {
      this.#budget.spend(path.length, path.length);
      const child = this.#child(name, wanted, path);
      if (!this.#visited.has(child.id)) {
        const info = labels(child.alias, child.version, child.missing === true ? { missingLockFileEntry: "true" } : {});
        this.#builder.addNode(child.id, child, info);
        this.#visit(child, [...path, child]);
      }
      this.#builder.connect(node.id, child.id);
    }
  }

  #package(key: string): unknown {
    return memberOf(this.#packages, key);
  }

  #child(name: string, wanted: Wanted, path: readonly Ancestor[]): Node {
    const override = isMapping(this.#overrides)
      ? this.#override([...path, { name, version: wanted.range }], this.#overrides)
      : undefined;
    const spec = override ?? wanted.range;
    const parsed = parseAlias(spec);
    const alias = parsed && { name, target: parsed.target };
    const range = parsed?.range ?? (override === undefined && spec.startsWith("npm:") ? spec.split("@").pop() : spec);
    const candidates = this.#keys.get(name);
    const key = candidates && this.#choose(candidates, name, range ?? spec, path);
    if (key === undefined) return this.#missing(name, wanted, candidates === undefined ? path.at(-1) : undefined);
    const { data, key: at } = this.#linked(key);
    const version = textOf(memberOf(data, "version"));
    const real = textOf(memberOf(data, "name")) ?? alias?.target ?? name;
    return {
      id: `${real}@${version}`,
      name: real,
      version,
      dependencies: new Map([
        ...wantedOf(memberOf(data, "dependencies")),
        ...wantedOf(memberOf(data, "optionalDependencies"), true),
      ]),
      inBundle: memberOf(data, "inBundle") === true,
      key: at,
      alias,
    };
  }

  /** A package of the same repository is listed where it is written, and linked from node_modules. */
  #linked(key: string): { readonly data: unknown; readonly key: string } {
    const data = this.#package(key);
    const resolved = textOf(memberOf(data, "resolved")) ?? "";
    if (memberOf(data, "link") !== true || !this.#isWorkspace(resolved.replaceAll("\\", "/"))) return { data, key };
    const target = this.#package(resolved);
    return target === undefined ? { data, key } : { data: target, key: resolved };
  }

  /** What has no entry of its own: optional, brought along inside its parent, or forgotten. */
  #missing(name: string, { range, optional }: Wanted, parent: Ancestor | undefined): Node {
    const node = { id: `${name}@${range}`, name, version: range, dependencies: NOTHING, key: "", inBundle: false };
    if (optional || parent === undefined || parent.key === "") return { ...node, missing: true };
    const data = this.#package(parent.key);
    const bundled = memberOf(data, "bundleDependencies") || memberOf(data, "bundledDependencies");
    if (!Array.isArray(bundled) || !bundled.includes(name)) return { ...node, missing: true };
    return { ...node, version: "", inBundle: true };
  }

  /** Which of the copies of a package somebody gets; `path` ends with who asks. */
  #choose(candidates: readonly string[], name: string, range: string, path: readonly Ancestor[]): string | undefined {
    if (candidates.length === 1) return candidates[0];
    const owner = this.#bundleOwner(path);
    const names = new Set(path.slice(1).map((ancestor) => ancestor.name));
    const ranged = isRange(range);
    const fitting = candidates.filter((candidate) => {
      const chain = this.#chain(candidate);
      this.#budget.spend(chain.length);
      const own = textOf(memberOf(this.#package(candidate), "name")) || name;
      if (!chain.every((each) => each === own || names.has(each))) return false;
      if (owner !== undefined && !chain.includes(owner)) return false;
      return !ranged || isInRange(textOf(memberOf(this.#package(candidate), "version")) ?? "", range);
    });
    return fitting.length === 1 ? fitting[0] : this.#nearest(fitting, [...path.map((each) => each.name), name]);
  }

  /** Of several that fit, the one that Node.js would find: the path as it is, else the closest relative. */
  #nearest(fitting: readonly string[], names: string[]): string | undefined {
    const set = new Set(fitting);
    for (let from = 0; set.size > 0 && from < names.length; from++) {
      this.#budget.spend(names.length - from);
      const key = `${FOLDER}${names.slice(from).join(MODULES)}`;
      if (set.has(key)) return key;
    }
    let left = fitting;
    for (const parent of names.slice(0, -1).reverse()) {
      this.#budget.spend(left.length);
      const related = left.filter((key) => key.includes(parent));
      if (related.length === 1) return related[0];
      if (related.length > 0) left = related;
    }
    return left.toSorted((a, b) => b.split(MODULES).length - a.split(MODULES).length)[0];
  }

  /** Names of the packages on the way to a key, aliases resolved. */
  #chain(key: string): readonly string[] {
    const known = this.#chains.get(key);
    if (known !== undefined) return known;
    const parts = (key.startsWith(FOLDER) ? key.slice(FOLDER.length) : key).split(MODULES);
    this.#budget.spend(parts.length * parts.length);
    const chain = parts.map((part, index) => {
      const path = parts.slice(0, index + 1).join(MODULES);
      const data = this.#package(`${FOLDER}${path}`) ?? this.#package(path);
      return textOf(memberOf(data, "name")) || part;
    });
    this.#chains.set(key, chain);
    return chain;
  }

  /** Who brought the bundle in which the last of the path lies. */
  #bundleOwner(path: readonly Ancestor[]): string | undefined {
    if (path.at(-1)?.inBundle !== true) return undefined;
    const owner = path[path.findIndex((each) => each.inBundle) - 1];
    if (owner === undefined || owner.key === "") return undefined;
    const data = this.#package(owner.key);
    return memberOf(data, "bundledDependencies") || memberOf(data, "bundleDependencies") ? owner.name : undefined;
  }

  /** What `overrides` of package.json say; the first of `path` is left out at each level, as in Snyk's parser. */
  #override(path: readonly Pick<Ancestor, "name" | "version">[], overrides: Mapping): string | undefined {
    const below = path.slice(1);
    for (const [index, pkg] of below.entries()) {
      this.#budget.spend(below.length);
      const found = matchOverride(overrides, pkg);
      if (!found) continue;
      const last = index + 1 === below.length;
      if (last && typeof found === "string") return found;
      const self = memberOf(found, ".");
      if (last && typeof self === "string" && self !== "") return self;
      const deeper = isMapping(found) ? this.#override(below, found) : undefined;
      if (deeper !== undefined) return deeper;
    }
    return undefined;
  }
}

function matchOverride(overrides: Mapping, { name, version }: Pick<Ancestor, "name" | "version">): unknown {
  const own = memberOf(overrides, name);
  if (own) return own;
  for (const key of Object.keys(overrides)) {
    const at = key.lastIndexOf("@");
    if (at <= 0 || key.slice(0, at) !== name) continue;
    if (isSubset(version ?? "", key.slice(at + 1))) return overrides[key];
  }
  return undefined;
}

/** Whether a path is one of the repository's own packages, by the patterns of `workspaces`. */
function workspaces(declared: unknown): (path: string) => boolean {
  const listed = memberOf(declared, "packages") ?? declared;
  const patterns = (Array.isArray(listed) ? listed : []).filter((pattern): pattern is string =>
    typeof pattern === "string" && pattern.length <= MAX_PATTERN_CHARS
  );
  const globs = patterns.map((pattern) => compileGlob(posix.normalize(pattern)));
  return (path) => globs.some((matches) => matches(path));
}
