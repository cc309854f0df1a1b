import { expect, it, vi } from "vitest";
import { lazy } from "./lazy.ts";

it("lazy() makes its value once, however many ask at the same time, and tries again after a failure", async () => {
  const make = vi.fn(() => Promise.resolve(make.mock.calls.length));
  make.mockRejectedValueOnce(new Error("not yet"));
  const get = lazy(make);
  expect(make).not.toHaveBeenCalled();
  const first = [get(), get()];
  for (const each of first) await expect(each).rejects.toThrow("not yet");
  expect(await Promise.all([get(), get()])).toEqual([2, 2]);
  expect(await get()).toBe(2);
});
