import { describe, expect, it } from "vitest";
import { streamJsonArray } from "./json_stream.ts";

async function* pages(...all: readonly (readonly unknown[] | Error)[]): AsyncGenerator<readonly unknown[]> {
  for (const page of all) {
    if (page instanceof Error) throw page;
    yield await Promise.resolve(page);
  }
}

async function text(...all: readonly (readonly unknown[] | Error)[]): Promise<string> {
  return await new Response(await streamJsonArray(pages(...all))).text();
}

describe("streamJsonArray()", () => {
  it.each([
    ["no page", [], "[]"],
    ["an empty page", [[]], "[]"],
    ["one page", [["a", "b"]], '["a","b"]'],
    ["several pages", [["a"], ["b", "c"], ["d"]], '["a","b","c","d"]'],
    ["empty pages in between", [[], ["a"], [], [], ["b"], []], '["a","b"]'],
    ["objects and texts that need escapes", [[{ tag: '"' }], ["\n"]], '[{"tag":"\\""},"\\n"]'],
  ])("writes %s", async (_name, all, expected) => {
    expect(await text(...all as readonly (readonly unknown[])[])).toBe(expected);
  });

  it("rejects when the first page fails, so that the failure can become a status", async () => {
    await expect(streamJsonArray(pages(new Error("refused")))).rejects.toThrow("refused");
  });

  it("breaks the stream when a later page fails", async () => {
    const stream = await streamJsonArray(pages(["a"], new Error("cut")));
    const got: string[] = [];
    const read = async (): Promise<void> => {
      for await (const chunk of stream.pipeThrough(new TextDecoderStream())) got.push(chunk);
    };
    await expect(read()).rejects.toThrow("cut");
    expect(() => JSON.parse(got.join(""))).toThrow();
  });

  it("ends the iteration when the reader goes away", async () => {
    let ended = false;
    async function* endless(): AsyncGenerator<readonly string[]> {
      try {
        for (;;) yield await Promise.resolve(["a"]);
      } finally {
        ended = true;
      }
    }
    const reader = (await streamJsonArray(endless())).getReader();
    expect((await reader.read()).done).toBe(false);
    await reader.cancel();
    expect(ended).toBe(true);
  });

  it("asks for no page before somebody reads the one before", async () => {
    let asked = 0;
    async function* counted(): AsyncGenerator<readonly string[]> {
      for (;;) {
        asked++;
        yield await Promise.resolve(["a"]);
      }
    }
    const stream = await streamJsonArray(counted());
    const reader = stream.getReader();
    await reader.read();
    expect(asked).toBeLessThanOrEqual(4);
    await reader.cancel();
  });
});
