import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import {
  credentialTexts,
  firstCredentials,
  parseImageName,
  parseRepositoryPath,
  parseScanRequest,
} from "./contract.ts";

const A = `sha256:${"a".repeat(64)}` as const;
const B = `sha256:${"b".repeat(64)}` as const;
const BASE = "https://registry.example:5000";

function failure(run: () => unknown): OutpostError {
  try {
    run();
  } catch (error) {
    if (error instanceof OutpostError) return error;
    throw error;
  }
  throw new Error("It did not fail");
}

describe("parseScanRequest()", () => {
  it.each(
    [
      [{ repository: "team/app" }, { repository: "team/app" }],
      [{ name: "team/app:1.2" }, { repository: "team/app", tag: "1.2" }],
      [{ image: "team/app" }, { repository: "team/app" }],
      [{ imageName: "team/app" }, { repository: "team/app" }],
      [{ target: "team/app:1" }, { repository: "team/app", tag: "1" }],
      [{ target: { name: `team/app@${A}` } }, { repository: "team/app", digest: A }],
      [{ repository: "team/app", name: "other/app" }, { repository: "team/app" }],
      [{ repository: null, name: "team/app", tag: null, target: null }, { repository: "team/app" }],
      [{ name: "team/app:1.2", tag: "1.3" }, { repository: "team/app", tag: "1.3" }],
      [{ name: `team/app@${A}`, digest: B }, { repository: "team/app", digest: B }],
      [{ name: "team/app", tag: "1", digest: A }, { repository: "team/app", tag: "1", digest: A }],
      [{ name: "team/app", platform: "linux/arm64/v8" }, {
        repository: "team/app",
        platform: { os: "linux", architecture: "arm64", variant: "v8" },
      }],
      [{ name: "registry.example:5000/team/app:1" }, { repository: "team/app", tag: "1" }],
      [{ name: "Registry.Example:5000/team/app" }, { repository: "team/app" }],
      [{ name: "my.team/app" }, { repository: "my.team/app" }],
    ] as const,
  )("reads %j", (image, expected) => {
    const none = { tag: undefined, digest: undefined, platform: undefined };
    const [alone] = parseScanRequest(image, BASE).targets;
    const [listed] = parseScanRequest({ images: [image] }, BASE).targets;
    for (const target of [alone, listed]) expect(target).toMatchObject({ ...none, ...expected });
  });

  it("carries unknown fields: the request's own to all, an image's to its own", () => {
    const parsed = parseScanRequest(
      { correlation: { id: 7 }, callbackUrl: "/v2/import/result", images: [{ name: "a", key: 1 }, { name: "b" }] },
      BASE,
    );
    expect(parsed.fields).toEqual({ correlation: { id: 7 }, callbackUrl: "/v2/import/result" });
    expect(parsed.targets.map((target) => target.fields)).toEqual([{ name: "a", key: 1 }, { name: "b" }]);
    expect(parsed.callbackUrl).toBe("/v2/import/result");
    const alone = parseScanRequest({ name: "a", key: 1, images: null, callbackUrl: null }, BASE);
    expect(alone).toMatchObject({ callbackUrl: undefined, fields: { name: "a", key: 1 }, targets: [{ fields: {} }] });
  });

  it("never carries what may be a credential, at whatever depth and in whatever case", () => {
    const secret = { username: "canary", password: "canary", Authorization: "canary", token: "canary" };
    const parsed = parseScanRequest({
      credentials: "canary",
      registryCredentials: secret,
      auth: "canary",
      ...secret,
      source: { registry: secret, list: [secret, { kept: true }] },
      images: [{ name: "a", credentials: "canary", target: { name: "a", ...secret } }],
    }, BASE);
    expect(JSON.stringify(parsed)).not.toContain("canary");
    expect(parsed.fields).toMatchObject({ source: { list: [{}, { kept: true }] } });
    expect(parsed.targets[0]?.fields).toEqual({ name: "a", target: { name: "a" } });
  });

  it.each([
    [{}, "REQUEST_INVALID", "an image has no name"],
    [{ images: [] }, "REQUEST_INVALID", "names no image"],
    [{ images: [{}] }, "REQUEST_INVALID", "an image has no name"],
    [{ images: "a" }, "REQUEST_INVALID", "images:"],
    [{ images: [{ name: 7 }] }, "REQUEST_INVALID", "images.0.name:"],
    [null, "REQUEST_INVALID", "body:"],
    [[], "REQUEST_INVALID", "body:"],
    ["a", "REQUEST_INVALID", "body:"],
    [{ name: "Team/App" }, "REFERENCE_INVALID", "lower case"],
    [{ name: "other.example:5000/a" }, "REFERENCE_INVALID", "not a repository name"],
    [{ name: "a", tag: "no tag" }, "REFERENCE_INVALID", "as a tag"],
    [{ name: "a", digest: "sha256:12" }, "REFERENCE_INVALID", "as a digest"],
    [{ name: "a", platform: "linux" }, "REQUEST_INVALID", "as a platform"],
  ])("refuses %j", (body, code, message) => {
    const error = failure(() => parseScanRequest(body, BASE));
    expect(error).toMatchObject({ code, status: 400 });
    expect(error.message).toContain(message);
  });

  it("refuses more images than a request may have", () => {
    const images = (n: number): { name: string }[] => Array.from({ length: n }, () => ({ name: "a" }));
    expect(parseScanRequest({ images: images(LIMITS.imagesPerScan) }, "").targets).toHaveLength(LIMITS.imagesPerScan);
    const error = failure(() => parseScanRequest({ images: images(LIMITS.imagesPerScan + 1) }, ""));
    expect(error.message).toContain("images");
  });

  it("throws nothing but OutpostError, whatever the JSON", () => {
    const names = fc.constantFrom(
      ...["repository", "name", "image", "imageName", "target", "tag", "digest", "platform", "images", "callbackUrl"],
      ...["credentials", "auth", "__proto__", "constructor"],
    );
    const json = fc.jsonValue({ maxDepth: 2 });
    const field = fc.oneof(fc.string(), json, fc.dictionary(names, json, { maxKeys: 4 }));
    const object = fc.dictionary(fc.oneof(names, fc.string()), field, { maxKeys: 6 });
    const shaped = fc.oneof(object, fc.record({ images: fc.array(object, { maxLength: 3 }) }), json);
    fc.assert(fc.property(shaped, fc.string(), (value, base) => {
      const body: unknown = JSON.parse(JSON.stringify(value));
      credentialTexts(body);
      try {
        const { targets } = parseScanRequest(body, base);
        expect(targets.length).toBeGreaterThan(0);
      } catch (error) {
        expect(error).toBeInstanceOf(OutpostError);
      }
    }));
  });
});

