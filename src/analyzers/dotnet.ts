/**
 * .NET applications: the packages of NuGet that a published application runs with, by its `deps.json`
 * (scan-semantics §6, "dotnet").
 *
 * @module
 */
import { z } from "zod";
import { LIMITS } from "../core/limits.ts";
import type { AppInput, AppResult } from "../core/scan_ports.ts";
import type { ImageFile } from "../core/types.ts";
import { type AppGraphJson, GraphBuilder } from "../lib/graph_builder.ts";
import { absolute, type AppAnalyzer, filesWhere, type Findings } from "./app_analyzer.ts";

const SUFFIX = ".deps.json";
/** The files of the runtime itself and of its reference assemblies describe no application. */
const RUNTIME = ["/dotnet/shared/", "/dotnet/packs/"];
/** Packages that a self-contained application brings of the runtime are called so; NuGet knows them without it. */
const RUNTIME_PACK = "runtimepack.";

const TABLE = <T extends z.ZodType>(value: T) => z.record(z.string(), value);
const SCHEMA = z.object({
  runtimeTarget: z.object({ name: z.string().nullish() }).nullish(),
  targets: TABLE(TABLE(z.object({ dependencies: TABLE(z.unknown()).nullish() }).nullish())).nullish(),
  libraries: TABLE(z.object({ type: z.unknown() }).nullish()).nullish(),
});

/** One result for each `*.deps.json` of an application. */
export const DOTNET: AppAnalyzer = {
  name: "dotnet",
  patterns: [{ suffixes: [SUFFIX], notWithin: RUNTIME, maxBytes: LIMITS.smallFileBytes }],
  analyze,
};

function analyze({ view, report }: AppInput): Findings {
  const results: AppResult[] = [];
  for (const file of filesWhere(view, isManifest)) {
    const { path } = absolute(file.path);
    try {
      const data = graphOf(file);
      if (data === undefined) continue;
      const name = path.slice(path.lastIndexOf("/") + 1);
      const facts = [{ type: "depGraph", data }, { type: "testedFiles", data: [name] }];
      results.push({ type: "nuget", targetFile: path, facts, evidence: [{ path: file.path }] });
    } catch (error) {
      const why = error instanceof TooLarge ? error.message : "it is no deps.json of .NET";
      report({ code: "ANALYSIS_FAILED", subject: file.path, message: `The file was not read: ${why}` });
    }
  }
  return { results };
}

function isManifest(path: string): boolean {
  return path.endsWith(SUFFIX) && !RUNTIME.some((directory) => absolute(path).path.includes(directory));
}

class TooLarge extends Error {}

interface Package {
  readonly name: string;
  readonly version: string;
  readonly dependencies: readonly string[];
}

/** Packages that the project needs, directly or not; undefined when the file describes no project. */
function graphOf({ content }: ImageFile): AppGraphJson | undefined {
  const { runtimeTarget, targets, libraries } = SCHEMA.parse(JSON.parse(new TextDecoder().decode(content)));
  const name = runtimeTarget?.name;
  const target = name ? targets?.[name] : undefined;
  if (target === undefined || !libraries) return undefined;
  const entries = Object.entries(target);
  const root = entries.find(([key]) => libraries[key]?.type === "project");
  const direct = root?.[1]?.dependencies;
  if (root === undefined || !direct) return undefined;
  const packages = new Map<string, Package>();
  for (const [key, entry] of entries) {
    const [name, version] = splitKey(key);
    if (version === undefined) continue;
    packages.set(lookupName(name), {
      name: withoutPrefix(name),
      version,
      dependencies: Object.keys(entry?.dependencies ?? {}),
    });
  }
  const [rootName, version = "0.0.0"] = splitKey(root[0]);
  const graph = new GraphBuilder("nuget", { name: rootName, version });
  connect(graph, Object.keys(direct), packages);
  return graph.build();
}

/**
 * Adds packages depth first, each before its dependencies and connected behind them, as the plugin does. A list in place of
 * recursion: the depth is the file's.
 */
function connect(graph: GraphBuilder, direct: readonly string[], packages: ReadonlyMap<string, Package>): void {
  const open = [{ nodeId: graph.rootNodeId, rest: direct, next: 0 }];
  let edges = 0;
  for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
    const name = top.rest[top.next++];
    if (name === undefined) {
      open.pop();
      const parent = open.at(-1);
      if (parent !== undefined) graph.connect(parent.nodeId, top.nodeId);
      continue;
    }
    const found = packages.get(lookupName(name));
    if (found === undefined) continue;
    if (++edges > LIMITS.nugetDependencies) {
      throw new TooLarge(`it has more than ${LIMITS.nugetDependencies} dependencies (nugetDependencies)`);
    }
    const nodeId = `${found.name}@${found.version}`;
    if (graph.has(nodeId)) {
      graph.connect(top.nodeId, nodeId);
    } else {
      graph.addNode(nodeId, { name: found.name, version: found.version });
      open.push({ nodeId, rest: found.dependencies, next: 0 });
    }
  }
}

/** `Name/1.0` → name and version; a key without a slash is a name alone. */
function splitKey(key: string): [name: string, version: string | undefined] {
  const slash = key.indexOf("/");
  return slash < 0 ? [key, undefined] : [key.slice(0, slash), key.slice(slash + 1)];
}

function withoutPrefix(name: string): string {
  return name.startsWith(RUNTIME_PACK) ? name.slice(RUNTIME_PACK.length) : name;
}

function lookupName(name: string): string {
  return withoutPrefix(name).toLowerCase();
}
