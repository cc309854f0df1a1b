import { describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import type { FileExtractor } from "../core/ports.ts";
import type { AppResult } from "../core/scan_ports.ts";
import type { AnalysisOptions } from "../core/types.ts";
import { BOOKWORM, findApplications, viewOf } from "./analyzer_suite.ts";
import { absolute, type AppAnalyzer, filesNamed } from "./app_analyzer.ts";
import { analyzeApplications, APP_ANALYZERS, type ApplicationsInput, wantedFiles } from "./applications.ts";
import { WANTED } from "./mod.ts";

const result = (targetFile: string): AppResult => ({ type: "npm", targetFile, facts: [], evidence: [] });

function input(options: AnalysisOptions = {}, signal = new AbortController().signal): ApplicationsInput {
  const packages = { type: "linux" as const, database: "", packages: [] };
  return { view: viewOf({}), os: { release: BOOKWORM, packages, problems: [] }, imageName: "x", options, signal };
}

describe("wantedFiles()", () => {
  it("wants what the operating system's analyzers want, and no more when applications are excluded", () => {
    const { patterns, extractors } = wantedFiles({ excludeAppVulns: true });
    expect(patterns.slice(0, WANTED.length)).toEqual(WANTED);
    const always = APP_ANALYZERS.filter((analyzer) => analyzer.enabled?.({ excludeAppVulns: true }) === true);
    expect(extractors.map(({ name }) => name)).toEqual(
      always.flatMap((analyzer) => analyzer.extractors?.({}) ?? []).map(({ name }) => name),
    );
    expect(wantedFiles().extractors.map(({ name }) => name)).toContain("jar");
  });

  it("has another version for other facts, and the same for the same", () => {
    const options: readonly AnalysisOptions[] = [
      {},
      { excludeAppVulns: true },
      { nestedJarsDepth: 0 },
      { nestedJarsDepth: 2 },
      { includeSystemJars: true },
    ];
    const versions = options.map((one) => wantedFiles(one).version);
    expect(new Set(versions).size).toBe(options.length);
    expect(wantedFiles({ nestedJarsDepth: 1 }).version).toBe(wantedFiles().version);
  });

  it("has extractors with names of their own", () => {
    const names = wantedFiles({ collectApplicationFiles: true }).extractors.map(({ name }: FileExtractor) => name);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe("analyzeApplications()", () => {
  it("keeps the order of the table, whatever an analyzer's speed", async () => {
    const slow: AppAnalyzer = { name: "slow", analyze: async () => await Promise.resolve({ results: [result("/a")] }) };
    const fact = { type: "baseRuntimes", data: [] };
    const fast: AppAnalyzer = { name: "fast", analyze: () => ({ results: [result("/b")], imageFacts: [fact] }) };
    const { results, imageFacts, problems } = await analyzeApplications(input(), [slow, fast]);
    expect(results.map(({ targetFile }) => targetFile)).toEqual(["/a", "/b"]);
    expect(imageFacts).toEqual([fact]);
    expect(problems).toEqual([]);
  });

  it("goes on when an analyzer fails, and names it", async () => {
    const failing: AppAnalyzer[] = [new TypeError("x"), new OutpostError("LIMIT_EXCEEDED", "Cannot read it: too long")]
      .map((error, at) => ({ name: `bad${at}`, analyze: () => Promise.reject(error) }));
    const good: AppAnalyzer = {
      name: "good",
      analyze({ report }) {
        report({ code: "ANALYSIS_FAILED", subject: "a", message: "b" });
        return { results: [result("/b")] };
      },
    };
    const { results, problems } = await analyzeApplications(input(), [...failing, good]);
    expect(results).toHaveLength(1);
    expect(problems.map(({ code, subject }) => `${code} ${subject}`)).toEqual([
      "INTERNAL bad0",
      "LIMIT_EXCEEDED bad1",
      "ANALYSIS_FAILED a",
    ]);
  });

  it("runs without applications only what says so", async () => {
    const app: AppAnalyzer = { name: "app", analyze: () => ({ results: [result("/a")] }) };
    const image: AppAnalyzer = {
      ...app,
      name: "image",
      enabled: () => true,
      analyze: () => ({ results: [result("/i")] }),
    };
    const { results } = await analyzeApplications(input({ excludeAppVulns: true }), [app, image]);
    expect(results.map(({ targetFile }) => targetFile)).toEqual(["/i"]);
  });

  it("ends with the signal's reason", async () => {
    const controller = new AbortController();
    const aborting: AppAnalyzer = {
      name: "aborting",
      analyze() {
        controller.abort(new Error("enough"));
        throw new Error("x");
      },
    };
    await expect(analyzeApplications(input({}, controller.signal), [aborting])).rejects.toThrow("enough");
    await expect(analyzeApplications(input({}, controller.signal), [aborting])).rejects.toThrow("enough");
  });
});

describe("what application analyzers share", () => {
  it("filesNamed() gives the newest layer's files first, without empty ones", () => {
    const view = viewOf({
      "a/x": { content: "1", layer: 0, position: 7 },
      "b/x": { content: "2", layer: 1, position: 9 },
      "c/x": { content: "3", layer: 1, position: 2 },
      "d/x": "",
      "e/y": "4",
    });
    expect(filesNamed(view, ["x"]).map(({ path }) => path)).toEqual(["c/x", "b/x", "a/x"]);
  });

  it("absolute() writes a path and its directory as results do", () => {
    expect(absolute("a/b/c")).toEqual({ path: "/a/b/c", directory: "/a/b" });
    expect(absolute("c")).toEqual({ path: "/c", directory: "/" });
  });

  it.each(APP_ANALYZERS.map((analyzer) => [analyzer.name, analyzer] as const))(
    "%s finds nothing in an image without files, and has no complaint",
    async (_name, analyzer) => {
      const nothing = { results: [], imageFacts: [], problems: [] };
      expect(await findApplications(analyzer, {})).toEqual(nothing);
      expect(await findApplications(analyzer, { "a/b.txt": "text", "package.json": "" })).toEqual(nothing);
    },
  );
});
