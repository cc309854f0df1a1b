import { describe, expect, it } from "vitest";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { persist } from "./persist.ts";

const FULL = new OutpostError("STORE_UNAVAILABLE", "Cannot write to the store: the disk is full");

describe("persist()", () => {
  it("P1 goes on until the store takes it, with bounded waits", async () => {
    const clock = new FakeClock();
    let room = false;
    let writes = 0;
    const written = persist(
      () => {
        writes++;
        return room ? Promise.resolve("kept") : Promise.reject(FULL);
      },
      clock,
      new AbortController().signal,
    );
    await clock.advance(60_000);
    expect(Math.max(...clock.sleeps)).toBeLessThanOrEqual(LIMITS.storeRetryMaxMs);
    expect(writes).toBeGreaterThan(60_000 / LIMITS.storeRetryMaxMs);
    room = true;
    await clock.advance(LIMITS.storeRetryMaxMs);
    expect(await written).toBe("kept");
  });

  it("ends with any other failure, and with its signal", async () => {
    const clock = new FakeClock();
    const controller = new AbortController();
    await expect(persist(() => Promise.reject(new TypeError("defect")), clock, controller.signal)).rejects.toThrow(
      "defect",
    );
    const waiting = persist(() => Promise.reject(FULL), clock, controller.signal);
    await clock.advance(0);
    controller.abort(new Error("stopping"));
    await expect(waiting).rejects.toThrow("stopping");
    expect(clock.pending).toBe(0);
  });
});
