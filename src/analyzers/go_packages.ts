/**
 * Which packages of its modules a Go executable has: by the names of its source files, as snyk-docker-plugin finds them.
 *
 * @module
 */
import { posix } from "node:path";
import { LIMITS } from "../core/limits.ts";
import type { GoModule } from "./go_build_info.ts";

/** The packages of one module, under the module's version. */
export interface ModulePackages {
  readonly version: string;
  readonly names: readonly string[];
}

/** Where the source files of modules were while the program was built; empty when their names say nothing of it. */
interface SourceRoots {
  /** Go's module cache: `…/pkg/mod/`. */
  readonly cache: string;
  /** The main module's `…/vendor/`. */
  readonly vendor: string;
}

/**
 * Sorts source files to modules; modules without a file are left out, for nothing of them is in the program.
 *
 * A file of the module cache or of a build with -trimpath is called `module@version/package/file.go`; one of a vendor
 * directory lacks the version. A name is compared as text: `a/b` takes the files of `a/bc` too, under its own version.
 *
 * Undefined when the files belong to so many that LIMITS.goFileMatches or LIMITS.goPackages is exceeded.
 */
export function packagesOf(modules: readonly GoModule[], names: readonly string[]): ModulePackages[] | undefined {
  const files = names.map((name) => posix.normalize(name));
  const { cache, vendor } = sourceRoots(modules, files);
  const versioned = new PrefixIndex(modules.map(fullName));
  const plain = new PrefixIndex(vendor === "" ? [] : modules.map(({ name }) => name));
  const found = modules.map(() => new Set<string>());
  let matches = 0;
  let packages = 0;
  for (const file of files) {
    const vendored = vendor !== "" && file.startsWith(vendor);
    const root = vendored ? vendor : cache !== "" && file.startsWith(cache) ? cache : "";
    // What is neither comes from the Go distribution or from the main module; names of a trimmed build have no root.
    if (root === "" && (vendor !== "" || cache !== "")) continue;
    const path = file.slice(root.length);
    for (const index of (vendored ? plain : versioned).prefixesOf(path)) {
      const module = modules[index];
      const set = found[index];
      if (module === undefined || set === undefined) continue;
      const before = set.size;
      set.add(packageName(module, path.slice((vendored ? module.name : fullName(module)).length)));
      packages += set.size - before;
      if (++matches > LIMITS.goFileMatches || packages > LIMITS.goPackages) return undefined;
    }
  }
  return modules.flatMap(({ version }, index) => {
    const names = [...found[index] ?? []];
    return names.length === 0 ? [] : [{ version, names }];
  });
}

function fullName({ name, version }: GoModule): string {
  return `${name}@${version}`;
}

/** The package of a file, given by its path in the module. */
function packageName(module: GoModule, path: string): string {
  const { dir } = posix.parse(path);
  return module.name + (dir === "/" ? "" : dir);
}

function sourceRoots(modules: readonly GoModule[], files: readonly string[]): SourceRoots {
  const trimmed = files.every((file) => !file.startsWith("/"));
  return trimmed ? { cache: "", vendor: "" } : { cache: cacheRoot(modules, files), vendor: vendorRoot(modules, files) };
}

/** What stands before `module@version` of the first module that a file has so in its name, in the order of modules. */
function cacheRoot(modules: readonly GoModule[], files: readonly string[]): string {
  const places = Map.groupBy(modules.keys(), (index) => modules[index]?.name ?? "");
  let best = modules.length;
  let root = "";
  for (const file of files) {
    let from = 0;
    for (let at = file.indexOf("@"); at >= 0 && best > 0; from = at + 1, at = file.indexOf("@", from)) {
      for (let slash = file.lastIndexOf("/", at); slash >= from; slash = file.lastIndexOf("/", slash - 1)) {
        for (const index of places.get(file.slice(slash + 1, at)) ?? []) {
          const module = modules[index];
          if (index >= best) break;
          if (module === undefined || !file.startsWith(module.version, at + 1)) continue;
          best = index;
          root = file.slice(0, file.indexOf(fullName(module)));
        }
        if (slash === 0) break;
      }
    }
  }
  return root;
}

/**
 * The vendor directory, by the first module that a file has behind `vendor/` in its name; beside it there must be files
 * that are not of that module.
 */
function vendorRoot(modules: readonly GoModule[], files: readonly string[]): string {
  const keys = modules.map(({ name }) => `${posix.join("vendor", name)}/`);
  const first = firstFilesWith(new Set(keys), files);
  let looks = 0;
  for (const key of keys) {
    const file = first.get(key);
    if (file === undefined) continue;
    const root = file.slice(0, file.indexOf(key));
    for (const other of files) {
      if (++looks > LIMITS.goFileMatches) return "";
      if (other.includes(root) && !other.includes(key)) return posix.join(root, "vendor") + "/";
    }
  }
  return "";
}

/** The first file that has each of the texts in its name. */
function firstFilesWith(keys: ReadonlySet<string>, files: readonly string[]): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const sought = [...keys];
  const vendored = new Set(sought.filter((key) => key.startsWith("vendor/")));
  // A replacement by a directory beside the main module: `../lib` is sought as `lib/`.
  const others = sought.filter((key) => !vendored.has(key)).slice(0, MAX_LOCAL_MODULES);
  for (const file of files) {
    for (const key of others) if (!found.has(key) && file.includes(key)) found.set(key, file);
    for (let at = file.indexOf("vendor/"); at >= 0; at = file.indexOf("vendor/", at + 1)) {
      const name = at + "vendor/".length;
      for (let slash = file.indexOf("/", name); slash >= 0; slash = file.indexOf("/", slash + 1)) {
        const key = file.slice(at, slash + 1);
        if (vendored.has(key) && !found.has(key)) found.set(key, file);
      }
    }
  }
  return found;
}

/** Each costs a search in the names of all files. */
const MAX_LOCAL_MODULES = 20;

/** Finds which of some texts another one begins with, without asking each. */
class PrefixIndex {
  readonly #texts: readonly { readonly text: string; readonly index: number }[];
  /** For each text the longest other one that it begins with, -1 when there is none. */
  readonly #parents: readonly number[];

  constructor(texts: readonly string[]) {
    this.#texts = texts.map((text, index) => ({ text, index })).sort((a, b) =>
      a.text < b.text ? -1 : a.text > b.text ? 1 : a.index - b.index
    );
    const open: number[] = [];
    this.#parents = this.#texts.map(({ text }, at) => {
      while (open.length > 0 && !text.startsWith(this.#texts[open.at(-1) ?? 0]?.text ?? "")) open.pop();
      const parent = open.at(-1) ?? -1;
      open.push(at);
      return parent;
    });
  }

  /** Indexes of the texts that `whole` begins with. */
  *prefixesOf(whole: string): Generator<number> {
    let low = 0;
    for (let high = this.#texts.length; low < high;) {
      const middle = (low + high) >> 1;
      if ((this.#texts[middle]?.text ?? "") <= whole) low = middle + 1;
      else high = middle;
    }
    const shared = sharedLength(this.#texts[low - 1]?.text ?? "", whole);
    for (let at = low - 1; at >= 0; at = this.#parents[at] ?? -1) {
      const { text, index } = this.#texts[at] ?? { text: "", index: 0 };
      if (text.length <= shared) yield index;
    }
  }
}

function sharedLength(a: string, b: string): number {
  const most = Math.min(a.length, b.length);
  let length = 0;
  while (length < most && a.charCodeAt(length) === b.charCodeAt(length)) length++;
  return length;
}
