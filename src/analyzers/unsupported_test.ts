import { describe, expect, it } from "vitest";
import { analyzeWith, viewOf } from "./analyzer_suite.ts";
import { analyzeOs } from "./mod.ts";
import { UNSUPPORTED } from "./unsupported.ts";

describe("unsupported package managers", () => {
  const markers = UNSUPPORTED.patterns.flatMap((pattern) => pattern.paths ?? []);

  it.each(markers)("names the one that keeps %s", (path) => {
    const { packages, problems } = analyzeOs(viewOf({ [path]: "9\n" }));
    expect(packages.type).toBe("linux");
    expect(problems).toEqual([{
      code: "UNSUPPORTED_IMAGE",
      subject: path,
      message: expect.stringMatching(/^Cannot read the packages of .+: this package manager is not supported$/),
    }]);
  });

  it("says nothing of an image that has none, or whose packages are known from another database", () => {
    expect(analyzeWith(UNSUPPORTED, viewOf({ "etc/hostname": "x" }))).toEqual({ result: undefined, problems: [] });
    const files = { "var/lib/dpkg/status": "Package: a\nVersion: 1\n", [markers[0] ?? ""]: "9\n" };
    expect(analyzeOs(viewOf(files)).problems).toEqual([]);
  });
});
