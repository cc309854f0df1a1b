import { describe, expect, it } from "vitest";
import { LIMITS } from "../core/limits.ts";
import { ScanQueue } from "./queue.ts";

function setUp(concurrency: number) {
  const started: number[] = [];
  const finish = new Map<number, () => void>();
  const aborted: number[] = [];
  const queue = new ScanQueue<number>({
    concurrency,
    run: (job, signal) => {
      started.push(job);
      return new Promise((resolve) => {
        finish.set(job, resolve);
        signal.addEventListener("abort", () => {
          aborted.push(job);
          resolve();
        });
      });
    },
  });
  const end = async (job: number): Promise<void> => {
    finish.get(job)?.();
    await new Promise((resolve) => setTimeout(resolve, 0));
  };
  return { queue, started, aborted, end };
}

describe("ScanQueue", () => {
  it("runs jobs in order, as many at once as allowed", async () => {
    const { queue, started, end } = setUp(2);
    for (const job of [1, 2, 3, 4]) queue.add(job);
    expect(started).toEqual([1, 2]);
    await end(1);
    expect(started).toEqual([1, 2, 3]);
    expect(queue.depth).toBe(3);
    for (const job of [2, 3, 4]) await end(job);
    expect(queue.depth).toBe(0);
  });

  it("refuses beyond its bound and accepts again when there is room", async () => {
    const { queue, end } = setUp(1);
    for (let job = 0; job <= LIMITS.queuedScans; job++) queue.add(job);
    expect(() => queue.add(-1)).toThrow("are waiting");
    await end(0);
    queue.add(-2);
  });

  it("takes no more when closed, and waits for those that it has accepted", async () => {
    const { queue, started, end } = setUp(1);
    queue.add(1);
    queue.add(2);
    const closing = queue.close(new AbortController().signal);
    expect(() => queue.add(3)).toThrow("stopping");
    await end(1);
    expect(started).toEqual([1, 2]);
    await end(2);
    expect(await closing).toEqual([]);
  });

  it("hands back at the deadline what never started", async () => {
    const { queue, started, aborted } = setUp(1);
    for (const job of [1, 2, 3]) queue.add(job);
    const deadline = new AbortController();
    const closing = queue.close(deadline.signal);
    deadline.abort();
    expect(await closing).toEqual([2, 3]);
    expect([started, aborted]).toEqual([[1], [1]]);
  });

  it("cancels running jobs at the deadline", async () => {
    const { queue, aborted } = setUp(1);
    queue.add(1);
    const deadline = new AbortController();
    const closing = queue.close(deadline.signal);
    deadline.abort();
    expect(await closing).toEqual([]);
    expect(aborted).toEqual([1]);
  });
});
