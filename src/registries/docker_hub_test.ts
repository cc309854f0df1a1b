import { describe, expect, it } from "vitest";
import { conformanceSuite } from "../../tests/fronts/conformance_suite.ts";
import { dockerHubFront } from "../../tests/fronts/docker_hub_front.ts";
import { answers, badGateway, linkTo } from "../../tests/fronts/faults.ts";
import { withSubject } from "../../tests/fronts/subject.ts";
import { peersAvailable } from "../../tests/peers/mod.ts";
import { codeOf, collect } from "./registry_suite.ts";

const signal = new AbortController().signal;
const JSON_TYPE = { "content-type": "application/json" };
const ANONYMOUS = { username: "", password: "" };
const TOKEN = "hub POST /v2/auth/token";
const NAMESPACES = "hub GET /v2/repositories/namespaces";
const OFFICIAL = {
  ...dockerHubFront,
  repository: (at: number): string => at === 0 ? "library/nginx" : `library/i${at}`,
};

function page(owner: string, number = 1): string {
  return `hub GET /v2/namespaces/${owner}/repositories?page=${number}&page_size=100`;
}

conformanceSuite(dockerHubFront);

describe.skipIf(!peersAvailable("docker-registry"))("Docker Hub", () => {
  it("lists the namespaces of the account, with one token for ten minutes", () =>
    withSubject(dockerHubFront, async ({ front, open, holds, clock }) => {
      const names = holds(150);
      front.library.put("outpost/own");
      front.library.put("stranger/app");
      const registry = open();
      const lists = [NAMESPACES, page("acme"), page("acme", 2), page("outpost")];
      expect(await collect(registry.repositories(signal))).toEqual([...names, "outpost/own"]);
      expect(front.lines()).toEqual([TOKEN, ...lists]);
      clock.skip(7 * 60_000);
      const before = front.records.length;
      await collect(registry.repositories(signal));
      expect(front.lines(before)).toEqual(lists);
      clock.skip(2 * 60_000);
      const later = front.records.length;
      await collect(registry.repositories(signal));
      expect(front.lines(later)).toEqual([TOKEN, ...lists]);
    }));

  it("lists what CR_BASE or CR_NAMESPACES name, without looking for more", async () => {
    await withSubject(dockerHubFront, async ({ front, open, repository }) => {
      const registry = open({ base: "docker.io/acme" });
      expect(await collect(registry.repositories(signal))).toEqual([repository(0)]);
      await registry.resolve("app-0000", "oci", { signal });
      expect(front.lines().slice(0, 2)).toEqual([TOKEN, page("acme")]);
    });
    const named = { ...dockerHubFront, options: { namespaces: ["absent", "ACME"] } };
    await withSubject(named, async ({ front, open, repository }) => {
      expect(await collect(open().repositories(signal))).toEqual([repository(0)]);
      expect(front.lines()).toEqual([TOKEN, page("absent"), page("acme")]);
    });
  });

  it("lists the organization itself when its token may not ask for namespaces", () =>
    withSubject(dockerHubFront, async ({ front, open }) => {
      front.library.put("outpost/own");
      front.inject(/\/namespaces$/, answers(404, JSON_TYPE, '{"message":"object not found"}'));
      expect(await collect(open().repositories(signal))).toEqual(["outpost/own"]);
    }));

  it("does not take an answer that is none for a refusal of the namespaces", () =>
    withSubject(dockerHubFront, async ({ front, open }) => {
      for (const body of ["<html>", "{}", "[]"]) {
        front.inject(/\/namespaces$/, answers(200, JSON_TYPE, body));
        expect(await codeOf(collect(open().repositories(signal)))).toBe("REGISTRY_PROTOCOL");
      }
    }));

  it("lists public repositories of named owners without a login, and says so when nobody is named", async () => {
    const named = { ...dockerHubFront, options: { namespaces: ["acme"] } };
    await withSubject(named, async ({ front, open, repository }) => {
      expect(await collect(open(ANONYMOUS).repositories(signal))).toEqual([repository(0)]);
      expect(await collect(open(ANONYMOUS).tagsWithMetadata(repository(0), signal))).toHaveLength(3);
      expect(front.records.some(({ headers }) => headers["authorization"] !== undefined)).toBe(false);
    });
    await withSubject(dockerHubFront, async ({ front, open }) => {
      const registry = open(ANONYMOUS);
      await expect(collect(registry.repositories(signal))).rejects.toMatchObject({
        code: "CATALOG_UNSUPPORTED",
        hint: expect.stringContaining("CR_NAMESPACES"),
      });
      expect(await registry.validate(signal)).toMatchObject({ ok: true });
      expect(front.lines()).not.toContain(TOKEN);
    });
  });

  it("finds official images under their short names", () =>
    withSubject(OFFICIAL, async ({ front, open }) => {
      const registry = open();
      await registry.resolve("nginx", "oci", { signal });
      expect((await collect(registry.tagsWithMetadata("nginx", signal))).map(({ tag }) => tag)).toEqual(
        ["docker", "index", "oci"],
      );
      expect(front.lines().at(-1)).toBe("hub GET /v2/namespaces/library/repositories/nginx/tags?page=1&page_size=100");
    }));

  it("pages through 250 tags with dates, and gives null where Docker Hub tells neither", () =>
    withSubject(dockerHubFront, async ({ front, open, repository, tagged }) => {
      tagged(Array.from({ length: 250 }, (_, at) => `t${String(at).padStart(3, "0")}`));
      const expected = front.library.tags(repository(1))?.map(({ tag, pushed }) => [tag, pushed]);
      const registry = open();
      const found = await collect(registry.tagsWithMetadata(repository(1), signal));
      expect(found.map(({ tag, lastPushed }) => [tag, lastPushed])).toEqual(expected);
      expect(front.lines()).toHaveLength(4);
      const bare = { count: 1, next: null, results: [{ name: "old", last_updated: "2020-01-01T00:00:00Z" }] };
      front.inject(/\/tags\?/, answers(200, JSON_TYPE, JSON.stringify(bare)));
      expect(await collect(registry.tagsWithMetadata(repository(1), signal))).toEqual([
        { tag: "old", digest: null, lastPushed: null },
      ]);
    }));

  it("asks every tag for its digest when the API does not show the repository", () =>
    withSubject(dockerHubFront, async ({ front, open, repository }) => {
      front.inject(/\/tags\?/, answers(403, JSON_TYPE, '{"message":"permission denied"}'));
      const found = await collect(open().tagsWithMetadata(repository(0), signal));
      expect(found.toSorted((a, b) => a.tag < b.tag ? -1 : 1)).toEqual(
        front.library.tags(repository(0))?.map(({ tag, digest }) => ({ tag, digest, lastPushed: null })),
      );
      expect(front.lines().filter((line) => line.startsWith("registry HEAD"))).toHaveLength(3);
    }));

  it("does not follow a next page to another host", () =>
    withSubject(dockerHubFront, async ({ front, open }) => {
      const away = {
        count: 2,
        next: "https://elsewhere.example/v2/?page=2",
        results: [{ name: "a", namespace: "acme" }],
      };
      front.inject(/acme\/repositories/, answers(200, JSON_TYPE, JSON.stringify(away)));
      expect(await codeOf(collect(open().repositories(signal)))).toBe("REGISTRY_PROTOCOL");
      front.inject(/acme\/repositories/, linkTo("elsewhere"));
      await collect(open().repositories(signal));
      expect(front.lines().filter((line) => line.startsWith("elsewhere"))).toEqual([]);
    }));

  it("waits as the API asks for it, and fails with the time when that is long", () =>
    withSubject(dockerHubFront, async ({ front, open, clock, repository }) => {
      const limited = (at: number): ReturnType<typeof answers> =>
        answers(
          429,
          { ...JSON_TYPE, "x-retry-after": String(Math.ceil(at / 1000)) },
          '{"message":"rate limit exceeded"}',
        );
      const from = clock.now();
      front.inject(/namespaces$/, limited(from + 5_000));
      expect(await collect(open().repositories(signal))).toEqual([repository(0)]);
      expect(clock.now() - from).toBeGreaterThanOrEqual(4_000);
      front.inject(/\/tags\?/, limited(clock.now() + 3600_000), 9);
      expect(await codeOf(collect(open().tagsWithMetadata(repository(0), signal)))).toBe("RATE_LIMITED");
    }));

  it("shows in a check how many pulls are left, which costs none", () =>
    withSubject(dockerHubFront, async ({ front, open }) => {
      const { steps } = await open().validate(signal);
      expect(steps.find(({ step }) => step === "limits")).toEqual({
        step: "limits",
        ok: true,
        message: "Docker Hub allows this account 200 pulls in 6 hours, 180 are left",
      });
      expect(front.lines()).toContain("registry HEAD /v2/ratelimitpreview/test/manifests/latest");
      expect(front.lines().filter((line) => /GET .*\/manifests\//.test(line))).toEqual([]);
    }));

  it("checks an account without limit, and one that may not ask for it", () =>
    withSubject(dockerHubFront, async ({ front, open }) => {
      front.inject(/HEAD .*ratelimitpreview/, badGateway);
      await open().validate(signal);
      expect(front.lines().filter((line) => line.includes("ratelimitpreview/test/manifests"))).toHaveLength(1);
      for (const answer of [answers(200), answers(401), answers(429, { "retry-after": "3600" })]) {
        front.inject(/HEAD .*ratelimitpreview/, answer, 9);
        const report = await open().validate(signal);
        expect(report.steps.map(({ step }) => step)).not.toContain("limits");
        front.reset();
      }
    }));

  it("takes another host for a mirror, which gets no call of Docker Hub's API", () =>
    withSubject(dockerHubFront, async ({ front, open }) => {
      const registry = open({ base: "mirror.example" });
      expect(await codeOf(collect(registry.repositories(signal)))).toBe("DNS");
      expect(await codeOf(collect(registry.tagsWithMetadata("acme/app", signal)))).toBe("DNS");
      expect(front.lines()).toEqual([]);
    }));
});
