import { describe, expect, it } from "vitest";
import { parseScanRequest } from "./contract.ts";
import { analysisOptions } from "./scan_options.ts";

describe("analysisOptions()", () => {
  it.each([undefined, null, "x", 3, [], {}])("finds none in %j", (value) => {
    expect(analysisOptions(value, value)).toBeUndefined();
  });

  it("reads the plugin's options, as values or as texts", () => {
    const request = {
      "exclude-app-vulns": "true",
      "layer-attribution": true,
      "exclude-base-image-vulns": "false",
      "nested-jars-depth": "3",
      "target-reference": "main",
      globsToFind: { include: ["**/Gemfile.lock", 7], exclude: ["**/node_modules/**"] },
    };
    expect(analysisOptions(undefined, request)).toEqual({
      excludeAppVulns: true,
      excludeNodeModules: false,
      nestedJarsDepth: 3,
      includeSystemJars: false,
      collectApplicationFiles: false,
      layerAttribution: true,
      excludeBaseImageVulns: false,
      globsToFind: { include: ["**/Gemfile.lock"], exclude: ["**/node_modules/**"] },
      targetReference: "main",
    });
  });

  it("prefers an image's own, and passes over what is of another form", () => {
    const image = { "shaded-jars-depth": -1, globsToFind: { include: "x" }, "target-reference": "x".repeat(2000) };
    const found = analysisOptions({ ...image, "layer-attribution": false }, { "layer-attribution": true });
    expect(found).toMatchObject({ layerAttribution: false });
    expect([found?.nestedJarsDepth, found?.globsToFind, found?.targetReference]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  it("reaches every target of a request, and stays among the carried fields", () => {
    const options = { "layer-attribution": true };
    const own = { "exclude-app-vulns": true };
    const { targets, fields } = parseScanRequest(
      { options, images: [{ name: "a" }, { name: "b", options: own }] },
      "x.example",
    );
    expect(targets.map((target) => [target.analysis?.layerAttribution, target.analysis?.excludeAppVulns])).toEqual([
      [true, false],
      [true, true],
    ]);
    expect(fields).toEqual({ options });
    expect(parseScanRequest({ name: "a" }, "x.example").targets[0]?.analysis).toBeUndefined();
  });
});
