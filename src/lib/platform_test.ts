import { describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import type { Platform } from "../core/types.ts";
import { choosePlatform, formatPlatform, parsePlatform, platformOfConfig } from "./platform.ts";

interface Entry {
  readonly id: string;
  readonly platform?: Platform;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** `a=linux/amd64` is an entry of that platform, `a` one without. */
function entries(...texts: readonly string[]): Entry[] {
  return texts.map((text) => {
    const [id = "", platform] = text.split("=");
    return platform === undefined ? { id } : { id, platform: parsePlatform(platform) };
  });
}

type Choice = readonly [list: readonly string[], wanted: string | undefined, expected: string, why: string];
type Refusal = readonly [list: readonly string[], wanted: string | undefined, named: string];

function choose(list: readonly Entry[], wanted?: string): string {
  return choosePlatform(list, wanted === undefined ? undefined : parsePlatform(wanted), "the index").id;
}

describe("parsePlatform()", () => {
  it.each(
    [
      ["linux/amd64", { os: "linux", architecture: "amd64" }],
      ["Linux/AArch64", { os: "linux", architecture: "arm64" }],
      ["linux/arm/v7", { os: "linux", architecture: "arm", variant: "v7" }],
      ["linux/armhf", { os: "linux", architecture: "arm", variant: "v7" }],
      ["linux/x86_64", { os: "linux", architecture: "amd64" }],
      ["windows/amd64", { os: "windows", architecture: "amd64" }],
      ["linux/constructor", { os: "linux", architecture: "constructor" }],
    ] as const,
  )("reads %s", (text, expected) => {
    expect(parsePlatform(text)).toEqual(expected);
  });

  it.each(["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux /arm", "linux/../x", "linux/a b"])(
    "refuses %j",
    (text) => {
      expect(() => parsePlatform(text)).toThrow("as a platform");
    },
  );

  it("is the inverse of formatPlatform()", () => {
    expect(formatPlatform(parsePlatform("linux/arm/v6"))).toBe("linux/arm/v6");
    expect(formatPlatform({ os: "linux", architecture: "s390x", variant: "" })).toBe("linux/s390x");
  });
});

describe("platformOfConfig()", () => {
  it("needs system and architecture", () => {
    expect(platformOfConfig({ os: "linux" })).toBeUndefined();
    expect(platformOfConfig({ os: "linux", architecture: "" })).toBeUndefined();
    expect(platformOfConfig({ os: "linux", architecture: "arm", variant: "v7" })).toEqual(
      parsePlatform("linux/arm/v7"),
    );
  });
});

describe("choosePlatform()", () => {
  it.each<Choice>(
    [
      [["a"], undefined, "a", "the only entry, without a platform"],
      [["a"], "linux/arm64", "a", "the only entry, without a platform, although one is asked for"],
      [["a=linux/ppc64le"], undefined, "a", "the only entry, of another platform"],
      [["a=linux/ppc64le", "x=unknown/unknown"], undefined, "a", "the only entry beside an attestation"],
      [["a=linux/arm64", "b=linux/arm64"], undefined, "a", "the first of several of one platform"],
      [["a=windows/amd64", "b=linux/amd64"], undefined, "b", "linux/amd64 among several"],
      [["a", "b=linux/amd64"], undefined, "b", "linux/amd64 beside an entry without platform"],
      [["a=linux/amd64", "b=linux/arm64"], "linux/arm64", "b", "what is asked for"],
      [["a=linux/amd64", "b=linux/amd64"], undefined, "a", "the first of two equal ones"],
      [["a=linux/arm/v6", "b=linux/arm/v7"], "linux/arm/v6", "a", "the variant that is asked for"],
      [["a=linux/arm/v6", "b=linux/arm/v7"], "linux/arm", "b", "the usual variant when none is asked for"],
      [["a=linux/arm/v5", "b=linux/arm/v6"], "linux/arm", "a", "the first when the usual variant is not there"],
      [["a=linux/amd64", "b=linux/arm64/v8"], "linux/arm64", "b", "arm64/v8 for arm64"],
      [["a=linux/amd64", "b=linux/arm64"], "linux/arm64/v8", "b", "arm64 for arm64/v8"],
    ],
  )("%j for %s gives %s: %s", (list, wanted, expected) => {
    expect(choose(entries(...list), wanted)).toBe(expected);
  });

  it.each<Refusal>(
    [
      [["a=linux/amd64"], "linux/arm64", "linux/amd64"],
      [["a=linux/arm/v7"], "linux/arm/v6", "linux/arm/v7"],
      [["a=linux/arm64", "b=windows/amd64"], undefined, "linux/arm64, windows/amd64"],
      [["a", "b"], undefined, "unstated"],
    ],
  )("refuses %j for %s and names %s", (list, wanted, named) => {
    const attempt = (): string => choose(entries(...list), wanted);
    expect(attempt).toThrow("the index");
    try {
      attempt();
    } catch (error) {
      if (!(error instanceof OutpostError)) throw error;
      expect(error.code).toBe("PLATFORM_NOT_FOUND");
      expect(error.hint).toContain(named);
    }
  });

  it("refuses an index that holds nothing but attestations", () => {
    const annotations = { "vnd.docker.reference.type": "attestation-manifest" };
    expect(() => choose([{ id: "a", annotations }])).toThrow("Cannot find an image for linux/amd64");
  });
});
