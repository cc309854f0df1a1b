/**
 * S3: each system call with which SQLite touches the database fails once, the first in one run, the second in the next,
 * and so on until a run has no call left to fail. `strace` gives the answers of a failing disk in the kernel's place
 * (strace(1), "Tampering"), so that everything above the system call is what runs in production.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SqliteStore } from "../../src/store/sqlite_store.ts";
import { findProgram } from "../peers/mod.ts";
import { run } from "../peers/process.ts";
import { RESULT, type ScenarioReport } from "./io_scenario.ts";

/** Every single call; without it, some of the many writes only: `deno task io-faults`. */
const ALL = Deno.env.get("OUTPOST_TEST_IO") === "all";

/** Calls with which SQLite changes files, what a disk may answer to them, and how far the next is that fails. */
const FAULTS = [
  ["pwrite64", "ENOSPC", ALL ? 1 : 9],
  ["pwrite64", "EIO", ALL ? 1 : 10],
  ["fsync", "EIO", 1],
  ["fsync", "ENOSPC", ALL ? 1 : 3],
  ["ftruncate", "EIO", 1],
  ["openat", "EIO", 1],
  ["unlink", "EIO", 1],
] as const;

/** What the scenario has done in the end, whatever failed on the way. */
const ALL_DONE = [
  "open",
  ...["a", "b", "c"].map((id) => `accept ${id}`),
  "claim a",
  "complete a 0",
  "complete a 1",
  ...[0, 1, 2].map((sequence) => `settle a ${sequence}`),
  "cancel b",
  "purge",
  "close",
];

const strace = findProgram("strace");
// deno-lint-ignore no-console -- whoever runs the tests has to see it
if (strace === undefined) console.warn("Skipped: the tests of a failing disk need strace");

describe.skipIf(strace === undefined)("a store on a failing disk", () => {
  let directory: string;
  beforeEach(() => directory = Deno.makeTempDirSync());
  afterEach(() => Deno.removeSync(directory, { recursive: true }));

  /** Runs the scenario on an empty database; undefined when it has fewer such calls. */
  async function runWith(call: string, error: string, nth: number): Promise<ScenarioReport | undefined> {
    const path = `${directory}/${call}-${error}-${nth}.db`;
    const log = `${path}.log`;
    const files = [path, `${path}-wal`, `${path}-journal`, `${path}-shm`].flatMap((file) => ["-P", file]);
    const inject = ["-e", `trace=${call}`, "-e", `inject=${call}:error=${error}:when=${nth}`];
    const scenario = ["run", "-A", "--no-check", "tests/store/io_scenario.ts", path];
    const child = await run(strace ?? "", ["-f", "-qq", "-o", log, ...files, ...inject, Deno.execPath(), ...scenario], {
      cwd: new URL("../../", import.meta.url).pathname,
    });
    expect(child.code, `${call} ${nth}: ${child.stderr}`).toBe(0);
    const injected = Deno.readTextFileSync(log).includes("(INJECTED)");
    await expectComplete(path);
    return injected ? JSON.parse(child.stdout) : undefined;
  }

  /** Nothing that was acknowledged is missing, and nothing else is there. */
  async function expectComplete(path: string): Promise<void> {
    const store = new SqliteStore({ path, defer: (later) => void setTimeout(later, 0), now: () => 0 });
    try {
      const jobs = await store.list({ limit: 10 });
      expect(jobs.map(({ id, state }) => `${id} ${state}`).toSorted()).toEqual(["a partial", "b queued", "c queued"]);
      const a = await store.job("a");
      expect(a?.callbacks.map(({ sequence, state }) => [sequence, state])).toEqual([0, 1, 2].map((sequence) => [
        sequence,
        "delivered",
      ]));
      expect(await store.result("key", 0)).toEqual(RESULT);
      const claimed = await store.claim({ owner: "later", now: 2000, until: 3000 });
      expect(claimed).toMatchObject({ id: "b", cancelled: true });
    } finally {
      store.close();
    }
  }

  it.each(FAULTS)("P1 S3 loses nothing when one %s answers %s, whichever", async (call, error, step) => {
    let runs = 0;
    const failed = new Set<string>();
    for (let nth = 1;; nth += step, runs++) {
      const report = await runWith(call, error, nth);
      if (report === undefined) break;
      expect(report.done).toEqual(ALL_DONE);
      // One call has failed, so at most one operation has: what failed once works the next time.
      expect(report.failures.length).toBeLessThanOrEqual(1);
      for (const { operation, code, message, hint } of report.failures) {
        failed.add(operation);
        expect([code, message]).toEqual([
          operation === "open" ? "STORE_UNUSABLE" : "STORE_UNAVAILABLE",
          expect.stringMatching(/^Cannot (open|use|write to) the store .*\.db: /),
        ]);
        expect(hint).toContain("OUTPOST_DATA_DIR");
      }
    }
    // deno-lint-ignore no-console -- the figures of the run
    console.log(`${runs} runs with a ${call} that failed with ${error}; told by: ${[...failed].join(", ")}`);
    expect(runs).toBeGreaterThan(0);
  });
});
