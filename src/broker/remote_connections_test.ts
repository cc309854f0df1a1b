import { describe, expect, it } from "vitest";
import fc from "fast-check";
import { apiConnection } from "../../tests/fakes/snyk_api.ts";
import { LIMITS } from "../core/limits.ts";
import { ConnectionVariables } from "./connection_variables.ts";
import { readLocalConnections, readRemoteConnections } from "./remote_connections.ts";

const CONTEXT = "33333333-3333-4333-8333-333333333333";
const nothing = (): undefined => undefined;
const environment = (name: string): string | undefined =>
  ({ SET: "from $environment", EMPTY: "", PLACEHOLDER: "placeholderValue", BROKER_TOKEN: "t", CLIENT_SECRET: "s" })[
    name
  ];

describe("readRemoteConnections()", () => {
  it("reads a connection with its contexts, keys in upper case, required values before default ones", () => {
    const read = readRemoteConnections({
      data: [{
        id: "the-id",
        attributes: {
          name: "my hub",
          identifier: "the-identifier",
          configuration: {
            type: "docker-hub",
            default: { cr_base: "default.example", cr_port: 5, deep: { x: 1 }, flag: true },
            required: { cr_base: "registry.example", cr_password: "x${SET}y" },
          },
        },
        relationships: [{ id: CONTEXT.toUpperCase(), attributes: { context: { cr_username: "in-context" } } }, {
          id: 7,
        }],
      }],
    }, environment);
    expect(read).toEqual([{
      id: "the-id",
      name: "my hub",
      type: "docker-hub",
      identifier: "the-identifier",
      values: { CR_BASE: "registry.example", CR_PORT: "5", FLAG: "true", CR_PASSWORD: "xfrom $environmenty" },
      contexts: new Map([[CONTEXT, { CR_USERNAME: "in-context" }]]),
      missing: [],
    }]);
  });

  it.each(["${UNSET}", "${EMPTY}", "${PLACEHOLDER}", "${BROKER_TOKEN}", "${CLIENT_SECRET}"])(
    "names the variable of %s, which may not be used or has no value",
    (password) => {
      const [read] = readRemoteConnections({ data: [apiConnection("a", "b", { cr_password: password })] }, environment);
      expect(read?.missing).toEqual([password.slice(2, -1)]);
    },
  );

  it("leaves a context out that lacks a variable, and only that", () => {
    const contexts = { [CONTEXT]: { cr_password: "${UNSET}" }, other: { cr_password: "${SET}" } };
    const [read] = readRemoteConnections({ data: [apiConnection("a", "b", {}, contexts)] }, environment);
    expect(read?.missing).toEqual([]);
    expect([...read?.contexts.keys() ?? []]).toEqual(["other"]);
  });

  it("leaves out what has no name or type, or one that is too long for a log", () => {
    const long = "x".repeat(LIMITS.brokerConnectionNameChars + 1);
    const data = [
      apiConnection("", "i"),
      apiConnection(long, "i"),
      { attributes: { name: "n", identifier: "i" } },
      null,
    ];
    expect(readRemoteConnections({ data }, environment)).toEqual([]);
  });

  it("takes an identifier of null for one that is not in use, and the last of two with one name", () => {
    const data = [apiConnection("a", "first"), apiConnection("b", null), apiConnection("a", "last")];
    const read = readRemoteConnections({ data }, environment);
    expect(read.map(({ name, identifier }) => [name, identifier])).toEqual([["a", "last"], ["b", undefined]]);
  });

  it.each([[undefined], [null], ["text"], [[]], [{}], [{ data: {} }]])("refuses %j", (answer) => {
    expect(() => readRemoteConnections(answer, nothing)).toThrow("Cannot read the connections: the answer is no list");
  });

  it("refuses more than brokerConnections, or more contexts than brokerContexts", () => {
    const data = Array.from({ length: LIMITS.brokerConnections + 1 }, (_, i) => apiConnection(`c${i}`, "x"));
    expect(() => readRemoteConnections({ data }, nothing)).toThrow("too many");
    const contexts = Object.fromEntries(Array.from({ length: LIMITS.brokerContexts + 1 }, (_, i) => [`c${i}`, {}]));
    expect(() => readRemoteConnections({ data: [apiConnection("c", "x", {}, contexts)] }, nothing)).toThrow("too many");
  });

  it("survives any JSON", () => {
    fc.assert(fc.property(fc.array(fc.jsonValue()), fc.jsonValue(), (data, inner) => {
      const odd = {
        id: inner,
        attributes: { name: "n", identifier: inner, configuration: { type: "t", default: inner } },
      };
      const read = readRemoteConnections({ data: [...data, odd, { ...odd, relationships: [inner] }] }, nothing);
      for (const { values, identifier } of read) {
        expect(Object.values(values).every((value) => typeof value === "string")).toBe(true);
        expect(["string", "undefined"]).toContain(typeof identifier);
      }
    }));
  });
});

