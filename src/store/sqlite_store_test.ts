import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SqliteStore } from "./sqlite_store.ts";
import { newJob, storeSuite } from "./store_suite.ts";

const open = (file: string, more = {}): SqliteStore =>
  new SqliteStore({ path: file, defer: (run) => void setTimeout(run, 0), now: () => performance.now(), ...more });

storeSuite("SqliteStore", (directory) => open(`${directory}/state.db`));

describe("SqliteStore", () => {
  let directory: string;
  let file: string;
  beforeEach(() => {
    directory = Deno.makeTempDirSync();
    file = `${directory}/state.db`;
  });
  afterEach(() => Deno.removeSync(directory, { recursive: true }));

  it("P1 finds everything again, and hands on at once what a process that ended held", async () => {
    const first = open(file);
    await first.accept(newJob("a"));
    await first.accept(newJob("b"));
    await first.claim({ owner: "old", now: 1000, until: 61_000 });
    await first.complete("a", {
      owner: "old",
      sequence: 0,
      outcome: "success",
      resultKey: "k",
      result: new Uint8Array(3),
      now: 1001,
    });
    first.close();
    using second = Object.assign(open(file), { [Symbol.dispose]: () => second.close() });
    expect(await second.claim({ owner: "new", now: 1002, until: 61_002 })).toMatchObject({ id: "a", position: 1 });
    expect(await second.nextCallback({ owner: "new", now: 1002, until: 61_002 }, [])).toMatchObject({
      jobId: "a",
      sequence: 0,
      resultKey: "k",
    });
    expect(await second.result("k", 1003)).toHaveLength(3);
  });

  it("commits all that came in one turn of the event loop at once", async () => {
    let writes = 0;
    const store = open(file, { onWrite: () => writes++ });
    writes = 0;
    await Promise.all(Array.from({ length: 50 }, (_, n) => store.accept(newJob(`job-${n}`))));
    expect(writes).toBe(1);
    expect((await store.backlog()).queued).toBe(50);
    store.close();
  });

  it("commits what waits when it is closed, and refuses afterwards", async () => {
    const store = open(file);
    const accepted = store.accept(newJob("a"));
    store.close();
    expect(await accepted).toEqual({ id: "a", duplicate: false });
    await expect(store.claim({ owner: "me", now: 1, until: 2 })).rejects.toThrow("it is closed");
    const again = open(file);
    expect(await again.job("a")).toMatchObject({ state: "queued" });
    again.close();
  });
});
