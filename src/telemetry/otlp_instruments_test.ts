import { describe, expect, it } from "vitest";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { LIMITS } from "../core/limits.ts";
import { BrokerMetrics } from "./broker_metrics.ts";
import { OtlpCounter, OtlpHistogram } from "./otlp_instruments.ts";

const during = { from: 1_000, to: 2_000 };
const description = { name: "x", description: "" };

describe("OtlpCounter", () => {
  it("keeps what was added while it was delivered, and everything when it was not", () => {
    const counter = new OtlpCounter(description);
    counter.add({ a: "1" });
    counter.add({ a: "2" });
    counter.collect(during);
    counter.add({ a: "1" });
    counter.commit();
    expect(counter.collect(during)).toMatchObject({ sum: { dataPoints: [{ asInt: "1" }] } });
    counter.add({ a: "1" });
    expect(counter.collect(during)).toEqual({
      sum: {
        dataPoints: [{
          attributes: [{ key: "a", value: { stringValue: "1" } }],
          startTimeUnixNano: "1000000000",
          timeUnixNano: "2000000000",
          asInt: "2",
        }],
        aggregationTemporality: 1,
        isMonotonic: true,
      },
    });
    counter.commit();
    expect(counter.collect(during)).toBeUndefined();
  });
});

describe("OtlpHistogram", () => {
  it("counts a value at a bound below it, and one above the last in the last bucket", () => {
    const histogram = new OtlpHistogram(description, [1, 10]);
    for (const value of [0, 1, 1.5, 10, 11]) histogram.record(value);
    expect(histogram.collect(during)).toMatchObject({
      histogram: { dataPoints: [{ count: "5", sum: 23.5, min: 0, max: 11, bucketCounts: ["2", "2", "1"] }] },
    });
  });

  it("keeps what was recorded while it was delivered, and everything when it was not", () => {
    const histogram = new OtlpHistogram(description, [1]);
    const count = (): unknown => {
      const told = histogram.collect(during) as { histogram?: { dataPoints: { count: string }[] } } | undefined;
      return told?.histogram?.dataPoints.map((point) => point.count);
    };
    histogram.record(1, { a: "1" });
    expect(count()).toEqual(["1"]);
    histogram.record(5, { a: "1" });
    expect(count()).toEqual(["2"]);
    histogram.record(5, { a: "1" });
    histogram.commit();
    expect(count()).toEqual(["1"]);
    histogram.commit();
    expect(count()).toBeUndefined();
  });
});

describe("BrokerMetrics", () => {
  it("tells the 99th percentile of how late timers were since the last time", async () => {
    const late = [...Array<number>(98).fill(0), 40, 700];
    class LateClock extends FakeClock {
      override sleep(ms: number, signal?: AbortSignal): Promise<void> {
        return super.sleep(ms + (late.shift() ?? 0), signal);
      }
    }
    const clock = new LateClock();
    const metrics = new BrokerMetrics(clock);
    const delay = (): unknown => {
      const gauge = metrics.instruments.find(({ description: { name } }) => name.endsWith("delay.p99"));
      const told = gauge?.collect(during) as { gauge: { dataPoints: { asDouble: number }[] } } | undefined;
      return told?.gauge.dataPoints[0]?.asDouble;
    };
    expect(delay()).toBeUndefined();
    await clock.advance(100 * LIMITS.loopDelaySampleMs + 740);
    expect(delay()).toBe(0.04);
    await clock.advance(LIMITS.loopDelaySampleMs);
    expect(delay()).toBe(0);
    await metrics.stop();
    expect(clock.pending).toBe(0);
  });
});
