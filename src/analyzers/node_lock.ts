/**
 * What the readers of JavaScript lock files share: the application's package.json, names and ranges of dependencies, and
 * the work that one lock file may cost. The graphs are those of snyk-nodejs-lockfile-parser 2.10.4 with the options that
 * snyk-docker-plugin gives it: no development dependencies, optional ones, files that disagree are no error.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { AppGraphJson } from "../lib/graph_builder.ts";

/** A JSON or YAML mapping. */
export type Mapping = Readonly<Record<string, unknown>>;

/** An application's package.json, and the text of its lock file. */
export interface LockPair {
  readonly manifest: Manifest;
  readonly lock: string;
  readonly budget: LockBudget;
}

/** Reads a lock file. */
export type LockReader = (pair: LockPair) => AppGraphJson | Promise<AppGraphJson>;

/** What counts of an application's package.json. */
export interface Manifest {
  readonly name: string;
  readonly version: string | undefined;
  readonly json: Mapping;
}

/** Another name under which a package is installed: `"old": "npm:package@1"`. */
export interface Alias {
  readonly name: string;
  readonly target: string;
}

/** A dependency as somebody asks for it. */
export interface Wanted {
  readonly range: string;
  readonly optional: boolean;
}

/** Dependencies by name. A Map: names are data, `constructor` is one of them. */
export type WantedPackages = ReadonlyMap<string, Wanted>;

/** A file that is not what its name says; the message completes "The file was not read: ". */
export class LockError extends OutpostError {
  constructor(reason: string, code: "ANALYSIS_FAILED" | "LIMIT_EXCEEDED" = "ANALYSIS_FAILED") {
    super(code, `The file was not read: ${reason}`);
  }
}

/** Bounds the work on one lock file: its graph can be walked in more ways than anybody waits for. */
export class LockBudget {
  #steps: number = LIMITS.nodeGraphSteps;

  /** @throws {LockError} LIMIT_EXCEEDED when the work is used up, or `depth` is too large. */
  spend(steps: number, depth = 0): void {
    this.#steps -= steps;
    if (depth > LIMITS.nodeGraphDepth) throw limit(`its dependencies are more than ${LIMITS.nodeGraphDepth} deep`);
    if (this.#steps < 0) throw limit("its dependencies lead to one another in too many ways");
  }
}

function limit(reason: string): LockError {
  return new LockError(reason, "LIMIT_EXCEEDED");
}

/**
 * Reads JSON that has to be an object.
 *
 * @throws {LockError} When it is not.
 */
export function parseObject(text: string): Mapping {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new LockError("it is not JSON");
  }
  if (!isMapping(value)) throw new LockError("it is no JSON object");
  return value;
}

/** A package.json. Without a name it is called `package.json`, as the plugin does. */
export function parseManifest(text: string): Manifest {
  const json = parseObject(text);
  return { name: textOf(json.name) || "package.json", version: textOf(json.version), json };
}

/** Whether a value has named members. */
export function isMapping(value: unknown): value is Mapping {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A text, or undefined for anything else. */
export function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** A member, unless it is one that all objects have. */
export function memberOf(mapping: unknown, name: string): unknown {
  return isMapping(mapping) && Object.hasOwn(mapping, name) ? mapping[name] : undefined;
}

/** Names and ranges of a mapping of dependencies; what is no such thing is left out. */
export function wantedOf(value: unknown, optional = false): Map<string, Wanted> {
  const wanted = new Map<string, Wanted>();
  for (const [name, range] of isMapping(value) ? Object.entries(value) : []) {
    if (typeof range === "string" && isName(name)) wanted.set(name, { range, optional });
  }
  return wanted;
}

/** What an application asks for itself, but for what it also names as a development dependency. */
export function topLevel({ json }: Manifest, { optional = false, peer = false } = {}): Map<string, Wanted> {
  const wanted = new Map([
    ...wantedOf(json.dependencies),
    ...(optional ? wantedOf(json.optionalDependencies, true) : []),
    ...(peer ? wantedOf(json.peerDependencies) : []),
  ]);
  for (const name of wantedOf(json.devDependencies).keys()) wanted.delete(name);
  return wanted;
}

/** `npm:target@range`, or undefined when it is none. Without a range that is empty. */
export function parseAlias(text: string): { readonly target: string; readonly range: string } | undefined {
  if (!text.startsWith("npm:")) return undefined;
  const spec = text.slice("npm:".length);
  const slash = spec.startsWith("@") ? spec.indexOf("/") : 0;
  if (slash < 0) return undefined;
  const at = slash > 0 ? spec.indexOf("@", slash) : spec.lastIndexOf("@");
  return at < 0 ? { target: spec, range: "" } : { target: spec.slice(0, at), range: spec.slice(at + 1) };
}

/** Labels of a node. */
export function labels(
  alias: Alias | undefined,
  version: string | undefined,
  more: Readonly<Record<string, string>> = {},
): { readonly labels: Readonly<Record<string, string>> } {
  const text = alias && { alias: `${alias.name}=>${alias.target}@${version}` };
  return { labels: { scope: "prod", ...more, ...text } };
}

function isName(name: string): boolean {
  const own = name.startsWith("@") && name.includes("/") ? name.slice(name.indexOf("/") + 1) : name;
  return own.trim() !== "";
}
