import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { brokered } from "../../tests/fakes/loopback.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { AppHarness, NO_JOBS, post } from "./app_suite.ts";

describe("createApp() with credentials and scans", () => {
  let app: AppHarness;
  beforeAll(() => {
    app = new AppHarness();
  });
  afterAll(() => app.stop());
  beforeEach(() => app.reset());

  describe("credentials", () => {
    const none = { deps: { credentials: undefined } };

    it("come from Authorization, in each form that clients send", async () => {
      const bare = brokered(app.registry.credentials);
      const { base, username, password } = app.registry.credentials;
      const pasted = `{"type":"oci", "username":"${username}", "password":"${password}", "registryBase":"${base}"}`;
      for (const authorization of [bare, `Basic ${bare}`, `bearer ${bare}`, pasted]) {
        const response = await app.ask("/validate-credentials", { ...none, headers: { authorization } });
        expect(response.status).toBe(200);
      }
    });

    it("may be JSON that a password with a quote has broken", async () => {
      const broken = `{"type":"oci", "username":"u", "password":"a"b\\c", "registryBase":"${app.registry.url}"}`;
      const authorization = new TextEncoder().encode(broken).toBase64();
      app.registry.intercept = (request) => {
        const expected = `Basic ${new TextEncoder().encode('u:a"b\\c').toBase64()}`;
        return request.headers.get("authorization") === expected
          ? Response.json({ repositories: ["seen"] })
          : undefined;
      };
      const response = await app.ask("/list", { ...none, headers: { authorization } });
      expect(await response.json()).toEqual(["seen"]);
    });

    it("come from a header that x-broker-var-sub names", async () => {
      const headers = {
        "x-registry-auth": brokered(app.registry.credentials),
        "x-broker-var-sub": "other, x-registry-auth",
      };
      expect((await app.ask("/list", { ...none, headers })).status).toBe(200);
      const unnamed = await app.ask("/list", { ...none, headers: { ...headers, "x-broker-var-sub": "other" } });
      expect(await unnamed.json()).toMatchObject({ code: "CREDENTIALS_INVALID" });
    });

    it("come from the body of a scan, as text or object", async () => {
      const { type, base: registryBase, username, password } = app.registry.credentials;
      const object = { type, registryBase, username, password };
      for (const credentials of [brokered(app.registry.credentials), object]) {
        const init = post({ name: `${app.registry.host}/team/debian:12`, credentials });
        expect((await app.ask("/scan", { ...none, ...init })).status).toBe(202);
      }
      expect(app.jobs.map((job) => job.credentials)).toEqual([app.registry.credentials, app.registry.credentials]);
      expect(JSON.stringify(app.jobs.map(({ fields, targets }) => [fields, targets]))).not.toContain("canary");
    });

    it("are those of the configuration when the request brings none", async () => {
      expect((await app.ask("/list")).status).toBe(200);
      const response = await app.ask("/list", none);
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({
        code: "CREDENTIALS_INVALID",
        hint: expect.stringContaining("CR_"),
      });
    });

    it("that nobody can read are refused, and not repeated", async () => {
      const response = await app.ask("/list", { headers: { authorization: "Basic canary!!" } });
      expect(response.status).toBe(400);
      expect(await response.text()).not.toContain("canary");
    });
  });

  describe("scans", () => {
    it("are queued with targets, fields and callback paths", async () => {
      const body = { images: [{ name: `${app.registry.host}/team/debian:12`, k: 1 }, { name: "multi" }], org: "o" };
      const response = await app.ask("/scan", post(body, { "snyk-request-id": "req-1" }));
      expect(response.status).toBe(202);
      expect(await response.json()).toEqual({ id: "id-1", accepted: 2 });
      expect(app.jobs).toMatchObject([{
        id: "id-1",
        kind: "scan",
        requestId: "req-1",
        fields: { org: "o" },
        callbacks: { result: "/api/v2/import/result", done: "/api/v2/import/done" },
        targets: [{ repository: "team/debian", tag: "12", fields: { k: 1 } }, { repository: "multi", tag: undefined }],
      }]);
    });

    it("of one image have one callback and no closing one", async () => {
      await app.ask(
        "/discover",
        post({ target: { name: "multi" }, callbackUrl: "/api/v1/recurring-tests/dependencies" }),
      );
      expect(app.jobs[0]).toMatchObject({
        kind: "discover",
        callbacks: { result: "/api/v1/recurring-tests/dependencies", done: undefined },
      });
    });

    it("use the paths without /api, and BROKER_CLIENT_URL as an origin", async () => {
      const env = { BROKER_CLIENT_URL: "http://client:8000/", OUTPOST_CALLBACK_ORIGINS: "http://other:1" };
      for (const callbackUrl of ["http://client:8000/v2/import/result", "http://other:1/v2/import/done"]) {
        expect((await app.ask("/scan", { env, ...post({ name: "multi", callbackUrl }) })).status).toBe(202);
      }
      expect(app.jobs.map((job) => job.callbacks)).toEqual([
        { result: "/v2/import/result", done: "/v2/import/done", origin: "http://client:8000" },
        { result: "/v2/import/result", done: "/v2/import/done", origin: "http://other:1" },
      ]);
      const evil = await app.ask("/scan", {
        env,
        ...post({ name: "multi", callbackUrl: "http://evil/v2/import/result" }),
      });
      expect(evil.status).toBe(400);
      expect(app.jobs).toHaveLength(2);
    });

    it.each([
      ["what is no JSON", "{", 400, "REQUEST_INVALID"],
      ["a bracket bomb", "[".repeat(1000), 400, "REQUEST_INVALID"],
      ["no image", "{}", 400, "REQUEST_INVALID"],
      ["an image that cannot be", '{"name":"Team"}', 400, "REFERENCE_INVALID"],
      ["a body that is too large", " ".repeat(LIMITS.requestBodyBytes + 1), 413, "BODY_TOO_LARGE"],
    ])("refuse %s", async (_what, body, status, code) => {
      const response = await app.ask("/scan", post(body));
      expect(response.status).toBe(status);
      expect(await response.json()).toMatchObject({ code });
      expect(app.jobs).toEqual([]);
    });

    it("tell when the queue is full", async () => {
      const jobs = {
        ...NO_JOBS,
        accept: () =>
          Promise.reject(new OutpostError("BUSY", "Cannot accept the scan", { hint: "Send it again later." })),
      };
      const response = await app.ask("/scan", { ...post({ name: "multi" }), deps: { jobs } });
      expect(response.status).toBe(503);
      expect(response.headers.get("retry-after")).toMatch(/^\d+$/);
      expect(await response.json()).toEqual({
        code: "BUSY",
        message: "Cannot accept the scan",
        hint: "Send it again later.",
      });
    });
  });
});
