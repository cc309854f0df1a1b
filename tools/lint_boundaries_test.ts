import { describe, expect, it } from "vitest";
import plugin, { forbiddenImport } from "./lint_boundaries.ts";

describe("forbiddenImport()", () => {
  it.each([
    ["/p/src/jobs/a.ts", "../layers/mod.ts"],
    ["/p/src/main.ts", "./server/app.ts"],
    ["/p/src/net/a.ts", "../core/types.ts"],
    ["/p/src/net/a.ts", "./b.ts"],
    ["/p/src/net/a.ts", "hono"],
    ["/p/src/net/a_test.ts", "../../tests/fakes/x.ts"],
    ["/p/tests/e2e/a.ts", "../../src/main.ts"],
  ])("allows %s to import %s", (from, specifier) => {
    expect(forbiddenImport(from, specifier)).toBeUndefined();
  });

  it.each([
    ["/p/src/core/a.ts", "../lib/x.ts", "above"],
    ["/p/src/layers/a.ts", "../registries/x.ts", "siblings"],
    ["/p/src/jobs/a.ts", "../server/x.ts", "above"],
    ["/p/src/net/a.ts", "../../tests/fakes/x.ts", "outside"],
    ["/p/src/other/a.ts", "../core/x.ts", "no floor"],
    ["/p/src/net/a.ts", "npm:hono", "import map"],
  ])("refuses %s importing %s", (from, specifier, why) => {
    expect(forbiddenImport(from, specifier)).toContain(why);
  });
});

describe("the lint plug-in", () => {
  it("reports an upward import with its reason", () => {
    const found = Deno.lint.runPlugin(plugin, "/p/src/core/a.ts", `import "../main.ts";`);
    expect(found.map((d) => d.id)).toEqual(["outpost/boundaries"]);
  });

  it("reports ambient time below main, and not in main or in tests", () => {
    const source = "export const t = Date.now(); setTimeout(() => {}, 1);";
    expect(Deno.lint.runPlugin(plugin, "/p/src/net/a.ts", source)).toHaveLength(2);
    expect(Deno.lint.runPlugin(plugin, "/p/src/main.ts", source)).toHaveLength(0);
    expect(Deno.lint.runPlugin(plugin, "/p/src/net/a_test.ts", source)).toHaveLength(0);
    expect(Deno.lint.runPlugin(plugin, "/p/src/net/a.ts", "valueOf(); toString();")).toHaveLength(0);
  });
});
