import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nextLink, parseChallenges, parseLinks, parseScopes } from "./challenge.ts";

function plain(field: string | null): unknown {
  return parseChallenges(field).map(({ scheme, parameters }) => ({ scheme, ...Object.fromEntries(parameters) }));
}

describe("parseChallenges()", () => {
  it.each<readonly [string | null, unknown]>([
    [
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
      [{
        scheme: "bearer",
        realm: "https://auth.docker.io/token",
        service: "registry.docker.io",
        scope: "repository:a/b:pull,push",
      }],
    ],
    ['Bearer realm="https://us-docker.pkg.dev/v2/token"', [{
      scheme: "bearer",
      realm: "https://us-docker.pkg.dev/v2/token",
    }]],
    ['Bearer realm="https://gcr.io/v2/token",service=gcr.io', [{
      scheme: "bearer",
      realm: "https://gcr.io/v2/token",
      service: "gcr.io",
    }]],
    ['BASIC realm="Sonatype Nexus Repository Manager"', [{
      scheme: "basic",
      realm: "Sonatype Nexus Repository Manager",
    }]],
    ['Basic realm="https://1.dkr.ecr.eu-central-1.amazonaws.com/",service="ecr.amazonaws.com"', [{
      scheme: "basic",
      realm: "https://1.dkr.ecr.eu-central-1.amazonaws.com/",
      service: "ecr.amazonaws.com",
    }]],
    [
      'Bearer realm="https://codeberg.org/v2/token",service="container_registry",scope="*",Basic realm="https://codeberg.org/v2",service="container_registry",scope="*"',
      [
        { scheme: "bearer", realm: "https://codeberg.org/v2/token", service: "container_registry", scope: "*" },
        { scheme: "basic", realm: "https://codeberg.org/v2", service: "container_registry", scope: "*" },
      ],
    ],
    ['Bearer service="s", realm = "https://ghcr.io/token" , scope="repository:user/image:pull"', [{
      scheme: "bearer",
      service: "s",
      realm: "https://ghcr.io/token",
      scope: "repository:user/image:pull",
    }]],
    ["Negotiate, Basic realm=x", [{ scheme: "negotiate" }, { scheme: "basic", realm: "x" }]],
    ["Negotiate YWJj==, NTLM TlRM, bearer realm=https://r.example/t?a=b", [
      { scheme: "negotiate" },
      { scheme: "ntlm" },
      { scheme: "bearer", realm: "https://r.example/t?a=b" },
    ]],
    ['Bearer realm="a \\"quoted\\" \\\\ one, two",error="invalid_token"', [{
      scheme: "bearer",
      realm: 'a "quoted" \\ one, two',
      error: "invalid_token",
    }]],
    ['Bearer realm="open', [{ scheme: "bearer", realm: "open" }]],
    ["Bearer REALM=a,realm=b", [{ scheme: "bearer", realm: "a" }]],
    [", ,Basic", [{ scheme: "basic" }]],
    ["", []],
    [null, []],
    ['="x", (comment), Basic realm="r"', [{ scheme: "basic", realm: "r" }]],
  ])("reads %j", (field, expected) => {
    expect(plain(field)).toEqual(expected);
  });

  it("reads back any challenges it is given, and ends on any text", () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9_-]{0,8}$/);
    const value = fc.string({ maxLength: 20 }).filter((text) => !/[\r\n\0]/.test(text));
    const parameters = fc.uniqueArray(fc.tuple(name, value), { minLength: 1, maxLength: 4, selector: ([key]) => key });
    fc.assert(fc.property(fc.array(fc.tuple(name, parameters), { maxLength: 4 }), (challenges) => {
      const field = challenges.map(([scheme, pairs]) =>
        `${scheme} ${pairs.map(([key, text]) => `${key}="${text.replace(/[\\"]/g, "\\$&")}"`).join(", ")}`
      ).join(",");
      expect(parseChallenges(field).map((c) => [c.scheme, [...c.parameters]])).toEqual(challenges);
    }));
    fc.assert(fc.property(fc.string({ maxLength: 200, unit: "binary" }), (text) => {
      parseChallenges(text);
      parseLinks(text);
    }));
  });

  it("takes time linear in the text", () => {
    const began = performance.now();
    parseChallenges("a ".repeat(100_000));
    parseChallenges(`Bearer ${'x="'.repeat(50_000)}`);
    parseLinks("<".repeat(100_000) + ";rel".repeat(50_000));
    expect(performance.now() - began).toBeLessThan(2000);
  });
});

describe("nextLink()", () => {
  it.each<readonly [string | null, unknown]>([
    ['</v2/_catalog?last=x&n=2>; rel="next"', "/v2/_catalog?last=x&n=2"],
    ["</v2/_catalog?last=x&n=2>; rel=next", "/v2/_catalog?last=x&n=2"],
    ['</v2/_catalog?last=x&n=2&orderby=>; rel="next"', "/v2/_catalog?last=x&n=2&orderby="],
    [
      '<https://quay.io/v2/_catalog?n=100&next_page=gAAA%3D>; rel="next"',
      "https://quay.io/v2/_catalog?n=100&next_page=gAAA%3D",
    ],
    ['<a?page=1>; rel="prev", <a?page=3>; rel="next last"; title="x, y"', "a?page=3"],
    ['<a?page=3>; title="rel=next, or so"; rel="first"', undefined],
    ["</v2/_catalog?last=x>", "/v2/_catalog?last=x"],
    ["</v2/other>", undefined],
    ["</a?last=1>, </b?last=2>", undefined],
    ['<a,b;c?last=1>;rel="NEXT"', "a,b;c?last=1"],
    ["", undefined],
    [null, undefined],
  ])("of %j is %j", (field, expected) => {
    expect(nextLink(field)).toBe(expected);
  });
});

describe("parseScopes()", () => {
  it("splits at blanks", () => {
    expect(parseScopes(" repository:a:pull  registry:catalog:* ")).toEqual(["repository:a:pull", "registry:catalog:*"]);
    expect(parseScopes(undefined)).toEqual([]);
  });
});
