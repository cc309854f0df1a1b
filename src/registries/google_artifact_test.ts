import { describe, expect, it } from "vitest";
import { conformanceSuite } from "../../tests/fronts/conformance_suite.ts";
import { expectSecretsKept } from "../../tests/fronts/custody.ts";
import { answers } from "../../tests/fronts/faults.ts";
import type { Front, FrontDefinition } from "../../tests/fronts/front.ts";
import { googleArtifactFront, keyFile, strangePem } from "../../tests/fronts/google_front.ts";
import { withSubject } from "../../tests/fronts/subject.ts";
import { peersAvailable } from "../../tests/peers/mod.ts";
import { codeOf, collect } from "./registry_suite.ts";

const signal = new AbortController().signal;
const JSON_TYPE = { "content-type": "application/json" };
const PARENT = "api GET /v1/projects/my-project/locations/europe-west1/repositories";
const TOKEN = "oauth POST /token";
const PROJECTS = "projects GET /v1/projects?filter=lifecycleState%3AACTIVE&pageSize=1000";
const HOST = "europe-west1-docker.pkg.dev";

conformanceSuite(googleArtifactFront);

/** An access token as `gcloud auth print-access-token` gives it. */
function accessToken(front: Front): { readonly username: string; readonly password: string } {
  return { username: "oauth2accesstoken", password: front.issue(["cloud-platform"], "canary-ya29.token").value };
}

