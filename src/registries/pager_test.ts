import { describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { listPages, type PageAnswer } from "./pager.ts";

const LIST = "https://registry.example/artifactory/api/docker/local/v2/app/tags/list";
const refusal = new OutpostError("TAG_NOT_FOUND", "Cannot list");

/** Walks a list whose pages are given by query; gives the pages, and the queries that were asked for. */
async function walk(
  pages: (query: URLSearchParams, call: number) => PageAnswer,
  pageSize = 2,
  lastMarker = true,
): Promise<
  { readonly pages: readonly (readonly string[])[]; readonly asked: readonly string[]; readonly error?: string }
> {
  const asked: string[] = [];
  const got: (readonly string[])[] = [];
  const fetchPage = (url: URL): Promise<PageAnswer> => {
    expect(url.origin + url.pathname).toBe(LIST);
    asked.push(url.search);
    return Promise.resolve(pages(url.searchParams, asked.length));
  };
  try {
    for await (const page of listPages({ url: new URL(LIST), pageSize, lastMarker, action: "list", fetchPage })) {
      got.push(page);
    }
  } catch (error) {
    return { pages: got, asked, error: error instanceof OutpostError ? error.code : String(error) };
  }
  return { pages: got, asked };
}

const page = (items: readonly string[], link: string | null = null): PageAnswer => ({ kind: "page", items, link });

describe("listPages()", () => {
  it("ends with a full page without a link where no marker is wanted", async () => {
    const result = await walk(() => page(["a", "b"]), 2, false);
    expect(result).toEqual({ pages: [["a", "b"]], asked: ["?n=2"] });
  });

  it.each([
    ["relative", '</artifactory/api/docker/local/v2/app/tags/list?last=b&n=2>; rel="next"'],
    ["absolute", "<https://registry.example/v2/app/tags/list?last=b&n=2>; rel=next"],
    ["by http behind a TLS proxy", "<http://registry.example/v2/app/tags/list?last=b&n=2>; rel=next"],
    ["without the repository's prefix", '</v2/app/tags/list?last=b&n=2>; rel="next"'],
    ["with another path", '</repository/other/v2/app/tags/list?last=b&n=2>; rel="next"'],
    ["without relation", "</v2/app/tags/list?last=b&n=2>"],
    ["relative to the list", "<list?last=b&n=2>; rel=next"],
  ])("R9: follows a link that is %s, on its own path", async (_, link) => {
    const result = await walk((query) => query.get("last") === "b" ? page(["c"]) : page(["a", "b"], link));
    expect(result).toEqual({ pages: [["a", "b"], ["c"]], asked: ["?n=2", "?last=b&n=2"] });
  });

  it("hands an opaque cursor back as it came", async () => {
    const cursor = "gAAAAAB%2B%2F%3D%3D";
    const result = await walk((query) =>
      query.has("next_page")
        ? page(["b"])
        : page(["a"], `<https://registry.example/x?n=100&next_page=${cursor}&orderby=>; rel="next"`)
    );
    expect(result.asked[1]).toBe(`?n=100&next_page=${cursor}&orderby=`);
  });

  it("R9: goes to no other origin", async () => {
    for (
      const link of [
        "<https://evil.example/v2/?last=b>; rel=next",
        "<//evil.example/?last=b>; rel=next",
        "<https://registry.example:444/?last=b>;rel=next",
      ]
    ) {
      expect(await walk(() => page(["a", "b"], link))).toMatchObject({ error: "REGISTRY_PROTOCOL", asked: ["?n=2"] });
    }
  });

  it("R9: finds a link that leads in a circle", async () => {
    const link = (last: string): string => `<?last=${last}&n=2>; rel=next`;
    const result = await walk((query) =>
      query.get("last") === null
        ? page(["a", "b"], link("b"))
        : query.get("last") === "b"
        ? page(["c", "d"], link("d"))
        : page(["e"], link("b"))
    );
    expect(result).toEqual({ pages: [["a", "b"], ["c", "d"], ["e"]], asked: ["?n=2", "?last=b&n=2", "?last=d&n=2"] });
  });

  it("R9: stops when the same page comes again under new links", async () => {
    const result = await walk((_, call) => page(["a", "b"], `<?last=b&x=${call}>; rel=next`));
    expect(result.pages).toEqual([["a", "b"]]);
    expect(result.asked.length).toBe(2);
  });

  it("goes on behind a full page without link, and stops where the server ignores that", async () => {
    const all = ["a", "b", "c", "d"];
    const honest = await walk((query) => page(all.slice(all.indexOf(query.get("last") ?? "") + 1).slice(0, 2)));
    expect(honest).toEqual({ pages: [["a", "b"], ["c", "d"]], asked: ["?n=2", "?n=2&last=b", "?n=2&last=d"] });
    const ignorant = await walk(() => page(["a", "b"]));
    expect(ignorant).toEqual({ pages: [["a", "b"]], asked: ["?n=2", "?n=2&last=b"] });
    const everything = await walk(() => page(["c", "a", "b"]));
    expect(everything).toEqual({ pages: [["c", "a", "b"]], asked: ["?n=2", "?n=2&last=b"] });
  });

  it("takes a short page with a link for what it is", async () => {
    expect((await walk((query) => query.has("last") ? page(["b"]) : page(["a"], "<?last=a>; rel=next"))).pages).toEqual(
      [["a"], ["b"]],
    );
  });

  it("passes over pages that the account's rights leave empty, but not for ever", async () => {
    const link = (call: number): string => `<?last=${call}>; rel=next`;
    const filtered = await walk((_, call) => call < 5 ? page([], link(call)) : page(["a"]));
    expect(filtered.pages).toEqual([["a"]]);
    const endless = await walk((_, call) => page([], link(call)));
    expect(endless.asked.length).toBe(LIMITS.emptyPages + 1);
  });

  it("asks for smaller pages when the size is refused", async () => {
    const result = await walk((query) => query.has("n") ? { kind: "size-refused", error: refusal } : page(["a"]), 1000);
    expect(result).toEqual({ pages: [["a"]], asked: ["?n=1000", "?n=100", ""] });
    expect(await walk(() => ({ kind: "size-refused", error: refusal }), 1000)).toMatchObject({
      error: "TAG_NOT_FOUND",
      asked: ["?n=1000", "?n=100", ""],
    });
  });

  it("starts once more when the server forgets the cursor, and gives no name twice", async () => {
    let forgets = true;
    const result = await walk((query) => {
      if (!query.has("last")) return page(["a", "b"], "<?last=b>; rel=next");
      if (!forgets) return page(["c"]);
      forgets = false;
      return { kind: "refused", error: refusal };
    });
    expect(result).toEqual({ pages: [["a", "b"], ["c"]], asked: ["?n=2", "?last=b", "?n=2", "?last=b"] });
    const never = await walk((query) =>
      query.has("last") ? { kind: "refused", error: refusal } : page(["a", "b"], "<?last=b>; rel=next")
    );
    expect(never).toMatchObject({ pages: [["a", "b"]], error: "TAG_NOT_FOUND" });
    expect(await walk(() => ({ kind: "refused", error: refusal }))).toMatchObject({
      error: "TAG_NOT_FOUND",
      asked: ["?n=2"],
    });
  });

  it("R9: ends a list without end at LIMITS.pages", async () => {
    const result = await walk((_, call) => page([`t${call}`], `<?last=${call}>; rel=next`), 1);
    expect(result.error).toBe("LIMIT_EXCEEDED");
    expect(result.asked.length).toBe(LIMITS.pages);
  });

  it("gives nothing for an empty list", async () => {
    expect(await walk(() => page([]))).toEqual({ pages: [], asked: ["?n=2"] });
  });
});
