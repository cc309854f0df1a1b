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
 * Undefined when that takes more than LIMITS.goNameChars or LIMITS.goPackages.
 */
export function packagesOf(modules: readonly GoModule[], names: readonly string[]): ModulePackages[] | undefined {
  try {
    return sortFiles(modules, names.map(normalized), new Budget());
  } catch (error) {
    if (error instanceof Exhausted) return undefined;
    throw error;
  }
}

function sortFiles(modules: readonly GoModule[], files: readonly string[], budget: Budget): ModulePackages[] {
  const { cache, vendor } = sourceRoots(modules, files, budget);
  const versioned = new PrefixIndex(modules.map(fullName), budget);
  const plain = new PrefixIndex(vendor === "" ? [] : modules.map(({ name }) => name), budget);
  const found = modules.map(() => new Set<string>());
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
      budget.spend(path.length);
      const before = set.size;
      set.add(packageName(module, path.slice((vendored ? module.name : fullName(module)).length)));
      if (set.size > before) budget.keep();
    }
  }
  return modules.flatMap(({ version }, index) => {
    const names = [...found[index] ?? []];
    return names.length === 0 ? [] : [{ version, names }];
  });
}

class Exhausted extends Error {}

/** What the sorting may still cost. */
class Budget {
  #chars: number = LIMITS.goNameChars;
  #packages: number = LIMITS.goPackages;

  spend(chars: number): void {
    this.#chars -= chars;
    if (this.#chars < 0) throw new Exhausted();
  }

  keep(): void {
    if (--this.#packages < 0) throw new Exhausted();
  }
}

/** Nearly all names are as they have to be: looking is cheaper than making them so. */
function normalized(name: string): string {
  return /(?:^|\/)\.|\/\/|^$/.test(name) ? posix.normalize(name) : name;
}

function fullName({ name, version }: GoModule): string {
  return `${name}@${version}`;
}

/** The package of a file, given by its path in the module. */
function packageName(module: GoModule, path: string): string {
  return module.name + path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

function sourceRoots(modules: readonly GoModule[], files: readonly string[], budget: Budget): SourceRoots {
  if (files.every((file) => !file.startsWith("/"))) return { cache: "", vendor: "" };
  return { cache: cacheRoot(modules, files, budget), vendor: vendorRoot(modules, files, budget) };
}

/** What stands before `module@version` of the first module that a file has so in its name, in the order of modules. */
function cacheRoot(modules: readonly GoModule[], files: readonly string[], budget: Budget): string {
  const places = Map.groupBy(modules.keys(), (index) => modules[index]?.name ?? "");
  let best = modules.length;
  let root = "";
  for (const file of files) {
    for (const [name, at] of versionedNames(file, budget)) {
      for (const index of places.get(name) ?? []) {
        const module = modules[index];
        if (index >= best || module === undefined) break;
        budget.spend(1);
        if (!file.startsWith(module.version, at + 1)) continue;
        best = index;
        root = file.slice(0, file.indexOf(fullName(module)));
      }
    }
    if (best === 0) break;
  }
  return root;
}

/** What stands between a slash and an `@` behind it, and where the `@` is. */
function* versionedNames(file: string, budget: Budget): Generator<readonly [name: string, at: number]> {
  let from = 0;
  for (let at = file.indexOf("@"); at >= 0; from = at + 1, at = file.indexOf("@", from)) {
    for (let slash = file.indexOf("/", from); slash >= 0 && slash < at; slash = file.indexOf("/", slash + 1)) {
      budget.spend(at - slash);
      yield [file.slice(slash + 1, at), at];
    }
  }
}

/**
 * The vendor directory, by the first module that a file has behind `vendor/` in its name; beside it there must be files
 * that are not of that module.
 */
function vendorRoot(modules: readonly GoModule[], files: readonly string[], budget: Budget): string {
  const keys = modules.map(({ name }) => `${posix.join("vendor", name)}/`);
  const first = firstFilesWith(new Set(keys), files, budget);
  for (const key of keys) {
    const file = first.get(key);
    if (file === undefined) continue;
    const root = file.slice(0, file.indexOf(key));
    for (const other of files) {
      budget.spend(other.length);
      if (other.includes(root) && !other.includes(key)) return `${posix.join(root, "vendor")}/`;
    }
  }
  return "";
}

/** The first file that has each of the texts in its name. */
function firstFilesWith(
  keys: ReadonlySet<string>,
  files: readonly string[],
  budget: Budget,
): ReadonlyMap<string, string> {
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
        budget.spend(slash - at);
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

  readonly #budget: Budget;

  constructor(texts: readonly string[], budget: Budget) {
    this.#budget = budget;
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
      this.#budget.spend(1);
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
