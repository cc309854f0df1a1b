/**
 * Where the JavaScript applications of an image are: package.json beside a lock file, and node_modules directories
 * (scan-semantics §6, "node").
 *
 * @module
 */
import type { ExtractedFile, ImageFile } from "../core/types.ts";
import type { PackageFacts } from "./node_manifest.ts";

/** A file that says something about JavaScript packages, in the plugin's order. */
export type NodeFile =
  | { readonly kind: "lock"; readonly path: string; readonly content: Uint8Array }
  | { readonly kind: "manifest"; readonly path: string; readonly facts: PackageFacts };

/** Lock files, the one that counts first. */
export const LOCK_FILES = ["package-lock.json", "yarn.lock", "pnpm-lock.yaml"] as const;

/** Name of a lock file. */
export type LockName = (typeof LOCK_FILES)[number];

/** An application with a lock file. */
export interface LockedProject {
  readonly manifest: string;
  readonly lock: { readonly path: string; readonly name: LockName; readonly content: Uint8Array };
}

/** What lies in one node_modules directory, or in those of one application. */
export interface InstalledProject {
  /** Relative to the root; empty for the root itself. */
  readonly directory: string;
  readonly hasManifest: boolean;
  /** Each package.json inside. */
  readonly manifests: readonly (NodeFile & { readonly kind: "manifest" })[];
}

const MANIFEST = "package.json";
const MODULES = "/node_modules";
/** Caches of package managers hold what is not installed. */
const CACHES = [".npm/", "\\npm-cache", ".yarn/cache", ".cache/yarn", "yarn\\cache", "cache\\yarn", "Cache\\Yarn"]
  .concat(["Yarn\\Cache", "pnpm-store", "pnpm/store", "pnpm\\store"]);

/** Kept lock files and what was extracted of each package.json, top layer first. */
export function nodeFiles(locks: readonly ImageFile[], manifests: readonly ExtractedFile[]): NodeFile[] {
  const placed = [
    ...locks.map((file) => ({ file, node: { kind: "lock", path: file.path, content: file.content } as const })),
    ...manifests.map((file) => ({
      file,
      node: { kind: "manifest", path: file.path, facts: file.data as PackageFacts } as const,
    })),
  ];
  return placed
    .sort(({ file: a }, { file: b }) => b.layer - a.layer || (a.position ?? 0) - (b.position ?? 0))
    .map(({ node }) => node);
}

/** Applications with a lock file, in the order in which their first file is met. */
export function lockedProjects(files: readonly NodeFile[]): LockedProject[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const directories = new Set(files.map(({ path }) => directoryOf(path)));
  return [...directories].flatMap((directory) => {
    const manifest = join(directory, MANIFEST);
    if (directory.includes("node_modules") || !byPath.has(manifest)) return [];
    for (const name of LOCK_FILES) {
      const lock = byPath.get(join(directory, name));
      if (lock?.kind === "lock") return [{ manifest, lock: { path: lock.path, name, content: lock.content } }];
    }
    return [];
  });
}

/** node_modules directories of applications without a lock file, in the order in which their first file is met. */
export function installedProjects(files: readonly NodeFile[]): InstalledProject[] {
  const groups = Map.groupBy(files.filter(({ path }) => !isCached(path)), ({ path }) => groupOf(path));
  return Array.from(groups).flatMap(([directory, members]) => {
    const paths = new Set(members.map(({ path }) => path));
    const hasManifest = paths.has(join(directory, MANIFEST));
    if (hasManifest && LOCK_FILES.some((name) => paths.has(join(directory, name)))) return [];
    const manifests = members.filter((file): file is NodeFile & { kind: "manifest" } => file.kind === "manifest");
    return [{ directory, hasManifest, manifests }];
  });
}

/** A path in a directory; both relative to the root. */
export function join(directory: string, name: string): string {
  return directory === "" ? name : `${directory}/${name}`;
}

function directoryOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

/** The application that a file belongs to: what is in front of the first node_modules. */
function groupOf(path: string): string {
  const modules = `/${path}`.indexOf(MODULES);
  return modules < 0 ? directoryOf(path) : path.slice(0, Math.max(0, modules - 1));
}

function isCached(path: string): boolean {
  const whole = `/${path}`;
  return CACHES.some((cache) => whole.includes(cache));
}
