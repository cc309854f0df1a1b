import { describe, expect, it } from "vitest";
import { ANONYMOUS, open, signal, TAGS, TAGS_REPLY } from "../../tests/fakes/scripted_open.ts";
import { type Exchange, ScriptedRegistry } from "../../tests/fakes/scripted_registry.ts";
import { LIMITS } from "../core/limits.ts";
import { buildImage, sha256Digest } from "../lib/oci_builder.ts";
import { codeOf, collect } from "./registry_suite.ts";

describe("lists", () => {
  it("keeps the names of the configured namespace", async () => {
    const script = new ScriptedRegistry([{
      match: "GET /v2/_catalog",
      reply: { body: { repositories: ["mine/a", "other/b", "mine/c"] } },
    }]);
    expect(
      await collect(
        open(script, { ...ANONYMOUS, type: "quay-cr", base: "registry.example/mine" }).repositories(signal),
      ),
    ).toEqual(["mine/a", "mine/c"]);
  });

  it("does not take an empty list of a type without list for the truth", async () => {
    const script = new ScriptedRegistry([{ match: "GET /v2/_catalog", reply: { body: { repositories: [] } } }]);
    expect(await codeOf(collect(open(script, { ...ANONYMOUS, type: "google-artifact-cr" }).repositories(signal)))).toBe(
      "CATALOG_UNSUPPORTED",
    );
    expect(await collect(open(script, ANONYMOUS).repositories(signal))).toEqual([]);
  });

  it("goes down to the page size that ECR takes", async () => {
    const refused = {
      status: 405,
      body: {
        errors: [{
          code: "UNSUPPORTED",
          message:
            "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must have value less than or equal to 1000'",
        }],
      },
    };
    const script = new ScriptedRegistry([
      { match: TAGS, reply: refused, once: true },
      { match: "GET /v2/a/tags/list?n=100", reply: TAGS_REPLY, once: true },
    ]);
    expect(await collect(open(script, ANONYMOUS).tags("a", signal))).toEqual(["1"]);
    script.assertDone();
  });

  it.each<readonly [string, Exchange["reply"]]>([
    ["no JSON", { body: "nonsense" }],
    ["another shape", { body: { tags: { a: 1 } } }],
    ["an array", { body: "[]" }],
  ])("refuses a page that is %s", async (_, reply) => {
    const script = new ScriptedRegistry([{ match: TAGS, reply }]);
    expect(await codeOf(collect(open(script, ANONYMOUS).tags("a", signal)))).toBe("REGISTRY_PROTOCOL");
  });

  it("asks four tags at a time for their digests, takes dates where there are some, and falls back to GET", async () => {
    const tags = Array.from({ length: 30 }, (_, at) => `t${at}`);
    const image = buildImage({ layers: [] });
    const bytes = image.blobs.get(image.descriptor.digest) ?? new Uint8Array(0);
    const script = new ScriptedRegistry([
      { match: TAGS, reply: { body: { tags } } },
      { match: "HEAD /v2/a/manifests/t1", reply: { status: 405 } },
      { match: "HEAD /v2/a/manifests/t2", reply: { status: 404 } },
      { match: "GET /v2/a/manifests/t1", reply: { body: bytes } },
      { match: "GET /v2/a/manifests/t2", reply: { status: 404, body: { errors: [{ code: "MANIFEST_UNKNOWN" }] } } },
      ...tags.map((tag): Exchange => ({
        match: `HEAD /v2/a/manifests/${tag}`,
        reply: async () => {
          await new Promise((resolve) => setTimeout(resolve, 0));
          const headers = { "docker-content-digest": sha256Digest(new TextEncoder().encode(tag)) };
          return new Response(null, {
            headers: tag === "t3" ? { ...headers, "last-modified": "Wed, 10 Oct 2018 12:24:24 GMT" } : headers,
          });
        },
      })),
    ]);
    const infos = await collect(open(script, ANONYMOUS).tagsWithMetadata("a", signal));
    expect(infos.map(({ tag }) => tag)).toEqual(tags);
    expect(infos.slice(1, 4)).toEqual([
      { tag: "t1", digest: image.descriptor.digest, lastPushed: null },
      { tag: "t2", digest: null, lastPushed: null },
      { tag: "t3", digest: sha256Digest(new TextEncoder().encode("t3")), lastPushed: "2018-10-10T12:24:24.000Z" },
    ]);
    expect(script.mostInFlight).toBe(LIMITS.metadataRequests);
    script.assertDone();
  });

  it("ends a listing of digests when the registry limits requests", async () => {
    const script = new ScriptedRegistry([
      { match: TAGS, reply: { body: { tags: ["1", "2"] } } },
      { match: "HEAD /v2/a/manifests/1", reply: { status: 429, headers: { "retry-after": "3600" } } },
      { match: "HEAD /v2/a/manifests/2", reply: { status: 429, headers: { "retry-after": "3600" } } },
    ]);
    await expect(collect(open(script, ANONYMOUS).tagsWithMetadata("a", signal))).rejects.toMatchObject({
      code: "RATE_LIMITED",
      status: 429,
    });
  });
});
