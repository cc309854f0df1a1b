import { describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import type { RegistryCalls } from "./flavour.ts";
import { pullBudget } from "./pull_budget.ts";
import { codeOf } from "./registry_suite.ts";

const signal = new AbortController().signal;

function registry(fields: Readonly<Record<string, string>> | OutpostError): RegistryCalls {
  const unused = (): never => {
    throw new Error("Only the header fields of a manifest are needed");
  };
  const manifestHeaders = (): Promise<Headers> =>
    fields instanceof OutpostError ? Promise.reject(fields) : Promise.resolve(new Headers(fields));
  return { manifestHeaders, catalog: unused, tags: unused, call: unused, tokenServer: unused };
}

describe("pullBudget()", () => {
  it.each<readonly [Record<string, string>, string | undefined]>([
    [
      { "ratelimit-limit": "100;w=21600", "ratelimit-remaining": "0;w=21600" },
      "Hub allows this account 100 pulls in 6 hours, 0 are left",
    ],
    [{ "ratelimit-limit": " 40 ; w=3600" }, "Hub allows this account 40 pulls in an hour"],
    [{ "ratelimit-limit": "40;w=90" }, "Hub allows this account 40 pulls in 90 seconds"],
    [{ "ratelimit-limit": "40", "ratelimit-remaining": "none" }, "Hub allows this account 40 pulls"],
    [{ "ratelimit-remaining": "7" }, undefined],
    [{ "ratelimit-limit": "<b>many</b>" }, undefined],
    [{}, undefined],
  ])("tells %j", async (fields, sentence) => {
    expect(await pullBudget("Hub", registry(fields), signal)).toBe(sentence);
  });

  it("is silent when it may not be asked for, unless the caller has left", async () => {
    const refusal = new OutpostError("REPO_FORBIDDEN", "Cannot read it: no right");
    expect(await pullBudget("Hub", registry(refusal), signal)).toBeUndefined();
    const left = new OutpostError("CANCELLED", "The caller has left");
    expect(await codeOf(pullBudget("Hub", registry(left), signal))).toBe("CANCELLED");
  });
});
