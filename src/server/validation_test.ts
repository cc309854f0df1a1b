import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { loadConfig } from "../config/load.ts";
import type { Fetch } from "../core/ports.ts";
import { AppHarness } from "./app_suite.ts";
import { validate, type ValidationResult } from "./validation.ts";

const never = new AbortController().signal;
const URL_TEXT = "http://agent.example/systemcheck";

async function check(
  env: Record<string, string>,
  fetch: Fetch,
  options: { readonly fallback?: string; readonly clock?: FakeClock } = {},
): Promise<readonly ValidationResult[]> {
  const { broker } = await loadConfig({
    env: { BROKER_CLIENT_VALIDATION_URL: URL_TEXT, ...env },
    readFile: () => Promise.reject(new Error("no file")),
  });
  if (broker.validation === undefined) throw new Error("There is nothing to validate");
  const { clock = new FakeClock(), fallback } = options;
  const userAgent = "Snyk Broker Client 5.22.14";
  return await validate({ target: broker.validation, fallback, fetch, clock, userAgent }, never);
}

describe("validate()", () => {
  it.each<readonly [string, Record<string, string>, readonly (readonly [string | null, string | null])[]]>([
    ["no credential", {}, [[null, null]]],
    ["a header", { BROKER_CLIENT_VALIDATION_AUTHORIZATION_HEADER: "token abcdefgh" }, [[
      "token abcdefgh",
      "abc***fgh",
    ]]],
    ["a short one", { BROKER_CLIENT_VALIDATION_AUTHORIZATION_HEADER: "token abcdef" }, [["token abcdef", "***"]]],
    ["a user", { BROKER_CLIENT_VALIDATION_BASIC_AUTH: "user:pass" }, [["Basic dXNlcjpwYXNz", "use***ass"]]],
    ["headers of a pool", { BROKER_CLIENT_VALIDATION_AUTHORIZATION_HEADER_POOL: "abcdefg, hijklmn" }, [
      ["abcdefg", "abc***efg"],
      ["hijklmn", "hij***lmn"],
    ]],
    ["users of a pool before a header", {
      BROKER_CLIENT_VALIDATION_BASIC_AUTH_POOL: "a:b,c:d",
      BROKER_CLIENT_VALIDATION_AUTHORIZATION_HEADER: "no",
    }, [["Basic YTpi", "***"], ["Basic Yzpk", "***"]]],
    ["a user in the URL", { BROKER_CLIENT_VALIDATION_URL: "http://us%40r:pass@agent.example/systemcheck" }, [
      [`Basic ${btoa("us@r:pass")}`, "us@***ass"],
    ]],
  ])("asks with %s", async (_name, env, expected) => {
    const seen: (string | null)[] = [];
    const results = await check(env, (request) => {
      expect(request.url).toBe(URL_TEXT);
      seen.push(request.headers.get("authorization"));
      return Promise.resolve(new Response("{}"));
    });
    expect(seen).toEqual(expected.map(([authorization]) => authorization));
    expect(results).toEqual(expected.map(([, maskedCredentials]) => ({
      brokerClientValidationUrl: URL_TEXT,
      brokerClientValidationMethod: "GET",
      brokerClientValidationTimeoutMs: 5000,
      brokerClientValidationUrlStatusCode: 200,
      ok: true,
      maskedCredentials,
    })));
  });

  it("uses CR_CREDENTIALS when nothing is named", async () => {
    const seen: (string | null)[] = [];
    await check({}, (request) => {
      seen.push(request.headers.get("authorization"));
      return Promise.resolve(new Response());
    }, { fallback: "eyJ9" });
    expect(seen).toEqual(["eyJ9"]);
  });

  it.each([
    [401, "Failed due to invalid credentials"],
    [403, "Failed due to invalid credentials"],
    [404, "Status code is not 2xx"],
    [302, "Status code is not 2xx"],
  ])("reports status %i", async (status, error) => {
    const [result] = await check({}, () => Promise.resolve(new Response(null, { status })));
    expect(result).toMatchObject({ ok: false, brokerClientValidationUrlStatusCode: status, error });
  });

  it("keeps its time limit, and says that nobody is there", async () => {
    const clock = new FakeClock();
    const late = check(
      { BROKER_CLIENT_VALIDATION_TIMEOUT_MS: "700", BROKER_CLIENT_VALIDATION_METHOD: "head" },
      (request) =>
        new Promise((_resolve, reject) =>
          request.signal.addEventListener("abort", () => reject(request.signal.reason))
        ),
      { clock },
    );
    for (let i = 0; i < 20 && clock.pending === 0; i++) await Promise.resolve();
    await clock.advance(700);
    const [timeout] = await late;
    expect(timeout).toMatchObject({ ok: false, brokerClientValidationMethod: "HEAD" });
    expect(timeout?.error).toContain("agent.example");
    const [down] = await check({}, () => Promise.reject(new TypeError("url (http://u:hunter2@x)")));
    expect(down).toMatchObject({ ok: false, error: "agent.example cannot be reached" });
  });
});

describe("/systemcheck and /health/checks", () => {
  let app: AppHarness;
  beforeAll(() => {
    app = new AppHarness();
  });
  afterAll(() => app.stop());

  const result: ValidationResult = {
    brokerClientValidationUrl: URL_TEXT,
    brokerClientValidationMethod: "GET",
    brokerClientValidationTimeoutMs: 5000,
    ok: true,
    maskedCredentials: null,
  };

  it("take the last credential's outcome as the whole", async () => {
    const bad = { ...result, ok: false };
    const asked = async (results: readonly ValidationResult[]): Promise<number> => {
      const response = await app.ask("/systemcheck", { deps: { validate: () => Promise.resolve(results) } });
      expect(await response.json()).toEqual(results);
      return response.status;
    };
    expect(await asked([bad, result])).toBe(200);
    expect(await asked([result, bad])).toBe(500);
  });

  it("log in to the registry when a broker client's check asks", async () => {
    const deps = { validate: () => Promise.reject(new Error("asked in a circle")) };
    const headers = { "user-agent": "Snyk Broker Client 5.22.14" };
    const response = await app.ask("/systemcheck", { deps, headers });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject([{ ok: true, registry: expect.any(String) }]);
  });

  it("run the checks of the network again", async () => {
    expect(await (await app.ask("/health/checks")).json()).toEqual([{ id: "a" }]);
    expect(await (await app.ask("/health/checks/a")).json()).toEqual({ id: "a" });
    expect((await app.ask("/health/checks/b")).status).toBe(404);
  });
});
