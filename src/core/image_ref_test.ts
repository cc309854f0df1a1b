import { describe, expect, it } from "vitest";
import { formatImageRef, parseImageRef } from "./image_ref.ts";

const HEX = "a".repeat(64);

describe("parseImageRef()", () => {
  it.each(
    [
      ["alpine", { repository: "alpine" }],
      ["team/app:1.2", { repository: "team/app", tag: "1.2" }],
      ["localhost/app", { host: "localhost", repository: "app" }],
      ["127.0.0.1:5000/a/b:t", { host: "127.0.0.1:5000", repository: "a/b", tag: "t" }],
      [`r.io/a@sha256:${HEX}`, { host: "r.io", repository: "a", digest: `sha256:${HEX}` }],
      [`a:t@sha256:${HEX}`, { repository: "a", tag: "t", digest: `sha256:${HEX}` }],
      ["[::1]:5000/a", { host: "[::1]:5000", repository: "a" }],
    ] as const,
  )("reads %s", (text, expected) => {
    expect(parseImageRef(text)).toEqual(expected);
    expect(formatImageRef(parseImageRef(text))).toBe(text);
  });

  it("takes a dotted first part as repository when no host may occur", () => {
    expect(parseImageRef("my.team/app:1", { host: false })).toEqual({ repository: "my.team/app", tag: "1" });
  });

  it.each([
    ["", "not a repository name"],
    ["Team/App", "lower case"],
    ["a//b", "not a repository name"],
    ["a/../b", "not a repository name"],
    ["a:", "not a tag"],
    ["a@sha256:12", "not a digest"],
    ["a b", "not a repository name"],
    ["r.io/", "not a repository name"],
  ])("refuses %j", (text, why) => {
    expect(() => parseImageRef(text)).toThrow(why);
  });
});
