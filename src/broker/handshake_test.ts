import { describe, expect, it } from "vitest";
import { ConfigError } from "../core/errors.ts";
import { BrokerEndpoints, identifyMessage, isUuid, TokenMask } from "./handshake.ts";
import { DEFAULT_RULES } from "./rules.ts";

describe("BrokerEndpoints", () => {
  it.each([
    ["https://broker.snyk.io", "wss://broker.snyk.io/primus/t%2F1/", "https://broker.snyk.io/response-data/t%2F1/id"],
    ["http://h:8080/x/", "ws://h:8080/primus/t%2F1/", "http://h:8080/x/response-data/t%2F1/id"],
    ["https://u:p@h", "wss://h/primus/t%2F1/", "https://h/response-data/t%2F1/id"],
  ])("at %s", (server, socket, upload) => {
    const endpoints = new BrokerEndpoints(server, "t/1");
    expect(endpoints.socket("primary")).toBe(`${socket}?connection_role=primary&EIO=4&transport=websocket`);
    expect(endpoints.upload("id", "secondary")).toBe(`${upload}?connection_role=secondary`);
    expect(endpoints.state("primary")).not.toContain("t%2F1");
  });

  it.each(["", "broker", "ftp://h", "file:///x"])("refuses %j", (server) => {
    expect(() => new BrokerEndpoints(server, "t")).toThrow(ConfigError);
  });
});

describe("identifyMessage()", () => {
  it("names the client by the SHA-256 of its token", () => {
    const identity = { token: "abc", clientId: "c", protocolVersion: "5.22.14" };
    const check = { id: "a", name: "A", status: "passing" as const, output: "" };
    const description = { filters: DEFAULT_RULES, preflightChecks: [check], settings: { customAccept: true } };
    expect(identifyMessage(identity, "primary", description)).toMatchObject({
      token: "abc",
      metadata: {
        identifier: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        filters: DEFAULT_RULES,
        preflightChecks: [check],
        clientConfig: { customAccept: true, proxy: false },
      },
    });
  });
});

describe("TokenMask", () => {
  it("hides the token in any case and encoding", () => {
    const mask = new TokenMask("Abcd$1.2/3-aaaaaaaaaaaa-WXYZ");
    expect(mask.masked).toBe("Abcd-...-WXYZ");
    expect(mask.redact("a ABCD$1.2/3-AAAAAAAAAAAA-wxyz b Abcd%241.2%2F3-aaaaaaaaaaaa-WXYZ c")).toBe(
      "a Abcd-...-WXYZ b Abcd-...-WXYZ c",
    );
  });

  it("shows nothing of a short token, and leaves text alone when there is none", () => {
    expect(new TokenMask("short").redact("is short")).toBe("is ***");
    expect(new TokenMask("").redact("text")).toBe("text");
  });
});

describe("isUuid()", () => {
  it.each(
    [
      ["11111111-2222-4333-8444-55555555AAAA", true],
      ["11111111-2222-4333-8444-5555555555555", false],
      ["", false],
      [undefined, false],
    ] as const,
  )("%s: %j", (text, expected) => expect(isUuid(text)).toBe(expected));
});
