import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { LOGIN } from "../../tests/fakes/loopback.ts";
import { LIMITS } from "../core/limits.ts";
import { AppHarness, DEBIAN, MULTI, NO_JOBS, post } from "./app_suite.ts";
import { JOB_ROUTES, ROUTES } from "./openapi.ts";

describe("createApp()", () => {
  let app: AppHarness;
  beforeAll(() => {
    app = new AppHarness();
  });
  afterAll(() => app.stop());
  beforeEach(() => app.reset());

  it.each(ROUTES.map(({ method, path, answers }) => [method, path, answers] as const))(
    "answers %s %s as /openapi.json says",
    async (method, path, answers) => {
      const filled = path.replace("{repository}", "team/debian");
      const query = path === "/get-state-identifier"
        ? "?image=team/debian:12"
        : path.startsWith("/image")
        ? "?tag=12"
        : "";
      const response = await app.ask(filled + query, method === "post" ? post({ name: "team/debian:12" }) : {});
      const text = await response.text();
      expect(Object.keys(answers)[0], text).toBe(String(response.status));
      if (path !== "/metrics") expect(() => JSON.parse(text)).not.toThrow();
    },
  );

  it("describes each of its routes in /openapi.json", async () => {
    const { openapi, paths } = await (await app.ask("/openapi.json")).json();
    expect(openapi).toBe("3.1.0");
    const described = Object.entries(paths as Record<string, object>).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`)
    );
    expect(described.toSorted()).toEqual(
      [...ROUTES, ...JOB_ROUTES].map(({ method, path }) => `${method} ${path}`).toSorted(),
    );
    expect(JSON.stringify(paths["/scan"].post.requestBody)).toContain("callbackUrl");
  });

  it("lists repositories, tags and tags with digests", async () => {
    expect(await (await app.ask("/list")).json()).toEqual(["multi", "team/alpine", "team/debian"]);
    for (
      const path of ["/list/team/debian", "/list-paginated/team/debian", "/list/team%2Fdebian", "/%6cist/team/debian"]
    ) {
      expect(await (await app.ask(path)).json()).toEqual(["11", "12"]);
    }
    const [, twelve] = await (await app.ask("/list-with-metadata/team/debian")).json();
    expect(twelve).toEqual({ tag: "12", digest: DEBIAN.descriptor.digest, lastPushed: null });
  });

  it("identifies images by tag, digest and platform", async () => {
    const id = async (query: string): Promise<unknown> =>
      await (await app.ask(`/get-state-identifier?${query}`)).json();
    expect(await id("image=team/debian:12")).toEqual({ id: DEBIAN.descriptor.digest });
    expect(await id(`image=${app.registry.host}/team/debian:12`)).toEqual({ id: DEBIAN.descriptor.digest });
    const arm = MULTI.manifests[1]?.digest;
    expect(await id("image=multi&platform=linux/arm64")).toEqual({ id: arm, indexDigest: MULTI.descriptor.digest });
    expect(await id(`image=multi@${arm}`)).toEqual({ id: arm });
  });

  it("shows configuration, manifest and attestations of an image", async () => {
    for (const path of ["/image-metadata/multi", "/image-metadata/multi:latest", "/image-metadata/multi?tag=latest"]) {
      const { config, manifest, attestations } = await (await app.ask(path)).json();
      expect(config.architecture).toBe("amd64");
      expect(manifest.layers).toHaveLength(1);
      expect(attestations).toHaveLength(1);
    }
    const byDigest = await app.ask(`/image-metadata/multi?digest=${MULTI.manifests[1]?.digest}`);
    expect((await byDigest.json()).config.architecture).toBe("arm64");
  });

  it("finds nothing at other paths when there is no broker client", async () => {
    const response = await app.ask("/nothing/here", { env: { OUTPOST_ROLE: "agent" } });
    expect([response.status, (await response.json()).code]).toEqual([404, "NOT_FOUND"]);
  });

  it.each([
    ["/list/team/none", 404, "REPO_NOT_FOUND"],
    ["/list-with-metadata/team/none", 404, "REPO_NOT_FOUND"],
    ["/list/Team", 400, "REFERENCE_INVALID"],
    ["/get-state-identifier", 400, "REQUEST_INVALID"],
    ["/get-state-identifier?image=team/debian:none", 404, "TAG_NOT_FOUND"],
    ["/get-state-identifier?image=multi&platform=linux", 400, "REQUEST_INVALID"],
    ["/get-state-identifier?image=multi&platform=plan9/mips", 404, "PLATFORM_NOT_FOUND"],
    ["/image-metadata/team/debian?tag=none", 404, "TAG_NOT_FOUND"],
    ["/image-metadata/%E0%A4", 400, "REFERENCE_INVALID"],
  ])("answers %s with %d %s", async (path, status, code) => {
    const response = await app.ask(path);
    expect(response.status).toBe(status);
    expect(response.headers.get("content-type")).toContain("application/json");
    const body = await response.json();
    expect(body).toMatchObject({ code, message: expect.stringMatching(/^[A-Z].*[^.]$/) });
    expect(Object.keys(body).filter((key) => !["code", "message", "hint"].includes(key))).toEqual([]);
  });

  it("tells refused credentials", async () => {
    const headers = { authorization: app.refusedCredentials };
    const validated = await app.ask("/validate-credentials", { headers });
    expect(validated.status).toBe(401);
    const { steps, ...told } = await validated.json();
    expect(told).toMatchObject({ ok: false, code: "BAD_CREDENTIALS" });
    expect(steps.map(({ step, ok }: { step: string; ok: boolean }) => [step, ok])).toEqual([
      ["dns", true],
      ["tcp", true],
      ["api", true],
      ["login", false],
    ]);
    const listed = await app.ask("/list", { headers });
    expect(listed.status).toBe(401);
    expect(await listed.json()).toMatchObject({ code: "BAD_CREDENTIALS" });
  });

  it("passes on when to come back", async () => {
    app.registry.intercept = () => new Response("slow down", { status: 429, headers: { "retry-after": "120" } });
    const response = await app.ask("/list/team/debian");
    expect(response.status).toBe(429);
    expect(await response.json()).toMatchObject({ code: "RATE_LIMITED" });
    expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
  });

  it("masks a password that a registry repeats, in errors and in checks", async () => {
    app.registry.intercept = () =>
      Response.json({ errors: [{ code: "DENIED", message: `no ${LOGIN.password} here` }] }, { status: 403 });
    for (const path of ["/list/team/debian", "/validate-credentials", "/systemcheck"]) {
      const text = await (await app.ask(path)).text();
      expect(text).not.toContain(LOGIN.password);
      expect(() => JSON.parse(text)).not.toThrow();
    }
  });

  it("breaks a list that cannot be finished instead of ending it", async () => {
    const names = Array.from({ length: LIMITS.tagsPageSize }, (_, i) => `t${String(i).padStart(4, "0")}`);
    app.registry.intercept = (request) => {
      const url = new URL(request.url);
      if (!url.pathname.endsWith("/tags/list")) return undefined;
      if (url.searchParams.has("last")) return new Response(null, { status: 403 });
      return Response.json({ name: "x", tags: names }, { headers: { link: '<?n=1000&last=t0999>; rel="next"' } });
    };
    const response = await app.ask("/list-paginated/team/debian");
    expect(response.status).toBe(200);
    await expect(response.text()).rejects.toThrow();
  });

  it("lists no repositories with SNYK_DISABLE_LIST_REPOS, without asking", async () => {
    const before = app.registry.requests.length;
    const response = await app.ask("/list", { env: { SNYK_DISABLE_LIST_REPOS: "true" } });
    expect(await response.json()).toEqual([]);
    expect(app.registry.requests).toHaveLength(before);
    expect(await (await app.ask("/list/team/debian", { env: { SNYK_DISABLE_LIST_REPOS: "true" } })).json())
      .toHaveLength(2);
  });

  it("logs a defect as an error and reveals nothing of it", async () => {
    const jobs = { ...NO_JOBS, accept: () => Promise.reject(new TypeError("canary detail")) };
    const response = await app.ask("/scan", { ...post({ name: "multi" }), deps: { jobs } });
    expect(response.status).toBe(500);
    expect(await response.json()).toEqual({ code: "INTERNAL", message: "An internal error occurred" });
    expect(app.logger.lines.filter(({ level }) => level === "error")).toHaveLength(1);
  });
});
