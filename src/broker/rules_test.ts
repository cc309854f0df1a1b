import { describe, expect, it } from "vitest";
import { ConfigError } from "../core/errors.ts";
import { AcceptRules, authorization, DEFAULT_RULES, hidesTraversal, isNormalized, type RuleRequest } from "./rules.ts";

function request(url: string, more: Partial<RuleRequest> & { json?: unknown } = {}): RuleRequest {
  const body = more.json === undefined ? undefined : new TextEncoder().encode(JSON.stringify(more.json));
  return { method: "GET", url, headers: {}, body, ...more };
}

function accepts(valid: readonly unknown[], asked: RuleRequest): boolean {
  return AcceptRules.from({ private: [{ method: "any", path: "/*", valid }] }).match("private", asked) !== undefined;
}

describe("DEFAULT_RULES", () => {
  const rules = AcceptRules.from(DEFAULT_RULES);

  it.each(
    [
      ["GET", "/healthcheck"],
      ["GET", "/validate-credentials"],
      ["GET", "/get-state-identifier?image=a"],
      ["get", "/list"],
      ["GET", "/list/team/app"],
      ["GET", "/list-paginated/app"],
      ["GET", "/list-with-metadata/app"],
      ["GET", "/image-metadata/app?tag=1"],
      ["POST", "/discover"],
      ["POST", "/scan"],
    ] as const,
  )("let %s %s through to the agent", (method, url) => {
    expect(rules.match("private", request(url, { method }))?.origin).toBe("${CR_AGENT_URL}");
  });

  it.each(
    [
      ["HEAD", "/list"],
      ["POST", "/list"],
      ["GET", "/scan"],
      ["GET", "/systemcheck"],
      ["GET", "/metrics"],
      ["POST", "/api/v2/import/done"],
      ["GET", "/list/../metrics"],
      ["GET", "/list//x"],
      ["GET", "//list/x"],
      ["GET", "/list/./x"],
      ["GET", "list/x"],
      ["GET", "/list/x?u=http://evil/"],
      ["GET", "/list/%2e%2e/x"],
      ["GET", "/list/%252e%252e%252fx"],
      ["GET", "/list/..%2fx"],
      ["GET", "/list/..%5cx"],
      ["GET", "/list/a\\b"],
      ["GET", "/list/a\r\nb"],
      ["GET", "/list/a%0d%0ab"],
      ["GET", "http://evil/list/x"],
      ["GET", "@evil/list/x"],
    ] as const,
  )("block %s %s", (method, url) => {
    expect(rules.match("private", request(url, { method }))).toBe(undefined);
  });

  it.each(
    [
      "/api/v2/import/done",
      "/api/v2/import/result",
      "/api/v1/recurring-tests/dependencies",
      "/v2/import/done",
      "/v2/import/result",
      "/v1/import/app",
      "/v1/recurring-tests/dependencies",
      "/rest/scan/result",
    ] as const,
  )("let POST %s through to Snyk", (url) => {
    expect(rules.match("public", request(url, { method: "POST" }))).toBeDefined();
    expect(rules.match("public", request(url, { method: "GET" }))).toBe(undefined);
  });
});

