import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Answer } from "./answer.ts";
import { substituteUrls } from "./url_substitution.ts";

const URL_IN_BODY = "https://registry.corp.example:8443/api";
const REPLACEMENT = "http://internal-broker-server-next/broker/token-1";

function answer(chunks: readonly Uint8Array<ArrayBuffer>[], headers: Record<string, string>): Answer {
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
  return { status: 200, headers, errorType: undefined, body: { kind: "stream", stream } };
}

async function textOf({ body }: Answer): Promise<string> {
  return body.kind === "stream" ? await new Response(body.stream).text() : "";
}

const JSON_TYPE = { "content-type": "application/vnd.api+json; charset=utf-8", "content-length": "99" };

describe("substituteUrls()", () => {
  it("replaces the URL under any scheme and drops the length", async () => {
    const text = JSON.stringify({ a: `${URL_IN_BODY}/x`, b: "http://registry.corp.example:8443/api", c: "é😀" });
    const changed = substituteUrls(answer([new TextEncoder().encode(text)], JSON_TYPE), URL_IN_BODY, "token-1");
    expect(changed.headers).toEqual({ "content-type": JSON_TYPE["content-type"] });
    expect(JSON.parse(await textOf(changed))).toEqual({ a: `${REPLACEMENT}/x`, b: REPLACEMENT, c: "é😀" });
  });

  it("does so however the body is cut", async () => {
    const part = fc.constantFrom(URL_IN_BODY, "https://", "registry.corp.example", "é😀", " and ", '"', "x".repeat(60));
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 12 }), fc.integer({ min: 1, max: 70 }), async (parts, size) => {
        const text = parts.join(" ");
        const bytes = new TextEncoder().encode(text);
        const chunks: Uint8Array<ArrayBuffer>[] = [];
        for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.slice(at, at + size));
        const changed = substituteUrls(answer(chunks, JSON_TYPE), URL_IN_BODY, "token-1");
        expect(await textOf(changed)).toBe(text.replaceAll(URL_IN_BODY, REPLACEMENT));
      }),
      { numRuns: 100 },
    );
  });

  it.each([
    ["another type", { "content-type": "text/plain" }],
    ["no type", {}],
    ["a compressed body", { "content-type": "application/json", "content-encoding": "gzip" }],
  ])("leaves %s alone", (_name, headers) => {
    const given = answer([], headers);
    expect(substituteUrls(given, URL_IN_BODY, "t")).toBe(given);
  });
});
