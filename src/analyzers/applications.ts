/**
 * Application analyzers: what is inside an image beside the packages of its operating system.
 *
 * @module
 */
import { toOutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { FilePattern, WantedFiles } from "../core/ports.ts";
import type { AppAnalysis, AppInput, AppResult, ScanFact } from "../core/scan_ports.ts";
import type { AnalysisOptions, Problem } from "../core/types.ts";
import { soughtGlobs } from "../lib/glob.ts";
import { withOwners } from "./apk_ownership.ts";
import type { AppAnalyzer } from "./app_analyzer.ts";
import { DOTNET } from "./dotnet.ts";
import { GO } from "./go.ts";
import { JAVA } from "./java.ts";
import { ANALYZERS_VERSION, fnv1a, WANTED } from "./mod.ts";
import { NODE } from "./node.ts";
import { PHP } from "./php.ts";
import { PYTHON } from "./python.ts";
import { RUNTIMES } from "./runtimes.ts";

/** All application analyzers; their results stand in this order, which is the plugin's (scan-semantics §6). */
export const APP_ANALYZERS: readonly AppAnalyzer[] = [
  RUNTIMES,
  NODE,
  PHP,
  PYTHON,
  DOTNET,
  JAVA,
  GO,
];

/** Files that extraction must keep, and what must read others while they stream by. */
export function wantedFiles(options: AnalysisOptions = {}): WantedFiles {
  const analyzers = enabled(APP_ANALYZERS, options);
  const patterns = [...analyzers.flatMap((analyzer) => analyzer.patterns ?? []), ...soughtFiles(options)];
  const extractors = analyzers.flatMap((analyzer) => analyzer.extractors?.(options) ?? []);
  const texts = extractors.map(({ name, version, pattern, magic }) => [name, version, pattern, [...magic ?? []]]);
  return {
    patterns: [...WANTED, ...patterns],
    extractors,
    version: `${ANALYZERS_VERSION}+apps-${fnv1a(JSON.stringify([patterns, texts]))}`,
  };
}

/** Files that are reported with their contents because somebody asked for them (results/manifest_files.ts). */
function soughtFiles(options: AnalysisOptions): FilePattern[] {
  const { include, exclude } = soughtGlobs(options);
  return include.length === 0 ? [] : [{ globs: include, notGlobs: exclude, maxBytes: LIMITS.smallFileBytes }];
}

/** Input of {@link analyzeApplications}: what analyzers get, but for `report`. */
export type ApplicationsInput = Omit<AppInput, "report">;

/**
 * Runs the enabled analyzers one after another. One that fails is a problem that names it, and the others go on: half a
 * result that says so is worth more than none.
 *
 * @throws The signal's reason, when it aborts.
 */
export async function analyzeApplications(
  input: ApplicationsInput,
  analyzers: readonly AppAnalyzer[] = APP_ANALYZERS,
): Promise<AppAnalysis> {
  const problems: Problem[] = [];
  const results: AppResult[] = [];
  const imageFacts: ScanFact[] = [];
  for (const analyzer of enabled(analyzers, input.options)) {
    input.signal.throwIfAborted();
    try {
      const findings = await analyzer.analyze({ ...input, report: (problem) => problems.push(problem) });
      results.push(...findings.results ?? []);
      imageFacts.push(...findings.imageFacts ?? []);
    } catch (error) {
      input.signal.throwIfAborted();
      const { code, message } = toOutpostError(error);
      problems.push({ code, subject: analyzer.name, message });
    }
  }
  return { results: withOwners(results, input.view, input.os.release), imageFacts, problems };
}

function enabled(analyzers: readonly AppAnalyzer[], options: AnalysisOptions): AppAnalyzer[] {
  return analyzers.filter((analyzer) => analyzer.enabled?.(options) ?? options.excludeAppVulns !== true);
}
