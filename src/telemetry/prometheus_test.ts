import { describe, expect, it } from "vitest";
import { Counter, exposition, Gauge, Histogram } from "./prometheus.ts";

describe("exposition()", () => {
  it("writes counters, gauges and histograms as Prometheus reads them", () => {
    const counter = new Counter<"code">("requests_total", "All requests");
    counter.inc({ code: "200" });
    counter.inc({ code: "200" }, 2);
    const gauge = new Gauge("depth", "Depth");
    gauge.set({}, 3);
    const histogram = new Histogram("seconds", "Time", [0.1, 1]);
    for (const value of [0.1, 0.5, 7]) histogram.observe(value);
    expect(exposition([counter, gauge, histogram])).toBe(
      [
        "# HELP requests_total All requests",
        "# TYPE requests_total counter",
        'requests_total{code="200"} 3',
        "# HELP depth Depth",
        "# TYPE depth gauge",
        "depth 3",
        "# HELP seconds Time",
        "# TYPE seconds histogram",
        'seconds_bucket{le="0.1"} 1',
        'seconds_bucket{le="1"} 2',
        'seconds_bucket{le="+Inf"} 3',
        "seconds_sum 7.6",
        "seconds_count 3",
        "",
      ].join("\n"),
    );
  });

  it("escapes help and label values", () => {
    const counter = new Counter<"v">("c", "a\nb\\");
    counter.inc({ v: 'x"\n\\' });
    expect(exposition([counter])).toBe('# HELP c a\\nb\\\\\n# TYPE c counter\nc{v="x\\"\\n\\\\"} 1\n');
  });
});
