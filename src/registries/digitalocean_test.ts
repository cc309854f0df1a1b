import { describe, expect, it } from "vitest";
import { conformanceSuite } from "../../tests/fronts/conformance_suite.ts";
import { digitaloceanFront, singleRegistryFront } from "../../tests/fronts/digitalocean_front.ts";
import { answers } from "../../tests/fronts/faults.ts";
import { withSubject } from "../../tests/fronts/subject.ts";
import { peersAvailable } from "../../tests/peers/mod.ts";
import { codeOf, collect } from "./registry_suite.ts";

const signal = new AbortController().signal;
const JSON_TYPE = { "content-type": "application/json" };
const HOST = "registry.digitalocean.com";
const UNKNOWN = answers(401, JSON_TYPE, '{"id":"Unauthorized","message":"Unable to authenticate you"}');
const LISTS = /^api GET \/v2\/(?:registries|registry)(?!\/auth)/;

conformanceSuite(digitaloceanFront);
conformanceSuite(singleRegistryFront);

describe.skipIf(!peersAvailable("docker-registry"))("DigitalOcean", () => {
  it("keeps the size of pages although links leave it out", () =>
    withSubject(digitaloceanFront, async ({ front, open, holds }) => {
      const names = holds(250);
      expect(await collect(open({ base: `${HOST}/mine` }).repositories(signal))).toEqual(names);
      const list = "api GET /v2/registries/mine/repositoriesV2?";
      expect(front.lines()).toEqual([
        `${list}per_page=100`,
        `${list}page=2&page_token=eyJwYWdlIjoyfQ==&per_page=100`,
        `${list}page=3&page_token=eyJwYWdlIjozfQ==&per_page=100`,
      ]);
    }));

  it("gives 150 tags with digests and dates in two calls", () =>
    withSubject(digitaloceanFront, async ({ front, open, repository, tagged }) => {
      tagged(Array.from({ length: 150 }, (_, at) => `t${String(at).padStart(3, "0")}`));
      const found = await collect(open().tagsWithMetadata(repository(1), signal));
      const expected = front.library.tags(repository(1)) ?? [];
      expect(found).toEqual(expected.map(({ tag, digest, pushed }) => ({ tag, digest, lastPushed: pushed })));
      const list = "api GET /v2/registries/mine/repositories/team%2Fapp-0001/tags?";
      expect(front.lines()).toEqual([`${list}per_page=100`, `${list}page=2&per_page=100`]);
    }));

  it("gives null for what the API does not tell", () =>
    withSubject(digitaloceanFront, async ({ front, open, repository }) => {
      const odd = { tags: [{ tag: "a", manifest_digest: "md5:1", updated_at: "0001-01-01T00:00:00Z" }, { tag: "" }] };
      front.inject(/\/tags\?/, answers(200, JSON_TYPE, JSON.stringify(odd)));
      expect(await collect(open().tagsWithMetadata(repository(0), signal))).toEqual([
        { tag: "a", digest: null, lastPushed: null },
      ]);
    }));

  it("lists all registries of the account, under either of the documented names", () =>
    withSubject(digitaloceanFront, async ({ front, open, repository }) => {
      for (const member of ["registries", "registry"]) {
        const two = { [member]: [{ name: "other" }, { name: "mine" }] };
        front.inject(/GET \/v2\/registries$/, answers(200, JSON_TYPE, JSON.stringify(two)));
        // The other one is gone by now.
        expect(await collect(open().repositories(signal))).toEqual([repository(0)]);
      }
    }));

  it("takes the catalog with credentials that the API does not know, and dates are unknown then", () =>
    withSubject(digitaloceanFront, async ({ front, open, holds, repository }) => {
      const names = holds(101);
      front.inject(LISTS, UNKNOWN, 99);
      const registry = open();
      expect(await collect(registry.repositories(signal))).toEqual(names);
      expect(front.lines().filter((line) => line.includes("_catalog"))).toEqual([
        "registry GET /v2/_catalog?n=100",
        "registry GET /v2/_catalog?last=mine%2Fteam%2Fapp-0099&n=100",
      ]);
      const found = await collect(registry.tagsWithMetadata(repository(0), signal));
      expect(found.map(({ lastPushed }) => lastPushed)).toEqual([null, null, null]);
      expect(found.every(({ digest }) => digest !== null)).toBe(true);
    }));

  it("says that an account has no registry, or none of that name", () =>
    withSubject(digitaloceanFront, async ({ front, open }) => {
      front.inject(/GET \/v2\/(?:registries|registry)$/, answers(404, JSON_TYPE, '{"id":"not_found"}'), 2);
      await expect(collect(open().repositories(signal))).rejects.toMatchObject({
        code: "CATALOG_UNSUPPORTED",
        hint: expect.stringContaining("Create a registry"),
      });
      await expect(collect(open({ base: `${HOST}/absent` }).repositories(signal))).rejects.toMatchObject({
        code: "CATALOG_UNSUPPORTED",
        hint: expect.stringContaining("CR_BASE"),
      });
      expect(front.lines().filter((line) => line.includes("_catalog"))).toEqual([]);
    }));

  it("keeps the token out of every URL", () =>
    withSubject(digitaloceanFront, async ({ front, open, repository }) => {
      const registry = open();
      await registry.resolve(repository(0), "oci", { signal });
      await collect(registry.repositories(signal));
      expect(front.lines().filter((line) => line.includes("canary"))).toEqual([]);
    }));

  it("calls no API for a registry at another host", () =>
    withSubject(digitaloceanFront, async ({ front, open }) => {
      expect(await codeOf(collect(open({ base: "mirror.example" }).repositories(signal)))).toBe("DNS");
      expect(front.lines()).toEqual([]);
    }));
});
