/**
 * pnpm-lock.yaml, versions 5, 6 and 9, as parsePnpmProject of snyk-nodejs-lockfile-parser reads it.
 *
 * Version 5 writes packages as `/name/1.0.0_peer@2.0.0`, version 6 as `/name@1.0.0(peer@2.0.0)`, version 9 without the
 * slash and with the dependencies in a section of their own. What follows a package's own version is left out.
 *
 * @module
 */
import { posix } from "node:path";
import type { AppGraphJson } from "../lib/graph_builder.ts";
import { isVersion } from "../lib/semver.ts";
import {
  isMapping,
  LockError,
  type LockPair,
  type Manifest,
  type Mapping,
  memberOf,
  textOf,
  topLevel,
  type Wanted,
  wantedOf,
  type WantedPackages,
} from "./node_lock.ts";
import { parseYamlMapping } from "./node_yaml.ts";
import { buildPruned, type PrunedNode, remembering } from "./yarn_lock.ts";

interface Package {
  readonly name: string;
  readonly version: string;
  readonly dependencies: WantedPackages;
}

/** How a version of the file writes packages. */
interface Dialect {
  /** A version or path without what follows the package's own version. */
  readonly withoutPeers: (text: string) => string;
  readonly parsePath: (path: string) => { readonly name?: string | undefined; readonly version?: string | undefined };
  /** What a dependency of the application resolves to. */
  readonly resolved: (value: unknown) => string | undefined;
}

/** What the plugin writes for a version that it does not know. */
const UNKNOWN = "undefined";
const DOCUMENT = "---\n";
const SEPARATOR = `\n${DOCUMENT}`;

const V5: Dialect = {
  withoutPeers(text) {
    const last = text.slice(text.lastIndexOf("/") + 1);
    const own = last.split("_")[0] ?? "";
    // As the parser does it: at the first place where the last part's text occurs.
    return text.includes("/") ? (last === "" ? text.slice(0, 1) : text.slice(0, text.indexOf(last))) + own : own;
  },
  parsePath(path) {
    const parts = path.split("/").slice(1);
    const name = parts[0]?.startsWith("@") === true ? `${parts.shift()}/${parts.shift()}` : parts.shift();
    const version = parts.shift()?.split("_")[0];
    if (version !== undefined && isVersion(version)) return { name, version };
    if (path.startsWith("/")) throw new LockError("it has a package path without a version");
    return {};
  },
  resolved: textOf,
};

const V6: Dialect = {
  withoutPeers: (text) => text.split("(")[0] ?? "",
  parsePath(path) {
    const own = path.startsWith("/") ? path.slice(1) : path;
    if (own.startsWith("@")) {
      const at = own.lastIndexOf("@");
      return { name: own.slice(0, at), version: own.slice(at + 1) };
    }
    const [name, version] = own.split("@");
    return { name, version };
  },
  resolved: (value) => textOf(memberOf(value, "version")),
};

/** The graph of an application with a pnpm-lock.yaml. */
export function readPnpmProject({ manifest, lock, budget }: LockPair): AppGraphJson {
  const text = mainDocument(lock);
  // A file that only names what pnpm itself needs is like none.
  const raw = text === "" ? { lockfileVersion: "5" } : parseYamlMapping(text);
  const lockfile = new PnpmLock(raw, manifest);
  const found = lockfile.topLevel();
  const wanted = topLevel(manifest, { optional: true });
  for (const [name, { range, optional }] of wanted) wanted.set(name, { range: found.get(name) ?? range, optional });
  const root = { name: manifest.name, version: manifest.version || UNKNOWN };
  const rootId = `${manifest.name}@${manifest.version}`;
  const find = remembering((name, { range }) => lockfile.child(name, range));
  return buildPruned("pnpm", root, wanted, budget, find, rootId);
}

/** The part that lists dependencies: pnpm 11 may write a document of its own in front of it. */
function mainDocument(content: string): string {
  const text = content.replaceAll("\r\n", "\n");
  if (!text.startsWith(DOCUMENT)) return text;
  const separator = text.indexOf(SEPARATOR, DOCUMENT.length);
  return separator < 0 ? text : text.slice(separator + SEPARATOR.length);
}

class PnpmLock {
  readonly #raw: Mapping;
  readonly #manifest: Manifest;
  readonly #dialect: Dialect;
  /** As the file has them, by path. */
  readonly #listed: Mapping;
  readonly #importer: Mapping | undefined;
  /** By `name@version`. */
  readonly #packages = new Map<string, Package>();
  /** `name@version` by path. */
  readonly #resolved = new Map<string, string>();
  readonly #isWorkspace: boolean;

