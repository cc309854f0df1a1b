import { describe, expect, it } from "vitest";
import { conformanceSuite } from "../../tests/fronts/conformance_suite.ts";
import type { FrontDefinition } from "../../tests/fronts/front.ts";
import { quayFront, quayRobotFront } from "../../tests/fronts/quay_front.ts";
import { withSubject } from "../../tests/fronts/subject.ts";
import { peersAvailable } from "../../tests/peers/mod.ts";
import { codeOf, collect } from "./registry_suite.ts";

const signal = new AbortController().signal;
const API = "registry GET /api/v1/repository";
const names = (count: number): string[] => Array.from({ length: count }, (_, at) => `t${String(at).padStart(3, "0")}`);

conformanceSuite(quayFront);
conformanceSuite(quayRobotFront);

describe.skipIf(!peersAvailable("docker-registry"))("Quay", () => {
  it("lists 250 repositories of a robot by the catalog, with one token that has no scope", () =>
    withSubject(quayRobotFront, async ({ front, open, holds }) => {
      const all = holds(250);
      expect(await collect(open().repositories(signal))).toEqual(all);
      const lines = front.lines();
      expect(lines.slice(0, 3)).toEqual([
        "registry GET /v2/",
        "registry GET /v2/auth?service=quay.io&account=acme%2Boutpost",
        "registry GET /v2/_catalog?n=100",
      ]);
      expect(lines.slice(3)).toEqual(Array(2).fill(expect.stringMatching(/_catalog\?n=100&next_page=gAAAAA/)));
    }));

  it("lists the namespace of the robot by the API when there is an OAuth token", () =>
    withSubject(quayFront, async ({ front, open, holds }) => {
      const all = holds(250);
      expect(await collect(open().repositories(signal))).toEqual(all);
      const first = `${API}?namespace=acme&public=true`;
      expect(front.lines()).toEqual([
        first,
        ...Array(2).fill(expect.stringContaining(`${first}&next_page=gAAAAA`)),
      ]);
    }));

  it("lists the namespaces that are named", async () => {
    const definition: FrontDefinition = { ...quayFront, options: { namespaces: ["other", "acme"] } };
    await withSubject(definition, async ({ front, open, repository }) => {
      front.library.put("other/app");
      front.library.put("third/app");
      expect(await collect(open().repositories(signal))).toEqual(["other/app", repository(0)]);
      expect(await collect(open({ base: "quay.io/third" }).repositories(signal))).toEqual(["third/app"]);
    });
  });

  it("lists by the catalog when the OAuth token may not, or nobody says which namespace", () =>
    withSubject(quayFront, async ({ front, open, repository }) => {
      front.state.mayList = false;
      expect(await collect(open().repositories(signal))).toEqual([repository(0)]);
      expect(front.lines().filter((line) => line.startsWith(API))).toHaveLength(1);
      const before = front.records.length;
      // The front does not know this user; what counts is that the catalog is asked, not the API.
      expect(await codeOf(collect(open({ username: "person" }).repositories(signal)))).toBe("BAD_CREDENTIALS");
      expect(front.lines(before).filter((line) => line.startsWith(API))).toEqual([]);
    }));

  it("lists by the catalog when the OAuth token is not valid: the robot's login may be", () =>
    withSubject(quayFront, async ({ open, repository }) => {
      expect(await collect(open({ token: "canary-expired-token" }).repositories(signal))).toEqual([repository(0)]);
    }));

  it("reads a full page of tags with one request, since Quay links to the next where there is one", () =>
    withSubject(quayRobotFront, async ({ front, open, repository, tagged }) => {
      tagged(names(100));
      expect(await collect(open().tags(repository(1), signal))).toHaveLength(100);
      expect(front.lines().filter((line) => line.includes("/tags/list"))).toHaveLength(1);
    }));

  it("gives 250 tags with their dates in three requests, and 100 in one", () =>
    withSubject(quayFront, async ({ front, open, repository, tagged }) => {
      const first = `${API}/${repository(1)}/tag/?onlyActiveTags=true&limit=100&page=`;
      const pages: readonly (readonly [number, readonly number[]])[] = [[100, [1]], [250, [1, 2, 3]]];
      for (const [count, numbers] of pages) {
        const before = front.records.length;
        tagged(names(count));
        const found = await collect(open().tagsWithMetadata(repository(1), signal));
        expect(found).toEqual(
          front.library.tags(repository(1))?.map(({ tag, digest, pushed }) => ({ tag, digest, lastPushed: pushed })),
        );
        expect(front.lines(before)).toEqual(numbers.map((number) => `${first}${number}`));
      }
    }));

  it("dates the tags of public repositories without any token, and shows the robot's to nobody", () =>
    withSubject(quayRobotFront, async ({ front, open, repository }) => {
      front.library.put("acme/public", {});
      expect(await collect(open().tagsWithMetadata("acme/public", signal))).toEqual([]);
      const [record] = front.records;
      expect(record?.path).toContain("/api/v1/repository/acme/public/tag/");
      expect(record?.headers["authorization"]).toBeUndefined();
      const found = await collect(open().tagsWithMetadata(repository(0), signal));
      expect(found.map(({ digest, lastPushed }) => [digest !== null, lastPushed])).toEqual(Array(3).fill([true, null]));
      expect(front.lines().filter((line) => line.startsWith(API))).toHaveLength(2);
    }));

  it("takes an OAuth token that is the password for the API's", () => {
    const token = "CanaryOauthAsPassword";
    const credentials = { type: "quay-cr", base: "quay.io", username: "$oauthtoken", password: token, token };
    return withSubject({ ...quayFront, credentials }, async ({ front, open, repository }) => {
      const registry = open({ token: "" });
      const found = await collect(registry.tagsWithMetadata(repository(0), signal));
      expect(found.every(({ lastPushed }) => lastPushed !== null)).toBe(true);
      expect(front.records[0]?.headers["authorization"]).toBe(`Bearer ${token}`);
      await registry.resolve(repository(0), "oci", { signal });
    });
  });
});
