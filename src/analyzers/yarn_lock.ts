/**
 * yarn.lock of Yarn 1 (its own syntax) and of Yarn 2 and later (YAML, with `__metadata`), as parseYarnLockV1Project and
 * parseYarnLockV2Project of snyk-nodejs-lockfile-parser read them.
 *
 * A package occurs once below each direct dependency; where it occurs again there it is a leaf, `…:pruned`.
 *
 * @module
 */
import { type AppGraphJson, GraphBuilder } from "../lib/graph_builder.ts";
import { isInRange } from "../lib/semver.ts";
import {
  type Alias,
  labels,
  type LockBudget,
  type LockPair,
  type Manifest,
  memberOf,
  parseAlias,
  textOf,
  topLevel,
  type Wanted,
  wantedOf,
  type WantedPackages,
} from "./node_lock.ts";
import { descriptorKeys, parseDescriptor } from "./yarn_descriptor.ts";
import { readYarnLock, type YarnBlock } from "./yarn_lock_reader.ts";

/** A package of the graph. */
export interface PrunedNode {
  readonly id: string;
  readonly name: string;
  /** Undefined when the file does not say it. */
  readonly version: string | undefined;
  readonly dependencies: WantedPackages;
  readonly alias?: Alias | undefined;
}

/** Who asks for a package. */
export type Parent = Pick<PrunedNode, "name" | "version" | "alias">;

/** Finds what a dependency of a package is. */
export type FindChild = (name: string, wanted: Wanted, parent: Parent) => PrunedNode;

interface Entry {
  readonly version: string | undefined;
  readonly dependencies: WantedPackages;
  readonly optionalDependencies: WantedPackages;
}

const NOTHING: WantedPackages = new Map();

/** The graph of an application with a yarn.lock of whichever version. */
export async function readYarnProject(pair: LockPair): Promise<AppGraphJson> {
  return pair.lock.includes("__metadata") ? await readBerry(pair) : readClassic(pair);
}

function readClassic({ manifest, lock, budget }: LockPair): AppGraphJson {
  const entries = new Map<string, Entry>();
  for (const [key, block] of readYarnLock(lock)) if (block instanceof Map) entries.set(key, classicEntry(block));
  const aliases = aliasKeys(entries.keys());
  const dependencies = topLevel(manifest, { optional: true });
  const find: FindChild = (name, wanted) => {
    const key = `${name}@${wanted.range}`;
    const entry = entries.get(key);
    const alias = aliasOf(name, wanted.range) ?? installedAlias(name, entry, aliases.get(name) ?? [], entries, budget);
    if (entry === undefined) return missing(key, alias?.target ?? name, wanted.range, alias);
    return {
      id: `${name}@${entry.version}`,
      name: alias?.target ?? name,
      version: entry.version,
      dependencies: new Map([...entry.dependencies, ...entry.optionalDependencies]),
      alias,
    };
  };
  return buildPruned("yarn", manifest, dependencies, budget, remembering(find));
}

function classicEntry(block: YarnBlock): Entry {
  const version = block.get("version");
  return {
    version: version === undefined || version instanceof Map ? undefined : String(version),
    dependencies: wantedOf(plain(block.get("dependencies"))),
    optionalDependencies: wantedOf(plain(block.get("optionalDependencies")), true),
  };
}

function plain(block: unknown): unknown {
  if (!(block instanceof Map)) return undefined;
  return Object.fromEntries(
    Array.from(block, ([key, value]) => [key, value instanceof Map ? undefined : String(value)]),
  );
}

/** Keys of the form `name@npm:…`, by name. */
function aliasKeys(keys: Iterable<string>): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const key of keys) {
    const at = key.indexOf("@npm:");
    if (at <= 0) continue;
    const name = key.slice(0, at);
    const known = found.get(name);
    if (known === undefined) found.set(name, [key]);
    else known.push(key);
  }
  return found;
}

/** What a name stands for elsewhere in the file, when the version is the same. */
function installedAlias(
  name: string,
  entry: Entry | undefined,
  keys: readonly string[],
  entries: ReadonlyMap<string, Entry>,
  budget: LockBudget,
): Alias | undefined {
  if (entry === undefined) return undefined;
  budget.spend(keys.length);
  for (const key of keys) {
    if (entries.get(key)?.version !== entry.version) continue;
    const parsed = parseAlias(key.slice(name.length + 1));
    if (parsed !== undefined) return parsed.target === name ? undefined : { name, target: parsed.target };
  }
  return undefined;
}

function aliasOf(name: string, range: string): Alias | undefined {
  const target = parseAlias(range)?.target;
  return target ? { name, target } : undefined;
}

function missing(id: string, name: string, version: string, alias: Alias | undefined): PrunedNode {
  return { id, name, version, dependencies: NOTHING, alias };
}

