import { describe, expect, it } from "vitest";
import { conformanceSuite } from "../../tests/fronts/conformance_suite.ts";
import { answers } from "../../tests/fronts/faults.ts";
import { gcrFront, gcrWalkFront } from "../../tests/fronts/google_front.ts";
import { withSubject } from "../../tests/fronts/subject.ts";
import { peersAvailable } from "../../tests/peers/mod.ts";
import { codeOf, collect } from "./registry_suite.ts";

const signal = new AbortController().signal;
const JSON_TYPE = { "content-type": "application/json" };

conformanceSuite(gcrFront);
conformanceSuite(gcrWalkFront);

describe.skipIf(!peersAvailable("docker-registry"))("Container Registry", () => {
  it("lists the packages of the repository behind the host", () =>
    withSubject(gcrFront, async ({ front, open, repository }) => {
      const registry = open({ base: "eu.gcr.io/my-project" });
      expect(await collect(registry.repositories(signal))).toEqual([repository(0)]);
      expect(front.lines()).toEqual([
        "oauth POST /token",
        "api GET /v1/projects/my-project/locations/europe/repositories/eu.gcr.io/packages?pageSize=1000",
      ]);
    }));

  it("walks down from the project, each name asked once, and leaves out what may not be read", () =>
    withSubject(gcrWalkFront, async ({ front, open }) => {
      front.library.clear();
      for (const name of ["a", "a/b/c", "d/secret", "e"]) front.library.put(`my-project/${name}`);
      const denied = JSON.stringify({ errors: [{ code: "DENIED", message: 'Permission "x" denied on resource "y"' }] });
      front.inject(/token\?.*secret/, answers(403, JSON_TYPE, denied));
      const names = await collect(open().repositories(signal));
      expect(names).toEqual(["my-project/a", "my-project/e", "my-project/a/b/c"]);
      const lists = front.lines().filter((line) => line.endsWith("/tags/list"));
      expect(new Set(lists).size).toBe(lists.length);
      expect(front.mostInFlight).toBeLessThanOrEqual(4);
    }));

  it("walks from where CR_BASE points to, and only knows its project by CR_NAMESPACES otherwise", async () => {
    await withSubject(gcrWalkFront, async ({ front, open, repository }) => {
      front.library.put("my-project/other/app");
      const login = { username: "oauth2accesstoken", password: front.issue(["x"], "canary-ya29.token").value };
      const below = open({ ...login, base: "eu.gcr.io/my-project/team" });
      expect(await collect(below.repositories(signal))).toEqual([repository(0)]);
      expect(await codeOf(collect(open(login).repositories(signal)))).toBe("NO_CATALOG_PERMISSION");
    });
    const named = { ...gcrWalkFront, options: { namespaces: ["my-project"] } };
    await withSubject(named, async ({ front, open, repository }) => {
      const login = { username: "oauth2accesstoken", password: front.issue(["x"], "canary-ya29.token").value };
      expect(await collect(open(login).repositories(signal))).toEqual([repository(0)]);
    });
  });

  it("takes the catalog where it is served", () =>
    withSubject(gcrWalkFront, async ({ front, open }) => {
      const catalog = JSON.stringify({ repositories: ["my-project/a", "my-project/b"] });
      front.inject(/_catalog/, answers(200, JSON_TYPE, catalog));
      expect(await collect(open().repositories(signal))).toEqual(["my-project/a", "my-project/b"]);
    }));

  it("does not ask for names that are none", () =>
    withSubject(gcrWalkFront, async ({ front, open }) => {
      const odd = JSON.stringify({ child: ["../my-project", "", "a//b", "UPPER"], manifest: {}, tags: [] });
      front.inject(/\/v2\/my-project\/tags\/list$/, answers(200, JSON_TYPE, odd));
      expect(await collect(open().repositories(signal))).toEqual([]);
      expect(front.lines().filter((line) => line.endsWith("/tags/list"))).toHaveLength(1);
    }));
});
