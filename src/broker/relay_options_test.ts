import { afterEach, describe, expect, it } from "vitest";
import { ask, brokerBench, closeBrokerBenches, eventually } from "../../tests/fakes/broker_bench.ts";
import { LIMITS } from "../core/limits.ts";
import type { ByteStream } from "../core/ports.ts";
import type { DirectExchange } from "../net/direct.ts";
import { pulledFrom } from "../net/pulled_body.ts";

const AGENT = (name: string): string | undefined => name === "CR_AGENT_URL" ? "https://agent.example:8443" : undefined;

/** What Deno throws when no connection comes about. */
const refused = (): Error => new TypeError("error sending request: client error (Connect): tcp connect error");

describe("Relay: an agent elsewhere", () => {
  afterEach(closeBrokerBenches);

  it.each([[3, 4], [0, 1]])(
    "with MAX_RETRY=%i is tried %i times when it cannot be reached",
    async (agentRetries, calls) => {
      let count = 0;
      const { primary, clock, uploads } = brokerBench(() => {
        count++;
        return Promise.reject(refused());
      }, { variables: AGENT, agentRetries });
      primary().accept();
      ask(primary(), { url: "/scan", method: "POST", body: new TextEncoder().encode("{}") });
      for (let i = 0; i <= agentRetries; i++) await clock.advance(LIMITS.brokerAgentRetryMs);
      const [answer] = await eventually(() => uploads);
      expect(answer).toMatchObject({ status: 502, errorType: "DOWNSTREAM_UNREACHABLE" });
      expect(count).toBe(calls);
    },
  );

  it("is asked over a direct connection, redirects and multi-value fields verbatim; for POST by dispatch", async () => {
    const asked: string[] = [];
    const exchange: DirectExchange = ({ method, url, fields }) => {
      if (url.host === "broker.example") return Promise.resolve(undefined);
      asked.push(`${method} ${url.href} ${new Map(fields).get("accept-encoding")}`);
      return Promise.resolve({
        status: 302,
        fields: [["set-cookie", "a=1"], ["set-cookie", "b=2"], ["vary", "a"], ["vary", "b"], ["keep-alive", "x"]],
        body: pulledFrom(new Response("moved").body as ByteStream),
        sent: true,
      });
    };
    const { primary, clock, uploads } = brokerBench((request) => {
      asked.push(`${request.method} by dispatch`);
      return Promise.resolve(new Response());
    }, { variables: AGENT, exchange });
    primary().accept();
    ask(primary(), { url: "/list?a=b" });
    ask(primary(), { url: "/scan", method: "POST", body: new TextEncoder().encode("{}") });
    await clock.advance(0);
    expect(asked.toSorted()).toEqual(["GET https://agent.example:8443/list?a=b identity", "POST by dispatch"]);
    const answers = await eventually(() => uploads.filter(({ status }) => status === 302));
    expect(answers).toMatchObject([{ headers: { "set-cookie": ["a=1", "b=2"], vary: "a, b" }, body: "moved" }]);
    expect(answers[0]?.headers).not.toHaveProperty("keep-alive");
  });

  it("that takes no direct connection is asked by dispatch", async () => {
    const { primary, uploads } = brokerBench(() => Promise.resolve(new Response("ok", { status: 203 })), {
      variables: AGENT,
      exchange: () => Promise.resolve(undefined),
    });
    primary().accept();
    ask(primary(), { url: "/list" });
    expect(await eventually(() => uploads)).toMatchObject([{ status: 203, body: "ok" }]);
  });

  it("§2.7 gets a JSON body as a form when x-broker-content-type says so, and any other body as it is", async () => {
    const seen: (readonly [string | null, string])[] = [];
    const { primary, clock } = brokerBench(async (request) => {
      seen.push([request.headers.get("content-type"), await request.text()]);
      return new Response();
    }, { variables: AGENT });
    primary().accept();
    const form = "application/x-www-form-urlencoded";
    const headers = { "content-type": "application/json", "x-broker-content-type": form };
    for (const body of ['{"a b":1,"c":"&é"}', "not JSON"]) {
      ask(primary(), { url: "/scan", method: "POST", headers, body: new TextEncoder().encode(body) });
    }
    await clock.advance(0);
    expect(seen.toSorted()).toEqual([[form, "a+b=1&c=%26%C3%A9"], [form, "not JSON"]]);
  });

  it.each([[true, true], [false, true], [true, false], [false, false]])(
    "§5 gets variables filled in unless DISABLE_HEADER_VARS_SUBSTITUTION (%s) or DISABLE_BODY_VARS_SUBSTITUTION (%s)",
    async (header, body) => {
      const seen: (readonly [string | null, unknown])[] = [];
      const { primary, clock } = brokerBench(async (request) => {
        seen.push([request.headers.get("x-a"), await request.json()]);
        return new Response();
      }, {
        variables: (name) => name === "V" ? "value" : AGENT(name),
        substituteHeaders: !header,
        substituteBodies: !body,
      });
      primary().accept();
      ask(primary(), {
        url: "/scan",
        method: "POST",
        headers: { "x-a": "${V}", "x-broker-var-sub": "x-a" },
        body: new TextEncoder().encode('{"a":"${V}","BROKER_VAR_SUB":["a"]}'),
      });
      await clock.advance(0);
      const plain = { a: "${V}", BROKER_VAR_SUB: ["a"] };
      expect(seen).toEqual([[header ? "${V}" : "value", body ? plain : { a: "value" }]]);
    },
  );

  it("that does not take the connection in time is answered 504", async () => {
    const { primary, uploads } = brokerBench(
      () =>
        Promise.reject(new TypeError("client error (Connect): tcp connect error: Connection timed out (os error 110)")),
      {
        variables: AGENT,
        agentRetries: 0,
      },
    );
    primary().accept();
    ask(primary(), {});
    expect((await eventually(() => uploads))[0]).toMatchObject({ status: 504, errorType: "DOWNSTREAM_TIMEOUT" });
  });

  it("gets the body again when it is reached late, and is not asked again once it was reached", async () => {
    const bodies: string[] = [];
    const { primary, clock, uploads } = brokerBench(async (request) => {
      bodies.push(await request.text());
      throw bodies.length === 1 ? refused() : new TypeError("connection closed before message completed");
    }, { variables: AGENT });
    primary().accept();
    ask(primary(), { url: "/scan", method: "POST", body: new TextEncoder().encode('{"a":1}') });
    await eventually(() => bodies);
    for (let i = 0; i < 4; i++) await clock.advance(LIMITS.brokerAgentRetryMs);
    const [answer] = await eventually(() => uploads);
    expect(answer).toMatchObject({ status: 502, errorType: "DOWNSTREAM_ERROR" });
    expect(bodies).toEqual(['{"a":1}', '{"a":1}']);
  });

  it.each([
    ["https://agent.example", "http://agent.example/list"],
    ["https://agent.example:8443", "http://agent.example:8443/list"],
    ["https://api.snyk.io", "https://api.snyk.io/list"],
    ["https://api.snyk.io.evil.example", "http://api.snyk.io.evil.example/list"],
  ])("at %s with INSECURE_DOWNSTREAM is asked at %s", async (agent, url) => {
    const seen: string[] = [];
    const { primary } = brokerBench((request) => {
      seen.push(request.url);
      return Promise.resolve(new Response("ok"));
    }, { variables: (name) => name === "CR_AGENT_URL" ? agent : undefined, insecureDownstream: true });
    primary().accept();
    ask(primary(), {});
    expect(await eventually(() => seen)).toEqual([url]);
  });

  it("may answer inside the websocket with SOCKET_MAX_RESPONSE_LENGTH bytes", async () => {
    const { primary } = brokerBench(() => Promise.resolve(new Response("12345")), {
      variables: AGENT,
      maxResponseBytes: 4,
    });
    primary().accept();
    ask(primary(), {}, 7);
    const [ack] = await eventually(() => primary().sentOf("ack"));
    expect(ack?.args[0]).toMatchObject({ status: 502, originalBodySize: 5, errorType: "BODY_TOO_LARGE" });
  });

  it("is pinged for by the times of the environment", async () => {
    const { primary, clock } = brokerBench(() => Promise.resolve(new Response()), {
      roles: ["primary"],
      times: { pingIntervalMs: 2_000, pongTimeoutMs: 300 },
    });
    primary().accept();
    await clock.advance(1_999);
    expect(primary().sentOf("primus-ping")).toHaveLength(1);
    await clock.advance(1);
    expect(primary().sentOf("primus-ping")).toHaveLength(2);
    await clock.advance(300);
    expect(primary().readyState).not.toBe(WebSocket.OPEN);
  });
});
