import { describe, expect, it } from "vitest";
import { conformanceSuite } from "../../tests/fronts/conformance_suite.ts";
import { answers, realmAt } from "../../tests/fronts/faults.ts";
import type { FrontDefinition, Site } from "../../tests/fronts/front.ts";
import { gitlabFront, keysetPage, offsetPage, selfManagedFront } from "../../tests/fronts/gitlab_front.ts";
import { withSubject } from "../../tests/fronts/subject.ts";
import { peersAvailable } from "../../tests/peers/mod.ts";
import { codeOf, collect } from "./registry_suite.ts";

const signal = new AbortController().signal;
const API = "gitlab GET /api/v4";
const GROUPS = `${API}/groups?min_access_level=20&per_page=100`;
const PROJECTS =
  `${API}/projects?membership=true&min_access_level=20&pagination=keyset&order_by=id&sort=asc&per_page=100`;
const REPOSITORIES = "registry/repositories?per_page=100";

function inGroup(path: string): string {
  return `${API}/groups/${encodeURIComponent(path)}/${REPOSITORIES}`;
}

function inProject(path: string): string {
  return `${API}/projects/${encodeURIComponent(path)}/${REPOSITORIES}`;
}

conformanceSuite(gitlabFront);
conformanceSuite(selfManagedFront);

