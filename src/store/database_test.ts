/** What a store does when its file is not what it should be, when another process has it, and when the disk is full (S4, S5, S9). */
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import { Database, type DatabaseOptions } from "./database.ts";
import { MIGRATIONS } from "./migrations.ts";
import { SqliteStore } from "./sqlite_store.ts";
import { newJob } from "./store_suite.ts";

const isRoot = Deno.uid() === 0;

describe("Database", () => {
  let directory: string;
  let file: string;
  beforeEach(() => {
    directory = Deno.makeTempDirSync();
    file = `${directory}/state.db`;
  });
  afterEach(() => Deno.removeSync(directory, { recursive: true }));

  const options = (more: Partial<DatabaseOptions> = {}): DatabaseOptions => ({
    path: file,
    defer: (run) => void setTimeout(run, 0),
    now: () => performance.now(),
    ...more,
  });

  function refusal(more: Partial<DatabaseOptions> = {}): OutpostError {
    try {
      new Database(options(more)).close();
    } catch (error) {
      if (error instanceof OutpostError) return error;
      throw error;
    }
    throw new Error("It was opened");
  }

  async function filled(jobs: number): Promise<void> {
    const store = new SqliteStore(options());
    for (let n = 0; n < jobs; n++) {
      await store.accept(newJob(`job-${n}`, { maxQueued: 1e6, request: "x".repeat(2000) }));
    }
    store.close();
  }

  it("S9 is for one process at a time", () => {
    const first = new Database(options());
    expect(refusal()).toMatchObject({
      code: "STORE_UNUSABLE",
      message: expect.stringContaining("another Outpost process uses it"),
      hint: expect.stringContaining("OUTPOST_DATA_DIR"),
    });
    first.close();
    new Database(options()).close();
  });

  it("S5 refuses a damaged database with advice, and leaves it as it is", async () => {
    await filled(200);
    const good = Deno.readFileSync(file);
    const bad = good.slice();
    bad.fill(0xa5, 4096 * 3, 4096 * 9);
    Deno.writeFileSync(file, bad);
    expect(refusal()).toMatchObject({
      message: expect.stringContaining("damaged"),
      hint: expect.stringContaining(".recover"),
    });
    expect(Deno.readFileSync(file)).toEqual(bad);
    Deno.writeFileSync(file, good);
    new Database(options()).close();
  });

  it.each([
    ["text", new TextEncoder().encode("This is no database, but it is long enough to be looked at.".repeat(40))],
    [
      "a database that was cut short",
      new Uint8Array([...new TextEncoder().encode("SQLite format 3\0"), ...new Uint8Array(4000).fill(7)]),
    ],
  ])("S5 refuses %s", (_what, bytes) => {
    Deno.writeFileSync(file, bytes);
    expect(refusal()).toMatchObject({ code: "STORE_UNUSABLE", message: expect.stringContaining("damaged") });
  });

  it("S5 reads what a damaged end of the write-ahead log leaves of it", async () => {
    const store = new SqliteStore(options());
    for (let n = 0; n < 20; n++) await store.accept(newJob(`job-${n}`));
    const copy = `${directory}/copy.db`;
    Deno.copyFileSync(file, copy);
    const log = Deno.readFileSync(`${file}-wal`);
    Deno.writeFileSync(`${copy}-wal`, log.subarray(0, log.length - 3000));
    store.close();
    const second = new SqliteStore(options({ path: copy }));
    const jobs = await second.list({ limit: 100 });
    expect(jobs.length).toBeGreaterThan(10);
    expect(jobs.length).toBeLessThan(20);
    second.close();
  });

  it("S5 refuses a database of a newer version, and of another program", () => {
    new Database(options({ migrations: [...MIGRATIONS, "CREATE TABLE later (a)"] })).close();
    expect(refusal()).toMatchObject({
      message: expect.stringContaining(`it has version ${MIGRATIONS.length + 1}`),
      hint: expect.stringContaining("newer Outpost"),
    });
    const other = new DatabaseSync(`${directory}/other.db`);
    other.exec("CREATE TABLE notes (a)");
    other.close();
    expect(refusal({ path: `${directory}/other.db` }).message).toContain("another program");
  });

  it("S5 refuses a place where it cannot write", () => {
    expect(refusal({ path: `${directory}/none/state.db` })).toMatchObject({
      code: "STORE_UNUSABLE",
      hint: expect.stringContaining("OUTPOST_DATA_DIR"),
    });
  });

  it("S7 runs each numbered step once, all of it or nothing", () => {
    const steps = ["CREATE TABLE one (a)", "CREATE TABLE two (a); INSERT INTO two VALUES (1)"];
    new Database(options({ migrations: steps.slice(0, 1) })).close();
    expect(() => new Database(options({ migrations: ["", "CREATE TABLE two (a); nonsense"] }))).toThrow();
    const database = new Database(options({ migrations: steps }));
    expect(database.all("SELECT a FROM two")).toHaveLength(1);
    database.close();
    const again = new Database(options({ migrations: steps }));
    expect(again.all("SELECT a FROM two")).toHaveLength(1);
    again.close();
  });

  // deno-lint-ignore no-console -- whoever runs the tests has to see it
  if (!isRoot) console.warn("Skipped: the test of a full disk mounts a small file system, which needs root");
  it.skipIf(!isRoot)(
    "P1 S4 refuses while the disk is full, works again when there is room, and has lost nothing",
    async () => {
      const small = `${directory}/small`;
      Deno.mkdirSync(small);
      await command("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small);
      try {
        const full: boolean[] = [];
        const path = `${small}/state.db`;
        const store = new SqliteStore(options({ path, onFull: (now) => full.push(now) }));
        Deno.writeFileSync(`${small}/ballast`, new Uint8Array(2 << 20));
        const acked: string[] = [];
        let refused: unknown;
        for (let n = 0; refused === undefined; n++) {
          const job = newJob(`job-${n}`, { maxQueued: 1e6, request: `${n}`.repeat(4000) });
          await store.accept(job).then(({ id }) => acked.push(id), (error) => refused = error);
        }
        expect(refused).toMatchObject({
          code: "STORE_UNAVAILABLE",
          status: 503,
          message: expect.stringContaining("full"),
        });
        expect(full).toEqual([true]);
        await expect(store.accept(newJob("later", { request: "y".repeat(9000) }))).rejects.toThrow("full");
        expect(await store.job(acked[0] ?? "")).toMatchObject({ state: "queued" });
        Deno.removeSync(`${small}/ballast`);
        expect(await store.accept(newJob("later", { maxQueued: 1e6 }))).toEqual({ id: "later", duplicate: false });
        expect(full).toEqual([true, false]);
        const kept = (await store.list({ limit: 1e6 })).map(({ id }) => id);
        expect(kept.toSorted()).toEqual([...acked, "later"].toSorted());
        store.close();
        const again = new SqliteStore(options({ path }));
        expect(await again.list({ limit: 1e6 })).toHaveLength(acked.length + 1);
        again.close();
      } finally {
        await command("umount", small);
      }
    },
  );
});

async function command(name: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(name, { args }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}
