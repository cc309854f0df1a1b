import { describe, expect, it } from "vitest";
import {
  artifactoryInstanceFront,
  artifactoryPathFront,
  artifactorySubdomainFront,
  LOCAL,
  REMOTE,
} from "../../tests/fronts/artifactory_front.ts";
import { conformanceSuite } from "../../tests/fronts/conformance_suite.ts";
import { answers } from "../../tests/fronts/faults.ts";
import { unsignedJwt } from "../../tests/fronts/parts.ts";
import { withSubject } from "../../tests/fronts/subject.ts";
import { peersAvailable } from "../../tests/peers/mod.ts";
import { artifactory } from "./artifactory.ts";
import { apiUrl } from "./endpoint.ts";
import { codeOf, collect } from "./registry_suite.ts";

const signal = new AbortController().signal;
const NAME = "team/app-0000";
const JSON_TYPE = { "content-type": "application/json" };
const forbidden = answers(403, JSON_TYPE, JSON.stringify({ errors: [{ status: 403, message: "Forbidden" }] }));

conformanceSuite(artifactoryPathFront);
conformanceSuite(artifactorySubdomainFront);
conformanceSuite(artifactoryInstanceFront);

describe("artifactory.endpoint()", () => {
  it.each<readonly [string, string, string]>([
    ["h.example/artifactory/api/docker/local", "app", "https://h.example/artifactory/api/docker/local/v2/app"],
    [
      "h.example/artifactory/api/docker/local/team",
      "app",
      "https://h.example/artifactory/api/docker/local/v2/team/app",
    ],
    ["h.example/artifactory/api/oci/local/v2/", "app", "https://h.example/artifactory/api/oci/local/v2/app"],
    [
      "http://h.example:8081/x/artifactory/api/docker/l",
      "app",
      "http://h.example:8081/x/artifactory/api/docker/l/v2/app",
    ],
    ["local.h.example", "team/app", "https://local.h.example/v2/team/app"],
    ["h.example:8443", "app", "https://h.example:8443/v2/app"],
    ["h.example/artifactory", "local/app", "https://h.example/v2/local/app"],
    ["h.example/artifactory/api/docker", "local/app", "https://h.example/v2/local/app"],
    ["h.example/local", "app", "https://h.example/v2/local/app"],
    ["h.example/local", "local/app", "https://h.example/v2/local/app"],
  ])("of %s finds %s at %s", (base, repository, url) => {
    const endpoint = artifactory.endpoint({ type: "artifactory-cr", base });
    expect(apiUrl(endpoint, artifactory.wireName(endpoint, repository)).href).toBe(url);
  });
});

