import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RegistryCredentials } from "../core/ports.ts";
import {
  basicAuthorization,
  configuredCredentials,
  credentialHash,
  encodeCredentials,
  parseBrokeredCredentials,
  resolveType,
} from "./credentials.ts";

const base64 = (text: string): string => new TextEncoder().encode(text).toBase64();

/** What Snyk's entrypoint makes with printf: no escaping at all. */
function pasted(type: string, username: string, password: string, base: string): string {
  return base64(`{"type":"${type}", "username":"${username}", "password":"${password}", "registryBase":"${base}"}\n`);
}

describe("resolveType()", () => {
  it.each<readonly [string, string | undefined]>([
    ["docker-hub", "docker-hub"],
    ["DockerHub", "docker-hub"],
    ["dockerhub", "docker-hub"],
    ["ElasticCR", "ecr"],
    ["GoogleCR", "gcr"],
    ["ArtifactoryCR", "artifactory-cr"],
    [" Harbor-CR ", "harbor-cr"],
    ["OCI", "oci"],
    ["zot", undefined],
    ["", undefined],
    ["__proto__", undefined],
  ])("of %j is %j", (name, type) => {
    expect(resolveType(name)).toBe(type);
  });
});

describe("parseBrokeredCredentials()", () => {
  const plain = { type: "harbor-cr", base: "h.example", username: "robot$a", password: "p:w" };

  it.each([
    ["bare base64", pasted("harbor-cr", "robot$a", "p:w", "h.example")],
    ["behind Basic", `Basic ${pasted("harbor-cr", "robot$a", "p:w", "h.example")}`],
    ["behind bearer in small letters", `bearer ${pasted("harbor-cr", "robot$a", "p:w", "h.example")}`],
    ["the JSON itself", `{"type":"harbor-cr","username":"robot$a","password":"p:w","registryBase":"h.example"}`],
    ["an old type name", pasted("HarborCR", "robot$a", "p:w", "h.example")],
    [
      "the URL alphabet without padding",
      pasted("harbor-cr", "robot$a", "p:w", "h.example").replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, ""),
    ],
    ["line breaks inside", (pasted("harbor-cr", "robot$a", "p:w", "h.example").match(/.{1,20}/g) ?? []).join("\n ")],
  ])("reads %s", (_, header) => {
    expect(parseBrokeredCredentials(header)).toEqual(plain);
  });

  it("takes apart what was pasted without escaping", () => {
    for (const password of [`a"b\\c`, `{"a":"b"}`, "two\nlines", `", "x`, `C:\\Users`]) {
      expect(parseBrokeredCredentials(pasted("oci", "u", password, "h.example"))).toEqual({
        type: "oci",
        base: "h.example",
        username: "u",
        password,
      });
    }
  });

  it("repairs a service-account key whose line ends were expanded", () => {
    const key = {
      type: "service_account",
      private_key: "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n",
      client_email: "a@b",
    };
    const json = JSON.stringify(key);
    const kept = parseBrokeredCredentials(pasted("gcr", "_json_key", json, "gcr.io"));
    expect(kept.password).toBe(json);
    const expanded = parseBrokeredCredentials(pasted("gcr", "_json_key", json.replaceAll("\\n", "\n"), "gcr.io"));
    expect(JSON.parse(expanded.password ?? "")).toEqual(key);
  });

  it("reads ECR's members, pasted too", () => {
    const json = (id: string): string =>
      `{"type":"ElasticCR","roleArn":"arn:aws:iam::1:role/r","extra":{"region":"eu-west-1","externalId":"${id}"}}\n`;
    expect(parseBrokeredCredentials(base64(json("x")))).toEqual({
      type: "ecr",
      base: "",
      roleArn: "arn:aws:iam::1:role/r",
      region: "eu-west-1",
      externalId: "x",
    });
    expect(parseBrokeredCredentials(base64(json('x"y'))).externalId).toBe('x"y');
  });

  it("takes a base that was not set for none", () => {
    expect(parseBrokeredCredentials(pasted("docker-hub", "u", "p", "undefined")).base).toBe("");
  });

  it.each([
    ["not base64", "canary canary!"],
    ["an ordinary Basic login", `Basic ${base64("user:canary")}`],
    ["an unknown type", pasted("canary-cr", "u", "canary", "h")],
    ["no object", base64(`["canary"]`)],
    ["a number as password", base64(`{"type":"oci","password":12345}`)],
    ["nothing", ""],
    ["no UTF-8", Uint8Array.of(0x7b, 0xff).toBase64()],
  ])("refuses %s and repeats nothing of it", (_, header) => {
    try {
      parseBrokeredCredentials(header);
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ code: "CREDENTIALS_INVALID", status: 400 });
      expect(`${(error as Error).message} ${JSON.stringify(error)}`).not.toMatch(/canary|12345/);
    }
  });
});

