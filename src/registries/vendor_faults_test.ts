import { describe, expect, it } from "vitest";
import { expectSecretsKept } from "../../tests/fronts/custody.ts";
import {
  answers,
  badGateway,
  cutAfter,
  type Fault,
  linkTo,
  loginPage,
  redirectLoop,
  redirectTo,
  setsCookie,
  tooManyRequests,
} from "../../tests/fronts/faults.ts";
import { digitaloceanFront } from "../../tests/fronts/digitalocean_front.ts";
import { dockerHubFront } from "../../tests/fronts/docker_hub_front.ts";
import type { FrontDefinition } from "../../tests/fronts/front.ts";
import { githubFront } from "../../tests/fronts/github_front.ts";
import { gitlabFront } from "../../tests/fronts/gitlab_front.ts";
import { gcrFront, googleArtifactFront } from "../../tests/fronts/google_front.ts";
import { nexusFront } from "../../tests/fronts/nexus_front.ts";
import { quayFront } from "../../tests/fronts/quay_front.ts";
import { type Subject, withSubject } from "../../tests/fronts/subject.ts";
import { peersAvailable } from "../../tests/peers/mod.ts";
import { LIMITS } from "../core/limits.ts";
import type { TagInfo } from "../core/types.ts";
import { codeOf, collect } from "./registry_suite.ts";

const signal = new AbortController().signal;

interface Vendor {
  readonly definition: FrontDefinition;
  /** Requests of the repository list. */
  readonly lists: RegExp;
  /** Requests that give tags with their dates. */
  readonly tags: RegExp;
}

const GOOGLE = { lists: /^api GET .*\/packages\?/, tags: /^registry GET .*\/tags\/list$/ } as const;

