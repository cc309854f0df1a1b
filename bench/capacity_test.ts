/** The capacity model: what bounds the work, how far it is from what was measured, and that docs/SCALE.md says the same. */
import { describe, expect, it } from "vitest";
import { errorPercent, modelOf, readBenchmarks, readDocument, tables, withTables } from "./capacity.ts";
import { capacity, type Costs, fitCosts, type Site, type Workload } from "./capacity_model.ts";

/** What the model claims of work like that which it was fitted to. */
const CLAIMED_PERCENT = 30;

const COSTS: Costs = {
  secondsPerTarGB: 4,
  secondsPerNewImage: 0.05,
  secondsPerRetest: 0.01,
  secondsPerJob: 0.002,
  secondsPerFollowedJob: 0.0005,
  writesPerJob: 8,
};
const WORK: Workload = {
  newImages: 1000,
  retests: 0,
  jobs: 1000,
  distinctLayers: 3000,
  storedGB: 100,
  tarGB: 250,
};
const SITE: Site = {
  daemons: 1,
  cores: 1,
  atOnce: 1,
  registryMBPerSecond: Infinity,
  registryLatencySeconds: 0,
  callbackSeconds: 0,
  queueWritesPerSecond: Infinity,
};

describe("capacity()", () => {
  it("adds up what one daemon does on its core", () => {
    const { hours, imagesPerHour, bottleneck } = capacity(WORK, SITE, COSTS);
    expect(hours * 3600).toBeCloseTo(250 * 4 + 1000 * 0.05 + 1000 * 0.002, 6);
    expect(imagesPerHour * hours).toBeCloseTo(1000, 6);
    expect(bottleneck).toBe("cores");
  });

  it("divides the work by the daemons, as far as there are cores, and has each follow the others' jobs", () => {
    const three = capacity(WORK, { ...SITE, daemons: 3, cores: 8 }, COSTS);
    expect(three.hours * 3600).toBeCloseTo((1052 + 1000 * 2 * 0.0005) / 3, 6);
    const crowded = capacity(WORK, { ...SITE, daemons: 3, cores: 2 }, { ...COSTS, secondsPerFollowedJob: 0 });
    expect(crowded.hours * 3600).toBeCloseTo(1052 / 2, 6);
  });

  it("lets a daemon wait for a registry that is far away, less with more images at once", () => {
    const far: Site = { ...SITE, registryLatencySeconds: 0.5 };
    const waits = (1000 * 4 + 3000 * 2 / 3) * 0.5;
    const alone = capacity(WORK, far, COSTS);
    expect(alone.hours * 3600).toBeCloseTo(1052 + waits, 6);
    expect(alone.bottleneck).toBe("registry latency");
    const four = capacity(WORK, { ...far, atOnce: 4 }, COSTS);
    expect(four.hours * 3600).toBeCloseTo(Math.max(1052, (1052 + waits) / 4), 6);
    expect(four.bottleneck).toBe("cores");
  });

  it("names the cores where a daemon waits less than it works", () => {
    expect(capacity(WORK, { ...SITE, registryLatencySeconds: 0.001 }, COSTS).bottleneck).toBe("cores");
  });

  it("finds the registry's bandwidth, the callbacks and the queue where they are slower than all daemons", () => {
    const many: Site = { ...SITE, daemons: 100, cores: 100, atOnce: 4 };
    const slow = capacity(WORK, { ...many, registryMBPerSecond: 100 }, COSTS);
    expect([slow.bottleneck, slow.hours * 3600]).toEqual(["registry bandwidth", 1000]);
    const queued = capacity(WORK, { ...many, queueWritesPerSecond: 10 }, COSTS);
    expect([queued.bottleneck, queued.hours * 3600]).toEqual(["queue", 800]);
    const upstream = capacity(WORK, { ...many, callbackSeconds: 40 }, COSTS);
    expect([upstream.bottleneck, Math.round(upstream.hours * 3600)]).toEqual(["callbacks", 100]);
  });

  it("takes unchanged images by their own cost", () => {
    const retests: Workload = {
      ...WORK,
      newImages: 0,
      retests: 500,
      jobs: 0,
      distinctLayers: 0,
      storedGB: 0,
      tarGB: 0,
    };
    expect(capacity(retests, SITE, COSTS).hours * 3600).toBeCloseTo(5, 6);
  });

  it("refuses what is no work and no place", () => {
    expect(() => capacity({ ...WORK, tarGB: NaN }, SITE, COSTS)).toThrow("tarGB must not be NaN");
    expect(() => capacity(WORK, { ...SITE, callbackSeconds: -1 }, COSTS)).toThrow("callbackSeconds must not be -1");
    for (const name of ["daemons", "cores", "atOnce", "registryMBPerSecond", "queueWritesPerSecond"] as const) {
      expect(() => capacity(WORK, { ...SITE, [name]: 0 }, COSTS)).toThrow(`${name} must be more than 0`);
    }
  });
});

