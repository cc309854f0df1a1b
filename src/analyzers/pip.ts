/**
 * Graphs of what pip installed: one for each requirements.txt, with the packages of the whole image to choose from
 * (scan-semantics §6, "pip"). Imported when an image has both.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import { type AppGraphJson, GraphBuilder } from "../lib/graph_builder.ts";
import { coerceVersion, isInLooseRange } from "../lib/semver.ts";
import { LockError } from "./node_lock.ts";
import type { MetadataFacts } from "./python_metadata.ts";
import { parseRequiresDist, type PythonRequirement, requirementsOf } from "./python_requirement.ts";

/** An installed package. */
export interface PythonPackage {
  /** In lower case. */
  readonly name: string;
  readonly version: string;
  /** Its METADATA. */
  readonly path: string;
  readonly facts: MetadataFacts;
}

/** Installed packages by name, the newest first. */
export class InstalledPackages {
  readonly #byName = new Map<string, PythonPackage[]>();
  readonly #byNormalizedName = new Map<string, PythonPackage[]>();

  /** @param packages In the plugin's order, which decides between equal versions. */
  constructor(packages: readonly PythonPackage[]) {
    for (const installed of packages) {
      append(this.#byName, installed.name, installed);
      append(this.#byNormalizedName, normalized(installed.name), installed);
    }
    for (const index of [this.#byName, this.#byNormalizedName]) for (const group of index.values()) newestFirst(group);
  }

  /** The package that a requirement means: the newest that its range allows, or else the newest. */
  find({ name, range }: PythonRequirement): PythonPackage | undefined {
    // PEP 503 makes `zope.interface` and `zope-interface` one name. The plugin does not; where it finds something, so do we.
    const group = this.#byName.get(name) ?? this.#byNormalizedName.get(normalized(name)) ?? [];
    if (group.length <= 1 || range === undefined) return group[0];
    return group.find(({ version }) => isInLooseRange(version, range)) ?? group[0];
  }
}

/**
 * A version as the plugin writes it: npm's idea of it, unless it is longer and has numbers only. Undefined when there is
 * no number in it.
 */
export function comparableVersion(text: string): string | undefined {
  const version = coerceVersion(text);
  return version !== undefined && text.startsWith(version) && /^\d+(\.\d+)+$/.test(text) ? text : version;
}

/** What the graphs of one image may cost together. */
export class PipBudget {
  #dependencies: number = LIMITS.pythonDependencies;

  /** @throws {LockError} LIMIT_EXCEEDED. */
  spend(dependencies: number): void {
    this.#dependencies -= dependencies;
    if (this.#dependencies < 0) throw new LockError("its packages have too many dependencies", "LIMIT_EXCEEDED");
  }
}

/** The graph of a requirements.txt, and the packages in it. */
export interface PipGraph {
  readonly graph: AppGraphJson;
  readonly packages: readonly PythonPackage[];
}

/**
 * The graph of what a requirements.txt names.
 *
 * @param path Absolute; it is the name of the root.
 * @returns Undefined when it names nothing at all.
 * @throws {LockError} LIMIT_EXCEEDED.
 */
export function pipGraph(
  path: string,
  text: string,
  installed: InstalledPackages,
  budget: PipBudget,
): PipGraph | undefined {
  const builder = new GraphBuilder("pip", { name: path });
  const packages = new Set<PythonPackage>();
  const root: Frame = { nodeId: builder.rootNodeId, requirements: requirementsOf(text) };
  let isEmpty = true;
  // An explicit stack: a chain may be as long as there are packages. Nodes are made on the way down, as the plugin does.
  const frames = [root];
  for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
    const next = frame.requirements.next();
    if (next.done === true) {
      frames.pop();
      continue;
    }
    isEmpty = false;
    budget.spend(1);
    const found = installed.find(next.value);
    if (found === undefined) continue;
    const { extras } = next.value;
    const nodeId = `${found.name}@${found.version}${extras.length > 0 ? `:${extras.join()}` : ""}`;
    if (!builder.has(nodeId)) {
      builder.addNode(nodeId, { name: found.name, version: found.version });
      packages.add(found);
      frames.push({ nodeId, requirements: dependenciesOf(found, extras, budget) });
    }
    builder.connect(frame.nodeId, nodeId);
  }
  return isEmpty ? undefined : { graph: builder.build(), packages: [...packages] };
}

interface Frame {
  readonly nodeId: string;
  readonly requirements: Iterator<PythonRequirement, unknown>;
}

function* dependenciesOf(
  { facts }: PythonPackage,
  extras: readonly string[],
  budget: PipBudget,
): Generator<PythonRequirement> {
  const provided = new Set(facts.extras);
  for (const text of facts.requires ?? []) {
    budget.spend(text.length >> 8);
    const requirement = parseRequiresDist(text, provided);
    if (requirement === undefined) continue;
    const { onlyFor } = requirement;
    if (onlyFor.length === 0 || onlyFor.some((extra) => extras.includes(extra))) yield requirement;
    else budget.spend(1);
  }
}

function append(index: Map<string, PythonPackage[]>, name: string, installed: PythonPackage): void {
  const group = index.get(name);
  if (group === undefined) index.set(name, [installed]);
  else group.push(installed);
}

/** PEP 503. */
function normalized(name: string): string {
  return name.replaceAll(/[-_.]+/g, "-");
}

/** Sorts by the numbers in front; a missing one is zero. */
function newestFirst(group: PythonPackage[]): void {
  if (group.length < 2) return;
  const numbers = new Map(group.map(({ version }) => [version, version.split(".").map((part) => parseInt(part, 10))]));
  group.sort((a, b) => compare(numbers.get(b.version) ?? [], numbers.get(a.version) ?? []));
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] || 0) - (b[i] || 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
