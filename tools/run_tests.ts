/**
 * Everything that must hold, in one command: installs the peers, then format, lint, types and all tests. Prints
 * `N passed, N failed` (and `, N skipped`) alone on the last line; exits 1 on any failure, on zero tests, and with
 * CI=true on a missing peer.
 *
 * Run: `deno task test`
 *
 * @module
 */
import { installPeers } from "../tests/peers/install.ts";
import { readJunit, type TestResult } from "./junit.ts";

/** CI gives up after 12 minutes; a hanging test shall be named before that. */
const DEADLINE_MS = 11 * 60_000;

const root = new URL("../", import.meta.url).pathname;

/** Unit tests share the cores; end-to-end tests have them to themselves, since they look at time and memory. */
const TEST_RUNS: readonly { readonly name: string; readonly args: readonly string[] }[] = [
  { name: "tests", args: ["--parallel", "--ignore=tests/e2e"] },
  { name: "end-to-end tests", args: ["tests/e2e/"] },
];

const CHECKS: readonly { readonly name: string; readonly args: readonly string[] }[] = [
  { name: "deno fmt --check", args: ["fmt", "--check", "--quiet"] },
  { name: "deno lint", args: ["lint", "--quiet"] },
  { name: "deno check", args: ["check", "--quiet"] },
];

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

/** Runs deno with our output as its own; true when it succeeded. */
async function deno(args: readonly string[], signal: AbortSignal): Promise<boolean> {
  const command = new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: root,
    env: { DENO_NO_UPDATE_CHECK: "1" },
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
    signal,
  });
  return (await command.spawn().status).success;
}

/** Runs some tests; a run that fails without a failed test (a module that does not load, say) counts as one. */
async function runTests(name: string, args: readonly string[], signal: AbortSignal): Promise<readonly TestResult[]> {
  const report = await Deno.makeTempFile({ suffix: ".xml" });
  try {
    const ok = await deno(["test", "-A", "--no-check", `--junit-path=${report}`, ...args], signal);
    const results = readJunit(await Deno.readTextFile(report));
    if (ok || results.some((result) => result.outcome === "failed")) return results;
    const why = signal.aborted ? "did not end in time" : "failed outside of any test";
    return [...results, { name: `the ${name} ${why}`, outcome: "failed" }];
  } finally {
    await Deno.remove(report);
  }
}

async function missingPeers(ci: boolean): Promise<readonly TestResult[]> {
  const missing = (await installPeers(say)).filter((peer) => !peer.available);
  for (const { name, reason } of missing) {
    say(`Peer ${name} is missing, the tests that need it are skipped: ${reason}`);
  }
  return ci ? missing.map(({ name }) => ({ name: `peer ${name}`, outcome: "failed" })) : [];
}

async function main(): Promise<number> {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const results: TestResult[] = [...await missingPeers(Deno.env.get("CI") === "true")];
  for (const { name, args } of CHECKS) {
    say(`— ${name}`);
    if (!await deno(args, signal)) results.push({ name, outcome: "failed" });
  }
  let tests = 0;
  for (const { name, args } of TEST_RUNS) {
    say(`— ${name}`);
    const found = await runTests(name, args, signal);
    tests += found.length;
    results.push(...found);
  }
  const named = (outcome: TestResult["outcome"]): readonly string[] =>
    results.filter((result) => result.outcome === outcome).map((result) => result.name);
  for (const name of named("skipped")) say(`skipped: ${name}`);
  for (const name of named("failed")) say(`failed: ${name}`);
  const skipped = named("skipped").length;
  const failed = named("failed").length + (tests === 0 ? 1 : 0);
  say(`${named("passed").length} passed, ${failed} failed${skipped === 0 ? "" : `, ${skipped} skipped`}`);
  return failed === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());
