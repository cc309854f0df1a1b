import { afterEach, describe, expect, it } from "vitest";
import { brokerBench, closeBrokerBenches } from "../../tests/fakes/broker_bench.ts";
import { FakeClock } from "../../tests/fakes/clock.ts";
import { LIMITS } from "../core/limits.ts";
import type { Fetch } from "../core/ports.ts";
import { Preflight, type PreflightCheck, type PreflightOptions, preflightTable } from "./preflight.ts";

const never = new AbortController().signal;
/** Waits of all further attempts: 100, 200 and 400 ms. */
const TRIES_MS = 700;

/** Answers by path; anything else is a broken connection. */
function answering(answers: Readonly<Record<string, Response>>): Fetch {
  return (request) => {
    const answer = answers[new URL(request.url).pathname];
    return answer === undefined
      ? Promise.reject(new TypeError(`error sending request for url (${request.url})`))
      : Promise.resolve(answer.clone());
  };
}

const HEALTHY = { "/healthcheck": Response.json({ ok: true, version: "5.23.0" }), "/rest/openapi": Response.json([]) };

function preflight(fetch: Fetch, options: Partial<PreflightOptions> = {}): Preflight {
  return new Preflight({
    fetch,
    clock: new FakeClock(),
    serverUrl: new URL("https://broker.example/"),
    apiUrl: new URL("https://api.example"),
    token: "11111111-2222-4333-8444-555555555555",
    protocolVersion: "5.22.14",
    clientUrl: undefined,
    servesTls: false,
    customRules: false,
    ruleFlags: [],
    codeAgent: "unused",
    workloads: [],
    ...options,
  });
}

const working = { name: "a", problem: undefined };

const statuses = (checks: readonly PreflightCheck[]): Record<string, string> =>
  Object.fromEntries(checks.map(({ id, status }) => [id, status]));

