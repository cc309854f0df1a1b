import { afterEach, describe, expect, it } from "vitest";
import { brokerBench, closeBrokerBenches } from "../../tests/fakes/broker_bench.ts";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { LIMITS } from "../core/limits.ts";
import type { Fetch } from "../core/ports.ts";
import { parseRuleText, ruleSource } from "./rule_source.ts";

const never = new AbortController().signal;
const noFetch: Fetch = () => Promise.reject(new Error("asked"));
const noFile = (_path: string): Promise<string> => Promise.reject(new Error("missing"));

const YAML = `
public:
  - &base {method: post, path: /v2/import/done}
  - <<: *base
    path: /extra  # a comment
private:
  - path: /list/*
    origin: "\${CR_AGENT_URL}"
`;

describe("parseRuleText()", () => {
  it("takes JSON and YAML for the same rules", async () => {
    const rules = {
      public: [{ method: "post", path: "/v2/import/done" }, { method: "post", path: "/extra" }],
      private: [{ path: "/list/*", origin: "${CR_AGENT_URL}" }],
    };
    expect(await parseRuleText(YAML)).toEqual(rules);
    expect(await parseRuleText(JSON.stringify(rules))).toEqual(rules);
  });

  it.each([
    ["a broken text", "public: [", "ACCEPT: it is neither JSON nor YAML"],
    ["a key twice", "public: []\npublic: []\n", "unique"],
    [
      "aliases that multiply",
      `a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [${"*a,".repeat(10)}]\nc: &c [${"*b,".repeat(10)}]\nd: [${"*c,".repeat(10)}]`,
      "alias",
    ],
  ])("refuses %s", async (_name, text, message) => {
    await expect(parseRuleText(text)).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining(message),
    });
  });
});

describe("ruleSource()", () => {
  const source = (location: string, fetch: Fetch = noFetch, readFile = noFile) =>
    ruleSource({ location, fetch, readFile, clock: new FakeClock() });

  it("reads a file each time", async () => {
    let text = "private: []";
    const read = source(
      "rules/accept.yml",
      noFetch,
      (path) => Promise.resolve(path.endsWith("accept.yml") ? text : ""),
    );
    expect(await read(never)).toEqual({ private: [] });
    text = '{"private":[{"path":"/a"}]}';
    expect(await read(never)).toEqual({ private: [{ path: "/a" }] });
  });

  it("asks the URL, with the credentials in it as a header", async () => {
    const seen: Request[] = [];
    const read = source("https://me:p%40ss@rules.example/accept.yaml?x=1", (request) => {
      seen.push(request);
      return Promise.resolve(new Response("private: []"));
    });
    expect(await read(never)).toEqual({ private: [] });
    expect(seen[0]?.url).toBe("https://rules.example/accept.yaml?x=1");
    expect(seen[0]?.headers.get("authorization")).toBe(`Basic ${btoa("me:p@ss")}`);
    expect(seen[0]?.redirect).toBe("manual");
  });

  it.each<readonly [string, Fetch, string]>([
    ["a refusal", () => Promise.resolve(new Response("", { status: 403 })), "rules.example answered 403"],
    ["a redirect", () => Promise.resolve(new Response("", { status: 302 })), "rules.example answered 302"],
    ["no answer", noFetch, "rules.example cannot be reached"],
    ["too much", () => Promise.resolve(new Response("x".repeat(LIMITS.brokerRuleFileBytes + 1))), "more than"],
  ])("fails on %s, without the URL's secrets", async (_name, fetch, message) => {
    const failure = await source("https://u:hunter2@rules.example/?token=hunter2", fetch)(never).catch((
      error: unknown,
    ) => error) as Error & { code: string };
    expect(failure.code).toBe("CONFIG_INVALID");
    expect(failure.message).toContain(message);
    expect(failure.message).not.toContain("hunter2");
  });

  it("gives up on a server that does not answer", async () => {
    const clock = new FakeClock();
    const fetch: Fetch = (request) =>
      new Promise((_resolve, reject) => request.signal.addEventListener("abort", () => reject(request.signal.reason)));
    const failure = expect(
      ruleSource({ location: "http://rules.example/", fetch, readFile: noFile, clock })(never),
    ).rejects.toMatchObject({ code: "TIMEOUT" });
    await clock.advance(LIMITS.brokerRuleFetchMs);
    await failure;
  });

  it("names the file that is missing", async () => {
    await expect(source("nowhere.json")(never)).rejects.toThrow(
      "ACCEPT names a file that cannot be read: nowhere.json",
    );
  });
});

describe("BrokerClient.reloadRules()", () => {
  afterEach(closeBrokerBenches);
  const ok = (): Promise<Response> => Promise.resolve(Response.json([]));

  it("takes new rules, keeps the old ones when the new are bad, and does so every 24 hours", async () => {
    let rules: unknown = { private: [{ path: "/new" }] };
    const { client, clock, logger } = brokerBench(ok, {
      roles: [],
      rules: { private: [{ path: "/old" }] },
      ruleSource: () => rules instanceof Error ? Promise.reject(rules) : Promise.resolve(rules),
    });
    expect(client.rules().private).toEqual([{ path: "/old" }]);
    expect((await client.reloadRules()).private).toEqual([{ path: "/new" }]);
    rules = { private: [{ path: 7 }] };
    await expect(client.reloadRules()).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    rules = null;
    await expect(client.reloadRules()).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    expect(client.rules().private).toEqual([{ path: "/new" }]);
    rules = new Error("http://u:hunter2@x");
    await clock.advance(LIMITS.brokerRuleReloadMs);
    expect(client.rules().private).toEqual([{ path: "/new" }]);
    expect(JSON.stringify(logger.lines)).toContain("the old ones stay");
    expect(JSON.stringify(logger.lines)).not.toContain("hunter2");
    rules = { private: [{ path: "/newer" }] };
    await clock.advance(LIMITS.brokerRuleReloadMs);
    expect(client.rules().private).toEqual([{ path: "/newer" }]);
  });

  it("gives the built-in rules when there is no source, and takes an empty file for no rules", async () => {
    const { client } = brokerBench(ok);
    expect(await client.reloadRules()).toEqual(client.rules());
    expect(() => brokerBench(ok, { rules: null })).toThrow("ACCEPT");
  });
});
