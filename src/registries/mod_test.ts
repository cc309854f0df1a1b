import { describe, expect, it } from "vitest";
import { BackoffClock } from "../../tests/fakes/clock.ts";
import { RecordingLogger } from "../../tests/fakes/logger.ts";
import { type Exchange, ScriptedRegistry } from "../../tests/fakes/scripted_registry.ts";
import { CR_TYPES } from "../config/schema.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Registry, RegistryCredentials } from "../core/ports.ts";
import { buildAttestation, buildImage, buildIndex, sha256Digest } from "../lib/oci_builder.ts";
import { apiUrl } from "./endpoint.ts";
import { type ClosableRegistryProvider, createRegistryProvider, REGISTRY_TYPES, type RegistryOptions } from "./mod.ts";
import { codeOf, collect } from "./registry_suite.ts";

const signal = new AbortController().signal;
const LOGIN = { username: "user", password: "canary-password" };
const BASIC = `Basic ${btoa("user:canary-password")}`;
const REALM = "https://auth.example/token";
const BEARER = `Bearer realm="${REALM}",service="registry.example"`;

function provider(
  script: ScriptedRegistry,
  options: RegistryOptions = {},
  clock = new BackoffClock([LIMITS.responseTimeoutMs]),
): ClosableRegistryProvider {
  const settings = { authHosts: ["auth.example"], ...options };
  return createRegistryProvider({ transport: script, clock, logger: new RecordingLogger(), options: settings });
}

function open(
  script: ScriptedRegistry,
  credentials: Partial<RegistryCredentials> = {},
  options: RegistryOptions = {},
  clock?: BackoffClock,
): Registry {
  return provider(script, options, clock).open({ type: "oci", base: "registry.example", ...LOGIN, ...credentials });
}

function challenge(match: string, header: string, more: Partial<Exchange> = {}): Exchange {
  return {
    match,
    headers: { authorization: null },
    reply: { status: 401, headers: { "www-authenticate": header } },
    ...more,
  };
}

function token(query: string, value: string, more: Record<string, unknown> = {}): Exchange {
  return {
    match: `GET ${REALM}?service=registry.example&${query}&account=user`,
    headers: { authorization: BASIC },
    reply: { body: { token: value, expires_in: 300, ...more } },
    once: true,
  };
}

const A_PULL = "scope=repository%3Aa%3Apull";
const TAGS = "GET /v2/a/tags/list?n=1000";
const tagsReply = { body: { name: "a", tags: ["1"] } };

describe("REGISTRY_TYPES", () => {
  it("has every type that the configuration knows, under its own name", () => {
    expect(Object.keys(REGISTRY_TYPES).toSorted()).toEqual([...CR_TYPES].toSorted());
    for (const [name, flavour] of Object.entries(REGISTRY_TYPES)) expect(flavour.type).toBe(name);
  });

  it.each<readonly [keyof typeof REGISTRY_TYPES, string, string, string]>([
    ["docker-hub", "", "nginx", "https://registry-1.docker.io/v2/library/nginx"],
    ["docker-hub", "undefined", "org/app", "https://registry-1.docker.io/v2/org/app"],
    ["docker-hub", "https://index.docker.io/v1/", "nginx", "https://registry-1.docker.io/v2/library/nginx"],
    ["docker-hub", "hub.docker.com", "nginx", "https://registry-1.docker.io/v2/library/nginx"],
    ["docker-hub", "mirror.example:5000", "nginx", "https://mirror.example:5000/v2/library/nginx"],
    [
      "artifactory-cr",
      "h.example/artifactory/api/docker/local",
      "app",
      "https://h.example/artifactory/api/docker/local/v2/app",
    ],
    ["nexus-cr", "http://h.example:8081/repository/docker", "app", "http://h.example:8081/repository/docker/v2/app"],
    ["github-cr", "ghcr.io/Owner", "app", "https://ghcr.io/v2/owner/app"],
    ["github-cr", "ghcr.io", "owner/app", "https://ghcr.io/v2/owner/app"],
    ["gitlab-cr", "registry.gitlab.com", "g/p/app", "https://registry.gitlab.com/v2/g/p/app"],
    ["digitalocean-cr", "registry.digitalocean.com/mine", "app", "https://registry.digitalocean.com/v2/mine/app"],
    ["google-artifact-cr", "europe-docker.pkg.dev/p/r", "app", "https://europe-docker.pkg.dev/v2/p/r/app"],
    ["gcr", "eu.gcr.io", "p/app", "https://eu.gcr.io/v2/p/app"],
    ["acr", "Mine.azurecr.io", "app", "https://mine.azurecr.io/v2/app"],
    ["quay-cr", "quay.io", "org/app", "https://quay.io/v2/org/app"],
    ["harbor-cr", "h.example", "project/app", "https://h.example/v2/project/app"],
    ["docker-registry", "http://h.example:5000/prefix/", "app", "http://h.example:5000/prefix/v2/app"],
  ])("%s at %j finds %s", (type, base, repository, url) => {
    const flavour = REGISTRY_TYPES[type];
    const endpoint = flavour.endpoint({ type, base });
    expect(apiUrl(endpoint, flavour.wireName(endpoint, repository)).href).toBe(url);
  });

  it("says that ecr does not work yet", () => {
    const script = new ScriptedRegistry([]);
    try {
      provider(script).open({ type: "ElasticCR", base: "", roleArn: "arn" });
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({
        code: "CONFIG_INVALID",
        message: "Cannot open the registry: type ecr is not supported yet",
      });
    }
  });
});

