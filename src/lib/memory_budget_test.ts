import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryBudget, type Reservation } from "./memory_budget.ts";

const { signal } = new AbortController();

describe("MemoryBudget", () => {
  it("gives up to its bound at once, and the rest in the order in which it was asked for", async () => {
    const budget = new MemoryBudget(10);
    const first = await budget.acquire(6, signal);
    const order: string[] = [];
    const large = budget.acquire(8, signal).then((reservation) => (order.push("large"), reservation));
    const small = budget.acquire(1, signal).then((reservation) => (order.push("small"), reservation));
    expect([budget.used, budget.waiting]).toEqual([6, 2]);
    first.release();
    await large;
    await small;
    expect(order).toEqual(["large", "small"]);
    expect([budget.used, budget.waiting]).toEqual([9, 0]);
  });

  it("gives one alone more than there is", async () => {
    const budget = new MemoryBudget(10);
    const huge = await budget.acquire(50, signal);
    const next = budget.acquire(1, signal);
    expect(budget.waiting).toBe(1);
    huge.release();
    huge.release();
    (await next).release();
    expect(budget.used).toBe(0);
  });

  it("lets the oldest grow beyond the bound, and others as far as there is room", async () => {
    const budget = new MemoryBudget(10);
    const oldest = await budget.acquire(2, signal);
    const other = await budget.acquire(2, signal);
    expect(other.grow(8)).toBe(true);
    expect(other.grow(9)).toBe(false);
    expect(other.grow(3)).toBe(true);
    expect(oldest.grow(40)).toBe(true);
    expect(budget.used).toBe(48);
    oldest.release();
    expect(other.grow(40)).toBe(true);
    other.release();
    expect(budget.used).toBe(0);
  });

  it("forgets one that stops waiting, and serves those behind it", async () => {
    const budget = new MemoryBudget(10);
    const first = await budget.acquire(6, signal);
    const controller = new AbortController();
    const gone = budget.acquire(8, controller.signal);
    const behind = budget.acquire(4, signal);
    controller.abort(new Error("stopped"));
    await expect(gone).rejects.toThrow("stopped");
    (await behind).release();
    await expect(budget.acquire(1, controller.signal)).rejects.toThrow("stopped");
    first.release();
    expect([budget.used, budget.waiting]).toEqual([0, 0]);
  });

  it("never has more than its bound reserved beside the oldest, and leaves nobody waiting for ever", async () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(sizes, fc.array(fc.nat(), { maxLength: 40 }), async (asked, releases) => {
        const budget = new MemoryBudget(20);
        const held: { readonly bytes: number; readonly reservation: Reservation }[] = [];
        const waits = asked.map(async (bytes) => {
          const reservation = await budget.acquire(bytes, signal);
          held.push({ bytes, reservation });
          const beside = held.slice(1).reduce((sum, one) => sum + one.bytes, 0);
          expect(beside).toBeLessThanOrEqual(20);
        });
        for (const pick of [...releases, ...asked.map(() => 0)]) {
          await new Promise<void>((resolve) => queueMicrotask(resolve));
          const [one] = held.splice(held.length === 0 ? 0 : pick % held.length, 1);
          one?.reservation.release();
        }
        while (held.length > 0 || budget.waiting > 0) {
          await new Promise<void>((resolve) => queueMicrotask(resolve));
          held.pop()?.reservation.release();
        }
        await Promise.all(waits);
        expect(budget.used).toBe(held.reduce((sum, { bytes }) => sum + bytes, 0));
        for (const { reservation } of held) reservation.release();
        expect(budget.used).toBe(0);
      }),
      { numRuns: 200 },
    );
  });
});
