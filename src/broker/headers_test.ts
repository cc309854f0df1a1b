import { describe, expect, it } from "vitest";
import { headersForAgent, headersForCaller, headersForUpstream, headersFromUpstream } from "./headers.ts";

const ID = "11111111-1111-4111-8111-111111111111";
const HOP = [
  "connection",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "proxy-authorization",
  "host",
];
const all = (...names: readonly string[]): Record<string, string> =>
  Object.fromEntries([...names, "x-own"].map((name) => [name, name === "connection" ? "close, X-Named" : "1"]));

describe("headersForAgent()", () => {
  const made = (headers: Readonly<Record<string, string>>, removeForwarded = false): Record<string, string> =>
    headersForAgent(headers, { requestId: ID, version: "5.22.14", removeForwarded });

  it("§2.6 removes what is not for the agent", () => {
    const removed = [
      "x-forwarded-for",
      "x-forwarded-proto",
      "x-forwarded-host",
      "x-forwarded-port",
      "content-length",
      "content-encoding",
      "snyk-acting-group-public-id",
      "snyk-acting-org-public-id",
      "snyk-acting-user-public-id",
      "snyk-flow-name",
      "snyk-product-line",
      "snyk-project-type",
      "snyk-integration-type",
      "x-snyk-broker-context-id",
    ];
    const headers = made({ ...all(...removed, ...HOP), "x-named": "1", "x-broker-var-sub": "x-own" });
    expect(Object.keys(headers).toSorted()).toEqual([
      "accept-encoding",
      "snyk-request-id",
      "user-agent",
      "x-broker-origin-ua",
      "x-broker-var-sub",
      "x-own",
      "x-request-id",
    ]);
  });

  it("§2.6 removes every x-forwarded-… and forwarded with REMOVE_X_FORWARDED_HEADERS", () => {
    const headers = all("x-forwarded-prefix", "x-forwarded-user", "forwarded", "x-forward");
    expect(made(headers)).toMatchObject(headers);
    expect(made(headers, true)).not.toHaveProperty("x-forwarded-prefix");
    expect(made(headers, true)).not.toHaveProperty("x-forwarded-user");
    expect(made(headers, true)).not.toHaveProperty("forwarded");
    expect(made(headers, true)).toHaveProperty("x-forward");
  });

  it("§2.7 sets ids and user agents; a caller's x-request-id stays, its snyk-request-id does not", () => {
    expect(made({ "snyk-request-id": "x", "x-request-id": "mine", "user-agent": "caller" })).toEqual({
      "x-request-id": "mine",
      "snyk-request-id": ID,
      "accept-encoding": "identity",
      "x-broker-origin-ua": "caller",
      "user-agent": "Snyk Broker Client 5.22.14",
    });
    expect(made({})).toMatchObject({ "x-request-id": ID, "x-broker-origin-ua": "Snyk Broker 5.22.14" });
  });
});

describe("headers of callbacks", () => {
  it("§6 leave the hop, lengths and codings behind, in both directions", () => {
    const headers = { ...all(...HOP, "content-length", "content-encoding", "accept-encoding"), "x-named": "1" };
    expect(headersForUpstream(headers, ID)).toEqual({ "x-own": "1", "snyk-request-id": ID });
    expect(headersFromUpstream({ ...all(...HOP, "content-length"), "x-named": "1" })).toEqual({ "x-own": "1" });
  });
});

describe("headersForCaller()", () => {
  it("§3.1 gives a list only where fields cannot be joined", () => {
    const headers = new Headers({ connection: "x-hop", "x-hop": "1", "content-encoding": "br" });
    for (const value of ["a=1", "b=2"]) headers.append("set-cookie", value);
    for (const value of ["a", "b"]) headers.append("x-list", value);
    expect(headersForCaller([...headers])).toEqual({
      "content-encoding": "br",
      "set-cookie": ["a=1", "b=2"],
      "x-list": "a, b",
    });
    expect(headersForCaller([["set-cookie", "a=1"]])).toEqual({ "set-cookie": "a=1" });
  });
});