describe("fitCosts()", () => {
  const measured = (tarGB: number, newImages: number, seconds: number) => ({ tarGB, newImages, seconds });

  it("finds the costs that the measurements were made with", () => {
    const fitted = fitCosts([
      measured(2, 100, 2 * 4 + 100 * 0.03),
      measured(0.4, 1, 0.4 * 4 + 0.03),
      measured(1, 0, 4),
    ]);
    expect(fitted.secondsPerTarGB).toBeCloseTo(4, 9);
    expect(fitted.secondsPerNewImage).toBeCloseTo(0.03, 9);
  });

  it("weighs measurements by their relative error", () => {
    const { secondsPerTarGB } = fitCosts([measured(1, 0, 4), measured(100, 0, 800), measured(0, 1, 1)]);
    // The least of (t/4 − 1)² + (100t/800 − 1)².
    expect(secondsPerTarGB).toBeCloseTo((1 / 4 + 1 / 8) / (1 / 16 + 1 / 64), 9);
  });

  it("takes nothing below 0", () => {
    expect(fitCosts([measured(1, 100, 4), measured(1, 1, 5)]).secondsPerNewImage).toBe(0);
    expect(fitCosts([measured(10, 1, 1), measured(1, 1, 5)]).secondsPerTarGB).toBe(0);
  });

  it("refuses measurements that do not tell bytes and images apart", () => {
    expect(() => fitCosts([measured(1, 10, 4), measured(2, 20, 8)])).toThrow("do not tell");
    expect(() => fitCosts([])).toThrow("do not tell");
  });
});

describe("The model on docs/BENCHMARKS.json", () => {
  it(`is within ${CLAIMED_PERCENT} % of every measurement that it claims`, async () => {
    const { points } = modelOf(await readBenchmarks());
    const claimed = points.filter((point) => point.claimed);
    expect(claimed.length).toBeGreaterThanOrEqual(7);
    const off = claimed.filter((point) => !(Math.abs(errorPercent(point)) <= CLAIMED_PERCENT));
    expect(off.map((point) => `${point.name}: ${errorPercent(point).toFixed(0)} %`)).toEqual([]);
  });

  it("takes one daemon and two on a queue where they were measured", async () => {
    const benchmarks = await readBenchmarks();
    const { scale: _, ...without } = benchmarks;
    const scale = {
      fleet: "60 images, 90 distinct layers of 700 MB gzip",
      secondsOfOne: [11, 10, 12],
      secondsOfTwo: [6, 5.5, 5],
      secondsOfOthers: [0, 0, 0],
      away: { ms: 20, secondsOfOne: [16, 15, 17], secondsOfTwo: [9, 8, 8.5], secondsOfOthers: [0, 0, 0] },
      rows: [{ note: "5.5 s after 11 s; on the cores 10.5 s after 9.5 s" }],
    };
    const alone = modelOf(without);
    const two = modelOf({ ...without, scale });
    const added = two.points.filter(({ name }) => !alone.points.some((point) => point.name === name));
    expect(added.map(({ name, measuredSeconds, claimed }) => [name, measuredSeconds, claimed])).toEqual([
      ["60 images, one daemon on a queue", 11, true],
      ["60 images, one daemon on a queue: seconds on the cores", 9.5, false],
      ["60 images, one daemon on a queue, 20 ms away", 16, true],
      ["60 images, two daemons on a queue", 5.5, true],
      ["60 images, two daemons on a queue: seconds on the cores", 10.5, false],
      ["60 images, two daemons on a queue, 20 ms away", 8.5, true],
    ]);
    expect(added.every(({ use }) => use === "check")).toBe(true);
    expect(two.costs).toEqual(alone.costs);
    const [one = NaN, onCore, far = NaN, other = NaN, onCores, farOther = NaN] = added.map((point) =>
      point.modelSeconds
    );
    expect(other / one).toBeGreaterThan(0.5);
    expect(other / one).toBeLessThan(0.51);
    expect([onCore, onCores]).toEqual([one, other * 2]);
    // Four waits for each image and two for every three layers, shared by the daemons.
    expect(far - one).toBeCloseTo((60 * 4 + 90 * 2 / 3) * 0.02, 6);
    expect(farOther - other).toBeCloseTo((far - one) / 2, 6);
    const busy = modelOf({ ...without, scale: { ...scale, secondsOfOthers: [3, 2, 1] } });
    const beside = busy.points.filter(({ name }) => name.endsWith("on a queue")).map(({ modelSeconds }) =>
      modelSeconds
    );
    expect(beside).toEqual([one, other + 2 / 2]);
    const remote = modelOf({
      ...without,
      scale: { ...scale, away: { ...scale.away, secondsOfOthers: [90, 80, 100] } },
    });
    const crowded = remote.points.filter(({ name }) => name.endsWith("20 ms away")).map(({ modelSeconds }) =>
      modelSeconds
    );
    expect(crowded).toEqual([(one + 90) / 2, (2 * other + 90) / 2]);
    const [run] = scale.rows;
    expect(() => modelOf({ ...without, scale: { ...scale, rows: [{ ...run, note: "fast" }] } })).toThrow('has "fast"');
  });

  it("says which figure is missing", async () => {
    const benchmarks = await readBenchmarks();
    const { fleet } = benchmarks;
    const rows = fleet.rows.filter(({ name }) => name !== "the fleet again, an image");
    expect(() => modelOf({ ...benchmarks, fleet: { ...fleet, rows } })).toThrow('no row "the fleet again, an image"');
    expect(() => modelOf({ ...benchmarks, fleet: { ...fleet, fleet: "some images" } })).toThrow('has "some images"');
  });

  it("is what docs/SCALE.md shows (deno run -RW bench/capacity.ts --write)", async () => {
    const document = await readDocument();
    expect(withTables(document, tables(modelOf(await readBenchmarks())))).toBe(document);
  });
});

describe("withTables()", () => {
  it("replaces what is between the marks, and misses them", async () => {
    const document = await readDocument();
    const changed = withTables(document, "| new |\n");
    expect(changed).toContain("\n| new |\n\n<!-- end -->\n");
    expect(withTables(changed, tables(modelOf(await readBenchmarks())))).toBe(document);
    expect(() => withTables("No place", "")).toThrow("no place for the tables");
  });
});
