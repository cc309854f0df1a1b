import { describe, expect, it } from "vitest";
import { INTERNAL_ORIGIN, resolveTarget } from "./target.ts";

const ORIGIN = "http://127.0.0.1:9001";
const resolve = (path: string, origin = ORIGIN): ReturnType<typeof resolveTarget> =>
  resolveTarget({ origin: "${CR_AGENT_URL}" }, path, (template) => template.replace("${CR_AGENT_URL}", origin));

describe("resolveTarget()", () => {
  it.each(
    [
      [ORIGIN, "/list?x=1#f", "http://127.0.0.1:9001/list?x=1"],
      ["http://agent:80/base/", "/list", "http://agent/base/list"],
      ["agent.example", "/list", "https://agent.example/list"],
      ["HTTPS://Agent.Example", "/a@b:c", "https://agent.example/a@b:c"],
      ["http://[::1]:9", "/x", "http://[::1]:9/x"],
    ] as const,
  )("appends the path to %s", (origin, path, expected) => {
    const target = resolve(path, origin);
    expect(target.kind === "target" && [target.url.href, target.internal]).toEqual([expected, false]);
  });

  // reliability.md X1
  it.each(
    [
      "@evil:80/",
      "//evil/list",
      "/\\evil/list",
      "\\\\evil/list",
      "http://evil/list",
      "hTTp://evil/list",
      ":80/list",
      ".evil/list",
      "#@evil/list",
      "",
      "/list\tx",
      "/list\r\nhost: evil",
      "/list x",
      "\u0000/list",
      "list",
    ] as const,
  )("blocks %j", (path) => {
    expect(resolve(path)).toEqual({ kind: "blocked" });
  });

  it.each(["/../admin", "/%2e%2e/admin", "/x/../../admin"])(
    "blocks %s, which would leave the origin's path",
    (path) => {
      expect(resolve(path, "http://agent/base")).toEqual({ kind: "blocked" });
    },
  );

  it("stays in this process when CR_AGENT_URL has no value", () => {
    const target = resolve("/list", "");
    expect(target.kind === "target" && [target.url.href, target.internal]).toEqual([`${INTERNAL_ORIGIN}/list`, true]);
    expect(resolve("//evil", "")).toEqual({ kind: "blocked" });
  });

  it.each(
    [
      [{ origin: "${TYPO}" }, "empty"],
      [{}, "empty"],
      [{ origin: "ftp://x y" }, "not an http"],
      [{ origin: "http://x/?a=b" }, "not an http"],
    ] as const,
  )("says that %j is misconfigured", (rule, message) => {
    const target = resolveTarget(rule, "/list", (template) => template.replace("${TYPO}", ""));
    expect(target).toMatchObject({ kind: "misconfigured", message: expect.stringContaining(message) });
  });

  it.each(
    [
      ["http://user:p%40ss@agent", "Basic dXNlcjpwQHNz"],
      ["http://tok@agent", "token tok"],
      ["http://agent", undefined],
    ] as const,
  )("turns the user info of %s into a header", (origin, expected) => {
    const target = resolve("/list", origin);
    expect(target.kind === "target" && [target.url.href, target.authorization]).toEqual([
      "http://agent/list",
      expected,
    ]);
  });
});
