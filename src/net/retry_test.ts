import { describe, expect, it } from "vitest";
import { BackoffClock, FakeClock } from "../../tests/fakes/clock.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { type Attempt, RequestGate, retryAfterMs } from "./retry.ts";

const signal = new AbortController().signal;
const logger = new RecordingLogger();

function answer(status: number, headers: Record<string, string> = {}): Attempt {
  return { status, headers: new Headers(headers), discard: () => Promise.resolve() };
}

/** Runs attempts that give the outcomes in turn, the last one for ever. */
async function play(
  outcomes: readonly (Attempt | OutpostError)[],
  options: { readonly idempotent?: boolean; readonly attempts?: number } = {},
): Promise<
  {
    readonly calls: number;
    readonly waits: readonly number[];
    readonly end: number | string;
    readonly retryAt?: number | undefined;
  }
> {
  const clock = new BackoffClock([]);
  const gate = new RequestGate({ clock, logger });
  let calls = 0;
  const attempt = (): Promise<Attempt> => {
    const outcome = outcomes[Math.min(calls++, outcomes.length - 1)];
    return outcome instanceof Error ? Promise.reject(outcome) : Promise.resolve(outcome as Attempt);
  };
  try {
    const run = { idempotent: options.idempotent ?? true, attempts: options.attempts, signal };
    const { answer: got, retryAt } = await gate.run("h", run, attempt);
    return { calls, waits: clock.waits, end: got.status, retryAt };
  } catch (error) {
    return { calls, waits: clock.waits, end: error instanceof OutpostError ? error.code : String(error) };
  }
}