describe("credentialTexts()", () => {
  it("takes texts and objects, objects in the form in which a header carries them", () => {
    const object = { type: "oci", registryBase: "h" };
    expect(credentialTexts({ auth: "b", credentials: "a", authorization: true, registryCredentials: object })).toEqual([
      "a",
      new TextEncoder().encode(JSON.stringify(object)).toBase64(),
      "b",
    ]);
  });

  it.each([null, 1, "a", [["credentials", "a"]], {}])("finds none in %j", (body) => {
    expect(credentialTexts(body)).toEqual([]);
  });
});

describe("parseImageName()", () => {
  it.each([
    ["h.example/a/b:1", "h.example", "a/b"],
    ["h.example/a", "https://h.example/", "a"],
    ["h.example/a", "", "h.example/a"],
    ["h.example.org/a", "h.example", "h.example.org/a"],
    ["a", "not a url", "a"],
  ])("%s on %s is %s", (name, base, repository) => {
    expect(parseImageName(name, base).repository).toBe(repository);
  });
});

describe("parseRepositoryPath()", () => {
  it.each([["team/app", "team/app"], ["team%2Fapp", "team/app"], ["a--b__c.d", "a--b__c.d"]])(
    "reads %s",
    (path, expected) => {
      expect(parseRepositoryPath(path)).toBe(expected);
    },
  );

  it.each(["", "a/../b", "%2e%2e/a", "a//b", "/a", "a/", "Team", "a%", "a%00b", "a?n=1"])(
    "refuses %j",
    (path) => {
      expect(failure(() => parseRepositoryPath(path))).toMatchObject({ code: "REFERENCE_INVALID", status: 400 });
    },
  );
});

describe("parseRepositoryPath() on names that are too long", () => {
  it("refuses more than 255 characters", () => {
    expect(parseRepositoryPath("a".repeat(255))).toHaveLength(255);
    expect(failure(() => parseRepositoryPath("a".repeat(256))).code).toBe("REFERENCE_INVALID");
  });
});

describe("firstCredentials()", () => {
  const parse = (text: string) => {
    if (text.startsWith("bad")) throw new OutpostError("CREDENTIALS_INVALID", `Cannot use ${text}`);
    return { type: "oci", base: text };
  };

  it("takes the first that parses, and tells the first failure when none does", () => {
    expect(firstCredentials([undefined, " ", "bad1", "a", "b"], parse)).toEqual({ type: "oci", base: "a" });
    expect(firstCredentials([undefined, ""], parse)).toBeUndefined();
    expect(() => firstCredentials(["bad1", "bad2"], parse)).toThrow("bad1");
  });
});