async function readBerry({ manifest, lock, budget }: LockPair): Promise<AppGraphJson> {
  const { parseYamlMapping } = await import("./node_yaml.ts");
  const entries = new Map<string, Entry>();
  for (const [keys, data] of Object.entries(parseYamlMapping(lock))) {
    if (keys === "__metadata") continue;
    const entry = berryEntry(data);
    for (const key of descriptorKeys(keys)) entries.set(key, entry);
  }
  const resolutions = new Resolutions(manifest.json.resolutions, budget);
  const find: FindChild = (name, wanted, parent) => {
    const alias = wanted.range.includes("@") ? aliasOf(name, wanted.range) : undefined;
    const resolved = resolutions.find(name, wanted.range, parent);
    const range = resolved === "" ? wanted.range : decode(resolved);
    const entry = entries.get(`${name}@${range}`);
    // The graph shows an alias by its own name, whatever it stands for.
    if (entry === undefined) return missing(`${name}@${range}`, name, range, alias);
    const { version, dependencies, optionalDependencies: optional } = entry;
    const first = resolved === "" ? dependencies : optional;
    const second = resolved === "" ? optional : dependencies;
    return { id: `${name}@${version}`, name, version, dependencies: new Map([...first, ...second]), alias };
  };
  return buildPruned("yarn", manifest, topLevel(manifest), budget, resolutions.isEmpty ? remembering(find) : find);
}

function berryEntry(data: unknown): Entry {
  return {
    version: textOf(memberOf(data, "version")),
    dependencies: wantedOf(memberOf(data, "dependencies")),
    optionalDependencies: wantedOf(memberOf(data, "optionalDependencies"), true),
  };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** `resolutions` of package.json. */
class Resolutions {
  readonly #byKey: ReadonlyMap<string, string>;
  readonly #budget: LockBudget;

  constructor(resolutions: unknown, budget: LockBudget) {
    this.#byKey = new Map(Array.from(wantedOf(resolutions), ([key, { range }]) => [key, range]));
    this.#budget = budget;
  }

  /** Whether package.json has none. */
  get isEmpty(): boolean {
    return this.#byKey.size === 0;
  }

  /** What package.json says a dependency is; empty when nothing. */
  find(name: string, range: string, { name: own, version, alias }: Parent): string {
    this.#budget.spend(2 * this.#byKey.size);
    const parent = { name: alias?.target ?? own, version };
    return this.#byKey.get(`${parent.name}/${name}`) || this.#ofParent(name, parent) || this.#ofRange(name, range) ||
      (this.#byKey.get(name) ?? "");
  }

  /** `parent@npm:range/name`. */
  #ofParent(name: string, parent: Pick<PrunedNode, "name" | "version">): string | undefined {
    for (const [key, resolution] of this.#byKey) {
      if (!key.endsWith(`/${name}`)) continue;
      const of = key.slice(0, -name.length - 1);
      if (!of.includes("@") || of === parent.name) continue;
      const descriptor = parseDescriptor(of);
      if (descriptor?.name !== parent.name) continue;
      if (descriptor.range === undefined || covers(withoutProtocol(descriptor.range), parent.version)) {
        return resolution;
      }
    }
    return undefined;
  }

  /** `name@range`. */
  #ofRange(name: string, range: string): string | undefined {
    const wanted = withoutProtocol(range);
    for (const [key, resolution] of this.#byKey) {
      const descriptor = parseDescriptor(key);
      if (descriptor?.name !== name || descriptor.range === undefined) continue;
      const own = withoutProtocol(descriptor.range);
      if (wanted === own || isInRange(wanted, own)) return resolution;
    }
    return undefined;
  }
}

function covers(range: string, version: string | undefined): boolean {
  return version !== undefined && (range === version || isInRange(version, range));
}

function withoutProtocol(range: string): string {
  return range.replace(/^[a-z]+:/, "");
}

/** Remembers answers that do not depend on who asks. */
export function remembering(find: FindChild): FindChild {
  const known = new Map<string, PrunedNode>();
  return (name, wanted, parent) => {
    const key = `${name}@${wanted.range}`;
    const node = known.get(key) ?? find(name, wanted, parent);
    known.set(key, node);
    return node;
  };
}

/** Builds a graph in which a package occurs once below each direct dependency. */
export function buildPruned(
  type: "yarn" | "pnpm",
  manifest: Pick<Manifest, "name" | "version">,
  dependencies: WantedPackages,
  budget: LockBudget,
  find: FindChild,
  rootId?: string,
): AppGraphJson {
  const { name, version } = manifest;
  const builder = new GraphBuilder(type, { name, version });
  const visit = (node: PrunedNode, visited: Set<string> | undefined, depth: number): void => {
    for (const [childName, wanted] of node.dependencies) {
      budget.spend(1, depth);
      const below = visited ?? new Set<string>();
      const child = find(childName, wanted, node);
      const pruned = below.has(child.id) || child.id === rootId;
      const id = pruned ? `${child.id}:pruned` : child.id;
      builder.addNode(id, child, labels(child.alias, child.version, pruned ? { pruned: "true" } : {}));
      builder.connect(node.id, id);
      if (pruned) continue;
      below.add(child.id);
      visit(child, below, depth + 1);
    }
  };
  visit({ id: builder.rootNodeId, name, version: version ?? "", dependencies }, undefined, 0);
  return builder.build();
}
