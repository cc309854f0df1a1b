import { describe, expect, it } from "vitest";
import { conformanceSuite } from "../../tests/fronts/conformance_suite.ts";
import { answers } from "../../tests/fronts/faults.ts";
import type { FrontDefinition, Site } from "../../tests/fronts/front.ts";
import { githubFront, untagged } from "../../tests/fronts/github_front.ts";
import { withSubject } from "../../tests/fronts/subject.ts";
import { peersAvailable } from "../../tests/peers/mod.ts";
import { codeOf, collect } from "./registry_suite.ts";

const signal = new AbortController().signal;
const LIST = "packages?package_type=container&per_page=100";
const VERSIONS = "api GET /orgs/octo/packages/container/app-0000/versions?state=active&per_page=100";

function error(status: number, message: string, headers: Readonly<Record<string, string>> = {}): Response {
  return Response.json({ message, documentation_url: "https://docs.github.com/rest" }, { status, headers });
}

function listing(...namespaces: readonly string[]): FrontDefinition {
  return { ...githubFront, options: { namespaces } };
}

conformanceSuite(githubFront);

describe.skipIf(!peersAvailable("docker-registry"))("GitHub", () => {
  it("lists 250 packages in three requests, by links that name the organization by number", () =>
    withSubject(githubFront, async ({ front, open, holds }) => {
      const names = holds(250);
      expect(await collect(open().repositories(signal))).toEqual(names);
      const first = `api GET /orgs/octo/${LIST}`;
      expect(front.lines()).toEqual([first, `${first}&page=2`, `${first}&page=3`]);
      const { headers } = front.records[0] ?? { headers: {} };
      expect(headers).toMatchObject({ "x-github-api-version": "2022-11-28", accept: "application/vnd.github+json" });
    }));

  it("gives tags with the dates of their versions in one request, and leaves out versions without tags", () =>
    withSubject(githubFront, async ({ front, open, repository }) => {
      const found = await collect(open().tagsWithMetadata(repository(0), signal));
      expect(found.map(({ tag }) => tag).toSorted()).toEqual(["docker", "index", "oci"]);
      expect(front.lines()).toEqual([VERSIONS]);
    }));

  it("finds a tag behind two thousand versions without tags", () =>
    withSubject(githubFront, async ({ front, open, repository }) => {
      front.inject(/\/versions\?/, ({ url }) => {
        const page = Number(url.searchParams.get("page") ?? "1");
        const next = `<https://api.github.com/organizations/1/x?${LIST.slice(9)}&page=${page + 1}>; rel="next"`;
        const items = page <= 20
          ? Array.from({ length: 100 }, (_, at) => untagged(page * 100 + at))
          : [{ id: 1, name: "latest", metadata: { container: { tags: ["v1"] } } }];
        return Response.json(items, page <= 20 ? { headers: { link: next } } : {});
      }, 21);
      // Neither a digest nor a date that the API does not give is made up.
      expect(await collect(open().tagsWithMetadata(repository(0), signal))).toEqual([
        { tag: "v1", digest: null, lastPushed: null },
      ]);
    }));

  it("asks for the owner that CR_BASE names, an account's own packages as a user's", () =>
    withSubject(githubFront, async ({ front, open }) => {
      front.library.put("octo-bot/tools/lint");
      expect(await collect(open({ base: "ghcr.io/octo-bot" }).repositories(signal))).toEqual(["octo-bot/tools/lint"]);
      expect(front.lines()).toEqual([`api GET /users/octo-bot/${LIST}`]);
    }));

  it("asks for a user where there is no such organization", () =>
    withSubject(listing("octo-bot"), async ({ front, open }) => {
      front.library.put("octo-bot/tool");
      const registry = open({ username: "other" });
      expect(await collect(registry.repositories(signal))).toEqual(["octo-bot/tool"]);
      expect(front.lines()).toEqual([`api GET /orgs/octo-bot/${LIST}`, `api GET /users/octo-bot/${LIST}`]);
    }));

  it("lists the account's packages and its organizations' when no owner is named", () =>
    withSubject(listing(), async ({ front, open, repository }) => {
      front.library.put("octo-bot/tool");
      front.inject(/\/user\/orgs/, () => Response.json([{ login: "Octo", id: 9919 }]));
      expect(await collect(open().repositories(signal))).toEqual(["octo-bot/tool", repository(0)]);
    }));

  it("lists the account's packages with a warning when the token may not see its organizations", () =>
    withSubject(listing(), async ({ front, open, logger }) => {
      front.library.put("octo-bot/tool");
      expect(await collect(open().repositories(signal))).toEqual(["octo-bot/tool"]);
      expect(logger.lines.filter(({ level }) => level === "warn").map(({ message }) => message)).toEqual([
        "Organizations cannot be found: name them in CR_NAMESPACES, or give the token read:org",
      ]);
    }));

  it("fails when organizations cannot be read for another reason", () =>
    withSubject(listing(), async ({ front, open }) => {
      front.inject(/\/user\/orgs/, answers(200, { "content-type": "application/json" }, "{}"));
      expect(await codeOf(collect(open().repositories(signal)))).toBe("REGISTRY_PROTOCOL");
    }));

  it("passes over an owner that does not exist, unless there is no other", async () => {
    await withSubject(listing("absent", "octo"), async ({ open, repository }) => {
      expect(await collect(open().repositories(signal))).toEqual([repository(0)]);
    });
    await withSubject(listing("absent"), async ({ open }) => {
      expect(await codeOf(collect(open().repositories(signal)))).toBe("CATALOG_UNSUPPORTED");
    });
  });

  it("says until when requests are limited, which GitHub does with 403", () =>
    withSubject(githubFront, async ({ front, open, clock, repository }) => {
      const reset = Math.floor(clock.now() / 1000) + 1800;
      const headers = { "x-ratelimit-remaining": "0", "x-ratelimit-reset": String(reset) };
      const limit = (): Response => error(403, "API rate limit exceeded for user ID 1.", headers);
      front.inject(/^api /, limit);
      const hint = expect.stringContaining(new Date(reset * 1000).toISOString());
      const limited = { code: "RATE_LIMITED" };
      await expect(collect(open().repositories(signal))).rejects.toMatchObject({ ...limited, status: 403, hint });
      // The registry is another host: what it serves is not held up, and not asked instead of the API.
      await open().resolve(repository(0), "oci", { signal });
      await expect(collect(open().tagsWithMetadata(repository(0), signal))).rejects.toMatchObject(limited);
      expect(front.lines().filter((line) => line.startsWith("api "))).toHaveLength(1);
    }));

  it("waits for a short secondary limit", () =>
    withSubject(githubFront, async ({ front, open, clock, repository }) => {
      front.inject(/^api /, () => error(403, "You have exceeded a secondary rate limit.", { "retry-after": "5" }));
      const from = clock.now();
      expect(await collect(open().repositories(signal))).toEqual([repository(0)]);
      expect(clock.now() - from).toBe(5000);
    }));

  it("hands on what GitHub says of single sign-on, and asks no further", () =>
    withSubject(githubFront, async ({ front, open }) => {
      const said = "Resource protected by organization SAML enforcement.";
      front.inject(/\/orgs\//, () => error(403, said, { "x-github-sso": "required; url=https://github.com/x" }));
      await expect(collect(open().repositories(signal))).rejects.toMatchObject({
        code: "NO_CATALOG_PERMISSION",
        message: expect.stringContaining(said),
        hint: expect.stringContaining("authorised for the organization's single sign-on"),
      });
      expect(front.lines()).toHaveLength(1);
    }));

  it("asks every tag for its digest when versions may not be read", () =>
    withSubject(githubFront, async ({ front, open, repository }) => {
      front.inject(/\/versions\?/, () => error(403, "You need at least read:packages scope."));
      const found = await collect(open().tagsWithMetadata(repository(0), signal));
      expect(found.map(({ digest, lastPushed }) => [digest !== null, lastPushed])).toEqual(Array(3).fill([true, null]));
    }));

  it("uses CR_TOKEN for the API and the password for the registry", () => {
    const token = "canary-read-packages-token";
    const definition = { ...githubFront, credentials: { ...githubFront.credentials, token } };
    return withSubject(definition, async ({ front, open, repository }) => {
      const registry = open();
      await collect(registry.repositories(signal));
      await registry.resolve(repository(0), "oci", { signal });
      const secrets = front.records.map(({ site, path, secrets }) => [site, path.split("?")[0], ...secrets]);
      expect(secrets).toEqual([
        ["api", "/orgs/octo/packages", "api-token"],
        ["registry", "/v2/"],
        ["registry", "/token", "password"],
        ["registry", `/v2/${repository(0)}/manifests/oci`, "token"],
      ]);
      const error = { code: "NO_CATALOG_PERMISSION" };
      await expect(collect(open({ token: "canary-other" }).repositories(signal))).rejects.toMatchObject(error);
    });
  });

  it("serves anonymous users by name, without asking the API", () =>
    withSubject(githubFront, async ({ front, open }) => {
      const registry = open({ username: "", password: "" });
      await expect(collect(registry.repositories(signal))).rejects.toMatchObject({ code: "CATALOG_UNSUPPORTED" });
      expect(front.lines()).toEqual([]);
    }));

  const enterprises: readonly (readonly [string, string, string])[] = [
    ["containers.git.example", "https://git.example", "/api/v3"],
    ["containers.acme.ghe.com", "https://api.acme.ghe.com", ""],
  ];
  it.each(enterprises)("finds the API of %s at %s%s", (host, origin, path) => {
    const definition: FrontDefinition = {
      ...githubFront,
      sites: (front) => {
        const { registry, api } = githubFront.sites(front) as { readonly registry: Site; readonly api: Site };
        const handle: Site["handle"] = (call) => api.handle({ ...call, url: new URL(call.url.href.replace(path, "")) });
        return { registry: { ...registry, origin: `https://${host}` }, api: { ...api, origin, handle } };
      },
    };
    return withSubject(definition, async ({ front, open, holds }) => {
      const names = holds(101);
      expect(await collect(open({ base: host }).repositories(signal))).toEqual(names);
      const first = `api GET ${path}/orgs/octo/${LIST}`;
      expect(front.lines()).toEqual([first, `${first}&page=2`]);
    });
  });

  it("sends nothing to GitHub from behind a name that is not GitHub's", () =>
    withSubject(githubFront, async ({ front, open }) => {
      front.inject(/^api /, answers(500));
      await expect(collect(open({ base: "ghcr.mirror.example" }).repositories(signal))).rejects.toMatchObject({
        code: "CATALOG_UNSUPPORTED",
        message: expect.stringContaining("the address of GitHub's API is not known"),
      });
      expect(front.records).toEqual([]);
    }));
});
