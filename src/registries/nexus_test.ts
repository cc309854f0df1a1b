import { describe, expect, it } from "vitest";
import { conformanceSuite } from "../../tests/fronts/conformance_suite.ts";
import { answers, type Fault } from "../../tests/fronts/faults.ts";
import { nexusConnectorFront, nexusFront } from "../../tests/fronts/nexus_front.ts";
import { type Subject, withSubject } from "../../tests/fronts/subject.ts";
import { peersAvailable } from "../../tests/peers/mod.ts";
import { collect } from "./registry_suite.ts";

const signal = new AbortController().signal;
const BASE = "registry GET /nexus/repository/docker-hosted/v2";
const REST = "registry GET /nexus/service/rest/v1";
const SEARCH = /\/rest\/v1\/search/;

/** A search whose components are changed. */
function searching(change: (items: Record<string, unknown>[]) => Record<string, unknown>[]): Fault {
  return async (_, next) => {
    const { items, continuationToken } = await (await next()).json();
    return Response.json({ items: change(items), continuationToken });
  };
}

/** The dates of the first repository's tags, which are all null when they come from HEAD. */
async function datesOf({ open, repository }: Subject): Promise<readonly (string | null)[]> {
  const found = await collect(open().tagsWithMetadata(repository(0), signal));
  expect(found.map(({ tag, digest }) => [tag, digest !== null])).toEqual([
    ["docker", true],
    ["index", true],
    ["oci", true],
  ]);
  return found.map(({ lastPushed }) => lastPushed);
}

/** The same tag of another image. */
function withOtherName(item: Record<string, unknown>): Record<string, unknown> {
  const path = `/v2/other/manifests/${item["version"]}`;
  return {
    ...item,
    id: `other-${item["id"]}`,
    name: "other",
    assets: [{ path, checksum: { sha256: "f".repeat(64) } }],
  };
}

const withoutLink: Fault = async (_, next) => {
  const { body, headers } = await next();
  const kept = new Headers(headers);
  kept.delete("link");
  return new Response(body, { headers: kept });
};

conformanceSuite(nexusFront);
conformanceSuite(nexusConnectorFront);

