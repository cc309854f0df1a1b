import { describe, expect, it } from "vitest";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { Alarm } from "./alarm.ts";

describe("Alarm", () => {
  it("waits for its time, and leaves no timer behind", async () => {
    const clock = new FakeClock();
    let over = false;
    const waiting = new Alarm(clock).wait(clock.now() + 1000).then(() => over = true);
    await clock.advance(999);
    expect(over).toBe(false);
    await clock.advance(1);
    await waiting;
    expect(clock.pending).toBe(0);
  });

  it("ends when somebody rings, also before it began", async () => {
    const clock = new FakeClock();
    const alarm = new Alarm(clock);
    const waiting = alarm.wait(undefined);
    alarm.ring();
    await waiting;
    alarm.ring();
    alarm.ring();
    await alarm.wait(clock.now() + 1000);
    let over = false;
    const third = alarm.wait(clock.now() + 1000).then(() => over = true);
    await clock.advance(0);
    expect(over).toBe(false);
    await clock.advance(1000);
    await third;
    expect(clock.pending).toBe(0);
  });
});
