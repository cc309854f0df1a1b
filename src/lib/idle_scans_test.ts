import { describe, expect, it, vi } from "vitest";
import { IdleScans } from "./idle_scans.ts";

describe("IdleScans", () => {
  it("counts a scan while all layers that it works on wait, and tells when it begins to", () => {
    const idle = new IdleScans();
    const told = vi.fn();
    idle.onIdle(told);
    const scan = idle.scan();
    const first = scan.begin();
    expect(idle.count).toBe(0);
    const second = scan.begin();
    const waiting = scan.wait();
    expect([idle.count, told.mock.calls.length]).toEqual([0, 0]);
    second[Symbol.dispose]();
    expect([idle.count, told.mock.calls.length]).toEqual([1, 1]);
    const third = scan.begin();
    expect(idle.count).toBe(0);
    third[Symbol.dispose]();
    waiting[Symbol.dispose]();
    waiting[Symbol.dispose]();
    expect([idle.count, told.mock.calls.length]).toEqual([0, 2]);
    first[Symbol.dispose]();
    expect(idle.count).toBe(0);
  });

  it("counts each scan for itself", () => {
    const idle = new IdleScans();
    const ends = [idle.scan(), idle.scan(), idle.scan()].flatMap((scan) => [scan.begin(), scan.wait()]);
    expect(idle.count).toBe(3);
    for (const end of ends.toReversed()) end[Symbol.dispose]();
    expect(idle.count).toBe(0);
  });
});
