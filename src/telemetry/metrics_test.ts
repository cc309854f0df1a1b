import { describe, expect, it } from "vitest";
import { Metrics } from "./metrics.ts";

describe("Metrics", () => {
  it("renders what was counted and reads memory at the scrape", () => {
    let memory = 1;
    const metrics = new Metrics({ version: "1.2.3", deno: "2.9.6" }, () => memory);
    metrics.scans.inc({ outcome: "success" });
    memory = 42;
    const text = metrics.render();
    expect(text).toContain('outpost_scans_total{outcome="success"} 1');
    expect(text).toContain("outpost_process_resident_memory_bytes 42");
    expect(text).toContain('outpost_build_info{version="1.2.3",deno="2.9.6"} 1');
  });

  it("keeps the metrics of two processes apart", () => {
    const build = { version: "1", deno: "2" };
    const one = new Metrics(build, () => 0);
    one.scans.inc({ outcome: "error" });
    expect(new Metrics(build, () => 0).render()).not.toContain('outcome="error"');
  });
});
