import { describe, expect, it } from "vitest";
import { expandReferences, parseDotEnv, withUpperCaseNames } from "./environment.ts";

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
