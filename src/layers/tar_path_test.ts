import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cleanPath } from "./tar_path.ts";

describe("cleanPath()", () => {
  it.each([
    ["etc/passwd", "etc/passwd"],
    ["./etc/passwd", "etc/passwd"],
    ["/etc/passwd", "etc/passwd"],
    ["etc//./passwd", "etc/passwd"],
    ["etc/", "etc"],
    ["./", ""],
    [".", ""],
    ["/", ""],
    ["", ""],
    ["..", ""],
    ["../../x", "x"],
    ["a/../../b", "b"],
    ["a/b/../c", "a/c"],
    ["a/..", ""],
    ["...", "..."],
    ["a/..b/.c", "a/..b/.c"],
    ["a\\..\\b", "a\\..\\b"],
    ["//", ""],
    [".//", ""],
    ["a//", "a"],
    ["./../x", "x"],
    [".wh..wh..opq", ".wh..wh..opq"],
  ])("makes %j %j", (name, path) => {
    expect(cleanPath(name)).toBe(path);
  });

  it("gives clean paths, and leaves clean paths alone", () => {
    const name = fc.array(fc.constantFrom("a", "b", ".", "..", "", "..."), { maxLength: 8 }).map((p) => p.join("/"));
    fc.assert(fc.property(name, (text) => {
      const path = cleanPath(text);
      expect(path.split("/").some((part) => part === "." || part === "..")).toBe(false);
      expect(path === "" || path.split("/").every((part) => part !== "")).toBe(true);
      expect(cleanPath(path)).toBe(path);
    }));
  });
});
