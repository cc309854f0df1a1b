import { describe, expect, it } from "vitest";
import { conformanceSuite } from "../../tests/fronts/conformance_suite.ts";
import { basicFront, distributionFront, openFront } from "../../tests/fronts/docker_registry_front.ts";
import { withSubject } from "../../tests/fronts/subject.ts";
import { peersAvailable } from "../../tests/peers/mod.ts";
import { LIMITS } from "../core/limits.ts";
import { collect } from "./registry_suite.ts";

const signal = new AbortController().signal;

conformanceSuite(distributionFront);
conformanceSuite(basicFront);
conformanceSuite(openFront);

describe.skipIf(!peersAvailable("docker-registry"))("a plain registry", () => {
  it("gives 1,000 tags with metadata for 1,003 requests, 4 at a time", () =>
    withSubject(distributionFront, async ({ front, open, repository, tagged }) => {
      const tags = Array.from({ length: 1000 }, (_, at) => `v${at}`);
      tagged(tags);
      const found = await collect(open().tagsWithMetadata(repository(1), signal));
      expect(found.map(({ tag }) => tag).toSorted()).toEqual(tags.toSorted());
      expect(new Set(found.map(({ digest }) => digest)).size).toBe(1);
      const lines = front.lines();
      expect(lines.length).toBeLessThanOrEqual(1003);
      expect(lines.filter((line) => line.includes("HEAD"))).toHaveLength(1000);
      expect(lines.filter((line) => line.startsWith("auth "))).toHaveLength(1);
      expect(front.mostInFlight).toBe(LIMITS.requestsPerHost);
    }));

  it("logs in without a wasted request", () =>
    withSubject(distributionFront, async ({ front, open, repository }) => {
      await open().resolve(repository(0), "oci", { signal });
      const scope = encodeURIComponent(`repository:${repository(0)}:pull`);
      expect(front.lines()).toEqual([
        "registry GET /v2/",
        `auth GET /token?service=registry.example&scope=${scope}&account=reader`,
        `registry GET /v2/${repository(0)}/manifests/oci`,
      ]);
    }));
});