describe.skipIf(!peersAvailable("docker-registry"))("Nexus", () => {
  it("follows links that leave the repository's path out", () =>
    withSubject(nexusFront, async ({ front, open, holds }) => {
      const names = holds(250);
      expect(await collect(open().repositories(signal))).toEqual(names);
      expect(front.lines()).toEqual([
        `${BASE}/_catalog?n=100`,
        `${BASE}/_catalog?n=100&last=${encodeURIComponent(names[99] ?? "")}`,
        `${BASE}/_catalog?n=100&last=${encodeURIComponent(names[199] ?? "")}`,
      ]);
    }));

  it("follows links of a connector that have a repository's path too many", () =>
    withSubject(nexusConnectorFront, async ({ front, open, holds }) => {
      const names = holds(150);
      expect(await collect(open().repositories(signal))).toEqual(names);
      expect(front.lines().at(-1)).toBe(
        `registry GET /v2/_catalog?n=100&last=${encodeURIComponent(names[99] ?? "")}`,
      );
    }));

  it("asks for what follows a full page without a link, as group repositories give it", () =>
    withSubject(nexusFront, async ({ front, open, holds }) => {
      const names = holds(250);
      front.inject(/_catalog/, withoutLink, 3);
      expect(await collect(open().repositories(signal))).toEqual(names);
      expect(front.lines()).toHaveLength(3);
    }));

  it("gives 120 tags with their dates for one list and three searches", () =>
    withSubject(nexusFront, async ({ front, open, repository, tagged }) => {
      tagged(Array.from({ length: 120 }, (_, at) => `t${String(at).padStart(3, "0")}`));
      const found = await collect(open().tagsWithMetadata(repository(1), signal));
      const expected = front.library.tags(repository(1)) ?? [];
      expect(found).toEqual(expected.map(({ tag, digest, pushed }) => ({ tag, digest, lastPushed: pushed })));
      const search = `${REST}/search?repository=docker-hosted&name=${encodeURIComponent(repository(1))}`;
      expect(front.lines()).toEqual([
        `${BASE}/${repository(1)}/tags/list?n=1000`,
        search,
        `${search}&continuationToken=50`,
        `${search}&continuationToken=100`,
      ]);
    }));

  it("does not search where there are no tags", () =>
    withSubject(nexusFront, async ({ front, open, repository, tagged }) => {
      tagged([]);
      expect(await collect(open().tagsWithMetadata(repository(1), signal))).toEqual([]);
      expect(front.lines()).toEqual([`${BASE}/${repository(1)}/tags/list?n=1000`]);
    }));

  it("asks every tag when the search does not know all of them", () =>
    withSubject(nexusFront, async (subject) => {
      subject.front.inject(SEARCH, searching((items) => items.slice(1)));
      expect(await datesOf(subject)).toEqual([null, null, null]);
      subject.front.inject(SEARCH, answers(403, {}, ""));
      expect(await datesOf(subject)).toEqual([null, null, null]);
    }));

  it("asks every tag when members of a group differ, and none when they are the same", () =>
    withSubject(nexusFront, async (subject) => {
      const member = (sha256: string | undefined) => (items: Record<string, unknown>[]): Record<string, unknown>[] => {
        const [first] = items as { assets: { checksum: Record<string, unknown> }[] }[];
        const asset = first?.assets[0];
        const checksum = { ...asset?.checksum, ...(sha256 === undefined ? {} : { sha256 }) };
        return [...items, { ...first, id: "other", assets: [{ ...asset, checksum }] }];
      };
      subject.front.inject(SEARCH, searching(member("f".repeat(64))));
      expect(await datesOf(subject)).toEqual([null, null, null]);
      subject.front.inject(SEARCH, searching(member(undefined)));
      expect(await datesOf(subject)).not.toContain(null);
    }));

  it("does not take an image for another of a similar name, nor a date that is none for one", () =>
    withSubject(nexusFront, async (subject) => {
      subject.front.inject(SEARCH, searching((items) => [...items, ...items.map(withOtherName)]));
      expect(await datesOf(subject)).not.toContain(null);
      type Assets = { readonly assets: readonly Record<string, unknown>[] };
      subject.front.inject(
        SEARCH,
        searching((items) =>
          items.map((item) => ({
            ...item,
            assets: (item as unknown as Assets).assets.map((asset) => ({ ...asset, lastModified: null })),
          }))
        ),
      );
      expect(await datesOf(subject)).toEqual([null, null, null]);
      expect(subject.front.lines().filter((line) => line.includes("HEAD"))).toEqual([]);
    }));

  it("takes an empty catalog for an empty repository when Nexus does not say who may browse it", () =>
    withSubject(nexusFront, async ({ front, open, holds }) => {
      holds(0);
      front.inject(/\/rest\/v1\/repositories/, answers(403, {}, ""));
      expect(await collect(open().repositories(signal))).toEqual([]);
    }));

  it("logs in by HTTP Basic at once, and asks for tokens by HTTPS although the realm says HTTP", async () => {
    await withSubject(nexusFront, async ({ front, open, repository }) => {
      await open().resolve(repository(0), "oci", { signal });
      expect(front.lines()).toEqual([`${BASE}/${repository(0)}/manifests/oci`]);
    });
    await withSubject(nexusConnectorFront, async ({ front, open, repository }) => {
      await open().resolve(repository(0), "oci", { signal });
      const service = encodeURIComponent("http://nexus.example:5000/v2/token");
      const scope = encodeURIComponent(`repository:${repository(0)}:pull`);
      expect(front.lines()).toEqual([
        `registry GET /v2/${repository(0)}/manifests/oci`,
        `registry GET /v2/token?service=${service}&scope=${scope}`,
        `registry GET /v2/${repository(0)}/manifests/oci`,
      ]);
    });
  });
});