describe.skipIf(!peersAvailable("docker-registry"))("Artifact Registry", () => {
  it("lists by the API: a token, the projects, their Docker repositories, a thousand packages at once", () =>
    withSubject(googleArtifactFront, async ({ front, open, holds }) => {
      const names = holds(1001);
      const registry = open();
      expect(await collect(registry.repositories(signal))).toEqual(names);
      const packages = `${PARENT}/images/packages?pageSize=1000`;
      const lists = [PROJECTS, `${PARENT}?pageSize=1000`, packages, `${packages}&pageToken=MTAwMA%3D%3D`];
      expect(front.lines()).toEqual([TOKEN, ...lists]);
      const before = front.records.length;
      await collect(registry.repositories(signal));
      expect(front.lines(before)).toEqual(lists);
    }));

  it("asks for what CR_BASE names only", () =>
    withSubject(googleArtifactFront, async ({ front, open, repository }) => {
      front.library.put("my-project/other/app");
      const packages = `${PARENT}/images/packages?pageSize=1000`;
      for (
        const [path, lists] of [["my-project", [`${PARENT}?pageSize=1000`, packages]], ["my-project/images", [
          packages,
        ]]] as const
      ) {
        const before = front.records.length;
        const registry = open({ base: `${HOST}/${path}` });
        expect(await collect(registry.repositories(signal))).toEqual([repository(0)]);
        expect(front.lines(before)).toEqual([TOKEN, ...lists]);
      }
    }));

  it("renews an access token that Google no longer takes, once", () =>
    withSubject(googleArtifactFront, async ({ front, open, repository }) => {
      const registry = open({ base: `${HOST}/my-project/images` });
      await collect(registry.repositories(signal));
      front.revokeTokens();
      const before = front.records.length;
      expect(await collect(registry.repositories(signal))).toEqual([repository(0)]);
      expect(front.lines(before).filter((line) => line === TOKEN)).toHaveLength(1);
    }));

  it("lists the projects that the account may see beside its own, and leaves out what it may not list", () => {
    const many: FrontDefinition = {
      ...googleArtifactFront,
      sites: (front) => {
        const sites = googleArtifactFront.sites(front);
        const { projects, api } = sites;
        if (projects === undefined || api === undefined) throw new Error("Google has these sites");
        const found = (token: string | null): unknown =>
          token === null
            ? { projects: [{ projectId: "closed" }, { projectId: "my-project" }], nextPageToken: "2" }
            : { projects: [{ projectId: "example.com:other" }] };
        return {
          ...sites,
          projects: { ...projects, handle: ({ url }) => Response.json(found(url.searchParams.get("pageToken"))) },
          api: {
            ...api,
            handle: (call) =>
              call.url.pathname.startsWith("/v1/projects/closed/")
                ? Response.json({ error: { code: 403, message: "no", status: "PERMISSION_DENIED" } }, { status: 403 })
                : api.handle(call),
          },
        };
      },
    };
    return withSubject(many, async ({ front, open, repository, logger }) => {
      front.library.put("example.com/other/images/app");
      const names = await collect(open().repositories(signal));
      expect(names).toEqual([repository(0), "example.com/other/images/app"]);
      expect(new Set(front.lines()).size).toBe(front.lines().length);
      const left = logger.lines.filter(({ level }) => level === "warn");
      expect(left.map(({ fields }) => [fields["owner"], fields["code"]])).toEqual([[
        "closed",
        "NO_CATALOG_PERMISSION",
      ]]);
    });
  });

  it("takes the key in base64 too, and pulls with it", () =>
    withSubject(googleArtifactFront, async ({ front, open, repository }) => {
      const password = btoa(keyFile());
      front.addSecret("password", password);
      const registry = open({ username: "_json_key_base64", password });
      expect(await collect(registry.repositories(signal))).toEqual([repository(0)]);
      await registry.resolve(repository(0), "oci", { signal });
      expectSecretsKept(front);
    }));

  it("takes an access token, which names no project", () =>
    withSubject(googleArtifactFront, async ({ front, open, repository }) => {
      const login = accessToken(front);
      await open(login).resolve(repository(0), "oci", { signal });
      const inProject = open({ ...login, base: `${HOST}/my-project` });
      expect(await collect(inProject.repositories(signal))).toEqual([repository(0)]);
      expect(front.lines()).not.toContain(TOKEN);
      expect(await codeOf(collect(open(login).repositories(signal)))).toBe("NO_CATALOG_PERMISSION");
      front.revokeTokens();
      expect(await codeOf(collect(inProject.repositories(signal)))).toBe("BAD_CREDENTIALS");
    }));

  it("says what Google says of a key that it does not know, and nothing of the key", async () => {
    const password = keyFile({ private_key: await strangePem() });
    await withSubject(googleArtifactFront, async ({ open }) => {
      const error: unknown = await collect(open({ password }).repositories(signal)).catch((reason: unknown) => reason);
      expect(error).toMatchObject({
        code: "BAD_CREDENTIALS",
        message:
          `Cannot log in to ${HOST}: the user name or password was refused (the registry says: Invalid JWT Signature.)`,
        hint: expect.stringContaining("clock"),
      });
    });
  });

  it("does not connect to a token server that the key file names", () =>
    withSubject(googleArtifactFront, async ({ front, open }) => {
      const password = keyFile({ token_uri: "https://elsewhere.example/token" });
      await collect(open({ password }).repositories(signal));
      expect(front.lines().filter((line) => line.startsWith("elsewhere"))).toEqual([]);
    }));

  it("refuses a key file whose private key is damaged", () =>
    withSubject(googleArtifactFront, async ({ front, open }) => {
      const registry = open({ password: keyFile({ private_key: "canary-key" }) });
      expect(await codeOf(collect(registry.repositories(signal)))).toBe("CREDENTIALS_INVALID");
      expect(front.lines()).toEqual([]);
    }));

  it("sends the login to nobody but the registry when the host is not Google's", () =>
    withSubject(googleArtifactFront, async ({ front, open }) => {
      const registry = open({ base: "mirror.example" });
      expect(await codeOf(collect(registry.repositories(signal)))).toBe("DNS");
      expect(front.lines()).toEqual([]);
    }));

  it("gives digests and times of all tags in one call", () =>
    withSubject(googleArtifactFront, async ({ front, open, repository, tagged }) => {
      tagged(["a", "b"]);
      const registry = open();
      const found = await collect(registry.tagsWithMetadata(repository(1), signal));
      const [first, second] = front.library.tags(repository(1)) ?? [];
      // Both tags are of one manifest, whose upload is what Google tells.
      expect(found).toEqual([
        { tag: "a", digest: first?.digest, lastPushed: first?.pushed },
        { tag: "b", digest: second?.digest, lastPushed: first?.pushed },
      ]);
      expect(front.lines().filter((line) => line.includes("/manifests/"))).toEqual([]);
    }));

  it("gives null for what is not told, and asks every tag where no manifests are told", () =>
    withSubject(googleArtifactFront, async ({ front, open, repository }) => {
      const list = new RegExp(`^registry GET /v2/${repository(0)}/tags/list$`);
      const digest = `sha256:${"1".repeat(64)}`;
      const odd = {
        manifest: { [digest]: { tag: ["a"], timeUploadedMs: "0" }, bad: { tag: ["b"] } },
        tags: ["a", "b"],
      };
      front.inject(list, answers(200, JSON_TYPE, JSON.stringify(odd)));
      const registry = open();
      expect(await collect(registry.tagsWithMetadata(repository(0), signal))).toEqual([
        { tag: "a", digest, lastPushed: null },
        { tag: "b", digest: null, lastPushed: null },
      ]);
      front.inject(list, answers(200, JSON_TYPE, JSON.stringify({ name: repository(0), tags: ["oci"] })));
      const digests = front.library.tags(repository(0))?.map(({ digest }) => digest);
      const asked = await collect(registry.tagsWithMetadata(repository(0), signal));
      expect(asked.map(({ digest }) => digest)).toEqual(digests);
    }));

  it("takes neither an empty object nor a text for a list of tags", () =>
    withSubject(googleArtifactFront, async ({ front, open, repository }) => {
      for (const body of ["{}", '"tags"', "[]"]) {
        front.inject(/\/tags\/list$/, answers(200, JSON_TYPE, body));
        expect(await collect(open().tagsWithMetadata(repository(0), signal))).toHaveLength(3);
      }
    }));

  it("fails when the list of projects is no list", () =>
    withSubject(googleArtifactFront, async ({ front, open }) => {
      front.inject(/^projects GET/, answers(200, JSON_TYPE, '{"projects":"my-project"}'));
      front.inject(/\/v2\/my-project\/tags\/list$/, answers(404), 9);
      expect(await codeOf(collect(open().repositories(signal)))).toBe("CATALOG_UNSUPPORTED");
    }));

  it("tells a repository that may not be read from a login that is wrong", () =>
    withSubject(googleArtifactFront, async ({ front, open }) => {
      front.state.mayList = false;
      const absent = open().resolve("my-project/images/absent", "1", { signal });
      expect(await codeOf(absent)).toBe("REPO_FORBIDDEN");
    }));
});
