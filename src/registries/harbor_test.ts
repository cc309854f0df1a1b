import { describe, expect, it } from "vitest";
import { conformanceSuite } from "../../tests/fronts/conformance_suite.ts";
import { answers } from "../../tests/fronts/faults.ts";
import type { FrontDefinition } from "../../tests/fronts/front.ts";
import { harborFront } from "../../tests/fronts/harbor_front.ts";
import { withSubject } from "../../tests/fronts/subject.ts";
import { peersAvailable } from "../../tests/peers/mod.ts";
import { codeOf, collect } from "./registry_suite.ts";

const signal = new AbortController().signal;
const FORBIDDEN = JSON.stringify({ errors: [{ code: "FORBIDDEN", message: "forbidden" }] });
const JSON_TYPE = { "content-type": "application/json" };

conformanceSuite(harborFront);

describe.skipIf(!peersAvailable("docker-registry"))("Harbor", () => {
  it("lists 250 repositories in three requests, and tags with their dates in one", () =>
    withSubject(harborFront, async ({ front, open, repository, holds }) => {
      const names = holds(250);
      expect(await collect(open().repositories(signal))).toEqual(names);
      const path = "registry GET /api/v2.0/repositories?page=";
      expect(front.lines()).toEqual([1, 2, 3].map((page) => `${path}${page}&page_size=100`));
      const before = front.records.length;
      await collect(open().tagsWithMetadata(repository(0), signal));
      expect(front.lines(before)).toEqual([
        "registry GET /api/v2.0/projects/team/repositories/app%252Fpart-0000/artifacts" +
        "?with_tag=true&page=1&page_size=100&q=tags%3D*",
      ]);
    }));

  it("falls back to the catalog where there is no such API, which administrators may read", () => {
    const administrator: FrontDefinition = {
      ...harborFront,
      sites: (front) => {
        const sites = harborFront.sites(front);
        const { registry } = sites;
        if (registry === undefined) throw new Error("Harbor has a registry");
        const handle: typeof registry.handle = (call) =>
          call.url.pathname === "/v2/_catalog" && front.login(call) === "ok"
            ? front.serve(call)
            : registry.handle(call);
        return { ...sites, registry: { ...registry, handle } };
      },
    };
    return withSubject(administrator, async ({ front, open, holds }) => {
      const names = holds(3);
      front.inject(/\/api\/v2\.0\//, answers(404, {}, "404 page not found"), 9);
      expect(await collect(open().repositories(signal))).toEqual(names);
      expect(front.lines()).toEqual([
        "registry GET /api/v2.0/repositories?page=1&page_size=100",
        "registry GET /v2/_catalog?n=100",
      ]);
    });
  });

  it("asks every tag for its digest when the robot may not list artifacts", () =>
    withSubject(harborFront, async ({ front, open, repository }) => {
      front.inject(/\/artifacts\?/, answers(403, JSON_TYPE, FORBIDDEN));
      const found = await collect(open().tagsWithMetadata(repository(0), signal));
      expect(found.map(({ tag, lastPushed }) => [tag, lastPushed])).toEqual([
        ["docker", null],
        ["index", null],
        ["oci", null],
      ]);
      const expected = front.library.tags(repository(0))?.map(({ digest }) => digest);
      expect(found.map(({ digest }) => digest)).toEqual(expected);
    }));

  it("says that a project does not exist", () =>
    withSubject(harborFront, async ({ open }) => {
      expect(await codeOf(open().resolve("absent/app", "1", { signal }))).toBe("REPO_NOT_FOUND");
      expect(await codeOf(collect(open().tagsWithMetadata("absent/app", signal)))).toBe("REPO_NOT_FOUND");
    }));

  it("shows the repositories of the project that CR_BASE names", () =>
    withSubject(harborFront, async ({ front, open, repository }) => {
      front.library.put("other/app");
      const registry = open({ base: "harbor.example/team" });
      expect(await collect(registry.repositories(signal))).toEqual([repository(0)]);
      const { repository: name } = await registry.resolve("app/part-0000", "oci", { signal });
      expect(name).toBe("app/part-0000");
    }));
});
