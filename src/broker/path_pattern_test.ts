import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../core/limits.ts";
import { compileGlob, compilePath, type Matcher } from "./path_pattern.ts";

// One seed, so that a run can be repeated.
fc.configureGlobal({ seed: 4_104 });

function matcher(made: Matcher | string): Matcher {
  if (typeof made === "string") throw new Error(made);
  return made;
}

describe("compilePath()", () => {
  it.each(
    [
      ["/list", "/list", true],
      ["/list", "/list/", true],
      ["/list", "/LIST", true],
      ["/list", "/list/a", false],
      ["/list", "/lis", false],
      ["/list/*", "/list", false],
      ["/list/*", "/list/", true],
      ["/list/*", "/list/a", true],
      ["/list/*", "/list/a/b/c", true],
      ["/list/*", "/x/list/a", false],
      ["/a/:one/b", "/a/x/b", true],
      ["/a/:one/b", "/a//b", false],
      ["/a/:one/b", "/a/x/y/b", false],
      ["/a/:one.:two", "/a/x.y", true],
      ["/:x-end", "/a-b-end", true],
      ["list", "/list", true],
      ["/", "/", true],
      ["", "/", true],
      ["/a.b", "/axb", false],
      ["/*", "/anything/at/all", true],
    ] as const,
  )("%s on %s: %j", (pattern, path, expected) => {
    expect(matcher(compilePath(pattern))(path)).toBe(expected);
  });

  it.each(["/a(b)", "/a?", "/a+", "/a\\b", "/:", "/:a*"])("refuses %s", (pattern) => {
    expect(compilePath(pattern)).toContain("not supported");
  });

  it("agrees with the regular expression of path-to-regexp 1.x", () => {
    const parts = fc.array(fc.constantFrom("/a", "/B", "/:x", "/*", "/a.b", "/x-"), { minLength: 1, maxLength: 5 });
    const text = fc.array(fc.constantFrom("/", "a", "b", "A", "-", ".", "x"), { maxLength: 12 }).map((p) =>
      `/${p.join("")}`
    );
    fc.assert(
      fc.property(parts, text, (pattern, path) => {
        const source = pattern.join("").replace(/[.-]/g, "\\$&").replace(/:x/g, "[^/]+?").replace(/\*/g, "(?:.*)");
        const oracle = new RegExp(`^${source}(?:/(?=$))?$`, "i");
        expect(matcher(compilePath(pattern.join("")))(path)).toBe(oracle.test(path));
      }),
      { numRuns: 5_000 },
    );
  });

  it("is not slowed down by a hostile path", () => {
    const pattern = matcher(compilePath("/*a*a*a*a*a*a*a*a*a*b"));
    expect(pattern(`/${"a".repeat(LIMITS.brokerMatchedChars - 1)}`)).toBe(false);
    expect(pattern(`/${"a".repeat(LIMITS.brokerMatchedChars - 2)}b`)).toBe(true);
    expect(pattern(`/${"a".repeat(LIMITS.brokerMatchedChars - 1)}b`)).toBe(false);
  });
});

describe("compileGlob()", () => {
  it.each(
    [
      ["", "", true],
      ["main", "main", true],
      ["main", "Main", false],
      ["*", "abc", true],
      ["*", "", false],
      ["*", "a/b", false],
      ["*", ".hidden", true],
      ["*", "..", false],
      ["a*", "a", true],
      ["**", "a/b/c", true],
      ["**", "a/../b", false],
      ["**/x", "x", true],
      ["**/x", "a/b/x", true],
      ["a/**", "a/b", true],
      ["a/**", "a", false],
      ["a/**/b", "a/b", true],
      ["a/**/b", "a/x/y/b", true],
      ["a?c", "abc", true],
      ["a?c", "a/c", false],
      ["[a-c]x", "bx", true],
      ["[!a-c]x", "bx", false],
      ["[", "[", true],
      ["{a,b}.js", "b.js", true],
      ["{a,b}.js", "c.js", false],
      ["{a,{b,c}}", "c", true],
      ["!a", "b", true],
      ["!a", "a", false],
      ["#a", "#a", false],
      ["\\*", "*", true],
      ["\\*", "a", false],
    ] as const,
  )("%s on %s: %j", (pattern, text, expected) => {
    expect(matcher(compileGlob(pattern))(text)).toBe(expected);
  });

  it("refuses patterns that explode", () => {
    expect(compileGlob("{a,b}".repeat(20))).toContain("too many alternatives");
    expect(compileGlob("a".repeat(LIMITS.brokerPatternChars + 1))).toContain("too long");
  });
});
