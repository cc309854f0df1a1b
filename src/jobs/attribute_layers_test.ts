import { describe, expect, it } from "vitest";
import { layer } from "../../tests/fakes/layer_facts.ts";
import { analyzeOs } from "../analyzers/mod.ts";
import type { AppResult } from "../core/scan_ports.ts";
import type { HistoryEntry, LayerAttribution, LayerFacts } from "../core/types.ts";
import { assembleLayers } from "../layers/assemble.ts";
import { attributeLayers } from "./attribute_layers.ts";

const LAYERS: readonly LayerFacts[] = [
  layer("lib/apk/db/installed=P:a\nV:1\n", "app/package.json={}"),
  layer("app/package-lock.json={}", "app/node_modules/x/package.json={}"),
  layer("app/node_modules/y/package.json={}"),
];
const HISTORY: readonly HistoryEntry[] = [
  { created_by: "ADD base" },
  { created_by: "ENV X=1", empty_layer: true },
  { created_by: "COPY app" },
  {},
];

function attribute(
  history: readonly HistoryEntry[] | null | undefined,
  results: readonly AppResult[] = [],
): LayerAttribution {
  const view = assembleLayers(LAYERS);
  return attributeLayers({
    layers: LAYERS,
    history,
    assemble: assembleLayers,
    view,
    extractors: ["jar"],
    os: analyzeOs(view),
    apps: { results, imageFacts: [], problems: [] },
  });
}

function app(...evidence: AppResult["evidence"]): AppResult {
  return { type: "npm", targetFile: "/app/package.json", facts: [], evidence };
}

describe("attributeLayers()", () => {
  it("names layers by diffID, digest and the history's instruction", () => {
    const { layers, warnings, os } = attribute(HISTORY);
    expect(warnings).toEqual([]);
    expect(os).toEqual([0]);
    expect(layers.map((each) => each.instruction)).toEqual(["ADD base", "COPY app", undefined]);
    expect(layers[0]).toEqual({ diffId: LAYERS[0]?.diffId, digest: LAYERS[0]?.digest, instruction: "ADD base" });
  });

  it("warns in the plugin's words when the history has another number of layers, and names no instructions", () => {
    const { layers, warnings } = attribute(HISTORY.slice(1));
    expect(layers.every((each) => each.instruction === undefined)).toBe(true);
    expect(warnings).toEqual([
      "Layer attribution: image history does not align 1:1 with rootfs layers (history has 2 non-empty entries, rootfs " +
      "has 3 layers). Per-package layer attribution will still be reported, but the originating Dockerfile instruction " +
      "may not be shown.",
    ]);
  });

  it.each([null, undefined])("says nothing about a history that is %s", (history) => {
    expect(attribute(history).warnings).toEqual([]);
  });

  it("finds the layers of applications by their files", () => {
    const lock = app({ path: "app/package.json" }, { path: "app/package-lock.json" });
    const modules = app(
      { path: "app/package.json" },
      { path: "app/node_modules/x/package.json", name: "x", version: "1" },
      { path: "app/node_modules/y/package.json", name: "y" },
      { path: "not/there", name: "z" },
    );
    const { apps } = attribute(HISTORY, [lock, modules, app({ path: "not/there" })]);
    expect(apps.map(({ packages, other }) => [Object.fromEntries(packages), other])).toEqual([
      [{}, 1],
      [{ "x@1": 1, "y@": 2 }, 0],
      [{}, undefined],
    ]);
    expect(apps[0]?.files).toEqual(new Map([["app/package.json", 0], ["app/package-lock.json", 1]]));
  });

  it("knows files that only an extractor has read", () => {
    const view = assembleLayers(LAYERS);
    const { apps } = attributeLayers({
      layers: LAYERS,
      history: null,
      assemble: assembleLayers,
      view: {
        ...view,
        file: (path) => view.file(path),
        extracted: (name) => name === "jar" ? [{ path: "a.jar", size: 1, layer: 2, data: null }] : [],
      },
      extractors: ["jar"],
      os: analyzeOs(view),
      apps: { results: [app({ path: "a.jar" })], imageFacts: [], problems: [] },
    });
    expect(apps[0]?.other).toBe(2);
  });
});