describe("createRegistryProvider()", () => {
  it("keeps one client per credentials, and forgets the least recently used", () => {
    const registries = provider(new ScriptedRegistry([]));
    const at = (n: number): Registry => registries.open({ type: "oci", base: "h.example", username: `u${n}` });
    const first = at(0);
    expect(at(0)).toBe(first);
    const second = at(1);
    for (let n = 2; n < LIMITS.registryClients; n++) at(n);
    expect(at(0)).toBe(first);
    at(LIMITS.registryClients);
    expect(at(0)).toBe(first);
    expect(at(1)).not.toBe(second);
    registries.close();
  });

  it("opens a closed registry anew", () => {
    const registries = provider(new ScriptedRegistry([]));
    const first = registries.open({ type: "oci", base: "h.example" });
    first.close();
    expect(registries.open({ type: "oci", base: "h.example" })).not.toBe(first);
  });

  it("refuses an unknown type and an unusable address", () => {
    const registries = provider(new ScriptedRegistry([]));
    expect(() => registries.open({ type: "nonsense", base: "h" })).toThrow(OutpostError);
    expect(() => registries.open({ type: "oci", base: "" })).toThrow(/CR_BASE/);
  });
});

describe("login", () => {
  it("asks how to log in once, then fetches one token for many callers", async () => {
    const script = new ScriptedRegistry([
      challenge("GET /v2/", BEARER, { once: true }),
      token(A_PULL, "t1"),
      { match: TAGS, headers: { authorization: "Bearer t1" }, reply: tagsReply },
    ]);
    const registry = open(script);
    await collect(registry.tags("a", signal));
    await Promise.all(Array.from({ length: 5 }, () => collect(registry.tags("a", signal))));
    script.assertDone();
  });

  it("sends Basic only after it was asked for, and never without credentials", async () => {
    const script = new ScriptedRegistry([
      challenge("GET /v2/", 'BASIC realm="Sonatype Nexus"', { once: true }),
      { match: TAGS, headers: { authorization: BASIC }, reply: tagsReply, once: true },
    ]);
    expect(await collect(open(script).tags("a", signal))).toEqual(["1"]);
    script.assertDone();
    const anonymous = new ScriptedRegistry([challenge(TAGS, 'Basic realm="x"', { once: true })]);
    expect(await codeOf(collect(open(anonymous, { username: "", password: "" }).tags("a", signal)))).toBe(
      "BAD_CREDENTIALS",
    );
    anonymous.assertDone();
  });

  it("sends Basic at once where a type prefers it", async () => {
    const script = new ScriptedRegistry([{
      match: TAGS,
      headers: { authorization: BASIC },
      reply: tagsReply,
      once: true,
    }]);
    await collect(open(script, { type: "nexus-cr" }).tags("a", signal));
    script.assertDone();
  });

  it("fetches an anonymous token without a login", async () => {
    const script = new ScriptedRegistry([
      challenge(TAGS, BEARER, { once: true }),
      {
        match: `GET ${REALM}?service=registry.example&${A_PULL}`,
        headers: { authorization: null },
        reply: { body: { access_token: "anonymous" } },
        once: true,
      },
      { match: TAGS, headers: { authorization: "Bearer anonymous" }, reply: tagsReply, once: true },
    ]);
    expect(await collect(open(script, { username: "", password: "" }).tags("a", signal))).toEqual(["1"]);
    script.assertDone();
  });

  it("R8: renews a token before it expires, and after five minutes at the latest", async () => {
    const clock = new BackoffClock([LIMITS.responseTimeoutMs]);
    const script = new ScriptedRegistry([
      challenge("GET /v2/", BEARER, { once: true }),
      token(A_PULL, "t1", { expires_in: 3600 }),
      token(A_PULL, "t2", { expires_in: undefined }),
      token(A_PULL, "t3"),
      { match: TAGS, reply: tagsReply },
    ]);
    const registry = open(script, {}, {}, clock);
    const sent = async (): Promise<string | null | undefined> => {
      await collect(registry.tags("a", signal));
      return script.requests.at(-1)?.headers.get("authorization");
    };
    expect(await sent()).toBe("Bearer t1");
    await clock.advance(LIMITS.tokenLifetimeMs - LIMITS.tokenMarginMs - 1);
    expect(await sent()).toBe("Bearer t1");
    await clock.advance(1);
    expect(await sent()).toBe("Bearer t2");
    await clock.advance(LIMITS.tokenDefaultLifetimeMs - LIMITS.tokenMarginMs - 1);
    expect(await sent()).toBe("Bearer t2");
    await clock.advance(1);
    expect(await sent()).toBe("Bearer t3");
    script.assertDone();
  });

  it("R8: refreshes once when the registry refuses a kept token", async () => {
    const script = new ScriptedRegistry([
      challenge("GET /v2/", BEARER, { once: true }),
      token(A_PULL, "t1"),
      token(A_PULL, "t2"),
      { match: TAGS, headers: { authorization: "Bearer t1" }, reply: tagsReply, once: true },
      {
        match: TAGS,
        headers: { authorization: "Bearer t1" },
        reply: { status: 401, headers: { "www-authenticate": `${BEARER},error="invalid_token"` } },
      },
      { match: TAGS, headers: { authorization: "Bearer t2" }, reply: tagsReply, once: true },
    ]);
    const registry = open(script);
    await collect(registry.tags("a", signal));
    expect(await collect(registry.tags("a", signal))).toEqual(["1"]);
    script.assertDone();
  });

  it("R8: asks for a wider scope once, the registry's own first", async () => {
    const wanted = 'scope="repository:a:metadata_read",error="insufficient_scope"';
    const script = new ScriptedRegistry([
      challenge("GET /v2/", BEARER, { once: true }),
      token(A_PULL, "t1"),
      {
        match: TAGS,
        headers: { authorization: "Bearer t1" },
        reply: { status: 401, headers: { "www-authenticate": `${BEARER},${wanted}` } },
        once: true,
      },
      token(`scope=repository%3Aa%3Ametadata_read&${A_PULL}`, "t2"),
      { match: TAGS, headers: { authorization: "Bearer t2" }, reply: tagsReply, once: true },
    ]);
    expect(await collect(open(script).tags("a", signal))).toEqual(["1"]);
    script.assertDone();
  });

  it("tries Basic once when a fresh token is refused and Basic is offered too", async () => {
    const both = `${BEARER}, Basic realm="x"`;
    const script = new ScriptedRegistry([
      challenge("GET /v2/", both, { once: true }),
      token(A_PULL, "t1"),
      {
        match: TAGS,
        headers: { authorization: "Bearer t1" },
        reply: { status: 401, headers: { "www-authenticate": both } },
        once: true,
      },
      { match: TAGS, headers: { authorization: BASIC }, reply: tagsReply, once: true },
    ]);
    expect(await collect(open(script).tags("a", signal))).toEqual(["1"]);
    script.assertDone();
  });

  it("learns that one part of a registry wants another login (Harbor's catalog)", async () => {
    const script = new ScriptedRegistry([
      challenge("GET /v2/", BEARER, { once: true }),
      token("scope=registry%3Acatalog%3A*", "t1"),
      {
        match: "GET /v2/_catalog",
        headers: { authorization: "Bearer t1" },
        reply: { status: 401, headers: { "www-authenticate": 'Basic realm="harbor"' } },
        once: true,
      },
      { match: "GET /v2/_catalog", headers: { authorization: BASIC }, reply: { body: { repositories: ["p/a"] } } },
      token(A_PULL, "t2"),
      { match: TAGS, headers: { authorization: "Bearer t2" }, reply: tagsReply, once: true },
    ]);
    const registry = open(script);
    expect(await collect(registry.repositories(signal))).toEqual(["p/a"]);
    expect(await collect(registry.tags("a", signal))).toEqual(["1"]);
    expect(await collect(registry.repositories(signal))).toEqual(["p/a"]);
    script.assertDone();
  });

  it("R8: gives up after a bounded number of logins", async () => {
    const again = { status: 401, headers: { "www-authenticate": `${BEARER},error="invalid_token"` } };
    const script = new ScriptedRegistry([
      challenge("GET /v2/", BEARER, { once: true }),
      token(A_PULL, "t1"),
      { match: TAGS, reply: again },
    ]);
    expect(await codeOf(collect(open(script).tags("a", signal)))).toBe("REPO_FORBIDDEN");
    expect(script.requests.length).toBe(3);
    script.assertDone();
  });

  it("falls back to Basic when the token server has no such service", async () => {
    const script = new ScriptedRegistry([
      challenge("GET /v2/", `${BEARER}, Basic realm="x"`, { once: true }),
      { match: `GET ${REALM}`, reply: { status: 404 }, once: true },
      { match: `POST ${REALM}`, reply: { status: 405 }, once: true },
      { match: TAGS, headers: { authorization: BASIC }, reply: tagsReply, once: true },
    ]);
    expect(await collect(open(script).tags("a", signal))).toEqual(["1"]);
    script.assertDone();
  });

  it("uses POST where GET is not served, and first for a refresh token", async () => {
    const script = new ScriptedRegistry([
      challenge("GET /v2/", BEARER, { once: true }),
      { match: `GET ${REALM}`, reply: { status: 405 }, once: true },
      { match: `POST ${REALM}`, headers: { authorization: null }, reply: { body: { access_token: "t" } }, once: true },
      { match: TAGS, headers: { authorization: "Bearer t" }, reply: tagsReply, once: true },
    ]);
    await collect(open(script).tags("a", signal));
    expect(Object.fromEntries(new URLSearchParams(script.requests[2]?.body))).toEqual({
      grant_type: "password",
      username: "user",
      password: "canary-password",
      client_id: "outpost",
      service: "registry.example",
      scope: "repository:a:pull",
    });
    script.assertDone();
    const refresh = new ScriptedRegistry([
      challenge("GET /v2/", BEARER, { once: true }),
      { match: `POST ${REALM}`, reply: { body: { access_token: "t" } }, once: true },
      { match: TAGS, reply: tagsReply, once: true },
    ]);
    await collect(open(refresh, { username: "<token>", password: "r" }).tags("a", signal));
    expect(new URLSearchParams(refresh.requests[1]?.body).get("refresh_token")).toBe("r");
    refresh.assertDone();
  });

  it.each([
    ["https://evil.example/token", "UNSAFE_REALM"],
    ["http://registry.example:81/token", "UNSAFE_REALM"],
    ["https://169.254.169.254/token", "UNSAFE_REALM"],
    ["https://127.0.0.1/token", "UNSAFE_REALM"],
    ["token", "REGISTRY_PROTOCOL"],
  ])("R8, X7: sends no password to %s", async (realm, code) => {
    const script = new ScriptedRegistry([challenge("GET /v2/", `Bearer realm="${realm}"`, { once: true })]);
    expect(await codeOf(collect(open(script, {}, { authHosts: [] }).tags("a", signal)))).toBe(code);
    script.assertDone();
  });

  it.each<readonly [string, Exchange["reply"], string]>([
    ["a wrong password", { status: 401, body: { details: "incorrect username or password" } }, "BAD_CREDENTIALS"],
    ["an answer without token", { body: { expires_in: 5 } }, "REGISTRY_PROTOCOL"],
    ["a token with a line end", { body: { token: "a\r\nx-evil: 1" } }, "REGISTRY_PROTOCOL"],
    ["a web page", { body: "<html>", headers: { "content-type": "text/html" } }, "NOT_A_REGISTRY"],
    ["more than a megabyte", { body: { token: "x".repeat(LIMITS.tokenBodyBytes) } }, "LIMIT_EXCEEDED"],
    [
      "a redirect that ends at another server",
      { status: 302, headers: { location: "https://sso.example/login" } },
      "LOGIN_PAGE",
    ],
    ["a failure", { status: 503 }, "REGISTRY_ERROR"],
  ])("R8: says what %s of the token server means", async (_, reply, code) => {
    const script = new ScriptedRegistry([
      challenge("GET /v2/", BEARER),
      { match: `GET ${REALM}`, reply },
      { match: "GET https://sso.example/login", headers: { authorization: null }, reply: { body: "<html>login" } },
    ]);
    const error = await collect(open(script).tags("a", signal)).catch((thrown: OutpostError) => thrown);
    expect(error).toMatchObject({ code });
    expect(JSON.stringify(error) + String(error)).not.toContain("canary");
    script.assertDone();
  });

  it("X7: answers no challenge of a server that it was redirected to", async () => {
    const script = new ScriptedRegistry([
      { match: "GET /v2/", reply: { body: "{}" }, once: true },
      { match: TAGS, reply: { status: 307, headers: { location: "https://other.example/tags" } }, once: true },
      challenge("GET https://other.example/tags", `Basic realm="give"`, { once: true }),
    ]);
    expect(await codeOf(collect(open(script).tags("a", signal)))).toBe("BAD_CREDENTIALS");
    script.assertDone();
  });

  it("does not cancel a token that others wait for", async () => {
    const release = Promise.withResolvers<void>();
    const script = new ScriptedRegistry([
      challenge("GET /v2/", BEARER, { once: true }),
      {
        match: `GET ${REALM}`,
        reply: async () => {
          await release.promise;
          return Response.json({ token: "t" });
        },
        once: true,
      },
      { match: TAGS, reply: tagsReply },
    ]);
    const registry = open(script);
    const aborter = new AbortController();
    const first = codeOf(collect(registry.tags("a", aborter.signal)));
    const second = collect(registry.tags("a", signal));
    while (!script.lines.some((line) => line.startsWith(`GET ${REALM}`))) {
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    aborter.abort();
    expect(await first).toBe("CANCELLED");
    release.resolve();
    expect(await second).toEqual(["1"]);
  });
});

describe("lists", () => {
  const anonymous = { username: "", password: "" };

  it("keeps the names of the configured namespace", async () => {
    const script = new ScriptedRegistry([{
      match: "GET /v2/_catalog",
      reply: { body: { repositories: ["mine/a", "other/b", "mine/c"] } },
    }]);
    expect(
      await collect(
        open(script, { ...anonymous, type: "quay-cr", base: "registry.example/mine" }).repositories(signal),
      ),
    ).toEqual(["mine/a", "mine/c"]);
  });

  it("does not take an empty list of a type without list for the truth", async () => {
    const script = new ScriptedRegistry([{ match: "GET /v2/_catalog", reply: { body: { repositories: [] } } }]);
    expect(await codeOf(collect(open(script, { ...anonymous, type: "google-artifact-cr" }).repositories(signal)))).toBe(
      "CATALOG_UNSUPPORTED",
    );
    expect(await collect(open(script, anonymous).repositories(signal))).toEqual([]);
  });

  it("goes down to the page size that ECR takes", async () => {
    const refused = {
      status: 405,
      body: {
        errors: [{
          code: "UNSUPPORTED",
          message:
            "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must have value less than or equal to 1000'",
        }],
      },
    };
    const script = new ScriptedRegistry([
      { match: TAGS, reply: refused, once: true },
      { match: "GET /v2/a/tags/list?n=100", reply: tagsReply, once: true },
    ]);
    expect(await collect(open(script, anonymous).tags("a", signal))).toEqual(["1"]);
    script.assertDone();
  });

  it.each<readonly [string, Exchange["reply"]]>([
    ["no JSON", { body: "nonsense" }],
    ["another shape", { body: { tags: { a: 1 } } }],
    ["an array", { body: "[]" }],
  ])("refuses a page that is %s", async (_, reply) => {
    const script = new ScriptedRegistry([{ match: TAGS, reply }]);
    expect(await codeOf(collect(open(script, anonymous).tags("a", signal)))).toBe("REGISTRY_PROTOCOL");
  });

  it("asks four tags at a time for their digests, takes dates where there are some, and falls back to GET", async () => {
    const tags = Array.from({ length: 30 }, (_, at) => `t${at}`);
    const image = buildImage({ layers: [] });
    const bytes = image.blobs.get(image.descriptor.digest) ?? new Uint8Array(0);
    const script = new ScriptedRegistry([
      { match: TAGS, reply: { body: { tags } } },
      { match: "HEAD /v2/a/manifests/t1", reply: { status: 405 } },
      { match: "HEAD /v2/a/manifests/t2", reply: { status: 404 } },
      { match: "GET /v2/a/manifests/t1", reply: { body: bytes } },
      { match: "GET /v2/a/manifests/t2", reply: { status: 404, body: { errors: [{ code: "MANIFEST_UNKNOWN" }] } } },
      ...tags.map((tag): Exchange => ({
        match: `HEAD /v2/a/manifests/${tag}`,
        reply: async () => {
          await new Promise((resolve) => setTimeout(resolve, 0));
          const headers = { "docker-content-digest": sha256Digest(new TextEncoder().encode(tag)) };
          return new Response(null, {
            headers: tag === "t3" ? { ...headers, "last-modified": "Wed, 10 Oct 2018 12:24:24 GMT" } : headers,
          });
        },
      })),
    ]);
    const infos = await collect(open(script, anonymous).tagsWithMetadata("a", signal));
    expect(infos.map(({ tag }) => tag)).toEqual(tags);
    expect(infos.slice(1, 4)).toEqual([
      { tag: "t1", digest: image.descriptor.digest, lastPushed: null },
      { tag: "t2", digest: null, lastPushed: null },
      { tag: "t3", digest: sha256Digest(new TextEncoder().encode("t3")), lastPushed: "2018-10-10T12:24:24.000Z" },
    ]);
    expect(script.mostInFlight).toBe(LIMITS.metadataRequests);
    script.assertDone();
  });

  it("ends a listing of digests when the registry limits requests", async () => {
    const script = new ScriptedRegistry([
      { match: TAGS, reply: { body: { tags: ["1", "2"] } } },
      { match: "HEAD /v2/a/manifests/1", reply: { status: 429, headers: { "retry-after": "3600" } } },
      { match: "HEAD /v2/a/manifests/2", reply: { status: 429, headers: { "retry-after": "3600" } } },
    ]);
    await expect(collect(open(script, anonymous).tagsWithMetadata("a", signal))).rejects.toMatchObject({
      code: "RATE_LIMITED",
      status: 429,
    });
  });
});

describe("images", () => {
  const anonymous = { username: "", password: "" };
  const image = buildImage({ layers: [{ members: [{ path: "a", content: "a" }] }] });
  const { manifest } = image;
  const json = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value));

  function scriptFor(
    body: Uint8Array<ArrayBuffer>,
    headers: Record<string, string> = {},
    more: readonly Exchange[] = [],
  ): ScriptedRegistry {
    return new ScriptedRegistry([
      { match: "GET /v2/a/manifests/1", reply: { body, headers } },
      {
        match: `GET /v2/a/blobs/${manifest.config.digest}`,
        reply: { body: image.blobs.get(manifest.config.digest) ?? new Uint8Array(0) },
      },
      ...more,
    ]);
  }

  it("R4: refuses a manifest that is not what its digest says", async () => {
    const digest = `sha256:${"1".repeat(64)}`;
    const byHeader = scriptFor(json(manifest), { "docker-content-digest": digest });
    expect(await codeOf(open(byHeader, anonymous).image("a", "1", { signal }))).toBe("INTEGRITY");
    const byReference = new ScriptedRegistry([{
      match: `GET /v2/a/manifests/${digest}`,
      reply: { body: json(manifest) },
    }]);
    expect(await codeOf(open(byReference, anonymous).image("a", digest, { signal }))).toBe("INTEGRITY");
  });

  it("R4: refuses a configuration with one flipped bit", async () => {
    const bytes = (image.blobs.get(manifest.config.digest) ?? new Uint8Array(0)).slice();
    bytes[5] = (bytes[5] ?? 0) ^ 1;
    const script = new ScriptedRegistry([
      { match: "GET /v2/a/manifests/1", reply: { body: json(manifest) } },
      { match: `GET /v2/a/blobs/${manifest.config.digest}`, reply: { body: bytes } },
    ]);
    expect(await codeOf(open(script, anonymous).image("a", "1", { signal }))).toBe("INTEGRITY");
  });

  it("R10: refuses a configuration over the limit without fetching it", async () => {
    const script = scriptFor(json({ ...manifest, config: { ...manifest.config, size: LIMITS.configBytes + 1 } }));
    expect(await codeOf(open(script, anonymous).image("a", "1", { signal }))).toBe("LIMIT_EXCEEDED");
    expect(script.lines).toEqual(["GET /v2/a/manifests/1"]);
  });

  it("R10: names foreign and encrypted layers as problems, keeps foreign ones that the registry has, and the diff IDs in step", async () => {
    const absent = {
      mediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
      digest: `sha256:${"2".repeat(64)}`,
      size: 5,
      urls: ["https://mcr.example/x"],
    };
    const present = { ...absent, digest: `sha256:${"3".repeat(64)}` };
    const encrypted = {
      mediaType: "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
      digest: `sha256:${"4".repeat(64)}`,
      size: 5,
    };
    const config = json({
      ...image.config,
      rootfs: { type: "layers", diff_ids: ["a", "b", "c", "d"].map((c) => `sha256:${c.repeat(64)}`) },
    });
    const layers = [absent, present, encrypted, ...manifest.layers];
    const built = {
      ...manifest,
      layers,
      config: { ...manifest.config, digest: sha256Digest(config), size: config.length },
    };
    const script = new ScriptedRegistry([
      { match: "GET /v2/a/manifests/1", reply: { body: json(built) } },
      { match: `GET /v2/a/blobs/${sha256Digest(config)}`, reply: { body: config } },
      { match: `HEAD /v2/a/blobs/${absent.digest}`, reply: { status: 404 } },
      { match: `HEAD /v2/a/blobs/${present.digest}`, reply: {} },
    ]);
    const opened = await open(script, anonymous).image("a", "1", { signal });
    expect(opened.problems.map(({ code, subject }) => [code, subject])).toEqual([["UNSUPPORTED_IMAGE", absent.digest], [
      "UNSUPPORTED_IMAGE",
      encrypted.digest,
    ]]);
    expect(opened.layers.map(({ name, diffId }) => [name, diffId])).toEqual([
      [present.digest, `sha256:${"b".repeat(64)}`],
      [manifest.layers[0]?.digest, `sha256:${"d".repeat(64)}`],
    ]);
    script.assertDone();
  });

  it("R10: follows indexes down to LIMITS.indexDepth", async () => {
    const two = buildIndex([buildIndex([image])]);
    const three = buildIndex([two]);
    const script = new ScriptedRegistry(
      [two, three].flatMap(({ blobs, manifests }) =>
        manifests.map(({ digest }): Exchange => ({
          match: `GET /v2/a/manifests/${digest}`,
          reply: { body: blobs.get(digest) ?? new Uint8Array(0) },
        }))
      ),
    );
    const registry = open(script, anonymous);
    expect((await registry.resolve("a", two.descriptor.digest, { signal })).digests.manifest).toBe(
      image.descriptor.digest,
    );
    expect(await codeOf(registry.resolve("a", three.descriptor.digest, { signal }))).toBe("LIMIT_EXCEEDED");
  });

  it("R10: refuses an index entry that is an index under a manifest's type, and a configuration that is none", async () => {
    const inner = buildIndex([image]);
    const outer = json({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.index.v1+json",
      manifests: [{ ...inner.descriptor, mediaType: manifest.mediaType }],
    });
    const script = new ScriptedRegistry([
      { match: "GET /v2/a/manifests/1", reply: { body: outer } },
      {
        match: `GET /v2/a/manifests/${inner.descriptor.digest}`,
        reply: { body: inner.blobs.get(inner.descriptor.digest) ?? new Uint8Array(0) },
      },
    ]);
    expect(await codeOf(open(script, anonymous).image("a", "1", { signal }))).toBe("REGISTRY_PROTOCOL");

    const text = json("no object");
    const odd = json({ ...manifest, config: { ...manifest.config, digest: sha256Digest(text), size: text.length } });
    const broken = new ScriptedRegistry([
      { match: "GET /v2/a/manifests/1", reply: { body: odd } },
      { match: `GET /v2/a/blobs/${sha256Digest(text)}`, reply: { body: text } },
    ]);
    expect(await codeOf(open(broken, anonymous).image("a", "1", { signal }))).toBe("UNSUPPORTED_IMAGE");
  });

  it("says that an attestation cannot be read, instead of leaving it out", async () => {
    const attestation = buildAttestation(image, [{ predicateType: "https://slsa.dev/provenance/v1" }]);
    const index = buildIndex([image, attestation]);
    const [statement] = attestation.manifest.layers;
    const script = new ScriptedRegistry([
      ...index.manifests.map(({ digest }): Exchange => ({
        match: `GET /v2/a/manifests/${digest}`,
        reply: { body: index.blobs.get(digest) ?? new Uint8Array(0) },
      })),
      {
        match: `GET /v2/a/blobs/${manifest.config.digest}`,
        reply: { body: image.blobs.get(manifest.config.digest) ?? new Uint8Array(0) },
      },
      { match: `GET /v2/a/blobs/${statement?.digest}`, reply: { body: new Uint8Array(statement?.size ?? 0) } },
    ]);
    const opened = await open(script, anonymous).image("a", index.descriptor.digest, { signal });
    expect(await codeOf(opened.attestations(signal))).toBe("INTEGRITY");
  });

  it("R1: repeats what failed for a moment, on every kind of call", async () => {
    const flaky = (
      match: string,
      reply: Exchange["reply"],
    ): readonly Exchange[] => [{ match, reply: { status: 503 }, once: true }, { match, reply, once: true }];
    const config = image.blobs.get(manifest.config.digest) ?? new Uint8Array(0);
    const script = new ScriptedRegistry([
      ...flaky("GET /v2/", { status: 401, headers: { "www-authenticate": BEARER } }),
      ...flaky(`GET ${REALM}`, { body: { token: "t" } }),
      ...flaky("GET /v2/a/manifests/1", { body: json(manifest) }),
      ...flaky(`GET /v2/a/blobs/${manifest.config.digest}`, { body: config }),
    ]);
    expect((await open(script).image("a", "1", { signal })).config).toEqual(image.config);
    script.assertDone();
  });
});