describe.skipIf(!peersAvailable("docker-registry"))("Artifactory", () => {
  it("lists every repository of the instance, and leaves out those that cannot be listed", () =>
    withSubject(artifactoryInstanceFront, async ({ front, open, holds, logger }) => {
      const names = holds(101);
      expect(await collect(open().repositories(signal))).toEqual(names);
      const catalog = (key: string): string => `registry GET /artifactory/api/docker/${key}/v2/_catalog`;
      expect(front.lines()).toEqual([
        "registry GET /artifactory/api/repositories?packageType=docker",
        `${catalog(LOCAL)}?n=100`,
        `${catalog(LOCAL)}?last=team%2Fapp-0099&n=100`,
        `${catalog(REMOTE)}?n=100`,
      ]);
      expect(logger.lines).toContainEqual(expect.objectContaining({
        level: "warn",
        message: "Images of a repository are not listed",
        fields: { repository: REMOTE, code: "CATALOG_UNSUPPORTED" },
      }));
    }));

  it("lists the repository that CR_BASE names, by Artifactory's own path", () =>
    withSubject(artifactoryInstanceFront, async ({ front, open }) => {
      const registry = open({ base: `artifactory.example/${LOCAL}` });
      expect(await collect(registry.repositories(signal))).toEqual([`${LOCAL}/${NAME}`]);
      expect(front.lines()).toEqual([`registry GET /artifactory/api/docker/${LOCAL}/v2/_catalog?n=100`]);
      expect((await registry.resolve(NAME, "oci", { signal })).repository).toBe(NAME);
    }));

  it("lists the instance when a host has no list of its own", () =>
    withSubject(artifactoryInstanceFront, async ({ front, open }) => {
      expect(await collect(open({ base: "artifactory.example" }).repositories(signal))).toEqual([`${LOCAL}/${NAME}`]);
      expect(front.lines()[0]).toBe("registry GET /v2/_catalog?n=100");
    }));

  it("lists the repositories of CR_NAMESPACES only", () =>
    withSubject({ ...artifactoryInstanceFront, options: { namespaces: [LOCAL] } }, async ({ front, open }) => {
      expect(await collect(open().repositories(signal))).toEqual([`${LOCAL}/${NAME}`]);
      expect(front.lines()).toHaveLength(1);
    }));

  it("asks one query for all tags, which nested images do not join", () =>
    withSubject(artifactoryPathFront, async ({ front, open, tagged, repository }) => {
      tagged(["1.0", "latest"]);
      front.library.put(`${repository(1)}/nested`, {});
      front.library.put(`${repository(1)}/1.0`, {});
      const expected = front.library.tags(repository(1))?.map(({ tag, digest, pushed }) => ({
        tag,
        digest,
        lastPushed: pushed,
      }));
      expect(await collect(open().tagsWithMetadata(repository(1), signal))).toEqual(expected);
      expect(front.lines()).toEqual(["registry POST /artifactory/api/search/aql"]);
    }));

  it("asks what is kept of each tag where queries are not allowed", () =>
    withSubject(artifactoryPathFront, async ({ front, open }) => {
      front.inject(/search\/aql/, forbidden);
      const expected = front.library.tags(NAME)?.map(({ tag, digest, pushed }) => ({
        tag,
        digest,
        lastPushed: pushed,
      }));
      expect(await collect(open().tagsWithMetadata(NAME, signal))).toEqual(expected);
      // Two calls for the index, whose manifest has another file name.
      expect(front.lines().filter((line) => line.includes("/api/storage/"))).toHaveLength(4);
    }));

  it("asks every manifest for its digest where neither is allowed", () =>
    withSubject(artifactoryPathFront, async ({ front, open }) => {
      front.inject(/\/artifactory\/api\/(?:search|storage)/, forbidden, 99);
      const expected = front.library.tags(NAME)?.map(({ tag, digest }) => ({ tag, digest, lastPushed: null }));
      expect(await collect(open().tagsWithMetadata(NAME, signal))).toEqual(expected);
    }));

  it("takes CR_TOKEN for the password, and its owner out of it", () =>
    withSubject(artifactoryPathFront, async ({ front, open }) => {
      const token = unsignedJwt({ sub: "jfac@01h/users/outpost", scp: "applied-permissions/user" });
      const { username: _, password: __, ...rest } = artifactoryPathFront.credentials;
      const from = front.records.length;
      expect(await codeOf(open({ ...rest, username: "", password: "", token }).resolve(NAME, "oci", { signal }))).toBe(
        "BAD_CREDENTIALS",
      );
      const sent = front.records[from]?.headers["authorization"] ?? "";
      expect(atob(sent.slice("Basic ".length))).toBe(`outpost:${token}`);
    }));

  it("uses a token of its token server where HTTP Basic is refused", () =>
    withSubject(artifactoryPathFront, async ({ front, open }) => {
      const registry = open({ username: "", password: "" });
      expect(await codeOf(registry.resolve(NAME, "oci", { signal }))).toBe("BAD_CREDENTIALS");
      expect(front.lines().some((line) => line.includes(`/api/docker/${LOCAL}/v2/token?`))).toBe(true);
    }));
});
