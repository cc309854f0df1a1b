/**
 * Reads what `deno test --junit-path` writes.
 *
 * @module
 */

/** One test that was run or skipped. */
export interface TestResult {
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
}

const CASE = /<testcase name="([^"]*)"[^>]*?(?:\/>|>([\s\S]*?)<\/testcase>)/g;

const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };

/**
 * Returns the tests of a report. A test with steps appears in it beside its steps, named `test` and `test > step`;
 * only the steps are returned then, and the test itself when it failed although no step did (in a hook, say).
 */
export function readJunit(xml: string): readonly TestResult[] {
  const all = [...xml.matchAll(CASE)].map(([, name = "", body = ""]): TestResult => ({
    name: decode(name),
    outcome: /<(?:failure|error)\b/.test(body) ? "failed" : body.includes("<skipped") ? "skipped" : "passed",
  }));
  return all.filter((test) => {
    const steps = all.filter((other) => other.name.startsWith(`${test.name} > `));
    return steps.length === 0 || (test.outcome === "failed" && steps.every((step) => step.outcome !== "failed"));
  });
}

function decode(text: string): string {
  return text.replace(
    /&(?:#(\d+)|(\w+));/g,
    (whole, code: string | undefined, name: string | undefined) =>
      code !== undefined ? String.fromCodePoint(Number(code)) : ENTITIES[name ?? ""] ?? whole,
  );
}
