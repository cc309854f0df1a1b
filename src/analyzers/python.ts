/**
 * Python applications: what Poetry pins, what pip installed for a requirements.txt, source files (scan-semantics §6,
 * "poetry" and "pip").
 *
 * @module
 */
import { toOutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { AppInput, AppResult } from "../core/scan_ports.ts";
import type { AnalysisOptions, ImageFile } from "../core/types.ts";
import { absolute, type AppAnalyzer, filesNamed, type Findings } from "./app_analyzer.ts";
import { applicationFiles, presence } from "./application_files.ts";
import type { PythonPackage } from "./pip.ts";
import { type FilePair, pairedFiles } from "./project_files.ts";
import { METADATA, METADATA_EXTRACTOR, type MetadataFacts } from "./python_metadata.ts";
import { requirementsOf } from "./python_requirement.ts";

const MANIFEST = "pyproject.toml";
const LOCK = "poetry.lock";
const REQUIREMENTS = "requirements.txt";
const SOURCES = "python-source";
const PACKAGES = ["/dist-packages/", "/site-packages/"] as const;

/** Poetry's projects, then pip's, then source files. */
export const PYTHON: AppAnalyzer = {
  name: "python",
  patterns: [
    { names: [MANIFEST], maxBytes: LIMITS.projectManifestBytes },
    { names: [LOCK], maxBytes: LIMITS.projectLockBytes },
    { names: [REQUIREMENTS], maxBytes: LIMITS.smallFileBytes },
  ],
  extractors: ({ collectApplicationFiles }: AnalysisOptions) => [
    METADATA_EXTRACTOR,
    ...(collectApplicationFiles === true
      ? [presence(SOURCES, {
        suffixes: [".py", REQUIREMENTS, "Pipfile"],
        notFrom: ["/usr/"],
        notWithin: ["/site-packages/", "/dist-packages/"],
      })]
      : []),
  ],
  analyze,
};

async function analyze(input: AppInput): Promise<Findings> {
  const { view, options } = input;
  const sources = view.extracted(SOURCES).map(({ path }) => path).filter(isOwnSource);
  const collected = options.collectApplicationFiles === true && applicationFiles(sources, "python", "python");
  const results = [...await poetryResults(input), ...await pipResults(input)];
  return { results: collected ? [...results, collected] : results };
}

async function poetryResults(input: AppInput): Promise<AppResult[]> {
  const pairs = pairedFiles(filesNamed(input.view, [MANIFEST]), filesNamed(input.view, [LOCK]));
  if (pairs.length === 0) return [];
  const poetry = await import("./poetry.ts");
  return pairs.flatMap((pair) => fromPoetry(pair, poetry, input) ?? []);
}

function fromPoetry(
  { manifest, lock }: FilePair<ImageFile, ImageFile>,
  { parsePoetryManifest, poetryGraph }: typeof import("./poetry.ts"),
  { report }: AppInput,
): AppResult | undefined {
  let subject = manifest.path;
  try {
    const project = parsePoetryManifest(textIn(manifest));
    subject = lock.path;
    const graph = poetryGraph(project, textIn(lock));
    return {
      type: "poetry",
      targetFile: absolute(manifest.path).path,
      facts: [{ type: "depGraph", data: graph }, { type: "testedFiles", data: [MANIFEST, LOCK] }],
      evidence: [{ path: manifest.path }, { path: lock.path }],
    };
  } catch (error) {
    const { code, message } = toOutpostError(error);
    report({ code, subject, message });
    return undefined;
  }
}

async function pipResults(input: AppInput): Promise<AppResult[]> {
  const { view, report } = input;
  const metadata = view.extracted(METADATA).filter(({ path }) => isInstalled(`/${path}`));
  const files = filesNamed(view, [REQUIREMENTS]).filter((file) => requirementsOf(textIn(file)).next().done !== true);
  if (metadata.length === 0 || files.length === 0) return [];
  const { InstalledPackages, PipBudget, pipGraph } = await import("./pip.ts");
  const packages = await packagesOf(metadata.map(({ path, data }) => ({ path, facts: data as MetadataFacts })), report);
  if (packages.length === 0) return [];
  const installed = new InstalledPackages(packages);
  const budget = new PipBudget();
  return files.flatMap((file) => {
    const { path: targetFile } = absolute(file.path);
    try {
      const found = pipGraph(targetFile, textIn(file), installed, budget);
      if (found === undefined) return [];
      const evidence = found.packages.map(({ path, name, version }) => ({ path, name, version }));
      return [{
        type: "pip",
        targetFile,
        facts: [{ type: "depGraph", data: found.graph }],
        evidence: [{ path: file.path }, ...evidence],
      }];
    } catch (error) {
      const { code, message } = toOutpostError(error);
      report({ code, subject: file.path, message });
      return [];
    }
  });
}

/** Packages with a name and a version. Those whose version has no number are left out, as the plugin does. */
async function packagesOf(
  metadata: readonly { readonly path: string; readonly facts: MetadataFacts }[],
  report: AppInput["report"],
): Promise<PythonPackage[]> {
  const { comparableVersion } = await import("./pip.ts");
  return metadata.flatMap(({ path, facts }) => {
    const name = facts.name?.toLowerCase();
    const version = comparableVersion(facts.version ?? "");
    if (name !== undefined && version !== undefined) return [{ name, version, path, facts }];
    if (name !== undefined && facts.version !== undefined) return [];
    const reason = facts.problem ?? "it lacks a name or a version";
    report({ code: "ANALYSIS_FAILED", subject: path, message: `The file was not read: ${reason}` });
    return [];
  });
}

/**
 * The plugin's idea of where packages are installed, the four parts in this order with
 * anything in between. Not its expression, which takes cubic time.
 */
function isInstalled(path: string): boolean {
  const library = path.indexOf("/lib/python");
  if (library < 0) return false;
  const places = PACKAGES.map((name) => path.indexOf(name, library + "/lib/python".length)).filter((at) => at >= 0);
  return places.length > 0 && path.includes(".dist-info/METADATA", Math.min(...places) + PACKAGES[0].length);
}

function textIn({ content }: ImageFile): string {
  return new TextDecoder().decode(content);
}

/** What belongs to the system or to installed packages is no source of the application. */
function isOwnSource(path: string): boolean {
  const whole = `/${path}`;
  return !whole.includes("/site-packages/") && !whole.includes("/dist-packages/") && !whole.startsWith("/usr/");
}
