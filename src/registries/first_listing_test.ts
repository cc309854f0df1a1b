import { describe, expect, it } from "vitest";
import { type ErrorCode, OutpostError } from "../core/errors.ts";
import { firstListing, type Listing } from "./first_listing.ts";
import { codeOf, collect } from "./registry_suite.ts";

function listing(pages: readonly string[][], end?: ErrorCode): Listing<string> {
  return async function* () {
    for (const page of pages) yield await Promise.resolve(page);
    if (end !== undefined) throw new OutpostError(end, `Cannot list: ${end}`);
  };
}

describe("firstListing()", () => {
  it("gives the first source that works, an empty one too", async () => {
    expect(await collect(firstListing([listing([["a"], ["b"]]), listing([["c"]])]))).toEqual(["a", "b"]);
    expect(await collect(firstListing([listing([]), listing([["c"]])]))).toEqual([]);
  });

  it("goes on when there is no right or no such API", async () => {
    for (const code of ["NO_CATALOG_PERMISSION", "CATALOG_UNSUPPORTED", "NOT_A_REGISTRY"] as const) {
      expect(await collect(firstListing([listing([], code), listing([["c"]])]))).toEqual(["c"]);
    }
  });

  it("stops at errors that concern all sources", async () => {
    for (const code of ["BAD_CREDENTIALS", "RATE_LIMITED", "CANCELLED", "TIMEOUT"] as const) {
      expect(await codeOf(collect(firstListing([listing([], code), listing([["c"]])])))).toBe(code);
    }
  });

  it("does not begin again after a page", async () => {
    const broken = listing([["a"]], "NO_CATALOG_PERMISSION");
    expect(await codeOf(collect(firstListing([broken, listing([["c"]])])))).toBe("NO_CATALOG_PERMISSION");
  });

  it("throws the last error when all fail", async () => {
    const sources = [listing([], "CATALOG_UNSUPPORTED"), listing([], "NO_CATALOG_PERMISSION")];
    expect(await codeOf(collect(firstListing(sources)))).toBe("NO_CATALOG_PERMISSION");
  });
});
