import { describe, expect, it } from "vitest";
import { isRecord } from "../lib/bounded_json.ts";
import { recordsOf } from "./json_source.ts";
import type { JsonAnswer, JsonCall, JsonSource } from "./json_source.ts";
import { codeOf, collect } from "./registry_suite.ts";
import {
  byCounter,
  byCursor,
  byHeader,
  byLink,
  byUrl,
  type NextPage,
  restPages,
  totalInHeader,
  totalInMember,
} from "./rest_pager.ts";

const signal = new AbortController().signal;
const FIRST = "https://api.example/list?size=2";

/** Answers by path and query; anything else was not expected. */
class Pages implements JsonSource {
  readonly asked: string[] = [];
  constructor(readonly answers: Readonly<Record<string, unknown>>, readonly headers: HeadersInit = {}) {}

  call({ url }: JsonCall): Promise<JsonAnswer> {
    const path = url.pathname + url.search;
    this.asked.push(path);
    const value = this.answers[path];
    if (value === undefined) throw new Error(`Nobody expected ${path}`);
    const own = isRecord(value) && value["headers"] !== undefined ? value["headers"] as HeadersInit : this.headers;
    return Promise.resolve({
      value: isRecord(value) && "body" in value ? value["body"] : value,
      headers: new Headers(own),
    });
  }
}

function names(
  source: JsonSource,
  next: NextPage,
  total?: (answer: JsonAnswer) => number | undefined,
): Promise<string[]> {
  return collect(restPages({
    source,
    call: { url: new URL(FIRST), action: "list things", subject: "catalog" },
    items: ({ value }) => recordsOf(value, "items", "list things").map(({ name }) => String(name)),
    key: (name) => name,
    next,
    ...(total === undefined ? {} : { total }),
  }, signal));
}

function items(...all: readonly string[]): { items: readonly { name: string }[] } {
  return { items: all.map((name) => ({ name })) };
}

describe("restPages()", () => {
  it("follows links, on its own host and path", async () => {
    const link = (query: string): HeadersInit => ({ link: `<http://api.example/wrong/path${query}>; rel="next"` });
    const source = new Pages({
      "/list?size=2": { body: items("a", "b"), headers: link("?after=b") },
      "/list?after=b": { body: items("b", "c"), headers: {} },
    });
    expect(await names(source, byLink)).toEqual(["a", "b", "c"]);
  });

  it("refuses links to another host", async () => {
    for (const target of ["https://evil.example/list", "//evil.example/list", "https://api.example:8443/list"]) {
      const source = new Pages({ "/list?size=2": items("a") }, { link: `<${target}>; rel="next"` });
      expect(await codeOf(names(source, byLink))).toBe("REGISTRY_PROTOCOL");
      const inBody = new Pages({ "/list?size=2": { ...items("a"), next: target } });
      expect(await codeOf(names(inBody, byUrl("next")))).toBe("REGISTRY_PROTOCOL");
    }
  });

  it("follows URLs and cursors of the answer", async () => {
    const urls = new Pages({
      "/list?size=2": { ...items("a"), links: { pages: { next: "https://api.example/list?page=2" } } },
      "/list?page=2": { ...items("b"), links: {} },
    });
    expect(await names(urls, byUrl("links", "pages", "next"))).toEqual(["a", "b"]);
    const cursors = new Pages({
      "/list?size=2": { ...items("a"), nextPageToken: "x=&y" },
      "/list?size=2&pageToken=x%3D%26y": { ...items("b"), nextPageToken: "" },
    });
    expect(await names(cursors, byCursor("pageToken", "nextPageToken"))).toEqual(["a", "b"]);
  });

  it("counts pages until one is not full", async () => {
    const source = new Pages({
      "/list?size=2": items("a", "b"),
      "/list?size=2&page=2": items("c", "d"),
      "/list?size=2&page=3": items(),
    });
    expect(await names(source, byCounter("page", 2))).toEqual(["a", "b", "c", "d"]);
    const short = new Pages({ "/list?size=2": items("a", "b"), "/list?size=2&page=2": items("c") });
    expect(await names(short, byCounter("page", 2))).toEqual(["a", "b", "c"]);
  });

  it("goes on behind pages that are smaller than asked for, as long as more are announced", async () => {
    const source = new Pages({
      "/list?size=2": items("a"),
      "/list?size=2&page=2": items("b"),
      "/list?size=2&page=3": items("c"),
    }, { "x-total-count": "3" });
    expect(await names(source, byCounter("page", 2), totalInHeader("x-total-count"))).toEqual(["a", "b", "c"]);
    expect(source.asked).toHaveLength(3);
  });

  it("ends at an empty page although more are announced", async () => {
    const source = new Pages({
      "/list?size=2": { ...items("a"), total: 5 },
      "/list?size=2&page=2": { ...items(), total: 5 },
    });
    expect(await names(source, byCounter("page", 2), totalInMember("total"))).toEqual(["a"]);
  });

  it("goes where a header says", async () => {
    const source = new Pages({
      "/list?size=2": { body: items("a"), headers: { "x-next-page": "2" } },
      "/list?size=2&page=2": { body: items("b"), headers: { "x-next-page": "" } },
    });
    expect(await names(source, byHeader("page", "x-next-page"))).toEqual(["a", "b"]);
  });

  it("ends when pages repeat, and says so when more were announced", async () => {
    const same = { "/list?size=2": items("a", "b"), "/list?size=2&page=2": items("a", "b") };
    const source = new Pages(same);
    expect(await names(source, byCounter("page", 2))).toEqual(["a", "b"]);
    expect(source.asked).toHaveLength(2);
    const more = new Pages(same, { "x-total-count": "9" });
    await expect(names(more, byCounter("page", 2), totalInHeader("x-total-count"))).rejects.toMatchObject({
      code: "REGISTRY_PROTOCOL",
      message: "Cannot list things: its pages repeat after 2 of 9 items",
    });
  });

  it("ends when a link leads back", async () => {
    const source = new Pages({ "/list?size=2": items("a") }, { link: "</list?size=2>; rel=next" });
    expect(await names(source, byLink)).toEqual(["a"]);
    expect(source.asked).toHaveLength(1);
  });

  it("refuses an answer without the list, and takes null for an empty one", async () => {
    expect(await codeOf(names(new Pages({ "/list?size=2": { items: "no" } }), byLink))).toBe("REGISTRY_PROTOCOL");
    expect(await codeOf(names(new Pages({ "/list?size=2": [] }), byLink))).toBe("REGISTRY_PROTOCOL");
    expect(await names(new Pages({ "/list?size=2": { items: null } }), byLink)).toEqual([]);
  });
});