describe("validate()", () => {
  it.each<readonly [string, readonly Exchange[], Record<string, unknown>, string]>([
    ["a web server", [{ match: "GET /v2/", reply: { status: 404, body: "<html>" } }], {
      ok: false,
      code: "NOT_A_REGISTRY",
      status: 404,
    }, "api"],
    [
      "a web page with 200",
      [{ match: "GET /v2/", reply: { body: "<!doctype html>", headers: { "content-type": "text/html" } } }],
      { ok: false, code: "NOT_A_REGISTRY", status: 502 },
      "api",
    ],
    [
      "a login page",
      [{ match: "GET /v2/", reply: { status: 302, headers: { location: "https://sso.example/login" } } }, {
        match: "GET https://sso.example/login",
        reply: { body: "<html>" },
      }],
      { ok: false, code: "LOGIN_PAGE", status: 502 },
      "api",
    ],
    ["a failing registry", [{ match: "GET /v2/", reply: { status: 503 } }], {
      ok: false,
      code: "REGISTRY_ERROR",
      status: 502,
    }, "api"],
    [
      "a limit",
      [{ match: "GET /v2/", reply: { status: 429 } }],
      { ok: false, code: "RATE_LIMITED", status: 429 },
      "api",
    ],
    [
      "a registry without list",
      [{ match: "GET /v2/", reply: { body: "true" } }, {
        match: "GET /v2/_catalog",
        reply: { status: 404, body: "404 page not found" },
      }],
      { ok: true, status: 200 },
      "list",
    ],
    [
      "an empty registry",
      [{ match: "GET /v2/", reply: { body: "" } }, {
        match: "GET /v2/_catalog",
        reply: { body: { repositories: null } },
      }],
      { ok: true, status: 200 },
      "list",
    ],
  ])("of %s", async (_, script, report, last) => {
    const played = new ScriptedRegistry(script);
    const found = await open(played, { username: "", password: "" }).validate(signal);
    expect(found).toMatchObject(report);
    expect(found.steps.at(-1)?.step).toBe(last);
    if (!found.ok) expect(found.steps.at(-1)).toMatchObject({ ok: false, message: found.message });
    played.assertDone();
  });

  it("rejects only when it is cancelled", async () => {
    const registry = open(new ScriptedRegistry([]));
    expect(await codeOf(registry.validate(AbortSignal.abort()))).toBe("CANCELLED");
  });
});
