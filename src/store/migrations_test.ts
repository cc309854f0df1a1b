/**
 * S7: databases of earlier versions. Those of version 1 are in this file as text, as that version wrote them; the steps
 * after it are the released ones and, since what a step may do is more than what was needed so far, some of the test's own.
 */
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import { Database, type DatabaseOptions } from "./database.ts";
import { MIGRATIONS } from "./migrations.ts";
import { SqliteStore } from "./sqlite_store.ts";

/** A database of version 1 with a job that reports, a job that waits, and a result. */
const VERSION_1 = `
  PRAGMA auto_vacuum=INCREMENTAL;
  PRAGMA application_id=${0x4f507374};
  PRAGMA journal_mode=WAL;
  CREATE TABLE jobs (
    id TEXT PRIMARY KEY, request_id TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL, total INTEGER NOT NULL,
    closing INTEGER NOT NULL, request TEXT NOT NULL, credentials BLOB NOT NULL, position INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0, cancelled INTEGER NOT NULL DEFAULT 0, accepted_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL, not_before INTEGER NOT NULL DEFAULT 0, lease_owner TEXT,
    lease_until INTEGER NOT NULL DEFAULT 0, error TEXT
  ) STRICT;
  CREATE INDEX jobs_by_state ON jobs (state, accepted_at);
  CREATE INDEX jobs_by_request ON jobs (request_id);
  CREATE TABLE callbacks (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE, sequence INTEGER NOT NULL, kind TEXT NOT NULL,
    state TEXT NOT NULL, outcome TEXT, result_key TEXT, payload TEXT, attempts INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL, next_at INTEGER NOT NULL, ended_at INTEGER, error TEXT,
    PRIMARY KEY (job_id, sequence)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX callbacks_due ON callbacks (next_at) WHERE state = 'pending';
  CREATE INDEX callbacks_by_result ON callbacks (result_key) WHERE result_key IS NOT NULL;
  CREATE TABLE results (
    key TEXT PRIMARY KEY, bytes INTEGER NOT NULL, used_at INTEGER NOT NULL, body BLOB NOT NULL
  ) STRICT;
  CREATE INDEX results_by_use ON results (used_at, bytes);
  INSERT INTO jobs (id, request_id, kind, state, total, closing, request, credentials, position, accepted_at, updated_at)
    VALUES ('a', 'ra', 'scan', 'reporting', 1, 0, '{"a":1}', x'00', 1, 1000, 1001),
           ('b', 'rb', 'scan', 'queued', 1, 0, '{"b":1}', x'00', 0, 1002, 1002);
  INSERT INTO callbacks (job_id, sequence, kind, state, outcome, result_key, created_at, next_at)
    VALUES ('a', 0, 'result', 'pending', 'success', 'key', 1001, 1001);
  INSERT INTO results VALUES ('key', 3, 1001, x'010203');
  PRAGMA user_version=1;
`;

/** A step as a later version might have it: new columns with values for old rows. */
const LATER = `
  ALTER TABLE jobs ADD COLUMN note TEXT NOT NULL DEFAULT '';
  UPDATE jobs SET note = 'was ' || state;
`;

