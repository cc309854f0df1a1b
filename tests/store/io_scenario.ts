/**
 * A small life of the store as a process of its own, whose system calls a test lets fail: a job with two images from its
 * acceptance to its last callback, two more that wait. Whatever fails is tried again, as the daemon does.
 *
 * Arguments: the database's path. Prints one JSON line: what was acknowledged, and how operations failed.
 *
 * @module
 */
import { OutpostError } from "../../src/core/errors.ts";
import type { Store } from "../../src/core/store.ts";
import { SqliteStore } from "../../src/store/sqlite_store.ts";

/** What the process prints. */
export interface ScenarioReport {
  /** Operations that were acknowledged, in their order. */
  readonly done: readonly string[];
  readonly failures: readonly Failure[];
}

/** One operation that failed. */
export interface Failure {
  readonly operation: string;
  /** Code of core/errors.ts; "none" for any other error. */
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
}

/** More than one failure in a row would mean that a failure of the past is not over. */
const ATTEMPTS = 4;
const OWNER = "me";
const NOW = 1000;

/** Results are larger than a page, so that some operations write several. */
export const RESULT: Uint8Array<ArrayBuffer> = new Uint8Array(20_000).fill(7);

async function scenario(path: string): Promise<ScenarioReport> {
  const done: string[] = [];
  const failures: Failure[] = [];
  const attempt = async <T>(operation: string, run: () => T | Promise<T>): Promise<T> => {
    for (let left = ATTEMPTS;;) {
      try {
        const value = await run();
        done.push(operation);
        return value;
      } catch (error) {
        const { code, message, hint } = error instanceof OutpostError
          ? error
          : { code: "none", message: String(error), hint: undefined };
        failures.push({ operation, code, message, hint });
        if (--left === 0) throw error;
      }
    }
  };
  const open = (): Store =>
    new SqliteStore({ path, defer: (run) => void setTimeout(run, 0), now: () => performance.now() });
  const store = await attempt("open", open);
  for (const id of ["a", "b", "c"]) await attempt(`accept ${id}`, () => store.accept(job(id)));
  await attempt("claim a", () => store.claim({ owner: OWNER, now: NOW, until: NOW + 60_000 }));
  const first = { owner: OWNER, sequence: 0, outcome: "success", resultKey: "key", result: RESULT, now: NOW } as const;
  await attempt("complete a 0", () => store.complete("a", first));
  const second = { owner: OWNER, sequence: 1, outcome: "error", error: '{"code":"TIMEOUT"}', now: NOW } as const;
  await attempt("complete a 1", () => store.complete("a", second));
  for (const sequence of [0, 1, 2]) {
    await attempt(`settle a ${sequence}`, () => store.settle("a", sequence, { owner: OWNER, now: NOW }));
  }
  await attempt("cancel b", () => store.cancel("b", NOW));
  await attempt("purge", () => store.purge({ now: NOW, before: 0, maxBytes: 1 << 20 }));
  await attempt("close", () => store.close());
  return { done, failures };
}

function job(id: string): Parameters<Store["accept"]>[0] {
  return {
    id,
    requestId: `request-${id}`,
    kind: "scan",
    total: 2,
    closing: true,
    request: JSON.stringify({ note: id.repeat(6000) }),
    credentials: new Uint8Array([0]),
    acceptedAt: NOW,
    maxQueued: 10,
  };
}

if (import.meta.main) {
  const report = await scenario(Deno.args[0] ?? "");
  Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(report)}\n`));
}
