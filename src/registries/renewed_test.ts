import { describe, expect, it } from "vitest";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { OutpostError } from "../core/errors.ts";
import { codeOf } from "./registry_suite.ts";
import { type Fetched, Renewed } from "./renewed.ts";

const signal = new AbortController().signal;

function counted(lifetimeMs: number, closed = new AbortController().signal): {
  clock: FakeClock;
  secret: Renewed<string>;
  count: () => number;
} {
  const clock = new FakeClock();
  let count = 0;
  const exchange = (): Promise<Fetched<string>> => Promise.resolve({ value: `v${++count}`, lifetimeMs });
  return { clock, secret: new Renewed({ clock, closed, exchange }), count: () => count };
}

describe("Renewed", () => {
  it("fetches once for all who wait, and keeps the value for four fifths of its life", async () => {
    const { clock, secret, count } = counted(100_000);
    expect(await Promise.all([secret.get(signal), secret.get(signal)])).toEqual(["v1", "v1"]);
    await clock.advance(79_000);
    expect(await secret.get(signal)).toBe("v1");
    await clock.advance(2_000);
    expect(await secret.get(signal)).toBe("v2");
    expect(count()).toBe(2);
  });

  it("renews a value that was refused, but not one that was renewed meanwhile", async () => {
    const { secret, count } = counted(100_000);
    const stale = await secret.get(signal);
    expect(await secret.get(signal, stale)).toBe("v2");
    expect(await secret.get(signal, stale)).toBe("v2");
    expect(count()).toBe(2);
  });

  it("does not keep what is about to expire", async () => {
    const { secret } = counted(5_000);
    expect(await secret.get(signal)).toBe("v1");
    expect(await secret.get(signal)).toBe("v2");
  });

  it("tells every caller of a failure, and tries again for the next", async () => {
    let attempts = 0;
    const exchange = (): Promise<Fetched<string>> =>
      ++attempts === 1
        ? Promise.reject(new OutpostError("BAD_CREDENTIALS", "Cannot log in"))
        : Promise.resolve({ value: "v", lifetimeMs: 100_000 });
    const secret = new Renewed({ clock: new FakeClock(), closed: signal, exchange });
    const both = [codeOf(secret.get(signal)), codeOf(secret.get(signal))];
    expect(await Promise.all(both)).toEqual(["BAD_CREDENTIALS", "BAD_CREDENTIALS"]);
    expect(await secret.get(signal)).toBe("v");
  });

  it("lets a caller leave without ending the exchange of the others", async () => {
    const held = Promise.withResolvers<Fetched<string>>();
    const secret = new Renewed({ clock: new FakeClock(), closed: signal, exchange: () => held.promise });
    const leaver = new AbortController();
    const left = codeOf(secret.get(leaver.signal));
    const stayed = secret.get(signal);
    leaver.abort();
    expect(await left).toBe("CANCELLED");
    held.resolve({ value: "v", lifetimeMs: 1000 });
    expect(await stayed).toBe("v");
  });
});
