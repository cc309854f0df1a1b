import { describe, expect, it } from "vitest";
import { backoff } from "./backoff.ts";

describe("backoff()", () => {
  it("doubles, spreads over half of the wait, and stops at the longest", () => {
    const wait = (attempt: number, random: number): number => backoff(attempt, { min: 1000, max: 60_000, random });
    expect([1, 2, 3].map((n) => wait(n, 0))).toEqual([500, 1000, 2000]);
    expect(wait(3, 0.999)).toBeGreaterThan(3990);
    expect(wait(1000, 0.5)).toBe(45_000);
  });
});
