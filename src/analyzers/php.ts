/**
 * PHP applications: composer.json beside composer.lock (scan-semantics §6, "php").
 *
 * @module
 */
import { toOutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { AppInput, AppResult } from "../core/scan_ports.ts";
import type { ExtractedFile, ImageFile } from "../core/types.ts";
import { absolute, type AppAnalyzer, filesNamed, type Findings } from "./app_analyzer.ts";
import { COMPOSER_EXTRACTOR, COMPOSER_JSON, type ComposerFacts } from "./composer_manifest.ts";
import { LockError } from "./node_lock.ts";
import { type FilePair, pairedFiles } from "./project_files.ts";

const LOCK = "composer.lock";

/** One result for each pair. */
export const PHP: AppAnalyzer = {
  name: "php",
  patterns: [{ names: [LOCK], maxBytes: LIMITS.projectLockBytes }],
  extractors: () => [COMPOSER_EXTRACTOR],
  analyze,
};

async function analyze(input: AppInput): Promise<Findings> {
  const { view } = input;
  const pairs = pairedFiles(view.extracted(COMPOSER_JSON), filesNamed(view, [LOCK]));
  if (pairs.length === 0) return {};
  const { composerGraph } = await import("./composer_lock.ts");
  return { results: pairs.flatMap((pair) => fromLock(pair, composerGraph, input) ?? []) };
}

function fromLock(
  { manifest, lock }: FilePair<ExtractedFile, ImageFile>,
  composerGraph: typeof import("./composer_lock.ts").composerGraph,
  { report }: AppInput,
): AppResult | undefined {
  const facts = manifest.data as ComposerFacts;
  let subject = manifest.path;
  try {
    if (facts.problem !== undefined) throw new LockError(facts.problem);
    subject = lock.path;
    const graph = composerGraph(facts, new TextDecoder().decode(lock.content), absolute(manifest.path).path);
    return {
      type: "composer",
      targetFile: absolute(lock.path).path,
      facts: [{ type: "depGraph", data: graph }, { type: "testedFiles", data: [COMPOSER_JSON, LOCK] }],
      evidence: [{ path: manifest.path }, { path: lock.path }],
    };
  } catch (error) {
    const { code, message } = toOutpostError(error);
    report({ code, subject, message });
    return undefined;
  }
}
