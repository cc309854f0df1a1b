import { describe, expect, it } from "vitest";
import { BackoffClock } from "../../tests/fakes/clock.ts";
import {
  A_PULL,
  ANONYMOUS,
  BASIC,
  BEARER,
  challenge,
  open,
  REALM,
  signal,
  TAGS,
  TAGS_REPLY,
  token,
} from "../../tests/fakes/scripted_open.ts";
import { type Exchange, ScriptedRegistry } from "../../tests/fakes/scripted_registry.ts";
import type { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { codeOf, collect } from "./registry_suite.ts";

describe("login", () => {
  it("asks how to log in once, then fetches one token for many callers", async () => {
    const script = new ScriptedRegistry([
      challenge("GET /v2/", BEARER, { once: true }),
      token(A_PULL, "t1"),
      { match: TAGS, headers: { authorization: "Bearer t1" }, reply: TAGS_REPLY },
    ]);
    const registry = open(script);
    await collect(registry.tags("a", signal));
    await Promise.all(Array.from({ length: 5 }, () => collect(registry.tags("a", signal))));
    script.assertDone();
  });

  it("sends Basic only after it was asked for, and never without credentials", async () => {
    const script = new ScriptedRegistry([
      challenge("GET /v2/", 'BASIC realm="Sonatype Nexus"', { once: true }),
      { match: TAGS, headers: { authorization: BASIC }, reply: TAGS_REPLY, once: true },
    ]);
    expect(await collect(open(script).tags("a", signal))).toEqual(["1"]);
    script.assertDone();
    const anonymous = new ScriptedRegistry([challenge(TAGS, 'Basic realm="x"', { once: true })]);
    expect(await codeOf(collect(open(anonymous, ANONYMOUS).tags("a", signal)))).toBe(
      "BAD_CREDENTIALS",
    );
    anonymous.assertDone();
  });

  it("sends Basic at once where a type prefers it", async () => {
    const script = new ScriptedRegistry([{
      match: TAGS,
      headers: { authorization: BASIC },
      reply: TAGS_REPLY,
      once: true,
    }]);
    await collect(open(script, { type: "nexus-cr" }).tags("a", signal));
    script.assertDone();
  });

  it("fetches an anonymous token without a login", async () => {
    const script = new ScriptedRegistry([
      challenge(TAGS, BEARER, { once: true }),
      {
        match: `GET ${REALM}?service=registry.example&${A_PULL}`,
        headers: { authorization: null },
        reply: { body: { access_token: "anonymous" } },
        once: true,
      },
      { match: TAGS, headers: { authorization: "Bearer anonymous" }, reply: TAGS_REPLY, once: true },
    ]);
    expect(await collect(open(script, { username: "", password: "" }).tags("a", signal))).toEqual(["1"]);
    script.assertDone();
  });

  it("R8: renews a token before it expires, and after five minutes at the latest", async () => {
    const clock = new BackoffClock([LIMITS.responseTimeoutMs]);
    const script = new ScriptedRegistry([
      challenge("GET /v2/", BEARER, { once: true }),
      token(A_PULL, "t1", { expires_in: 3600 }),
      token(A_PULL, "t2", { expires_in: undefined }),
      token(A_PULL, "t3"),
      { match: TAGS, reply: TAGS_REPLY },
    ]);
    const registry = open(script, {}, {}, clock);
    const sent = async (): Promise<string | null | undefined> => {
      await collect(registry.tags("a", signal));
      return script.requests.at(-1)?.headers.get("authorization");
    };
    expect(await sent()).toBe("Bearer t1");
    await clock.advance(LIMITS.tokenLifetimeMs - LIMITS.tokenMarginMs - 1);
    expect(await sent()).toBe("Bearer t1");
    await clock.advance(1);
    expect(await sent()).toBe("Bearer t2");
    await clock.advance(LIMITS.tokenDefaultLifetimeMs - LIMITS.tokenMarginMs - 1);
    expect(await sent()).toBe("Bearer t2");
    await clock.advance(1);
    expect(await sent()).toBe("Bearer t3");
    script.assertDone();
  });

  it("R8: refreshes once when the registry refuses a kept token", async () => {
    const script = new ScriptedRegistry([
      challenge("GET /v2/", BEARER, { once: true }),
      token(A_PULL, "t1"),
      token(A_PULL, "t2"),
      { match: TAGS, headers: { authorization: "Bearer t1" }, reply: TAGS_REPLY, once: true },
      {
        match: TAGS,
        headers: { authorization: "Bearer t1" },
        reply: { status: 401, headers: { "www-authenticate": `${BEARER},error="invalid_token"` } },
      },
      { match: TAGS, headers: { authorization: "Bearer t2" }, reply: TAGS_REPLY, once: true },
    ]);
    const registry = open(script);
    await collect(registry.tags("a", signal));
    expect(await collect(registry.tags("a", signal))).toEqual(["1"]);
    script.assertDone();
  });

  it("R8: asks for a wider scope once, the registry's own first", async () => {
    const wanted = 'scope="repository:a:metadata_read",error="insufficient_scope"';
    const script = new ScriptedRegistry([
      challenge("GET /v2/", BEARER, { once: true }),
      token(A_PULL, "t1"),
      {
        match: TAGS,
        headers: { authorization: "Bearer t1" },
        reply: { status: 401, headers: { "www-authenticate": `${BEARER},${wanted}` } },
        once: true,
      },
      token(`scope=repository%3Aa%3Ametadata_read&${A_PULL}`, "t2"),
      { match: TAGS, headers: { authorization: "Bearer t2" }, reply: TAGS_REPLY, once: true },
    ]);
    expect(await collect(open(script).tags("a", signal))).toEqual(["1"]);
    script.assertDone();
  });

  it("tries Basic once when a fresh token is refused and Basic is offered too", async () => {
    const both = `${BEARER}, Basic realm="x"`;
    const script = new ScriptedRegistry([
      challenge("GET /v2/", both, { once: true }),
      token(A_PULL, "t1"),
      {
        match: TAGS,
        headers: { authorization: "Bearer t1" },
        reply: { status: 401, headers: { "www-authenticate": both } },
        once: true,
      },
      { match: TAGS, headers: { authorization: BASIC }, reply: TAGS_REPLY, once: true },
    ]);
    expect(await collect(open(script).tags("a", signal))).toEqual(["1"]);
    script.assertDone();
  });

  it("learns that one part of a registry wants another login (Harbor's catalog)", async () => {
    const script = new ScriptedRegistry([
      challenge("GET /v2/", BEARER, { once: true }),
      token("scope=registry%3Acatalog%3A*", "t1"),
      {
        match: "GET /v2/_catalog",
        headers: { authorization: "Bearer t1" },
        reply: { status: 401, headers: { "www-authenticate": 'Basic realm="harbor"' } },
        once: true,
      },
      { match: "GET /v2/_catalog", headers: { authorization: BASIC }, reply: { body: { repositories: ["p/a"] } } },
      token(A_PULL, "t2"),
      { match: TAGS, headers: { authorization: "Bearer t2" }, reply: TAGS_REPLY, once: true },
    ]);
    const registry = open(script);
    expect(await collect(registry.repositories(signal))).toEqual(["p/a"]);
    expect(await collect(registry.tags("a", signal))).toEqual(["1"]);
    expect(await collect(registry.repositories(signal))).toEqual(["p/a"]);
    script.assertDone();
  });

  it("R8: gives up after a bounded number of logins", async () => {
    const again = { status: 401, headers: { "www-authenticate": `${BEARER},error="invalid_token"` } };
    const script = new ScriptedRegistry([
      challenge("GET /v2/", BEARER, { once: true }),
      token(A_PULL, "t1"),
      { match: TAGS, reply: again },
    ]);
    expect(await codeOf(collect(open(script).tags("a", signal)))).toBe("REPO_FORBIDDEN");
    expect(script.requests.length).toBe(3);
    script.assertDone();
  });

  it("falls back to Basic when the token server has no such service", async () => {
    const script = new ScriptedRegistry([
      challenge("GET /v2/", `${BEARER}, Basic realm="x"`, { once: true }),
      { match: `GET ${REALM}`, reply: { status: 404 }, once: true },
      { match: `POST ${REALM}`, reply: { status: 405 }, once: true },
      { match: TAGS, headers: { authorization: BASIC }, reply: TAGS_REPLY, once: true },
    ]);
    expect(await collect(open(script).tags("a", signal))).toEqual(["1"]);
    script.assertDone();
  });

  it("uses POST where GET is not served, and first for a refresh token", async () => {
    const script = new ScriptedRegistry([
      challenge("GET /v2/", BEARER, { once: true }),
      { match: `GET ${REALM}`, reply: { status: 405 }, once: true },
      { match: `POST ${REALM}`, headers: { authorization: null }, reply: { body: { access_token: "t" } }, once: true },
      { match: TAGS, headers: { authorization: "Bearer t" }, reply: TAGS_REPLY, once: true },
    ]);
    await collect(open(script).tags("a", signal));
    expect(Object.fromEntries(new URLSearchParams(script.requests[2]?.body))).toEqual({
      grant_type: "password",
      username: "user",
      password: "canary-password",
      client_id: "outpost",
      service: "registry.example",
      scope: "repository:a:pull",
    });
    script.assertDone();
    const refresh = new ScriptedRegistry([
      challenge("GET /v2/", BEARER, { once: true }),
      { match: `POST ${REALM}`, reply: { body: { access_token: "t" } }, once: true },
      { match: TAGS, reply: TAGS_REPLY, once: true },
    ]);
    await collect(open(refresh, { username: "<token>", password: "r" }).tags("a", signal));
    expect(new URLSearchParams(refresh.requests[1]?.body).get("refresh_token")).toBe("r");
    refresh.assertDone();
  });

  it.each([
    ["https://evil.example/token", "UNSAFE_REALM"],
    ["http://registry.example:81/token", "UNSAFE_REALM"],
    ["https://169.254.169.254/token", "UNSAFE_REALM"],
    ["https://127.0.0.1/token", "UNSAFE_REALM"],
    ["token", "REGISTRY_PROTOCOL"],
  ])("R8, X7: sends no password to %s", async (realm, code) => {
    const script = new ScriptedRegistry([challenge("GET /v2/", `Bearer realm="${realm}"`, { once: true })]);
    expect(await codeOf(collect(open(script, {}, { authHosts: [] }).tags("a", signal)))).toBe(code);
    script.assertDone();
  });

  it.each<readonly [string, Exchange["reply"], string]>([
    ["a wrong password", { status: 401, body: { details: "incorrect username or password" } }, "BAD_CREDENTIALS"],
    ["an answer without token", { body: { expires_in: 5 } }, "REGISTRY_PROTOCOL"],
    ["a token with a line end", { body: { token: "a\r\nx-evil: 1" } }, "REGISTRY_PROTOCOL"],
    ["a web page", { body: "<html>", headers: { "content-type": "text/html" } }, "NOT_A_REGISTRY"],
    ["more than a megabyte", { body: { token: "x".repeat(LIMITS.tokenBodyBytes) } }, "LIMIT_EXCEEDED"],
    [
      "a redirect that ends at another server",
      { status: 302, headers: { location: "https://sso.example/login" } },
      "LOGIN_PAGE",
    ],
    ["a failure", { status: 503 }, "REGISTRY_ERROR"],
  ])("R8: says what %s of the token server means", async (_, reply, code) => {
    const script = new ScriptedRegistry([
      challenge("GET /v2/", BEARER),
      { match: `GET ${REALM}`, reply },
      { match: "GET https://sso.example/login", headers: { authorization: null }, reply: { body: "<html>login" } },
    ]);
    const error = await collect(open(script).tags("a", signal)).catch((thrown: OutpostError) => thrown);
    expect(error).toMatchObject({ code });
    expect(JSON.stringify(error) + String(error)).not.toContain("canary");
    script.assertDone();
  });

  it("X7: answers no challenge of a server that it was redirected to", async () => {
    const script = new ScriptedRegistry([
      { match: "GET /v2/", reply: { body: "{}" }, once: true },
      { match: TAGS, reply: { status: 307, headers: { location: "https://other.example/tags" } }, once: true },
      challenge("GET https://other.example/tags", `Basic realm="give"`, { once: true }),
    ]);
    expect(await codeOf(collect(open(script).tags("a", signal)))).toBe("BAD_CREDENTIALS");
    script.assertDone();
  });

  it("does not cancel a token that others wait for", async () => {
    const release = Promise.withResolvers<void>();
    const script = new ScriptedRegistry([
      challenge("GET /v2/", BEARER, { once: true }),
      {
        match: `GET ${REALM}`,
        reply: async () => {
          await release.promise;
          return Response.json({ token: "t" });
        },
        once: true,
      },
      { match: TAGS, reply: TAGS_REPLY },
    ]);
    const registry = open(script);
    const aborter = new AbortController();
    const first = codeOf(collect(registry.tags("a", aborter.signal)));
    const second = collect(registry.tags("a", signal));
    while (!script.lines.some((line) => line.startsWith(`GET ${REALM}`))) {
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    aborter.abort();
    expect(await first).toBe("CANCELLED");
    release.resolve();
    expect(await second).toEqual(["1"]);
  });
});