  constructor(raw: Mapping, manifest: Manifest) {
    const version = textOf(raw.lockfileVersion) ?? "";
    const major = version[0];
    if (major !== "5" && major !== "6" && major !== "9") throw new LockError(`its version is not supported`);
    this.#raw = raw;
    this.#manifest = manifest;
    this.#dialect = major === "5" ? V5 : V6;
    this.#listed = major === "9" ? snapshots(raw) : isMapping(raw.packages) ? raw.packages : {};
    this.#importer = importerOf(raw, major);
    this.#isWorkspace = this.#importer !== undefined || major === "9";
    for (const [path, data] of Object.entries(this.#listed)) this.#add(path, data);
  }

  /** Versions of the application's own dependencies, by name. */
  topLevel(): ReadonlyMap<string, string> {
    const root = this.#importer ?? this.#raw;
    const found = new Map<string, string>();
    for (const [name, version] of this.#listedIn(root)) found.set(name, this.#normalize(".", name, version));
    if (this.#importer !== undefined) this.#addSelf(found);
    return found;
  }

  child(name: string, range: string): PrunedNode {
    const version = this.#dialect.withoutPeers(range);
    let key = this.#resolved.get(version) ?? `${name}@${version}`;
    key = this.#resolved.get(key) ?? key;
    const found = this.#packages.get(key);
    if (found === undefined) return { id: key, name, version: version || UNKNOWN, dependencies: new Map() };
    const { dependencies } = found;
    return { id: `${found.name}@${found.version}`, name: found.name, version: found.version || UNKNOWN, dependencies };
  }

  #add(listedPath: string, data: unknown): void {
    const path = this.#dialect.withoutPeers(listedPath);
    const own = { name: textOf(memberOf(data, "name")), version: textOf(memberOf(data, "version")) };
    const parsed = own.name && own.version ? own : this.#dialect.parsePath(path);
    const name = own.name || (parsed.name ?? UNKNOWN);
    const version = own.version || parsed.version || path;
    const key = `${name}@${version}`;
    const dependencies = new Map([
      ...wantedOf(memberOf(data, "dependencies")),
      ...wantedOf(memberOf(data, "optionalDependencies"), true),
    ]);
    this.#packages.set(key, { name, version, dependencies });
    this.#resolved.set(path, key);
  }

  /** The application itself is a package to those of its repository. */
  #addSelf(found: ReadonlyMap<string, string>): void {
    const { name, version } = this.#manifest;
    const dependencies = new Map(Array.from(found, ([each, range]) => [each, { range, optional: false }]));
    this.#packages.set(`${name}@${version}`, { name, version: version ?? UNKNOWN, dependencies });
  }

  /** Versions and paths of the dependencies of a project, as they are written. */
  *#listedIn(project: unknown): Generator<readonly [name: string, version: string]> {
    for (const section of ["dependencies", "optionalDependencies"]) {
      const listed = memberOf(project, section);
      for (const [name, value] of isMapping(listed) ? Object.entries(listed) : []) {
        const version = this.#dialect.resolved(value);
        if (version !== undefined) yield [name, version];
      }
    }
  }

  #normalize(project: string, name: string, written: string): string {
    const own = this.#isWorkspace && written.startsWith("link:") ? this.#link(project, name, written) : written;
    if (isVersion(own)) return own;
    const version = this.#dialect.withoutPeers(own);
    if (isVersion(version)) return version;
    const data = memberOf(this.#listed, version) ?? memberOf(this.#listed, `${name}@${version}`);
    return textOf(memberOf(data, "version")) || version;
  }

  /** Another project of the repository: of the application itself the version is known, of others it is not. */
  #link(project: string, name: string, written: string): string {
    const path = posix.join(project, written.split("link:")[1] ?? "");
    const isSelf = path === "." && this.#importer !== undefined;
    const version = (isSelf && this.#manifest.version) || UNKNOWN;
    const key = `${name}@${version}`;
    if (this.#packages.has(key)) return version;
    // First without dependencies: projects may link to one another in circles.
    this.#packages.set(key, { name, version, dependencies: new Map() });
    const dependencies = new Map<string, Wanted>();
    for (const [each, own] of this.#listedIn(memberOf(this.#raw.importers, path))) {
      dependencies.set(each, { range: this.#normalize(path, each, own), optional: false });
    }
    this.#packages.set(key, { name, version, dependencies });
    return version;
  }
}

/** Version 9 lists dependencies beside the packages. */
function snapshots({ snapshots, packages }: Mapping): Mapping {
  const entries = Object.entries(isMapping(snapshots) ? snapshots : {}).map(([path, data]) => {
    const own = path.split("(")[0] ?? "";
    const more = memberOf(packages, own);
    return [own, { ...(isMapping(more) ? more : {}), ...(isMapping(data) ? data : {}) }] as const;
  });
  return Object.fromEntries(entries);
}

/** The application among the projects of the file; some files of version 6 write it among the dependencies. */
function importerOf(raw: Mapping, major: string): Mapping | undefined {
  const listed = "importers" in raw ? raw.importers : major === "5" ? undefined : raw.dependencies;
  const own = memberOf(listed, ".");
  if (!isMapping(own)) return undefined;
  return "importers" in raw || "dependencies" in own ? own : undefined;
}
