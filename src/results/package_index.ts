/**
 * Operating-system packages by name, with their dependencies resolved to positions.
 *
 * @module
 */
import type { OsPackage } from "../core/types.ts";

/**
 * The packages of one database as a graph. A node is an entry of the database, named by its position. A database may
 * list a name more than once (architecture twins): the last entry then stands for the name, and the others are
 * reached only through names that they alone provide.
 */
export interface PackageIndex {
  readonly packages: readonly OsPackage[];
  /** For every position: the position of the entry that stands for its name; its own, unless the name is repeated. */
  readonly standsFor: readonly number[];
  /**
   * For every position: the positions that it depends on, in the order in which the database states them. One
   * position may occur several times, when different names resolve to the same entry. Unknown names are left out.
   */
  readonly dependencies: readonly (readonly number[])[];
}

/** Resolves names: a package's own name comes before a name that another one provides; the last one wins. */
export function indexPackages(packages: readonly OsPackage[]): PackageIndex {
  const named = new Map<string, number>();
  const provided = new Map<string, number>();
  packages.forEach((entry, position) => {
    named.set(entry.name, position);
    for (const name of entry.provides) provided.set(name, position);
  });
  return {
    packages,
    standsFor: packages.map((entry) => named.get(entry.name) ?? 0),
    dependencies: packages.map(({ depends }) =>
      [...new Set(depends)].flatMap((name) => named.get(name) ?? provided.get(name) ?? [])
    ),
  };
}

/** The name under which Snyk reports a package: `source/name` when the database states a source, else `name`. */
export function fullName(entry: OsPackage): string {
  return entry.source ? `${entry.source}/${entry.name}` : entry.name;
}

/** The part of a full name that names the source package (or the package itself when there is no source). */
export function sourceOf(name: string): string {
  return name.split("/", 1)[0] ?? name;
}
