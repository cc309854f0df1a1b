import { describe, expect, it } from "vitest";
import {
  expandReferences,
  memberOverrides,
  overrideMembers,
  parseDotEnv,
  withPrefixedNames,
  withUpperCaseNames,
} from "./environment.ts";

describe("parseDotEnv()", () => {
  it("reads comments, quotes and export", () => {
    expect(parseDotEnv("# c\nA=1\nexport B='x $y' # c\nC=\"a\\nb\"\nD=\n")).toEqual({
      A: "1",
      B: "x $y",
      C: "a\nb",
      D: "",
    });
  });
});

describe("withUpperCaseNames()", () => {
  it("gives names in any case, the exact one first", () => {
    expect(withUpperCaseNames({ broker_token: "a", PORT: "1", port: "2", gone: undefined })).toEqual({
      broker_token: "a",
      BROKER_TOKEN: "a",
      PORT: "1",
      port: "2",
    });
  });
});

describe("expandReferences()", () => {
  const expand = (env: Record<string, string>) => expandReferences(env, (name) => name === "CR_PASSWORD");

  it.each([
    ["a$HOME/b", "a/root/b"],
    ["$HOME$HOME", "/root/root"],
    ["\\$HOME", "\\$HOME"],
    ["${HOME}", "${HOME}"],
    ["$NOBODY and $", "$NOBODY and $"],
    ["$constructor", "$constructor"],
  ])("expands %s to %s", (text, expanded) => {
    expect(expand({ HOME: "/root", VALUE: text })["VALUE"]).toBe(expanded);
  });

  it("leaves the values that are taken literally", () => {
    expect(expand({ HOME: "/root", CR_PASSWORD: "a$HOME" })["CR_PASSWORD"]).toBe("a$HOME");
  });

  it("makes a pool of a value that names one", () => {
    const env = expand({ T_POOL: "a, b", H: "token $T at $HOME", HOME: "/root" });
    expect(env["H_POOL"]).toBe("token a at /root,token b at /root");
    expect(env["H"]).toBe("token $T at $HOME");
  });
});

describe("withPrefixedNames()", () => {
  it("takes SNYK_NAME for a NAME that is not set, and leaves variables of that name alone", () => {
    const env = {
      SNYK_BROKER_TOKEN: "a",
      BROKER_TOKEN: "",
      SNYK_ACCEPT: "b",
      ACCEPT: "c",
      SNYK_PORT: "1",
      SNYK_X: "d",
    };
    expect(withPrefixedNames(env, ["BROKER_TOKEN", "ACCEPT", "PORT", "SNYK_PORT"])).toEqual({
      ...env,
      BROKER_TOKEN: "a",
    });
  });
});

describe("overrideMembers()", () => {
  it("changes members of a file, makes what is missing, and sees no prototype", () => {
    const overrides = memberOverrides({
      SNYK_CONNECTIONS__hub__CR_BASE: "new.example",
      SNYK_CONNECTIONS__other__type: "acr",
      SNYK_CONNECTIONS____proto____x: "y",
      SNYK_PLAIN: "no",
      OTHER__a__b: "no",
    });
    const file = { CONNECTIONS: { hub: { type: "docker-hub", CR_BASE: "old" } }, other: 1 };
    expect(overrideMembers(file, overrides)).toEqual({
      CONNECTIONS: { hub: { type: "docker-hub", CR_BASE: "new.example" }, other: { type: "acr" } },
      other: 1,
    });
    expect(overrideMembers(undefined, overrides)).toMatchObject({ CONNECTIONS: { hub: { CR_BASE: "new.example" } } });
    expect(({} as Record<string, unknown>)["x"]).toBeUndefined();
  });
});
