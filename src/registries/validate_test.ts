import { describe, expect, it } from "vitest";
import { open, signal } from "../../tests/fakes/scripted_open.ts";
import { type Exchange, ScriptedRegistry } from "../../tests/fakes/scripted_registry.ts";
import { codeOf } from "./registry_suite.ts";

describe("validate()", () => {
  it.each<readonly [string, readonly Exchange[], Record<string, unknown>, string]>([
    ["a web server", [{ match: "GET /v2/", reply: { status: 404, body: "<html>" } }], {
      ok: false,
      code: "NOT_A_REGISTRY",
      status: 404,
    }, "api"],
    [
      "a web page with 200",
      [{ match: "GET /v2/", reply: { body: "<!doctype html>", headers: { "content-type": "text/html" } } }],
      { ok: false, code: "NOT_A_REGISTRY", status: 502 },
      "api",
    ],
    [
      "a login page",
      [{ match: "GET /v2/", reply: { status: 302, headers: { location: "https://sso.example/login" } } }, {
        match: "GET https://sso.example/login",
        reply: { body: "<html>" },
      }],
      { ok: false, code: "LOGIN_PAGE", status: 502 },
      "api",
    ],
    ["a failing registry", [{ match: "GET /v2/", reply: { status: 503 } }], {
      ok: false,
      code: "REGISTRY_ERROR",
      status: 502,
    }, "api"],
    [
      "a limit",
      [{ match: "GET /v2/", reply: { status: 429 } }],
      { ok: false, code: "RATE_LIMITED", status: 429 },
      "api",
    ],
    [
      "a registry without list",
      [{ match: "GET /v2/", reply: { body: "true" } }, {
        match: "GET /v2/_catalog",
        reply: { status: 404, body: "404 page not found" },
      }],
      { ok: true, status: 200 },
      "list",
    ],
    [
      "an empty registry",
      [{ match: "GET /v2/", reply: { body: "" } }, {
        match: "GET /v2/_catalog",
        reply: { body: { repositories: null } },
      }],
      { ok: true, status: 200 },
      "list",
    ],
  ])("of %s", async (_, script, report, last) => {
    const played = new ScriptedRegistry(script);
    const found = await open(played, { username: "", password: "" }).validate(signal);
    expect(found).toMatchObject(report);
    expect(found.steps.at(-1)?.step).toBe(last);
    if (!found.ok) expect(found.steps.at(-1)).toMatchObject({ ok: false, message: found.message });
    played.assertDone();
  });

  it("rejects only when it is cancelled", async () => {
    const registry = open(new ScriptedRegistry([]));
    expect(await codeOf(registry.validate(AbortSignal.abort()))).toBe("CANCELLED");
  });
});
