import { describe, expect, it } from "vitest";
import { callbackPaths } from "./callback_paths.ts";

const ORIGINS = ["http://broker:8000"];

describe("callbackPaths()", () => {
  it.each(
    [
      ["scan", undefined, "/api/v2/import/result", "/api/v2/import/done"],
      ["scan", "http://broker:8000/", "/api/v2/import/result", "/api/v2/import/done"],
      ["scan", "http://broker:8000/v2/import/result", "/v2/import/result", "/v2/import/done"],
      ["scan", "/v2/import/done", "/v2/import/result", "/v2/import/done"],
      ["discover", undefined, "/v1/import/app", undefined],
      ["discover", "/api/v1/recurring-tests/dependencies", "/api/v1/recurring-tests/dependencies", undefined],
    ] as const,
  )("%s with %s", (kind, url, result, done) => {
    expect(callbackPaths(kind, url, ORIGINS)).toMatchObject({ result, done });
  });

  it.each([
    ["http://evil/api/v2/import/result", "origin"],
    ["http://broker:8000@evil/v2/import/result", "origin"],
    ["//evil/v2/import/result", "origin"],
    ["http://broker:8000/admin", "path"],
    ["file:///etc/passwd", "http or https"],
  ])("refuses %s", (url, why) => {
    expect(() => callbackPaths("scan", url, ORIGINS)).toThrow(why);
  });
});
