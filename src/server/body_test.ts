import { describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import { readBody } from "./body.ts";

/** A body of chunks; counts what was taken from it. */
function chunked(sizes: readonly number[]): { readonly request: Request; readonly taken: () => number } {
  let at = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller): void {
      const size = sizes[at++];
      if (size === undefined) controller.close();
      else controller.enqueue(new Uint8Array(size).fill(at));
    },
  });
  return { request: new Request("http://h/", { method: "POST", body }), taken: () => at };
}

describe("readBody()", () => {
  it("joins the chunks, up to the bound", async () => {
    expect(await readBody(chunked([1, 0, 3]).request, 4)).toEqual(new Uint8Array([1, 3, 3, 3]));
  });

  it("reads no body as no bytes", async () => {
    expect(await readBody(new Request("http://h/"), 0)).toHaveLength(0);
  });

  it("refuses more than the bound as soon as it is passed", async () => {
    const { request, taken } = chunked(Array.from({ length: 100 }, () => 10));
    const error = await readBody(request, 25).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(OutpostError);
    expect(error).toMatchObject({ code: "BODY_TOO_LARGE", status: 413 });
    expect(taken()).toBeLessThan(10);
  });

  it("believes a length that is too large before it reads", async () => {
    const request = new Request("http://h/", { method: "POST", body: "12345", headers: { "content-length": "5" } });
    await expect(readBody(request, 4)).rejects.toThrow("more than 4 bytes");
    expect(request.bodyUsed).toBe(false);
  });
});