const VENDORS = ([
  { definition: githubFront, lists: /^api GET \/orgs\/octo\/packages\?/, tags: /^api GET .*\/versions\?/ },
  { definition: gitlabFront, lists: /^gitlab GET \/api\/v4\/groups/, tags: /^registry GET \/gitlab\/v1\// },
  { definition: quayFront, lists: /^registry GET \/api\/v1\/repository\?/, tags: /^registry GET .*\/tag\// },
  {
    definition: { ...dockerHubFront, options: { namespaces: ["acme"] } },
    lists: /^hub GET \/v2\/namespaces\/acme\/repositories\?/,
    tags: /^hub GET .*\/tags\?/,
  },
  {
    definition: digitaloceanFront,
    lists: /^api GET \/v2\/regist(?:ries|ry)\/mine\/repositoriesV2/,
    tags: /^api GET .*\/tags\?/,
  },
  { definition: googleArtifactFront, ...GOOGLE },
  { definition: gcrFront, ...GOOGLE },
  { definition: nexusFront, lists: /^registry GET .*\/_catalog/, tags: /^registry GET .*\/rest\/v1\/search/ },
] as const satisfies readonly Vendor[]).map((vendor) => [vendor.definition.type, vendor] as const);

/** What a link to another host ends in. */
const AFTER_LINK: Readonly<Record<string, string>> = {
  "github-cr": "REGISTRY_PROTOCOL",
  // The catalog is asked next.
  "gitlab-cr": "NO_CATALOG_PERMISSION",
  // The API has no links: its cursor is in the answer.
  "quay-cr": "no error",
  "nexus-cr": "REGISTRY_PROTOCOL",
  // So are theirs, or the next page's URL, which is looked at too.
  "docker-hub": "no error",
  "digitalocean-cr": "no error",
  "google-artifact-cr": "no error",
  "gcr": "no error",
};

const JSON_TYPE = { "content-type": "application/json" };

/** Answers that are no list, as often as they may be asked for. */
const USELESS: readonly (readonly [string, Fault])[] = [
  ["a web page", answers(200, { "content-type": "text/html" }, "<!doctype html><h1>Down for maintenance</h1>")],
  ["half an answer", answers(200, JSON_TYPE, '[{"name":"oci"')],
  ["another type", answers(200, JSON_TYPE, '"oci"')],
  ["nothing", answers(200)],
  ["a failure", answers(500, JSON_TYPE, '{"message":"500 Internal Server Error"}')],
  ["a bad gateway", badGateway],
  ["a page to sign in", loginPage],
  ["a redirect loop", redirectLoop],
  ["another host", redirectTo("elsewhere")],
  ["no such path", answers(404, {}, "404 page not found")],
  ["a refusal", answers(403, JSON_TYPE, '{"message":"403 Forbidden"}')],
  ["a broken connection", cutAfter(1)],
];

function known({ front, repository }: Subject, dated: boolean): readonly TagInfo[] {
  const tags = front.library.tags(repository(0)) ?? [];
  return tags.map(({ tag, digest, pushed }) => ({ tag, digest, lastPushed: dated ? pushed : null }));
}

async function tagsOf({ open, repository }: Subject): Promise<readonly TagInfo[]> {
  const found = await collect(open().tagsWithMetadata(repository(0), signal));
  return found.toSorted((a, b) => a.tag < b.tag ? -1 : 1);
}

describe.skipIf(!peersAvailable("docker-registry"))("lists of vendors", () => {
  it.each(VENDORS)(
    "%s: goes on after what passes",
    (_, { definition, lists, tags }) =>
      withSubject(definition, async (subject) => {
        const names = subject.holds(3);
        for (const fault of [badGateway, cutAfter(1), setsCookie, tooManyRequests({ "retry-after": "3" })]) {
          subject.front.inject(lists, fault);
          expect(await collect(subject.open().repositories(signal))).toEqual(names);
          subject.front.inject(tags, fault);
          expect(await tagsOf(subject)).toEqual(known(subject, true));
        }
        expectSecretsKept(subject.front);
      }),
  );

  it.each(VENDORS)(
    "%s: gives digests and no dates when its API is of no use",
    (_, { definition, tags }) =>
      withSubject(definition, async (subject) => {
        for (const [, fault] of USELESS) {
          subject.front.inject(tags, fault, LIMITS.redirects + LIMITS.attempts);
          expect(await tagsOf(subject)).toEqual(known(subject, false));
          subject.front.reset();
        }
        expectSecretsKept(subject.front);
      }),
  );

  it.each(VENDORS)(
    "%s: never takes for a list what is none",
    (_, { definition, lists }) =>
      withSubject(definition, async (subject) => {
        const names = subject.holds(2);
        for (const [what, fault] of USELESS) {
          subject.front.inject(lists, fault, LIMITS.redirects + LIMITS.attempts);
          // Another source may have the list; what must not be is a list that lacks names.
          const found = await collect(subject.open().repositories(signal)).catch((error: unknown) => {
            expect(error, what).toMatchObject({ name: "OutpostError" });
            return names;
          });
          expect(found, what).toEqual(names);
          subject.front.reset();
        }
        expectSecretsKept(subject.front);
      }),
  );

  it.each(VENDORS)(
    "%s: says until when requests are limited",
    (_, { definition, lists, tags }) =>
      withSubject(definition, async (subject) => {
        const hint = expect.stringContaining(new Date(subject.clock.now() + 3600_000).toISOString().slice(0, 13));
        const limited = { code: "RATE_LIMITED", status: 429, hint };
        subject.front.inject(lists, tooManyRequests({ "retry-after": "3600" }));
        await expect(collect(subject.open().repositories(signal))).rejects.toMatchObject(limited);
        subject.clock.skip(LIMITS.retryMaxMs);
        subject.front.inject(tags, tooManyRequests({ "retry-after": "3600" }));
        await expect(tagsOf(subject)).rejects.toMatchObject({ code: "RATE_LIMITED" });
      }),
  );

  it.each(VENDORS)(
    "%s: follows no link to another host",
    (type, { definition, lists }) =>
      withSubject(definition, async (subject) => {
        subject.holds(2);
        subject.front.inject(lists, async (call, next) => {
          const answer = await linkTo("elsewhere")(call, next);
          answer.headers.delete("x-next-page");
          return answer;
        });
        expect(await codeOf(collect(subject.open().repositories(signal)))).toBe(AFTER_LINK[type]);
        expect(subject.front.records.filter(({ site }) => site === "elsewhere")).toEqual([]);
      }),
  );
});
