import { describe, expect, it } from "vitest";
import { FACT_LIMITS, truncateFacts } from "./truncate.ts";

const history = (data: unknown) => ({ type: "history", data });
const config = (data: unknown) => ({ type: "containerConfig", data });

describe("truncateFacts()", () => {
  it("returns facts within the limits as they are", () => {
    const facts = [
      config({ user: "u".repeat(1024), env: null, cmd: Array(500).fill("c"), stopSignal: "s".repeat(128) }),
      history([{ author: "a".repeat(128), createdBy: "b".repeat(4096), created: "x".repeat(9999) }]),
      { type: "imageLabels", data: { long: "l".repeat(10_000) } },
    ];
    expect(truncateFacts(facts)).toBe(facts);
  });

  it.each<readonly [string, number]>([
    ["user", 1024],
    ["workingDir", 1024],
    ["stopSignal", 128],
  ])("cuts %s to %d characters", (key, limit) => {
    expect(truncateFacts([config({ [key]: "x".repeat(limit + 3) })])).toEqual([
      config({ [key]: "x".repeat(limit) }),
      {
        type: "pluginWarnings",
        data: { truncatedFacts: { [`containerConfig.data.${key}`]: { type: "string", countAboveLimit: 3 } } },
      },
    ]);
  });

  it.each<readonly [string, number]>([
    ["exposedPorts", 64],
    ["env", 1024],
    ["entrypoint", 1024],
    ["cmd", 1024],
    ["volumes", 1024],
  ])("keeps 500 elements of %s, each of %d characters, and tells the largest loss", (key, limit) => {
    const long = ["x".repeat(limit + 2), "x".repeat(limit + 9), "x".repeat(limit + 4)];
    // What stands beyond the 500th element is not looked at.
    const data = { [key]: [...long, ...Array(497).fill("y"), "x".repeat(limit + 100), "z"] };
    expect(truncateFacts([config(data)])).toEqual([
      config({ [key]: [...Array(3).fill("x".repeat(limit)), ...Array(497).fill("y")] }),
      {
        type: "pluginWarnings",
        data: {
          truncatedFacts: {
            [`containerConfig.data.${key}`]: { type: "array", countAboveLimit: 2 },
            [`containerConfig.data.${key}[*]`]: { type: "string", countAboveLimit: 9 },
          },
        },
      },
    ]);
  });

  it("keeps 1000 history entries and cuts their texts", () => {
    const entry = { created: "t", createdBy: "c".repeat(4097), author: "a".repeat(130), comment: "d".repeat(4099) };
    const [cut, warnings] = truncateFacts([history(Array(1001).fill(entry))]);
    expect(cut?.data).toHaveLength(1000);
    expect((cut?.data as unknown[])[999]).toEqual({
      created: "t",
      createdBy: "c".repeat(4096),
      author: "a".repeat(128),
      comment: "d".repeat(4096),
    });
    expect(JSON.stringify(warnings?.data)).toBe(JSON.stringify({
      truncatedFacts: {
        "history.data": { type: "array", countAboveLimit: 1 },
        "history.data[*].createdBy": { type: "string", countAboveLimit: 1 },
        "history.data[*].author": { type: "string", countAboveLimit: 2 },
        "history.data[*].comment": { type: "string", countAboveLimit: 3 },
      },
    }));
  });

  it("does not change what it is given", () => {
    const fact = config({ user: "u".repeat(2000) });
    truncateFacts([fact]);
    expect(fact).toEqual(config({ user: "u".repeat(2000) }));
  });

  it("knows a limit for 17 paths", () => {
    expect(Object.keys(FACT_LIMITS)).toHaveLength(17);
  });
});
