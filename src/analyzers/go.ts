/**
 * Go executables: the packages that were built in, by what the linker left in the file (scan-semantics §6, "go").
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { FileExtractor } from "../core/ports.ts";
import type { AppInput, AppResult } from "../core/scan_ports.ts";
import { GraphBuilder } from "../lib/graph_builder.ts";
import { absolute, type AppAnalyzer, type Findings } from "./app_analyzer.ts";
import { ELF_MAGIC } from "./elf.ts";
import { type BrokenGo, GoExecutableReader, type GoFacts } from "./go_executable.ts";

const NAME = "go";
/** Changes when the same executable would give other facts. */
const FACTS_VERSION = "2";
/** Directories in which no program is expected; what begins with one of these texts counts too. */
const ELSEWHERE = [
  "/boot",
  "/dev",
  "/etc",
  "/home",
  "/media",
  "/mnt",
  "/proc",
  "/root",
  "/run",
  "/sbin",
  "/sys",
  "/tmp",
  "/var",
];

/** One result for each executable that Go has built from modules. */
export const GO: AppAnalyzer = { name: NAME, extractors: () => [EXTRACTOR], analyze };

const EXTRACTOR: FileExtractor = {
  name: NAME,
  version: FACTS_VERSION,
  magic: ELF_MAGIC,
  pattern: { extensions: [""], notFrom: ELSEWHERE, maxBytes: LIMITS.layerTarBytes },
  open: ({ size }) => new GoExecutableReader(size),
};

function analyze({ view, report }: AppInput): Findings {
  const results = view.extracted(NAME).flatMap(({ path, data }) => {
    const facts = data as GoFacts | BrokenGo;
    if (facts.problem !== undefined) {
      report({
        code: "ANALYSIS_FAILED",
        subject: path,
        message: `The Go executable was not read in full: ${facts.problem}`,
      });
    }
    return "name" in facts ? [resultOf(path, facts)] : [];
  });
  return { results };
}

function resultOf(path: string, { name, go, modules }: GoFacts): AppResult {
  const graph = new GraphBuilder("gomodules", { name });
  const add = (name: string, version: string): void => {
    const nodeId = `${name}@${version}`;
    graph.addNode(nodeId, { name, version });
    graph.connect(graph.rootNodeId, nodeId);
  };
  for (const [version = "", ...names] of modules) for (const name of names) add(name, version);
  if (go !== undefined) add("stdlib", go);
  return {
    type: "gomodules",
    targetFile: absolute(path).path,
    facts: [{ type: "depGraph", data: graph.build() }],
    evidence: [{ path }],
  };
}