describe("RequestGate.run()", () => {
  it.each([408, 502, 503, 504])("R1: repeats %i with doubling waits, at most LIMITS.attempts times", async (status) => {
    expect(await play([answer(status)])).toEqual({ calls: LIMITS.attempts, waits: [750, 1500, 3000], end: status });
    expect(await play([answer(status), answer(200)])).toEqual({ calls: 2, waits: [750], end: 200 });
  });

  it("R1: repeats 429 with the same budget", async () => {
    expect(await play([answer(429)])).toMatchObject({ calls: LIMITS.attempts, end: 429 });
    expect(await play([answer(429), answer(200)])).toMatchObject({ calls: 2, end: 200 });
  });

  it("repeats 500, a refused connection, an unresolved name and a timeout once", async () => {
    expect(await play([answer(500)])).toMatchObject({ calls: 2, end: 500 });
    for (const code of ["CONNECTION_REFUSED", "DNS", "TIMEOUT"] as const) {
      expect(await play([new OutpostError(code, "no")])).toMatchObject({ calls: 2, end: code });
    }
  });

  it("repeats a broken connection", async () => {
    const reset = new OutpostError("CONNECTION_RESET", "no");
    expect(await play([reset])).toMatchObject({ calls: LIMITS.attempts, end: "CONNECTION_RESET" });
    expect(await play([reset, answer(200)])).toMatchObject({ calls: 2, end: 200 });
  });

  it.each([200, 301, 400, 401, 403, 404, 416, 501])("does not repeat %i", async (status) => {
    expect(await play([answer(status)])).toEqual({ calls: 1, waits: [], end: status });
  });

  it("repeats neither other failures nor what is not idempotent", async () => {
    expect(await play([new OutpostError("TLS_UNKNOWN_CA", "no")])).toMatchObject({ calls: 1 });
    expect(await play([new OutpostError("CANCELLED", "no")])).toMatchObject({ calls: 1 });
    expect(await play([answer(503)], { idempotent: false })).toMatchObject({ calls: 1, waits: [] });
    expect(await play([answer(503)], { attempts: 2 })).toMatchObject({ calls: 2 });
  });

  it("R1: obeys Retry-After in seconds, as a date, and X-Retry-After", async () => {
    const date = new Date(new FakeClock().now() + 5000).toUTCString();
    const unix = String(Math.floor((new FakeClock().now() + 7000) / 1000));
    for (const status of [429, 503]) {
      expect(await play([answer(status, { "retry-after": "4" }), answer(200)])).toEqual({
        calls: 2,
        waits: [4000],
        end: 200,
      });
      expect(await play([answer(status, { "retry-after": date }), answer(200)])).toMatchObject({ waits: [5000] });
      expect(await play([answer(status, { "x-retry-after": unix }), answer(200)])).toMatchObject({ waits: [7000] });
    }
    expect(await play([answer(502, { "retry-after": "4" }), answer(200)])).toMatchObject({ waits: [4000] });
  });

  it("takes a 403 with a time or a used-up budget for a 429, and no other 403", async () => {
    const reset = String(Math.floor(new FakeClock().now() / 1000) + 9);
    const usedUp = { "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset };
    expect(await play([answer(403, usedUp), answer(200)])).toMatchObject({ calls: 2, waits: [9000], end: 200 });
    expect(await play([answer(403, { "retry-after": "4" }), answer(200)])).toMatchObject({ waits: [4000], end: 200 });
    const later = String(Number(reset) + 3600);
    expect(await play([answer(403, { ...usedUp, "x-ratelimit-reset": later })])).toEqual({
      calls: 1,
      waits: [],
      end: 403,
      retryAt: Number(later) * 1000,
    });
    const left = { "x-ratelimit-remaining": "4999", "x-ratelimit-reset": reset };
    expect(await play([answer(403, left)])).toEqual({ calls: 1, waits: [], end: 403 });
  });

  it("fails at once with the time when the wait is longer than a caller accepts", async () => {
    const accepted = String(LIMITS.retryAfterMaxMs / 1000);
    const longer = String(LIMITS.retryAfterMaxMs / 1000 + 1);
    expect(await play([answer(429, { "retry-after": accepted }), answer(200)])).toMatchObject({ calls: 2, end: 200 });
    expect(await play([answer(429, { "retry-after": longer }), answer(200)])).toEqual({
      calls: 1,
      waits: [],
      end: 429,
      retryAt: new FakeClock().now() + LIMITS.retryAfterMaxMs + 1000,
    });
  });

  it("R2: keeps to LIMITS.requestsPerHost, and lets other hosts pass", async () => {
    const clock = new FakeClock();
    const gate = new RequestGate({ clock, logger });
    let running = 0;
    let most = 0;
    const finish: (() => void)[] = [];
    const attempt = async (): Promise<Attempt> => {
      most = Math.max(most, ++running);
      await new Promise<void>((resolve) => finish.push(resolve));
      running--;
      return answer(200);
    };
    const all = Array.from({ length: 20 }, () => gate.run("busy", { idempotent: true, signal }, attempt));
    const other = await gate.run("other", { idempotent: true, signal }, () => Promise.resolve(answer(200)));
    expect(other.answer.status).toBe(200);
    while (finish.length > 0 || running > 0) {
      finish.shift()?.();
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    await Promise.all(all);
    expect(most).toBe(LIMITS.requestsPerHost);
    expect(gate.activeHosts).toBe(0);
  });

  it("R2: one 429 slows everybody down, and fifty callers hardly cost more requests than fifty", async () => {
    const clock = new BackoffClock([]);
    const gate = new RequestGate({ clock, logger });
    // Longer than the time that the registry names: every look before its end costs a request.
    const open = clock.now() + 35_000;
    let calls = 0;
    const attempt = (): Promise<Attempt> => {
      calls++;
      return Promise.resolve(clock.now() < open ? answer(429, { "retry-after": "10" }) : answer(200));
    };
    const all = Array.from({ length: 50 }, () => gate.run("h", { idempotent: true, signal }, attempt));
    const statuses = (await Promise.all(all)).map(({ answer: got }) => got.status);
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(calls).toBeLessThanOrEqual(60);
  });

  it("tells later callers at once when a host wants a long pause, and looks again after a while", async () => {
    const clock = new FakeClock();
    const gate = new RequestGate({ clock, logger });
    const hours = answer(429, { "retry-after": "7200" });
    const run = (next: Attempt): Promise<unknown> =>
      gate.run("h", { idempotent: true, signal }, () => Promise.resolve(next)).then(
        ({ answer: got }) => got.status,
        (error) => (error as OutpostError).code,
      );
    expect(await run(hours)).toBe(429);
    expect(await run(answer(200))).toBe("RATE_LIMITED");
    await clock.advance(LIMITS.retryMaxMs);
    expect(await run(answer(200))).toBe(200);
    expect(gate.activeHosts).toBe(0);
  });

  it("leaves the queue, and gives its slot back, when the caller gives up", async () => {
    const gate = new RequestGate({ clock: new FakeClock(), logger });
    const finish = Promise.withResolvers<void>();
    const blocker = async (): Promise<Attempt> => {
      await finish.promise;
      return answer(200);
    };
    const running = Array.from(
      { length: LIMITS.requestsPerHost },
      () => gate.run("h", { idempotent: true, signal }, blocker),
    );
    const aborter = new AbortController();
    const waiting = gate.run("h", { idempotent: true, signal: aborter.signal }, blocker);
    const behind = gate.run("h", { idempotent: true, signal }, () => Promise.resolve(answer(204)));
    aborter.abort(new OutpostError("CANCELLED", "gone"));
    await expect(waiting).rejects.toThrow("gone");
    finish.resolve();
    await Promise.all(running);
    expect((await behind).answer.status).toBe(204);
    expect(gate.activeHosts).toBe(0);
  });
});

describe("retryAfterMs()", () => {
  it.each<readonly [Record<string, string>, number | undefined]>([
    [{}, undefined],
    [{ "retry-after": "0" }, 0],
    [{ "retry-after": " 3 " }, 3000],
    [{ "retry-after": "-3" }, undefined],
    [{ "retry-after": "soon" }, undefined],
    [{ "retry-after": "Thu, 01 Jan 1970 00:00:02 GMT" }, 1000],
    [{ "retry-after": "Thu, 01 Jan 1970 00:00:00 GMT" }, 0],
    [{ "x-retry-after": "5" }, 4000],
    [{ "retry-after": "2", "x-retry-after": "5" }, 2000],
    [{ "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1000000001" }, 1_000_000_000_000],
    [{ "x-ratelimit-remaining": "1", "x-ratelimit-reset": "1000000001" }, undefined],
    [{ "x-ratelimit-remaining": "0", "x-ratelimit-reset": "60" }, undefined],
    [{ "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1000000001", "retry-after": "2" }, 2000],
  ])("of %j is %j", (headers, wait) => {
    expect(retryAfterMs(new Headers(headers), 1000)).toBe(wait);
  });
});