describe("migrations", () => {
  let directory: string;
  let file: string;
  beforeEach(() => {
    directory = Deno.makeTempDirSync();
    file = `${directory}/state.db`;
    const database = new DatabaseSync(file);
    database.exec(VERSION_1);
    database.close();
  });
  afterEach(() => Deno.removeSync(directory, { recursive: true }));

  const options = (more: Partial<DatabaseOptions> = {}): DatabaseOptions => ({
    path: file,
    defer: (run) => void setTimeout(run, 0),
    now: () => 0,
    ...more,
  });

  async function expectEverything(): Promise<void> {
    const store = new SqliteStore(options());
    try {
      expect((await store.list({ limit: 9 })).map(({ id, state }) => [id, state])).toEqual([
        ["b", "queued"],
        ["a", "reporting"],
      ]);
      const due = await store.nextCallback({ owner: "me", now: 2000, until: 3000 }, []);
      expect(due).toMatchObject({ jobId: "a", sequence: 0, resultKey: "key" });
      expect(await store.result("key", 2000)).toEqual(new Uint8Array([1, 2, 3]));
      expect(await store.settle("a", 0, { owner: "me", now: 2000 })).toBe("done");
      expect(await store.claim({ owner: "me", now: 2000, until: 3000 })).toMatchObject({ id: "b", attempts: 1 });
    } finally {
      store.close();
    }
  }

  const versionOf = (): unknown => {
    const database = new DatabaseSync(file, { readOnly: true });
    try {
      return database.prepare("PRAGMA user_version").get()?.["user_version"];
    } finally {
      database.close();
    }
  };

  it("S7 goes on with all that a database of version 1 holds", async () => {
    await expectEverything();
    expect(versionOf()).toBe(MIGRATIONS.length);
  });

  it("S7 brings a database from any version to the last, step by step", () => {
    const steps = [...MIGRATIONS, LATER, "CREATE TABLE notes AS SELECT id, note FROM jobs"];
    for (let known = MIGRATIONS.length; known <= steps.length; known++) {
      new Database(options({ migrations: steps.slice(0, known) })).close();
      expect(versionOf()).toBe(known);
    }
    const database = new Database(options({ migrations: steps }));
    expect(database.all("SELECT id, note FROM notes ORDER BY id").map((row) => ({ ...row }))).toEqual([
      { id: "a", note: "was reporting" },
      { id: "b", note: "was queued" },
    ]);
    database.close();
  });

  it.each([
    ["is not SQL", `${LATER} nonsense`],
    ["breaks a rule", `${LATER} INSERT INTO jobs (id) VALUES ('a')`],
  ])("S7 leaves the version before as it is when a step %s after changes", async (_what, step) => {
    expect(() => new Database(options({ migrations: [...MIGRATIONS, step] }))).toThrow(OutpostError);
    expect(versionOf()).toBe(MIGRATIONS.length);
    await expectEverything();
  });

  it("S7 keeps the steps that were done before the one that fails, and goes on from there", () => {
    const broken = [...MIGRATIONS, LATER, "CREATE TABLE notes (a); nonsense"];
    expect(() => new Database(options({ migrations: broken }))).toThrow(OutpostError);
    expect(versionOf()).toBe(MIGRATIONS.length + 1);
    const repaired = [...MIGRATIONS, LATER, "CREATE TABLE notes (a)"];
    const database = new Database(options({ migrations: repaired }));
    expect(database.all("SELECT a FROM notes")).toEqual([]);
    database.close();
    expect(versionOf()).toBe(repaired.length);
  });

  it("S7 goes on after kill -9 in the middle of a step", async () => {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["eval", KILLED, file, MIGRATIONS.length.toString(), LATER],
      stdout: "null",
      stderr: "piped",
    });
    const { signal } = await child.output();
    expect(signal).toBe("SIGKILL");
    expect(versionOf()).toBe(MIGRATIONS.length);
    await expectEverything();
  });

  it("S7 refuses a version from the future with advice, and changes nothing", () => {
    new Database(options({ migrations: [...MIGRATIONS, LATER] })).close();
    const before = Deno.readFileSync(file);
    let refusal: unknown;
    try {
      new Database(options()).close();
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toMatchObject({
      code: "STORE_UNUSABLE",
      message: expect.stringContaining(
        `it has version ${MIGRATIONS.length + 1}, and this Outpost knows versions up to ${MIGRATIONS.length}`,
      ),
      hint: expect.stringContaining("newer Outpost"),
    });
    expect(Deno.readFileSync(file)).toEqual(before);
  });
});

/** Begins a step as the database does, and ends by SIGKILL before its end. */
const KILLED = `
  import { DatabaseSync } from "node:sqlite";
  const [path, version, step] = Deno.args;
  const db = new DatabaseSync(path);
  db.exec("PRAGMA locking_mode=EXCLUSIVE; PRAGMA cache_spill=1; PRAGMA cache_size=1; BEGIN IMMEDIATE; " + step);
  db.exec("PRAGMA user_version=" + (Number(version) + 1));
  Deno.kill(Deno.pid, "SIGKILL");
`;