describe("AcceptRules.match()", () => {
  it("gives the first rule that matches, and cuts off a fragment", () => {
    const rules = AcceptRules.from({
      private: [{ path: "/a", origin: "http://one" }, { path: "/:x", origin: "http://two" }],
    });
    expect(rules.match("private", request("/a#b/c"))?.origin).toBe("http://one");
    expect(rules.match("private", request("/b"))?.origin).toBe("http://two");
  });

  it("compares body values", () => {
    const valid = [{ path: "kind", value: "scan" }, { path: "list.*.id", value: 7 }];
    expect(accepts(valid, request("/", { json: { kind: "scan" } }))).toBe(true);
    expect(accepts(valid, request("/", { json: { kind: "other" } }))).toBe(false);
    expect(accepts(valid, request("/", { json: { list: [{ id: 1 }, { id: 7 }] } }))).toBe(true);
    expect(accepts(valid, request("/", { json: {} }))).toBe(false);
    expect(accepts(valid, request("/"))).toBe(false);
  });

  it("asks only for presence when a body entry has no value", () => {
    expect(accepts([{ path: "a.b" }], request("/", { json: { a: { b: 1 } } }))).toBe(true);
    expect(accepts([{ path: "a.b" }], request("/", { json: { a: { b: "" } } }))).toBe(false);
  });

  it("applies regular expressions to body values", () => {
    const valid = [{ path: "image", regex: "^team/" }];
    expect(accepts(valid, request("/", { json: { image: "team/app" } }))).toBe(true);
    expect(accepts(valid, request("/", { json: { image: "other/app" } }))).toBe(false);
    expect(accepts(valid, request("/", { json: { image: ["team/app"] } }))).toBe(false);
  });

  it("wants every query entry, with globs, a missing one being empty", () => {
    const valid = [{ queryParam: "a", values: ["x*", "y"] }, { queryParam: "b", values: [""] }];
    expect(accepts(valid, request("/?a=xyz"))).toBe(true);
    expect(accepts(valid, request("/?a=y&b="))).toBe(true);
    expect(accepts(valid, request("/?a=z"))).toBe(false);
    expect(accepts(valid, request("/?a=y&b=1"))).toBe(false);
    expect(accepts(valid, request("/?a=y&a=y"))).toBe(false);
  });

  it("takes body or query, and headers on top", () => {
    const valid = [
      { path: "k", value: 1 },
      { queryParam: "q", values: ["1"] },
      { header: "X-Mode", values: ["on"] },
    ];
    const headers = { "x-mode": "on" };
    expect(accepts(valid, request("/?q=1", { headers }))).toBe(true);
    expect(accepts(valid, request("/", { headers, json: { k: 1 } }))).toBe(true);
    expect(accepts(valid, request("/?q=1"))).toBe(false);
    expect(accepts(valid, request("/", { headers }))).toBe(false);
  });

  it("does not see inherited names in bodies", () => {
    expect(accepts([{ path: "constructor.name", value: "Object" }], request("/", { json: {} }))).toBe(false);
    expect(accepts([{ path: "__proto__" }], request("/", { json: {} }))).toBe(false);
  });
});

describe("AcceptRules.from()", () => {
  it("reports every rule that cannot be used", () => {
    const file = {
      private: [{ path: "/a(" }, { path: "/b", valid: [{ path: "x", regex: "(" }] }],
      public: [{ path: "/c?" }],
    };
    expect(() => AcceptRules.from(file)).toThrow(ConfigError);
    try {
      AcceptRules.from(file);
    } catch (error) {
      expect(error instanceof ConfigError && error.problems).toEqual([
        'ACCEPT: public.0: the path uses "?", which is not supported',
        'ACCEPT: private.0: the path uses "(", which is not supported',
        'ACCEPT: private.1: "(" is not a regular expression',
      ]);
    }
  });

  it.each<unknown>([null, [[]], { private: {} }, { private: [{ path: 7 }] }, {
    private: [{ path: "/", auth: { scheme: "no" } }],
  }])(
    "refuses %j",
    (file) => {
      expect(() => AcceptRules.from(file)).toThrow(ConfigError);
    },
  );

  it("keeps unknown keys for display", () => {
    const file = { public: [{ "//": "why", "path": "/a" }], private: [] };
    expect(AcceptRules.from(file).file).toEqual(file);
  });
});

describe("isNormalized()", () => {
  it.each(
    [["/", true], ["/a/", true], ["/a/b?c=d", true], ["", false], ["a", false], ["//", false], [
      "/a/..",
      false,
    ]] as const,
  )(
    "%s: %j",
    (url, expected) => expect(isNormalized(url)).toBe(expected),
  );
});

describe("hidesTraversal()", () => {
  it.each(
    [
      ["/a/%41", false],
      ["/a/b%2Fc", false],
      ["/a/%25", false],
      ["/a/%2e", true],
      ["/a/%00", true],
      [`/a/%${"25".repeat(10)}2e`, true],
    ] as const,
  )("%s: %j", (path, expected) => expect(hidesTraversal(path)).toBe(expected));
});

describe("authorization()", () => {
  const expand = (text: string): string => text.replace("${T}", "tok");
  it.each(
    [
      [{ scheme: "token", token: "${T}" }, "Token tok"],
      [{ scheme: "bearer", token: "${T}" }, "Bearer tok"],
      [{ scheme: "raw", token: "${T}" }, "tok"],
      [{ scheme: "basic", token: "${T}" }, "Basic dG9r"],
      [{ scheme: "basic", username: "u", password: "${T}" }, "Basic dTp0b2s="],
    ] as const,
  )("%j gives %s", (auth, expected) => {
    expect(authorization(auth, expand)).toBe(expected);
  });
});
