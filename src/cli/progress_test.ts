import { describe, expect, it } from "vitest";
import { FakeClock } from "../../tests/fakes/clock.ts";
import type { ScanEvent } from "../core/scan_ports.ts";
import { count, formatBytes, ScanProgress } from "./progress.ts";

const NAME = `sha256:${"abcdef0123456789".repeat(4)}`;
const RESOLVED: ScanEvent = { kind: "resolved", imageName: "team/app:1", layers: 2, bytes: 5_000_000 };
const START: ScanEvent = { kind: "layer-start", index: 0, name: NAME, size: 4_000_000 };
const DONE: ScanEvent = { kind: "layer-done", index: 0, storedBytes: 4_000_000, entries: 1, reused: false };
const progress = (storedBytes: number): ScanEvent => ({ kind: "layer-progress", index: 0, storedBytes });

function setUp(isTerminal: boolean) {
  const writes: string[] = [];
  const clock = new FakeClock();
  const out = {
    isTerminal,
    columns: isTerminal ? 80 : undefined,
    color: false,
    write: (t: string) => void writes.push(t),
  };
  const shown = new ScanProgress(out, clock);
  return { show: (...events: readonly ScanEvent[]) => events.forEach((event) => shown.show(event)), writes, clock };
}

/** What a terminal shows in the end: `\r` and "erase to the end of the line" applied. */
function screen(writes: readonly string[]): string[] {
  return writes.join("").split("\n").map((line) => line.slice(line.lastIndexOf("\r\x1b[K") + 1).replace("\x1b[K", ""));
}

describe("ScanProgress on a terminal", () => {
  it("paints a bar per layer, and leaves one line of it", async () => {
    const { show, writes, clock } = setUp(true);
    show(RESOLVED, START);
    expect(writes.at(-1)).toBe(`\r\x1b[K  layer 1/2 abcdef012345 [${".".repeat(24)}] 0 B of 4.0 MB`);
    await clock.advance(100);
    show(progress(1_000_000));
    expect(writes.at(-1)).toContain(`[${"#".repeat(6)}${".".repeat(18)}] 1.0 MB of 4.0 MB`);
    show(DONE);
    expect(screen(writes)).toEqual(["team/app:1: 2 layers, 5.0 MB", "  layer 1/2 abcdef012345 4.0 MB, 1 entry", ""]);
  });

  it("repaints ten times a second at most", async () => {
    const { show, writes, clock } = setUp(true);
    show(RESOLVED, START);
    const before = writes.length;
    for (let ms = 0; ms < 1000; ms += 10) {
      await clock.advance(10);
      show(progress(ms));
    }
    expect(writes.length - before).toBe(10);
  });

  it("never paints more than a full bar, and an empty one for an unknown size", async () => {
    const { show, writes, clock } = setUp(true);
    show(RESOLVED, START);
    await clock.advance(100);
    show(progress(9_000_000));
    expect(writes.at(-1)).toContain(`[${"#".repeat(24)}]`);
    show({ ...START, size: undefined });
    expect(writes.at(-1)).toMatch(/\[\.{24}\] 0 B$/);
  });

  it("clears the bar of a layer that failed", () => {
    const { show, writes } = setUp(true);
    show(RESOLVED, START, { kind: "layer-failed", index: 0, message: "Cannot read it" });
    expect(screen(writes).slice(1)).toEqual(["  layer 1/2 abcdef012345 failed", ""]);
  });
});

describe("ScanProgress elsewhere", () => {
  it("writes plain lines: one per finished layer and one for the packages", () => {
    const { show, writes } = setUp(false);
    show(RESOLVED, START, progress(1), DONE);
    show({ kind: "layer-start", index: 1, name: NAME, size: 4_000_000 });
    show({ ...DONE, index: 1, reused: true }, { kind: "analyzed", packages: 12, problems: 1 });
    expect(writes).toEqual([
      "team/app:1: 2 layers, 5.0 MB\n",
      "  layer 1/2 abcdef012345 4.0 MB, 1 entry\n",
      "  layer 2/2 abcdef012345 4.0 MB, same as a layer below\n",
      "12 packages found, 1 problem\n",
    ]);
  });

  it("says every ten seconds how far a long layer is", async () => {
    const { show, writes, clock } = setUp(false);
    show({ ...RESOLVED, bytes: undefined }, START);
    for (let second = 1; second <= 25; second++) {
      await clock.advance(1000);
      show(progress(second * 100_000));
    }
    expect(writes.slice(1)).toEqual([
      "  layer 1/2 abcdef012345 1.0 MB of 4.0 MB\n",
      "  layer 1/2 abcdef012345 2.0 MB of 4.0 MB\n",
    ]);
    show({ kind: "layer-failed", index: 0, message: "Cannot read it" });
    expect(writes.at(-1)).toBe("  layer 1/2 abcdef012345 failed\n");
    for (const control of ["\r", "\x1b"]) expect(writes.join("")).not.toContain(control);
  });
});

describe("formatBytes()", () => {
  it.each([[0, "0 B"], [999, "999 B"], [1000, "1.0 kB"], [123_456, "123 kB"], [99_940_000, "99.9 MB"], [
    5e12,
    "5.0 TB",
  ], [5e15, "5000 TB"]])("%d is %s", (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });
});

describe("count()", () => {
  it.each([[0, "0 entries"], [1, "1 entry"], [2, "2 entries"]])("%d is %s", (n, text) => {
    expect(count(n, "entry", "entries")).toBe(text);
  });
});
