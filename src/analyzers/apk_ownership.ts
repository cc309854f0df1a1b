/**
 * Which apk package brought an application, in images of Chainguard and Wolfi: their advisories, which speak of apk
 * packages, then decide about it (scan-semantics §6, "apkPackageOwnership").
 *
 * An application is owned when all that it was found by belongs to one package: to the files that the package lists, or
 * to a directory that it alone lists. In doubt nothing is owned, for what is owned may be left out of the findings.
 *
 * @module
 */
import { posix } from "node:path";
import { LIMITS } from "../core/limits.ts";
import type { ImageView } from "../core/ports.ts";
import type { AppResult, ScanFact } from "../core/scan_ports.ts";
import type { OsRelease } from "../core/types.ts";
import { newestOf } from "./analyzer.ts";
import { APK_DATABASES } from "./apk.ts";
import { LineReader } from "./line_reader.ts";

/** An entry of the apkPackageOwnership fact: a whole result, or one package of it when that has a name. */
export interface OwnedPackage {
  readonly evidencePaths: readonly string[];
  readonly apkPackageName: string;
  readonly apkPackageVersion: string;
  /** The package that it was built from. */
  readonly originPackage: string;
  readonly name?: string;
  readonly version?: string;
}

/** Data of the apkPackageOwnership fact. */
export interface ApkPackageOwnership {
  readonly distroId: string;
  readonly ownedPackages: readonly OwnedPackage[];
}

const DISTROS: ReadonlySet<string> = new Set(["wolfi", "chainguard"]);
const PACKAGE_MANIFEST = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\/package\.json$/s;

/** Adds the fact to the results that have an owner. */
export function withOwners(results: readonly AppResult[], view: ImageView, release: OsRelease): readonly AppResult[] {
  if (!DISTROS.has(release.name.toLowerCase()) || results.length === 0) return results;
  const database = newestOf(view, APK_DATABASES)[0];
  if (database === undefined) return results;
  const candidates = results.map(candidatesOf);
  const real = new Map<string, string>();
  for (const path of candidates.flat().flatMap(({ paths }) => paths)) {
    if (!real.has(path)) real.set(path, absolutely(view.realPath(path.slice(1))));
  }
  const claims = findClaims(database.content, new Set(real.values()), view);
  return results.map((result, index) => {
    const ownedPackages = owned(candidates[index] ?? [], (path) => ownerOf(real.get(path) ?? path, claims));
    if (ownedPackages.length === 0) return result;
    const data: ApkPackageOwnership = { distroId: release.name, ownedPackages };
    return { ...result, closingFacts: [...result.closingFacts ?? [], { type: "apkPackageOwnership", data }] };
  });
}

/** What may be owned by itself. */
interface Candidate {
  /** Absolute. */
  readonly paths: readonly string[];
  readonly name?: string;
  readonly version?: string;
}

/** Installed npm packages each by itself, everything else as a whole. */
function candidatesOf(result: AppResult): readonly Candidate[] {
  const packages = result.type !== "npm" ? [] : result.evidence.flatMap(({ path, name, version }): Candidate[] => {
    const [, directory] = PACKAGE_MANIFEST.exec(`/${path}`) ?? [];
    return directory !== undefined && name && version ? [{ paths: [directory], name, version }] : [];
  });
  return packages.length > 0 ? packages : [{ paths: pathsOf(result) }];
}

/** The paths that a result names: its own, those of tested files, those of jars. */
function pathsOf({ targetFile, facts }: AppResult): string[] {
  const named = facts.flatMap((fact) => {
    if (fact.type === "testedFiles") return textsOf(fact);
    return fact.type === "jarFingerprints" ? locationsOf(fact) : [];
  });
  const directory = posix.dirname(targetFile);
  const paths = [targetFile, ...named].map((path) => path.startsWith("/") ? path : posix.join(directory, path));
  return [...new Set(paths)];
}

function textsOf({ data }: ScanFact): readonly string[] {
  return typeof data === "string" ? [data] : Array.isArray(data) ? data.filter((text) => typeof text === "string") : [];
}

function locationsOf({ data }: ScanFact): readonly string[] {
  const { fingerprints } = data as { readonly fingerprints: readonly { readonly location: string }[] };
  return fingerprints.map(({ location }) => location);
}

/** Candidates whose paths have one owner. Of several places of one package, the first that is owned counts. */
function owned(candidates: readonly Candidate[], find: (path: string) => Match | undefined): OwnedPackage[] {
  const seen = new Set<string>();
  // Made here: it takes 9 ms, which few images need.
  const { compare } = new Intl.Collator("en-US");
  const sorted = [...candidates].sort((a, b) => compare(a.paths[0] ?? "", b.paths[0] ?? ""));
  return sorted.flatMap(({ paths, name, version }): OwnedPackage[] => {
    const key = name === undefined ? undefined : `${name}@${version}`;
    if (key !== undefined && seen.has(key)) return [];
    const matches = paths.map(find);
    const owner = matches.every((match) => match !== undefined) ? agreedOwner(matches) : undefined;
    if (owner === undefined) return [];
    if (key !== undefined) seen.add(key);
    return [{
      evidencePaths: paths,
      apkPackageName: owner.name,
      apkPackageVersion: owner.version,
      originPackage: owner.origin ?? owner.name,
      ...(name !== undefined && { name }),
      ...(version !== undefined && { version }),
    }];
  });
}

