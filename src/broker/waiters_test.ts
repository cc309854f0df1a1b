import { describe, expect, it } from "vitest";
import { Waiters } from "./waiters.ts";

describe("Waiters", () => {
  it("wakes all who wait, once", async () => {
    const waiters = new Waiters();
    const { signal } = new AbortController();
    let later = false;
    const both = [waiters.wait(signal), waiters.wait(signal)];
    waiters.wake();
    await Promise.all(both);
    const next = waiters.wait(signal).then(() => later = true);
    await Promise.resolve();
    expect(later).toBe(false);
    waiters.wake();
    await next;
  });

  it("lets those go whose signal aborts, with its reason", async () => {
    const waiters = new Waiters();
    const leaving = new AbortController();
    const left = waiters.wait(leaving.signal);
    const staying = waiters.wait(new AbortController().signal);
    leaving.abort(new Error("gone"));
    await expect(left).rejects.toThrow("gone");
    await expect(waiters.wait(leaving.signal)).rejects.toThrow("gone");
    waiters.wake();
    await staying;
  });
});