describe.skipIf(!peersAvailable("docker-registry"))("GitLab", () => {
  it("lists 250 repositories of a group in three requests, and its projects not again", () =>
    withSubject(gitlabFront, async ({ front, open, holds }) => {
      const names = holds(250);
      expect(await collect(open().repositories(signal))).toEqual(names);
      expect(front.lines()).toEqual([
        "registry GET /v2/",
        GROUPS,
        inGroup("team"),
        `${inGroup("team")}&page=2`,
        `${inGroup("team")}&page=3`,
        PROJECTS,
      ]);
    }));

  it("asks only topmost groups", () =>
    withSubject(gitlabFront, async ({ front, open, repository }) => {
      const paths = ["team/app", "team", "team/app/deep"];
      front.inject(/\/groups\?/, (call) => offsetPage(call, paths.map((full_path, id) => ({ id, full_path }))));
      expect(await collect(open().repositories(signal))).toEqual([repository(0)]);
      expect(front.lines()).toEqual(["registry GET /v2/", GROUPS, inGroup("team"), PROJECTS]);
    }));

  it("asks projects that lie in no group, by keyset pages, but for those without a registry", () =>
    withSubject(gitlabFront, async ({ front, open, repository }) => {
      const project = (id: number, path: string, more: Record<string, unknown>): { readonly id: number } => ({
        ...{ id, path_with_namespace: path },
        ...more,
      });
      const off = Array.from(
        { length: 100 },
        (_, id) =>
          project(
            id + 1,
            `me/p${id}`,
            id % 2 === 0 ? { container_registry_access_level: "disabled" } : { container_registry_enabled: false },
          ),
      );
      const all = [...off, project(101, "team/app", { container_registry_access_level: "private" })];
      front.inject(/\/groups\?/, (call) => offsetPage(call, []));
      front.inject(/\/projects\?/, (call) => keysetPage(call, all), 2);
      expect(await collect(open().repositories(signal))).toEqual([repository(0)]);
      expect(front.lines().slice(2)).toEqual([PROJECTS, `${PROJECTS}&id_after=100`, inProject("team/app")]);
    }));

  it("asks the projects of a group that is refused", () =>
    withSubject(gitlabFront, async ({ front, open, repository, logger }) => {
      front.inject(
        /\/groups\/team\//,
        answers(403, { "content-type": "application/json" }, '{"message":"403 Forbidden"}'),
      );
      expect(await collect(open().repositories(signal))).toEqual([repository(0)]);
      expect(front.lines().at(-1)).toBe(inProject("team/app"));
      expect(logger.lines.filter(({ level }) => level === "warn")).toHaveLength(1);
    }));

  it("lists the group, the project or the image's project that CR_BASE names", () =>
    withSubject(gitlabFront, async ({ front, open, repository }) => {
      front.library.put("other/app");
      const bases: readonly (readonly [string, readonly string[]])[] = [
        ["team", [inGroup("team")]],
        ["Team/App", [inGroup("team/app"), inProject("team/app")]],
        ["team/app/x", [inGroup("team/app/x"), inProject("team/app/x"), inProject("team/app")]],
      ];
      for (const [base, lines] of bases) {
        const before = front.records.length;
        const found = await collect(open({ base: `registry.gitlab.example/${base}` }).repositories(signal));
        expect(found).toEqual(base === "team/app/x" ? [] : [repository(0)]);
        expect(front.lines(before)).toEqual(["registry GET /v2/", ...lines]);
      }
    }));

  it("lists a user's projects where no group has that name", () => {
    const definition: FrontDefinition = { ...gitlabFront, options: { namespaces: ["jane"] } };
    return withSubject(definition, async ({ front, open, repository }) => {
      front.inject(
        /\/users\/jane\/projects\?/,
        (call) => keysetPage(call, [{ id: 1, ...{ path_with_namespace: "team/app" } }]),
      );
      expect(await collect(open().repositories(signal))).toEqual([repository(0)]);
      expect(front.lines().slice(1)).toEqual([
        inGroup("jane"),
        `${API}/users/jane/projects?pagination=keyset&order_by=id&sort=asc&per_page=100`,
        inProject("team/app"),
      ]);
    });
  });

  it("leaves out repositories that are being deleted", () =>
    withSubject(gitlabFront, async ({ front, open }) => {
      front.inject(/\/groups\/team\//, (call) =>
        offsetPage(call, [
          { id: 1, path: "team/kept", status: null },
          { id: 2, path: "team/gone", status: "delete_scheduled" },
        ]));
      expect(await collect(open().repositories(signal))).toEqual(["team/kept"]);
    }));

  it("uses CR_TOKEN for the API beside a deploy token for the registry, and says when it has expired", () => {
    const token = "glpat-canaryReadApi";
    const credentials = { ...gitlabFront.credentials, username: "gitlab+deploy-token-1", token };
    return withSubject({ ...gitlabFront, credentials }, async ({ front, open, repository }) => {
      const registry = open();
      expect(await collect(registry.repositories(signal))).toEqual([repository(0)]);
      await registry.resolve(repository(0), "oci", { signal });
      const shown = front.records.filter(({ site }) => site === "gitlab").map(({ path, secrets, headers }) => [
        path.split("?")[0],
        ...secrets,
        headers["private-token"],
      ]);
      expect(shown.slice(0, 2)).toEqual([
        ["/api/v4/groups", "api-token", token],
        ["/api/v4/groups/team/registry/repositories", "api-token", token],
      ]);
      expect(shown.at(-1)).toEqual(["/jwt/auth", "password", undefined]);
      front.state.expired = true;
      await expect(collect(registry.repositories(signal))).rejects.toMatchObject({
        code: "EXPIRED_CREDENTIALS",
        message: expect.stringContaining("Token is expired"),
      });
    });
  });

  it("tells a deploy token, which the API does not take, how to list", () => {
    // What the API takes is another secret than the password.
    const credentials = { ...gitlabFront.credentials, username: "gitlab+deploy-token-1", token: "glpat-canaryOther" };
    return withSubject({ ...gitlabFront, credentials }, async ({ open, repository }) => {
      const registry = open({ token: "" });
      await registry.resolve(repository(0), "oci", { signal });
      await expect(collect(registry.repositories(signal))).rejects.toMatchObject({
        code: "NO_CATALOG_PERMISSION",
        hint: expect.stringContaining("CR_TOKEN beside a deploy token"),
      });
      expect(await registry.validate(signal)).toMatchObject({ ok: true });
    });
  });

  it("shows a job's token in its own header", () => {
    const credentials = { ...gitlabFront.credentials, username: "gitlab-ci-token" };
    return withSubject({ ...gitlabFront, credentials }, async ({ front, open, repository }) => {
      const base = "registry.gitlab.example/team/app";
      expect(await collect(open({ base }).repositories(signal))).toEqual([repository(0)]);
      const last = front.records.at(-1);
      expect(last?.headers["job-token"]).toBe(credentials.password);
      expect(last?.headers["private-token"]).toBeUndefined();
    });
  });

  it("shows administrators the catalog where the API is out of reach", () => {
    const definition: FrontDefinition = {
      ...gitlabFront,
      sites: (front) => {
        const { registry, gitlab } = gitlabFront.sites(front) as { readonly registry: Site; readonly gitlab: Site };
        const handle: Site["handle"] = (call) => {
          if (!call.url.pathname.startsWith("/jwt")) return new Response("not found", { status: 404 });
          return Response.json({ token: front.issue(call.url.searchParams.getAll("scope")).value });
        };
        return { registry, gitlab: { ...gitlab, handle } };
      },
    };
    return withSubject(definition, async ({ front, open, holds }) => {
      const names = holds(3);
      expect(await collect(open().repositories(signal))).toEqual(names);
      expect(front.lines().at(-1)).toBe("registry GET /v2/_catalog?n=100");
    });
  });

  it("shows its token to no GitLab that is not the registry's", () =>
    withSubject(gitlabFront, async ({ front, open }) => {
      front.inject(/^registry GET \/v2\/$/, realmAt("elsewhere"));
      expect(await codeOf(collect(open().repositories(signal)))).toBe("UNSAFE_REALM");
      expect(front.lines()).toEqual(["registry GET /v2/"]);
    }));

  it("gives 1,100 tags with their dates in two requests", () =>
    withSubject(gitlabFront, async ({ front, open, repository, tagged }) => {
      tagged(Array.from({ length: 1100 }, (_, at) => `t${String(at).padStart(4, "0")}`));
      const found = await collect(open().tagsWithMetadata(repository(1), signal));
      const expected = front.library.tags(repository(1)) ?? [];
      expect(found).toEqual(expected.map(({ tag, digest, pushed }) => ({ tag, digest, lastPushed: pushed })));
      const list = `registry GET /gitlab/v1/repositories/${repository(1)}/tags/list/?n=1000`;
      expect(front.lines().filter((line) => line.includes("/gitlab/v1/"))).toEqual([list, `${list}&last=t0999`]);
    }));

  it("takes the newer of a tag's dates, and null where there is none", () =>
    withSubject(gitlabFront, async ({ front, open, repository }) => {
      const [created, updated] = ["2022-06-07T12:11:13.633Z", "2022-06-07T14:37:49.251Z"];
      const digest = `sha256:${"a".repeat(64)}`;
      front.inject(/\/gitlab\/v1\//, () =>
        Response.json([
          { name: "a", digest, created_at: created },
          { name: "b", digest, created_at: created, updated_at: updated },
          { name: "c" },
        ]));
      expect(await collect(open().tagsWithMetadata(repository(0), signal))).toEqual([
        { tag: "a", digest, lastPushed: created },
        { tag: "b", digest, lastPushed: updated },
        { tag: "c", digest: null, lastPushed: null },
      ]);
    }));

  it("finds GitLab below a path, and asks every tag where the registry has no metadata database", () =>
    withSubject(selfManagedFront, async ({ front, open, repository }) => {
      const registry = open();
      expect(await collect(registry.repositories(signal))).toEqual([repository(0)]);
      expect(front.lines()[1]).toBe("gitlab GET /gitlab/api/v4/groups?min_access_level=20&per_page=100");
      const found = await collect(registry.tagsWithMetadata(repository(0), signal));
      expect(found.map(({ digest, lastPushed }) => [digest !== null, lastPushed])).toEqual(Array(3).fill([true, null]));
      // The build time that GitLab's REST API would give is not asked for.
      expect(front.lines().filter((line) => line.includes("/tags") && line.startsWith("gitlab"))).toEqual([]);
    }));
});
