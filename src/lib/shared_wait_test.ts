import { describe, expect, it } from "vitest";
import { SharedWait, type WaitListener } from "./shared_wait.ts";

describe("SharedWait", () => {
  it("tells everybody of a wait and of its end, whoever came before it or in it, and whoever leaves before its end", () => {
    const wait = new SharedWait();
    const told: string[] = [];
    const listener = (name: string): WaitListener => () => {
      told.push(`${name} waits`);
      return { [Symbol.dispose]: () => told.push(`${name} goes on`) };
    };
    const taken = (): string[] => told.splice(0);
    using _before = wait.follow(listener("before"));
    const leaving = wait.follow(listener("leaving"));
    expect(taken()).toEqual([]);
    const first = wait.begin();
    expect(taken()).toEqual(["before waits", "leaving waits"]);
    const within = wait.follow(listener("within"));
    leaving[Symbol.dispose]();
    expect(taken()).toEqual(["within waits", "leaving goes on"]);
    first[Symbol.dispose]();
    expect(taken()).toEqual(["before goes on", "within goes on"]);
    within[Symbol.dispose]();
    wait.begin()[Symbol.dispose]();
    expect(taken()).toEqual(["before waits", "before goes on"]);
  });
});
