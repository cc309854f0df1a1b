import { describe, expect, it } from "vitest";
import { GatedEngine, gatedLayer, settled } from "../../tests/fakes/gated_engine.ts";
import { fakeLayer } from "../../tests/fakes/layer.ts";
import { tar } from "../../tests/fakes/tar_builder.ts";
import { LIMITS } from "../core/limits.ts";
import { MemoryBudget, type Reservation } from "../lib/memory_budget.ts";
import { budgetedEngine } from "./budgeted_engine.ts";
import { createLayerEngine } from "./engine.ts";

const { signal } = new AbortController();
const RESERVE = LIMITS.layerReserveBytes;

/** Tells when somebody has asked for more than the reserve. */
class WatchedBudget extends MemoryBudget {
  readonly asked = Promise.withResolvers<void>();

  override acquire(bytes: number, signal: AbortSignal): Promise<Reservation> {
    const reservation = super.acquire(bytes, signal);
    if (bytes > RESERVE) this.asked.resolve();
    return reservation;
  }
}

describe("budgetedEngine()", () => {
  it("waits for room with nothing held, and reads when there is some", async () => {
    const gated = new GatedEngine();
    const budget = new MemoryBudget(RESERVE);
    const engine = budgetedEngine(gated, budget);
    const [a, b] = ["a", "b"].map((name) => engine.extract(gatedLayer(name), { signal }));
    await settled();
    expect([gated.running, budget.waiting, budget.used]).toEqual([["a"], 1, RESERVE]);
    (await gated.reading("a")).fail(new Error("broken"));
    await expect(a).rejects.toThrow("broken");
    (await gated.reading("b")).succeed();
    await b;
    expect(budget.used).toBe(0);
  });

  it("lets go of everything when there is no more room, and reads again when there is", async () => {
    const gated = new GatedEngine();
    const budget = new MemoryBudget(2 * RESERVE);
    const engine = budgetedEngine(gated, budget);
    const [a, b] = ["a", "b"].map((name) => engine.extract(gatedLayer(name), { signal }));
    (await gated.reading("b")).succeed(2 * RESERVE);
    await settled();
    expect([gated.running, budget.waiting, budget.used]).toEqual([["a"], 1, RESERVE]);
    // The oldest is never held up, whatever it keeps.
    (await gated.reading("a")).succeed(3 * RESERVE);
    await a;
    const again = await gated.reading("b");
    expect(budget.used).toBe(2 * RESERVE + LIMITS.layerBufferBytes);
    again.succeed(2 * RESERVE);
    await b;
    expect([gated.begun, budget.used, budget.waiting]).toEqual([["a", "b", "b"], 0, 0]);
  });

  it("asks the real engine's memory of the budget before it is taken", async () => {
    const size = RESERVE + 1;
    const { handle, opens } = fakeLayer(tar({ name: "wanted", body: new Uint8Array(size) }));
    const patterns = [{ names: ["wanted"], maxBytes: 2 * size }];
    const budget = new WatchedBudget(2 * RESERVE);
    const engine = budgetedEngine(createLayerEngine({ patterns, version: "1" }), budget);
    const other = await budget.acquire(RESERVE, signal);
    const facts = engine.extract(handle, { signal });
    await budget.asked.promise;
    expect([budget.used, budget.waiting, opens()]).toEqual([RESERVE, 1, 1]);
    other.release();
    expect((await facts).entries).toHaveLength(1);
    expect([budget.used, opens()]).toEqual([0, 2]);
  });
});