describe("readLocalConnections()", () => {
  it("reads the file's CONNECTIONS, the identifier from the environment too", () => {
    const file = {
      CONNECTIONS: {
        "my hub": {
          type: "docker-hub",
          identifier: "${SET}",
          cr_username: "u",
          contexts: { [CONTEXT]: { CR_BASE: "b" } },
        },
        "not one": { identifier: "x" },
      },
    };
    const [read, ...others] = readLocalConnections(file, environment);
    expect(others).toEqual([]);
    expect(read).toMatchObject({ name: "my hub", type: "docker-hub", identifier: "from $environment", missing: [] });
    expect(read?.values["CR_USERNAME"]).toBe("u");
    expect(read?.contexts.get(CONTEXT)).toEqual({ CR_BASE: "b" });
  });

  it.each([[undefined], ["text"], [{}], [{ CONNECTIONS: [] }]])("says what the file lacks: %j", (file) => {
    expect(() => readLocalConnections(file, nothing)).toThrow("the file has no CONNECTIONS");
  });
});

describe("ConnectionVariables", () => {
  function make(
    type: string,
    values: Record<string, string>,
    options: {
      remoteAgents?: boolean;
      environment?: Record<string, string>;
      contexts?: Map<string, Record<string, string>>;
    } = {},
  ): ConnectionVariables {
    const connection = { name: "c", id: undefined, type, identifier: "i", values, contexts: new Map(), missing: [] };
    return new ConnectionVariables({ ...connection, contexts: options.contexts ?? new Map() }, {
      environment: (name) => options.environment?.[name],
      remoteAgents: options.remoteAgents ?? false,
      encodeCredentials: (known, given) => `${known}|${given["CR_USERNAME"]}|${given["CR_PASSWORD"]}`,
    });
  }
  const login = { CR_USERNAME: "u", CR_PASSWORD: "p" };

  it.each([
    ["docker-hub", { CR_USERNAME: "u" }, "CR_PASSWORD"],
    ["acr", {}, "CR_USERNAME, CR_PASSWORD"],
    ["ecr", { CR_ROLE_ARN: "r" }, "CR_REGION, CR_EXTERNAL_ID"],
    ["digitalocean-cr", login, "CR_TOKEN"],
  ])("a %s with %j needs %s", (type, values, absent) => {
    expect(() => make(type, values)).toThrow(`Cannot use the connection c: ${type} needs ${absent}`);
  });

  it("give a context its own login, and an unknown context nothing", () => {
    const variables = make("docker-hub", login, { contexts: new Map([[CONTEXT, { CR_USERNAME: "other" }]]) });
    expect(variables.get("CR_CREDENTIALS")).toBe("docker-hub|u|p");
    expect(variables.context(CONTEXT)?.("CR_CREDENTIALS")).toBe("docker-hub|other|p");
    expect(variables.context("x")).toBeUndefined();
    expect(variables.secrets).toEqual(["p", "docker-hub|u|p", "p", "docker-hub|other|p"]);
  });

  it("never give another registry's login of the environment, but its other variables", () => {
    const variables = make("docker-hub", login, {
      environment: { CR_BASE: "elsewhere", BROKER_CLIENT_URL: "http://me" },
    });
    expect([variables.get("CR_BASE"), variables.get("BROKER_CLIENT_URL")]).toEqual([undefined, "http://me"]);
  });

  it.each([
    [false, {}, undefined],
    [true, {}, "http://remote.example"],
    [true, { CR_AGENT_URL: "http://local.example" }, "http://local.example"],
    [false, { CR_AGENT_URL: "http://local.example" }, "http://local.example"],
  ])(
    "take the connection's agent only when told to (%j), after the environment's %j",
    (remoteAgents, own, expected) => {
      const values = { ...login, CR_AGENT_URL: "http://remote.example" };
      expect(make("docker-hub", values, { remoteAgents, environment: own }).get("CR_AGENT_URL")).toBe(expected);
    },
  );
});
