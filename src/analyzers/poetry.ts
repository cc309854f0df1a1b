/**
 * Graphs of what poetry.lock pins, as snyk-poetry-lockfile-parser 1.9.1 makes them without development dependencies
 * (scan-semantics §6, "poetry"). Imported when there is such a lock file.
 *
 * @module
 */
import { type AppGraphJson, GraphBuilder } from "../lib/graph_builder.ts";
import { isMapping, LockError, memberOf, textOf } from "./node_lock.ts";
import { parseToml } from "./toml.ts";

/** What every virtual environment has: Poetry does not pin it. */
const IGNORED: ReadonlySet<string> = new Set(["setuptools", "distribute", "pip", "wheel"]);

interface Pinned {
  readonly name: string;
  readonly version: string | undefined;
  readonly dependencies: readonly string[];
}

/** What counts of a pyproject.toml. */
export interface PoetryManifest {
  readonly name: string;
  readonly version: string;
  /** Names of what it asks for. */
  readonly dependencies: readonly string[];
}

/**
 * Reads a pyproject.toml, in Poetry's own or in PEP 621's form.
 *
 * @throws {LockError} When it is neither.
 */
export function parsePoetryManifest(text: string): PoetryManifest {
  const toml = parseToml(text);
  const poetry = memberOf(memberOf(toml, "tool"), "poetry");
  const project = memberOf(toml, "project");
  const described = isMapping(project) ? project : poetry;
  if (!isMapping(described)) throw new LockError("it describes no Python project");
  const listed = isMapping(project) ? memberOf(project, "dependencies") : undefined;
  const names = (Array.isArray(listed) ? listed : []).flatMap((entry) =>
    textOf(entry)?.match(/^[a-zA-Z][a-zA-Z0-9_-]*/)?.[0] ?? []
  );
  const dependencies = [...names, ...namesOf(memberOf(poetry, "dependencies"))].filter((name) => name !== "python");
  return {
    name: textOf(described.name) ?? "_root",
    version: textOf(described.version) ?? "0.0.0",
    dependencies,
  };
}

/**
 * The graph of what a project asks for, as its poetry.lock pins it. Packages that are not pinned are left out.
 *
 * @throws {LockError} When the text is no poetry.lock.
 */
export function poetryGraph({ name, version, dependencies }: PoetryManifest, lock: string): AppGraphJson {
  const pinned = new PinnedPackages(packagesOf(lock));
  const builder = new GraphBuilder("poetry", { name, version });
  // An explicit stack: a chain may be as long as there are packages. Nodes are made on the way down, as the parser does.
  const frames = [{ nodeId: builder.rootNodeId, names: dependencies.values() }];
  for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
    const next = frame.names.next();
    if (next.done === true) {
      frames.pop();
      continue;
    }
    const found = IGNORED.has(next.value) ? undefined : pinned.find(next.value);
    if (found === undefined) continue;
    if (!builder.has(found.name)) {
      const provenance = found.name === next.value ? {} : { pkgIdProvenance: `${next.value}@${found.version}` };
      const pkg = { name: found.name, version: found.version };
      builder.addNode(found.name, pkg, { labels: { scope: "prod", ...provenance } });
      frames.push({ nodeId: found.name, names: found.dependencies.values() });
    }
    builder.connect(frame.nodeId, found.name);
  }
  return builder.build();
}

/** Packages of a lock file by the spellings of their names; the first of a name counts. */
class PinnedPackages {
  readonly #bySpelling = new Map<string, Pinned>();
  readonly #byNormalizedName = new Map<string, Pinned>();

  constructor(packages: Iterable<Pinned>) {
    for (const pinned of packages) {
      addFirst(this.#bySpelling, spelling(pinned.name), pinned);
      addFirst(this.#byNormalizedName, normalized(pinned.name), pinned);
    }
  }

  find(name: string): Pinned | undefined {
    // Poetry pins `jaraco.classes` as `jaraco-classes` (PEP 503). The parser takes dots for part of a name.
    return this.#bySpelling.get(spelling(name)) ?? this.#byNormalizedName.get(normalized(name));
  }
}

function addFirst(index: Map<string, Pinned>, name: string, pinned: Pinned): void {
  if (!index.has(name)) index.set(name, pinned);
}

function spelling(name: string): string {
  return name.toLowerCase().replaceAll("_", "-");
}

function normalized(name: string): string {
  return name.toLowerCase().replaceAll(/[-_.]+/g, "-");
}

function* packagesOf(lock: string): Generator<Pinned> {
  const packages = memberOf(parseToml(lock), "package");
  if (!Array.isArray(packages)) throw new LockError("it lists no packages");
  for (const entry of packages) {
    const name = textOf(memberOf(entry, "name"));
    if (name === undefined) throw new LockError("one of its packages has no name");
    const version = textOf(memberOf(entry, "version"));
    yield { name, version, dependencies: namesOf(memberOf(entry, "dependencies")) };
  }
}

function namesOf(value: unknown): string[] {
  return isMapping(value) ? Object.keys(value) : [];
}