describe("Preflight", () => {
  it("passes when everything is in order", async () => {
    const checks = await preflight(answering(HEALTHY), { clientUrl: new URL("http://outpost:7341") }).all(never);
    expect(statuses(checks)).toEqual({
      "broker-server-status": "passing",
      "rest-api-status": "passing",
      "broker-client-url-validation": "passing",
      "accept-flags-config-validation": "passing",
      "code-agent-deprecation-validation": "passing",
      "client-version-validation": "passing",
      "broker-token-validation": "passing",
      "workload-config-validation": "passing",
    });
    expect(preflightTable(checks)).toContain("All preflight checks passing");
  });

  it.each<readonly [string, string, string, Partial<PreflightOptions>, Record<string, Response>]>([
    ["broker-server-status", "error", "HTTP GET https://broker.example/healthcheck: 500", {}, {
      "/healthcheck": new Response("down", { status: 500 }),
    }],
    ["rest-api-status", "warning", "429", {}, { "/rest/openapi": new Response("", { status: 429 }) }],
    ["client-version-validation", "error", "outdated", {}, { "/healthcheck": Response.json({ version: "5.33.0" }) }],
    ["client-version-validation", "passing", "supported", {}, { "/healthcheck": Response.json({ version: "5.32.9" }) }],
    ["client-version-validation", "warning", "does not tell", {}, { "/healthcheck": Response.json([]) }],
    ["broker-token-validation", "error", "UUIDv4", { token: "abc" }, {}],
    ["broker-token-validation", "error", "required", { token: "" }, {}],
    ["code-agent-deprecation-validation", "warning", "deprecated", { codeAgent: "used" }, {}],
    ["workload-config-validation", "error", "CLIENT_WORKLOAD_NAME", { workloads: ["CLIENT_WORKLOAD_NAME"] }, {}],
    [
      "local-universal-broker-connections-config-validation",
      "passing",
      "ok",
      { localConnections: () => [working] },
      {},
    ],
    ["local-universal-broker-connections-config-validation", "error", "Missing", { localConnections: () => [] }, {}],
    ["local-universal-broker-connections-config-validation", "error", "b: it lacks x", {
      localConnections: () => [working, { name: "b", problem: "it lacks x" }],
    }, {}],
    ["accept-flags-config-validation", "error", "ACCEPT_GIT", { customRules: true, ruleFlags: ["ACCEPT_GIT"] }, {}],
    ["accept-flags-config-validation", "passing", "OK", { customRules: false, ruleFlags: ["ACCEPT_GIT"] }, {}],
    ["broker-client-url-validation", "warning", "localhost", { clientUrl: new URL("http://localhost:1") }, {}],
    ["broker-client-url-validation", "error", "TLS_TERMINATED", { clientUrl: new URL("https://me/down") }, {}],
    ["broker-client-url-validation", "passing", "ok", { clientUrl: new URL("https://me/down"), servesTls: true }, {}],
    ["broker-client-url-validation", "passing", "ok", { clientUrl: new URL("https://me") }, {}],
  ])("%s is %s: %s", async (id, status, output, options, answers) => {
    const clock = new FakeClock();
    const checking = preflight(answering({ ...HEALTHY, ...answers }), { clock, ...options }).all(never);
    await clock.advance(TRIES_MS);
    const checks = await checking;
    expect(checks.find((check) => check.id === id)).toMatchObject({ status, output: expect.stringContaining(output) });
    const expected = status === "passing" ? id : `] ${status}: `;
    expect(preflightTable(checks)).toContain(expected);
  });

  it("says that nobody answered, after three further attempts, without the words of the network", async () => {
    const clock = new FakeClock();
    let asked = 0;
    const fetch: Fetch = () => Promise.reject(new TypeError(`refused by ${++asked} hunter2`));
    const checking = preflight(fetch, { clock, serverUrl: new URL("https://u:hunter2@b.example") }).network(never);
    await clock.advance(TRIES_MS - 1);
    expect(asked).toBe(6);
    await clock.advance(1);
    for (const check of await checking) {
      expect(check).toMatchObject({ status: "error", output: "The check failed: no connection" });
    }
    expect(asked).toBe(8);
  });

  it("takes the answer of a later attempt", async () => {
    const clock = new FakeClock();
    let asked = 0;
    const later: Fetch = (request) => ++asked < 4 ? Promise.reject(new TypeError("no")) : answering(HEALTHY)(request);
    const checking = preflight(later, { clock }).one("rest-api-status", never);
    await clock.advance(TRIES_MS);
    expect((await checking)?.status).toBe("passing");
  });

  it("gives each attempt its time", async () => {
    const clock = new FakeClock();
    const hanging: Fetch = (request) =>
      new Promise((_resolve, reject) => request.signal.addEventListener("abort", () => reject(request.signal.reason)));
    const checking = preflight(hanging, { clock }).network(never);
    for (let i = 0; i <= LIMITS.preflightRetries; i++) await clock.advance(LIMITS.preflightTimeoutMs + TRIES_MS);
    for (const check of await checking) {
      expect(check).toMatchObject({ status: "error", output: expect.stringContaining("did not finish within 5 s") });
    }
  });

  it("leaves out what a universal client has not, and what nobody wants to know", async () => {
    const checks = await preflight(answering(HEALTHY), { token: undefined, codeAgent: "unchecked" }).all(never);
    expect(checks.map(({ id }) => id)).not.toContain("broker-token-validation");
    expect(checks.map(({ id }) => id)).not.toContain("code-agent-deprecation-validation");
  });

  it("gives one check of the network by its id", async () => {
    const checks = preflight(answering(HEALTHY));
    expect((await checks.network(never)).map(({ id }) => id)).toEqual(["broker-server-status", "rest-api-status"]);
    expect((await checks.one("rest-api-status", never))?.status).toBe("passing");
    expect(await checks.one("broker-token-validation", never)).toBeUndefined();
  });
});

describe("BrokerClient with preflight checks", () => {
  afterEach(closeBrokerBenches);
  const ok = (): Promise<Response> => Promise.resolve(Response.json([]));
  const check: PreflightCheck = { id: "a", name: "A", status: "passing", output: "" };

  it("connects when they are done and tells the server", async () => {
    const { sockets, clock } = brokerBench(ok, { preflight: () => Promise.resolve([check]) });
    await clock.advance(0);
    expect(sockets).toHaveLength(2);
    sockets[0]?.accept();
    expect(JSON.stringify(sockets[0]?.sentOf("event")[0])).toContain(JSON.stringify([check]).slice(1, -1));
  });

  it("does not wait long for them, nor care when they fail", async () => {
    const slow = brokerBench(ok, {
      preflight: (signal) =>
        new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    });
    await slow.clock.advance(LIMITS.preflightWaitMs - 1);
    expect(slow.sockets).toHaveLength(0);
    await slow.clock.advance(1);
    expect(slow.sockets).toHaveLength(2);
    const broken = brokerBench(ok, { preflight: () => Promise.reject(new Error("no")) });
    await broken.clock.advance(0);
    expect(broken.sockets).toHaveLength(2);
  });
});
