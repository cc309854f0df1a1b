import { describe, expect, it } from "vitest";
import { BackoffClock, FakeClock } from "../../tests/fakes/clock.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { type Exchange, ScriptedRegistry } from "../../tests/fakes/scripted_registry.ts";
import { LIMITS } from "../core/limits.ts";
import { Redactor } from "../lib/redact.ts";
import { HttpClient } from "../net/http.ts";
import { RequestGate } from "../net/retry.ts";
import type { JsonCall } from "./json_source.ts";
import { oci } from "./oci.ts";
import { codeOf } from "./registry_suite.ts";
import { Renewed } from "./renewed.ts";
import { anonymous, exchangedBearer, fixedHeader, VendorApi, type VendorApiOptions } from "./vendor_api.ts";

const signal = new AbortController().signal;
const ORIGIN = "https://api.example";
const LIST: JsonCall = { url: new URL(`${ORIGIN}/list`), action: "list things", subject: "catalog" };
const GET_LIST = `GET ${ORIGIN}/list`;

function api(script: ScriptedRegistry, options: Partial<VendorApiOptions> = {}): VendorApi {
  const clock = new BackoffClock([LIMITS.responseTimeoutMs]);
  const logger = new RecordingLogger();
  const gate = new RequestGate({ clock, logger });
  const client = new HttpClient({ fetchFor: () => script.open().fetch, gate, clock, logger, userAgent: "test" });
  const context = { client, flavour: oci, host: "registry.example", hasCredentials: true, redactor: new Redactor() };
  return new VendorApi(context, {
    origin: ORIGIN,
    authorization: fixedHeader("private-token", "canary-pat"),
    unauthorizedMeans: "login",
    ...options,
  });
}

function played(...script: readonly Exchange[]): ScriptedRegistry {
  return new ScriptedRegistry(script);
}

describe("VendorApi", () => {
  it("sends its fields and reads JSON", async () => {
    const script = played({
      match: GET_LIST,
      headers: { "private-token": "canary-pat", accept: "application/json", "x-version": "3" },
      reply: { body: { a: 1 } },
    });
    const { value } = await api(script, { headers: { "x-version": "3" } }).call(LIST, signal);
    expect(value).toEqual({ a: 1 });
  });

  it("posts forms and texts", async () => {
    const script = played({
      match: `POST ${ORIGIN}/list`,
      reply: ({ headers, body }) => Response.json([headers.get("content-type"), body]),
    });
    const form = await api(script).call({ ...LIST, form: new URLSearchParams({ a: "b c" }) }, signal);
    expect(form.value).toEqual(["application/x-www-form-urlencoded;charset=UTF-8", "a=b+c"]);
    const text = await api(script).call({ ...LIST, content: { type: "text/plain", text: "items.find()" } }, signal);
    expect(text.value).toEqual(["text/plain", "items.find()"]);
  });

  it("tells what a 401 means", async () => {
    const refusal = { match: GET_LIST, reply: { status: 401, body: { message: "Bad credentials canary-pat" } } };
    const login = api(played(refusal)).call(LIST, signal);
    await expect(login).rejects.toMatchObject({ code: "BAD_CREDENTIALS", hint: oci.loginHint });
    await expect(login).rejects.not.toThrow(/canary/);
    const rights = api(played(refusal), { unauthorizedMeans: "rights" }).call(LIST, signal);
    await expect(rights).rejects.toMatchObject({ code: "NO_CATALOG_PERMISSION", hint: oci.listHint });
  });

  it("tells missing rights, missing lists, limits and pages", async () => {
    const cases: readonly (readonly [Exchange["reply"], string])[] = [
      [{ status: 403, body: { message: "forbidden" } }, "NO_CATALOG_PERMISSION"],
      [{ status: 404, body: { message: "Not Found" } }, "CATALOG_UNSUPPORTED"],
      [{ status: 429, headers: { "retry-after": "3600" } }, "RATE_LIMITED"],
      [{ status: 403, headers: { "x-ratelimit-remaining": "0" } }, "RATE_LIMITED"],
      [{ body: "<!doctype html>", headers: { "content-type": "text/html" } }, "REGISTRY_PROTOCOL"],
      [{ status: 500 }, "REGISTRY_ERROR"],
    ];
    for (const [reply, code] of cases) {
      expect(await codeOf(api(played({ match: GET_LIST, reply })).call(LIST, signal))).toBe(code);
    }
  });

  it("renews an exchanged token once when it is refused", async () => {
    let count = 0;
    const exchange = (): Promise<{ value: string; lifetimeMs: number }> =>
      Promise.resolve({ value: `t${++count}`, lifetimeMs: 600_000 });
    const token = new Renewed({ clock: new FakeClock(), closed: signal, exchange });
    const script = played(
      { match: GET_LIST, headers: { authorization: "Bearer t1" }, reply: { status: 401 } },
      { match: GET_LIST, headers: { authorization: "Bearer t2" }, reply: { body: { ok: true } } },
    );
    const { value } = await api(script, { authorization: exchangedBearer(token) }).call(LIST, signal);
    expect(value).toEqual({ ok: true });
    expect(script.lines).toHaveLength(2);
    const refused = played({ match: GET_LIST, reply: { status: 401 } });
    expect(await codeOf(api(refused, { authorization: exchangedBearer(token) }).call(LIST, signal))).toBe(
      "BAD_CREDENTIALS",
    );
    expect(refused.lines).toHaveLength(2);
  });

  it("takes its login nowhere else", async () => {
    const script = played(
      { match: GET_LIST, reply: { status: 302, headers: { location: "https://other.example/list" } } },
      { match: "GET https://other.example/list", headers: { "private-token": null }, reply: { body: {} } },
    );
    await api(script).call(LIST, signal);
    await expect(api(script).call({ ...LIST, url: new URL("https://other.example/") }, signal)).rejects.toThrow(
      TypeError,
    );
    expect(script.requests.filter(({ url }) => url.startsWith("https://other.example")).length).toBe(1);
  });

  it("works without a login", async () => {
    const script = played({ match: GET_LIST, headers: { authorization: null }, reply: { body: {} } });
    expect((await api(script, { authorization: anonymous }).call(LIST, signal)).value).toEqual({});
  });
});
