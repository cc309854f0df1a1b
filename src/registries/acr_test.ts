import { describe, expect, it } from "vitest";
import { acrFront } from "../../tests/fronts/acr_front.ts";
import { conformanceSuite } from "../../tests/fronts/conformance_suite.ts";
import { answers } from "../../tests/fronts/faults.ts";
import { withSubject } from "../../tests/fronts/subject.ts";
import { peersAvailable } from "../../tests/peers/mod.ts";
import { collect } from "./registry_suite.ts";

const signal = new AbortController().signal;
const REPOSITORY = "team/app-0000";

conformanceSuite(acrFront);

describe.skipIf(!peersAvailable("docker-registry"))("ACR", () => {
  it("needs one token for a repository's tags, their dates and its manifests", () =>
    withSubject(acrFront, async ({ front, open }) => {
      const registry = open();
      await collect(registry.tags(REPOSITORY, signal));
      await collect(registry.tagsWithMetadata(REPOSITORY, signal));
      await registry.resolve(REPOSITORY, "oci", { signal });
      const scope = encodeURIComponent(`repository:${REPOSITORY}:pull,metadata_read`);
      const account = "4f3c2b1a-0000-4000-8000-000000000001";
      expect(front.lines()).toEqual([
        "registry GET /v2/",
        `registry GET /oauth2/token?service=mine.azurecr.io&scope=${scope}&account=${account}`,
        `registry GET /v2/${REPOSITORY}/tags/list?n=1000`,
        `registry GET /acr/v1/${REPOSITORY}/_tags?n=100&orderby=timedesc`,
        `registry GET /v2/${REPOSITORY}/manifests/oci`,
      ]);
    }));

  it("keeps a token for as long as its claims say, since the answer does not", () =>
    withSubject(acrFront, async ({ front, open, clock }) => {
      const registry = open();
      await registry.resolve(REPOSITORY, "oci", { signal });
      clock.skip(4 * 60_000);
      const before = front.records.length;
      await registry.resolve(REPOSITORY, "oci", { signal });
      expect(front.lines(before)).toEqual([`registry GET /v2/${REPOSITORY}/manifests/oci`]);
    }));

  it("pages through tags with their dates by the link", () =>
    withSubject(acrFront, async ({ front, open, tagged }) => {
      const tags = Array.from({ length: 101 }, (_, at) => `t${String(at).padStart(3, "0")}`);
      tagged(tags);
      const found = await collect(open().tagsWithMetadata("team/app-0001", signal));
      const expected = front.library.tags("team/app-0001") ?? [];
      expect(found.map(({ tag, lastPushed }) => [tag, lastPushed])).toEqual(
        expected.map(({ tag, pushed }) => [tag, pushed]),
      );
      expect(front.lines().filter((line) => line.includes("/_tags"))).toEqual([
        "registry GET /acr/v1/team/app-0001/_tags?n=100&orderby=timedesc",
        "registry GET /acr/v1/team/app-0001/_tags?last=t099&n=100&orderby=",
      ]);
    }));

  it("asks every tag for its digest when metadata may not be read", () =>
    withSubject(acrFront, async ({ front, open }) => {
      const denied = JSON.stringify({ errors: [{ code: "DENIED", message: "requested access is denied" }] });
      front.inject(/\/acr\/v1\//, answers(403, { "content-type": "application/json" }, denied), 9);
      const found = await collect(open().tagsWithMetadata(REPOSITORY, signal));
      const expected = front.library.tags(REPOSITORY) ?? [];
      expect(found).toEqual(expected.map(({ tag, digest }) => ({ tag, digest, lastPushed: null })));
    }));
});