describe("encodeCredentials()", () => {
  it("writes what Snyk's entrypoint writes, byte for byte", () => {
    const credentials = { type: "harbor-cr", base: "h.example", username: "u", password: "p" };
    expect(encodeCredentials(credentials)).toBe(pasted("harbor-cr", "u", "p", "h.example"));
    expect(encodeCredentials({ type: "digitalocean-cr", base: "b", username: "t", password: "t" })).toBe(
      base64(`{"type":"digitalocean-cr", "username":"t", "password":"t", "registryBase":"b"}\n`),
    );
    expect(encodeCredentials({ type: "ecr", base: "", roleArn: "a", region: "r", externalId: "x" })).toBe(
      base64(`{"type":"ecr","roleArn":"a","extra":{"region":"r","externalId":"x"}}\n`),
    );
  });

  it("can be read back, whatever the values are", () => {
    const text = fc.string({ minLength: 1, unit: "grapheme" });
    fc.assert(fc.property(text, text, fc.webUrl(), (username, password, base) => {
      fc.pre(!username.startsWith("_json_key"));
      const credentials: RegistryCredentials = { type: "oci", base, username, password };
      expect(parseBrokeredCredentials(encodeCredentials(credentials))).toEqual(credentials);
      const withToken = { ...credentials, type: "quay-cr", token: password };
      expect(parseBrokeredCredentials(encodeCredentials(withToken))).toEqual(withToken);
    }));
  });
});

describe("configuredCredentials()", () => {
  it("reads the variables", () => {
    expect(configuredCredentials({ type: "DockerHub", username: "u", password: "p" })).toEqual({
      type: "docker-hub",
      base: "",
      username: "u",
      password: "p",
    });
    expect(configuredCredentials({ base: " h.example " })).toEqual({ type: "oci", base: "h.example" });
    expect(configuredCredentials({ type: "digitalocean-cr", base: "b", token: "t" })).toEqual({
      type: "digitalocean-cr",
      base: "b",
      username: "t",
      password: "t",
    });
    expect(configuredCredentials({})).toBeUndefined();
    expect(configuredCredentials({ type: "", base: "" })).toBeUndefined();
  });

  it("lets CR_CREDENTIALS go first", () => {
    expect(configuredCredentials({ type: "oci", base: "other", credentials: pasted("oci", "u", "p", "h") })).toEqual({
      type: "oci",
      base: "h",
      username: "u",
      password: "p",
    });
  });

  it("refuses an unknown type", () => {
    expect(() => configuredCredentials({ type: "nonsense" })).toThrow(/CR_TYPE is not a known type/);
  });
});

describe("credentialHash()", () => {
  it("tells credentials apart and does not hold them", () => {
    const a = { type: "oci", base: "h", username: "ab", password: "c" };
    expect(credentialHash(a)).toBe(credentialHash({ ...a }));
    expect(credentialHash(a)).not.toBe(credentialHash({ ...a, username: "a", password: "bc" }));
    expect(credentialHash(a)).toMatch(/^[0-9a-f]{64}$/);
  });
});

describe("basicAuthorization()", () => {
  it("is RFC 7617 in UTF-8", () => {
    expect(basicAuthorization({ username: "ü", password: "a:b" })).toBe("Basic w7w6YTpi");
    expect(basicAuthorization({ username: "", password: "p" })).toBe("Basic OnA=");
  });
});
