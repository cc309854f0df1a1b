import { describe, expect, it } from "vitest";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { OutpostError } from "../core/errors.ts";
import { listByOwner, namedOwners, type OwnedListing } from "./by_owner.ts";
import type { FlavourContext } from "./flavour.ts";
import { codeOf, collect } from "./registry_suite.ts";

const REFUSED = new OutpostError("NO_CATALOG_PERMISSION", "Cannot list");

function context(namespaces: readonly string[] = [], namePrefix = "", logger = new RecordingLogger()): FlavourContext {
  const endpoint = { origin: "https://h.example", host: "h.example", basePrefix: "", namePrefix };
  // The functions look at these members only.
  return { endpoint, namespaces, logger } as unknown as FlavourContext;
}

function owned(owner: string, ...pages: readonly (readonly string[] | OutpostError)[]): OwnedListing {
  return {
    owner,
    list: async function* () {
      for (const page of pages) {
        await Promise.resolve();
        if (page instanceof OutpostError) throw page;
        yield page;
      }
    },
  };
}

describe("namedOwners()", () => {
  it("takes the owner of CR_BASE, else those of CR_NAMESPACES, each once", () => {
    expect(namedOwners(context(["a"], "team"))).toEqual(["team"]);
    expect(namedOwners(context([" Octo ", "", "octo", "/group/sub/"]))).toEqual(["octo", "group/sub"]);
    expect(namedOwners(context())).toEqual([]);
  });
});

describe("listByOwner()", () => {
  it("lists one owner after the other, each name once", async () => {
    const lists = [owned("a", ["a/1"], ["a/2"]), owned("b", ["a/2", "b/1"]), owned("c", ["a/1"])];
    const pages: (readonly string[])[] = [];
    for await (const page of listByOwner(context(), lists)) pages.push(page);
    expect(pages).toEqual([["a/1"], ["a/2"], ["b/1"]]);
  });

  it("passes over an owner that is refused, and says so", async () => {
    const logger = new RecordingLogger();
    const lists = [owned("a", REFUSED), owned("b", ["b/1"])];
    expect(await collect(listByOwner(context([], "", logger), lists))).toEqual(["b/1"]);
    expect(logger.lines.map(({ level, fields }) => [level, fields["owner"]])).toEqual([["warn", "a"]]);
  });

  it("throws the first refusal when nobody is left, and takes an empty list for an answer", async () => {
    const absent = new OutpostError("CATALOG_UNSUPPORTED", "Cannot list");
    expect(await codeOf(collect(listByOwner(context(), [owned("a", REFUSED), owned("b", absent)])))).toBe(REFUSED.code);
    expect(await collect(listByOwner(context(), [owned("a", REFUSED), owned("b")]))).toEqual([]);
    expect(await collect(listByOwner(context(), []))).toEqual([]);
  });

  it("fails when a list breaks off, and for reasons that concern everybody", async () => {
    const broken = owned("a", ["a/1"], new OutpostError("REGISTRY_PROTOCOL", "Cannot list"));
    expect(await codeOf(collect(listByOwner(context(), [broken, owned("b", ["b/1"])])))).toBe("REGISTRY_PROTOCOL");
    const useless = owned("a", new OutpostError("REGISTRY_PROTOCOL", "Cannot list"));
    expect(await codeOf(collect(listByOwner(context(), [useless, owned("b", ["b/1"])])))).toBe("REGISTRY_PROTOCOL");
    const limited = owned("a", new OutpostError("RATE_LIMITED", "Cannot list"));
    expect(await codeOf(collect(listByOwner(context(), [limited, owned("b", ["b/1"])])))).toBe("RATE_LIMITED");
  });
});