/** A package of the database. */
interface ApkPackage {
  readonly name: string;
  version: string;
  origin: string | undefined;
}

/** The owner of a path. */
interface Match {
  readonly owner: ApkPackage;
  /** Of a file that the package lists, rather than of something in a directory. */
  readonly exact: boolean;
  /** Parts of the path that matched. */
  readonly depth: number;
}

/** The one owner of all matches; when they differ, that of all exact ones, or else of all deepest ones. */
function agreedOwner(matches: readonly Match[]): ApkPackage | undefined {
  const exact = matches.filter((match) => match.exact);
  const deepest = matches.reduce((most, { depth }) => Math.max(most, depth), 0);
  const deep = exact.length > 0 ? exact : matches.filter(({ depth }) => depth === deepest);
  return onlyOwner(matches) ?? onlyOwner(deep);
}

function onlyOwner(matches: readonly Match[]): ApkPackage | undefined {
  const [first] = matches;
  return first !== undefined && matches.every(({ owner }) => isSame(owner, first.owner)) ? first.owner : undefined;
}

function isSame(a: ApkPackage, b: ApkPackage): boolean {
  return a.name === b.name && a.version === b.version;
}

/** Packages that list a path. */
interface Claim {
  readonly first: ApkPackage;
  /** The first that is not built from another one. */
  origin: ApkPackage | undefined;
  /** Whether different packages list it. */
  isShared: boolean;
}

/** By real path, as far as they matter. */
interface Claims {
  readonly files: ReadonlyMap<string, Claim>;
  readonly directories: ReadonlyMap<string, Claim>;
}

/** A file belongs to the origin of those that list it; a directory that several list belongs to nobody. */
function ownerOf(path: string, { files, directories }: Claims): Match | undefined {
  const parts = path.split("/").filter((part) => part !== "");
  const file = files.get(path);
  if (file !== undefined) return { owner: file.origin ?? file.first, exact: true, depth: parts.length };
  for (let depth = parts.length; depth > 0; depth--) {
    const claim = directories.get(`/${parts.slice(0, depth).join("/")}`);
    if (claim !== undefined) return claim.isShared ? undefined : { owner: claim.first, exact: false, depth };
  }
  return undefined;
}

/** Looks in the database for who lists these paths and the directories above them. */
function findClaims(database: Uint8Array, paths: ReadonlySet<string>, view: ImageView): Claims {
  const above = new Set([...paths].flatMap(withDirectories));
  const files = new Map<string, Claim>();
  const directories = new Map<string, Claim>();
  for (const { owner, path, isDirectory } of listedPaths(database)) {
    const real = absolutely(view.realPath(path));
    if (isDirectory && above.has(real)) claim(directories, real, owner);
    else if (!isDirectory && paths.has(real)) claim(files, real, owner);
  }
  return { files, directories };
}

function claim(claims: Map<string, Claim>, path: string, owner: ApkPackage): void {
  const origin = owner.name === owner.origin ? owner : undefined;
  const known = claims.get(path);
  if (known === undefined) {
    claims.set(path, { first: owner, origin, isShared: false });
    return;
  }
  known.origin ??= origin;
  known.isShared ||= !isSame(known.first, owner);
}

/** `/a/b` → `/a/b`, `/a`. */
function withDirectories(path: string): string[] {
  const found = [path];
  for (let at = path.lastIndexOf("/"); at > 0; at = path.lastIndexOf("/", at - 1)) found.push(path.slice(0, at));
  return found;
}

const PACKAGE = 0x50, VERSION = 0x56, ORIGIN = 0x6f, DIRECTORY = 0x46, FILE = 0x52;

interface ListedPath {
  readonly owner: ApkPackage;
  /** Relative to the root. */
  readonly path: string;
  readonly isDirectory: boolean;
}

/** Files and directories of an `installed` file, with their packages: `F:` names a directory, `R:` a file in it. */
function* listedPaths(database: Uint8Array): Generator<ListedPath> {
  const lines = new LineReader(database);
  let owner: ApkPackage | undefined;
  let directory = "";
  while (lines.next()) {
    const key = lines.first;
    if (lines.length < 2 || lines.length > LIMITS.pathBytes) continue;
    if (key === PACKAGE) {
      owner = { name: lines.text(2).trim(), version: "", origin: undefined };
      directory = "";
    } else if (owner === undefined) {
      continue;
    } else if (key === VERSION) {
      owner.version = lines.text(2).trim();
    } else if (key === ORIGIN) {
      owner.origin = lines.text(2).trim();
    } else if (key === DIRECTORY) {
      directory = lines.text(2).trim();
      if (directory !== "") yield { owner, path: directory, isDirectory: true };
    } else if (key === FILE && directory !== "") {
      yield { owner, path: `${directory}/${lines.text(2).trim()}`, isDirectory: false };
    }
  }
}

function absolutely(path: string): string {
  return posix.normalize(`/${path}`);
}
