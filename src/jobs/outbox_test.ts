import { describe, expect, it } from "vitest";
import { FakeClock, InstantClock } from "../../tests/fakes/clock.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock } from "../core/ports.ts";
import { Outbox } from "./outbox.ts";

const REQUEST = { path: "/api/v2/import/result", body: new Uint8Array(1), headers: {} };

function setUp(answers: readonly (number | OutpostError)[], clock: Clock = new InstantClock()) {
  let calls = 0;
  const outcomes: string[] = [];
  const outbox = new Outbox({
    clock,
    logger: new RecordingLogger(),
    onOutcome: (outcome) => outcomes.push(outcome),
    transport: {
      send: () => {
        const answer = answers[Math.min(calls++, answers.length - 1)];
        return answer instanceof OutpostError ? Promise.reject(answer) : Promise.resolve({ status: answer ?? 500 });
      },
    },
  });
  return { outbox, outcomes, calls: () => calls };
}

describe("Outbox", () => {
  it("tries again while the broker is disconnected or the upstream is ill, until delivered", async () => {
    const down = new OutpostError("BROKER_DISCONNECTED", "The broker is not connected");
    const { outbox, outcomes, calls } = setUp([down, 503, 429, 204]);
    await outbox.deliver(REQUEST, new AbortController().signal);
    expect(calls()).toBe(4);
    expect(outcomes).toEqual(["retried", "retried", "retried", "delivered"]);
  });

  it("does not repeat what the upstream refuses for good", async () => {
    const { outbox, outcomes, calls } = setUp([401]);
    await expect(outbox.deliver(REQUEST, new AbortController().signal)).rejects.toThrow("answered 401");
    expect(calls()).toBe(1);
    expect(outcomes).toEqual(["refused"]);
  });

  it("gives up after the bound", async () => {
    const clock = new FakeClock();
    const { outbox, outcomes } = setUp([500], clock);
    const delivered = outbox.deliver(REQUEST, new AbortController().signal).catch((error: unknown) => error);
    while (!outcomes.includes("abandoned")) await clock.advance(LIMITS.callbackGiveUpMs / 4);
    expect(await delivered).toBeInstanceOf(OutpostError);
  });

  it("stops waiting when it is cancelled", async () => {
    const clock = new FakeClock();
    const { outbox } = setUp([500], clock);
    const controller = new AbortController();
    const delivered = outbox.deliver(REQUEST, controller.signal);
    await clock.advance(0);
    controller.abort(new OutpostError("CANCELLED", "The process is stopping"));
    await expect(delivered).rejects.toThrow("stopping");
  });
});
