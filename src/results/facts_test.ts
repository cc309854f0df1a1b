import { describe, expect, it } from "vitest";
import type { ImageConfig } from "../core/types.ts";
import { configFacts } from "./facts.ts";

/** As builders write it, null where the types know only absence. */
function facts(config: unknown): unknown {
  return JSON.parse(JSON.stringify(configFacts(config as ImageConfig)));
}

describe("configFacts()", () => {
  it("repeats a full configuration, in the plugin's order of facts and keys", () => {
    const made = configFacts({
      created: "2024-01-01T00:00:00Z",
      rootfs: { type: "layers", diff_ids: ["sha256:1"] },
      history: [{ created: "t", author: "a", created_by: "b", comment: "c", empty_layer: true }],
      config: {
        ArgsEscaped: true,
        Labels: { k: "v" },
        User: "root",
        ExposedPorts: { "80/tcp": {}, "53/udp": {} },
        Env: ["A=b"],
        Entrypoint: ["/e"],
        Cmd: ["c"],
        Volumes: { "/v": {} },
        WorkingDir: "/w",
        StopSignal: "TERM",
      },
    });
    expect(JSON.stringify(made)).toBe(JSON.stringify([
      { type: "imageLabels", data: { k: "v" } },
      {
        type: "containerConfig",
        data: {
          user: "root",
          exposedPorts: ["80/tcp", "53/udp"],
          env: ["A=b"],
          entrypoint: ["/e"],
          cmd: ["c"],
          volumes: ["/v"],
          workingDir: "/w",
          stopSignal: "TERM",
          argsEscaped: true,
        },
      },
      { type: "history", data: [{ created: "t", author: "a", createdBy: "b", comment: "c", emptyLayer: true }] },
      { type: "imageCreationTime", data: "2024-01-01T00:00:00Z" },
      { type: "rootFs", data: ["sha256:1"] },
    ]));
  });

  it.each<readonly [string, unknown, unknown]>([
    ["an empty configuration", {}, []],
    ["nulls", { config: null, history: null, rootfs: null, created: null }, []],
    ["empty lists", { history: [], rootfs: { diff_ids: [] }, created: "" }, []],
    ["an empty container configuration", { config: {} }, [{ type: "containerConfig", data: {} }]],
    ["empty labels", { config: { Labels: {} } }, [
      { type: "imageLabels", data: {} },
      { type: "containerConfig", data: {} },
    ]],
    [
      "nulls in a container configuration",
      { config: { User: null, ExposedPorts: null, Volumes: null, Labels: null } },
      [
        { type: "containerConfig", data: { user: null, exposedPorts: null, volumes: null } },
      ],
    ],
    ["a history entry without keys", { history: [{}] }, [{ type: "history", data: [{}] }]],
  ])("says of %s what the plugin says", (_name, config, expected) => {
    expect(facts(config)).toEqual(expected);
  });
});
