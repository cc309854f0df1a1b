/**
 * JavaScript applications: lock files of npm, Yarn and pnpm, and node_modules directories where there is none
 * (scan-semantics §6, "node").
 *
 * @module
 */
import { toOutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { AppInput, AppResult } from "../core/scan_ports.ts";
import type { AnalysisOptions } from "../core/types.ts";
import type { AppGraphJson } from "../lib/graph_builder.ts";
import { absolute, type AppAnalyzer, filesNamed, type Findings } from "./app_analyzer.ts";
import { applicationFiles, presence } from "./application_files.ts";
import { LockBudget, LockError, type LockReader, parseManifest, parseObject } from "./node_lock.ts";
import { MANIFEST_EXTRACTOR, PACKAGE_JSON } from "./node_manifest.ts";
import { installedProjects, LOCK_FILES, type LockedProject, lockedProjects, nodeFiles } from "./node_projects.ts";

const SOURCES = "node-source";

/** Lock files, then node_modules directories, then source files. */
export const NODE: AppAnalyzer = {
  name: "node",
  patterns: [
    { names: [PACKAGE_JSON], notWithin: ["/node_modules"], maxBytes: LIMITS.nodeManifestBytes },
    { names: LOCK_FILES, notWithin: ["/node_modules"], maxBytes: LIMITS.nodeLockBytes },
  ],
  extractors: ({ collectApplicationFiles }: AnalysisOptions) => [
    MANIFEST_EXTRACTOR,
    ...(collectApplicationFiles === true
      ? [presence(SOURCES, {
        suffixes: [".js", ".ts", "package.json", "package-lock.json"],
        notFrom: ["/usr/"],
        notWithin: ["node_modules/"],
      })]
      : []),
  ],
  analyze,
};

async function analyze(input: AppInput): Promise<Findings> {
  const { view, options } = input;
  const files = nodeFiles(filesNamed(view, LOCK_FILES), view.extracted(PACKAGE_JSON));
  const contents = new Map(filesNamed(view, [PACKAGE_JSON]).map((file) => [file.path, file.content]));
  const results: AppResult[] = [];
  for (const project of lockedProjects(files)) {
    const result = await fromLock(project, contents.get(project.manifest), input);
    if (result !== undefined) results.push(result);
  }
  const installed = options.excludeNodeModules === true ? [] : installedProjects(files);
  if (installed.length > 0) {
    const { fromModules } = await import("./node_modules.ts");
    for (const project of installed) {
      const result = fromModules(project, contents, input);
      if (result !== undefined) results.push(result);
    }
  }
  const sources = view.extracted(SOURCES).map(({ path }) => path).filter(isOwnSource);
  const collected = options.collectApplicationFiles === true && applicationFiles(sources, "node", "npm");
  return { results: collected ? [...results, collected] : results };
}

async function fromLock(
  { manifest, lock }: LockedProject,
  content: Uint8Array | undefined,
  { report }: AppInput,
): Promise<AppResult | undefined> {
  const { path: targetFile } = absolute(manifest);
  let subject = manifest;
  try {
    if (content === undefined) return undefined;
    const parsed = parseManifest(new TextDecoder().decode(content));
    subject = lock.path;
    const text = new TextDecoder().decode(lock.content);
    const read = await readerOf(lock.name, text);
    const graph: AppGraphJson = await read({ manifest: parsed, lock: text, budget: new LockBudget() });
    return {
      type: graph.pkgManager.name,
      targetFile,
      facts: [{ type: "depGraph", data: graph }, { type: "testedFiles", data: [PACKAGE_JSON, lock.name] }],
      evidence: [{ path: manifest }, { path: lock.path }],
    };
  } catch (error) {
    const { code, message } = error instanceof LockError ? error : unread(error);
    report({ code, subject, message });
    return undefined;
  }
}

/** What a reader stumbled over that nobody thought of, running out of stack for one. */
function unread(error: unknown): { readonly code: string; readonly message: string } {
  const { message } = toOutpostError(error);
  return { code: "ANALYSIS_FAILED", message: `The file was not read: ${message}` };
}

/** Readers are imported for the files that are there. */
async function readerOf(name: LockedProject["lock"]["name"], text: string): Promise<LockReader> {
  switch (name) {
    case "yarn.lock":
      return (await import("./yarn_lock.ts")).readYarnProject;
    case "pnpm-lock.yaml":
      return (await import("./pnpm_lock.ts")).readPnpmProject;
    case "package-lock.json":
      return await npmReader(text);
  }
}

async function npmReader(text: string): Promise<LockReader> {
  const { lockfileVersion } = parseObject(text);
  if (lockfileVersion === 2 || lockfileVersion === 3) return (await import("./npm_lock.ts")).readNpmLock;
  if (!lockfileVersion || lockfileVersion === 1) return (await import("./npm_lock_v1.ts")).readNpmLockV1;
  throw new LockError("its lockfileVersion is not supported");
}

/** Type declarations are no sources, neither is what belongs to the system or to installed packages. */
function isOwnSource(path: string): boolean {
  return !path.includes("node_modules/") && !path.startsWith("usr/") && !path.endsWith(".d.ts");
}
