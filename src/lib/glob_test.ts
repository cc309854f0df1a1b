import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileGlob, soughtGlobs, startOfGlob } from "./glob.ts";

describe("compileGlob()", () => {
  // Every row is what minimatch 9.0.9 answers.
  it.each<[string, string[], string[]]>([
    ["/app/x.txt", ["/app/x.txt"], ["/app/x.txt/", "app/x.txt", "/app/xatxt"]],
    ["**/x", ["/x", "/a/x", "/a/b/x", "x"], ["/x/a", "/.a/x", "/ax"]],
    ["/**", ["/a", "/a/b"], ["/.a", "/a/.b"]],
    ["/a/**/b", ["/a/b", "/a/x/b", "/a/x/y/b"], ["/a/.x/b", "/ab"]],
    ["/a/**/b/**/c", ["/a/b/c", "/a/x/b/b/y/c"], ["/a/c", "/a/x/c"]],
    ["/a**b", ["/ab", "/axxb"], ["/a/b"]],
    ["/*", ["/a"], ["/.a", "/a/b", "/"]],
    ["/.*", ["/.a"], ["/a"]],
    ["/a*b*c", ["/abc", "/axbxc", "/abbcc"], ["/ab", "/abcd"]],
    ["/?", ["/a"], ["/ab", "/.", "/"]],
    ["/[ab]x", ["/ax", "/bx"], ["/cx", "/x"]],
    ["/[!ab]x", ["/cx"], ["/ax", "/x"]],
    ["/[a-c0-9]", ["/b", "/7"], ["/d", "/-"]],
    ["/[a", ["/[a"], ["/a"]],
    ["/{a,b}/c", ["/a/c", "/b/c"], ["/c"]],
    ["/{a,b{c,d}}", ["/a", "/bc", "/bd"], ["/b"]],
    ["/a{,b}", ["/a", "/ab"], ["/ac"]],
    ["/{a}", ["/{a}"], ["/a"]],
    ["/{a", ["/{a"], ["/a"]],
  ])("matches %s as minimatch does", (pattern, matching, others) => {
    const matches = compileGlob(pattern);
    expect(matching.filter((path) => !matches(path))).toEqual([]);
    expect(others.filter((path) => matches(path))).toEqual([]);
  });

  it("matches every text literally by itself", () => {
    const plain = fc.stringMatching(/^(\/[a-z.]{1,5}){1,4}$/);
    fc.assert(fc.property(plain, (path) => compileGlob(path)(path)));
  });

  it("does not take long for any pattern and path", () => {
    const hostile = "/" + "a".repeat(4000);
    for (
      const pattern of ["/" + "*a".repeat(2000) + "b", "**/".repeat(1000) + "b", "{a,b}".repeat(500), "{".repeat(5000)]
    ) {
      expect(compileGlob(pattern)(hostile)).toBe(false);
      expect(compileGlob(pattern)("/a".repeat(2000))).toBe(false);
    }
  });
});

describe("soughtGlobs()", () => {
  it("leaves out composer's files", () => {
    expect(soughtGlobs({})).toEqual({ include: [], exclude: [] });
    const globsToFind = { include: ["**/composer.lock", "**/x"], exclude: ["y"] };
    expect(soughtGlobs({ globsToFind })).toEqual({ include: ["**/x"], exclude: ["y"] });
  });
});

describe("startOfGlob()", () => {
  it.each(
    [
      ["/usr/lib/jvm/**/release", "/usr/lib/jvm"],
      ["/usr/{lib,local}/x", "/usr/l"],
      ["/etc/passwd", "/etc/passwd"],
      ["**/x", ""],
      ["{a,b}", ""],
    ] as const,
  )("of %j is %j", (glob, start) => {
    expect(startOfGlob(glob)).toBe(start);
  });
});
