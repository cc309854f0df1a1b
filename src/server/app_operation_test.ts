import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { brokered, LOGIN } from "../../tests/fakes/loopback.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { SocketState } from "../core/ports.ts";
import { AppHarness, post, SOCKETS } from "./app_suite.ts";
import type { Arrival } from "./deps.ts";

describe("createApp() in operation", () => {
  let app: AppHarness;
  beforeAll(() => {
    app = new AppHarness();
  });
  afterAll(() => app.stop());
  beforeEach(() => app.reset());

  describe("guard", () => {
    const paths = [
      "/list",
      "/list/a",
      "/%6cist",
      "/validate-credentials",
      "/image-metadata/multi",
      "/get-state-identifier",
    ];
    const far: Arrival = { remoteAddress: "192.0.2.7" };

    it("closes the agent's routes to other machines", async () => {
      for (const path of paths) {
        const response = await app.ask(path, {}, far);
        expect([path, response.status]).toEqual([path, 403]);
        expect(await response.json()).toMatchObject({
          code: "REQUEST_INVALID",
          hint: expect.stringContaining("broker"),
        });
      }
      expect((await app.ask("/scan", post({ name: "multi" }), far)).status).toBe(403);
      expect(app.jobs).toEqual([]);
      expect(app.face.forwarded).toEqual([]);
    });

    it.each(["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])("lets %s in", async (remoteAddress) => {
      expect((await app.ask("/list", {}, { remoteAddress })).status).toBe(200);
    });

    it("leaves the other routes open", async () => {
      for (const path of ["/healthcheck", "/livez", "/readyz", "/metrics", "/openapi.json", "/filters"]) {
        const response = await app.ask(path, {}, far);
        await response.body?.cancel();
        expect([path, response.status]).toEqual([path, 200]);
      }
    });

    it("is off when this process is the agent alone", async () => {
      const env = { OUTPOST_ROLE: "agent" };
      expect((await app.ask("/list", { env }, far)).status).toBe(200);
      expect((await app.ask("/filters", { env }, far)).status).toBe(404);
      expect((await app.ask("/v2/import/result", { env, ...post({}) }, far)).status).toBe(404);
    });

    it("§6 has no agent routes when this process is the broker client alone: the public rules decide", async () => {
      expect((await app.ask("/list", { env: { OUTPOST_ROLE: "broker" } })).status).toBe(201);
      expect(app.face.forwarded.map(({ method, url }) => [method, url])).toEqual([["GET", "/list"]]);
    });
  });

  describe("/healthcheck and /readyz", () => {
    const [primary, secondary] = SOCKETS;
    const shape = (state: SocketState): Record<string, unknown> => ({
      ok: state.open,
      websocketConnectionOpen: state.open,
      brokerServerUrl: state.url,
      version: "5.22.14",
      transport: "websocket",
    });
    const closed = SOCKETS.map((state) => ({ ...state, open: false }));

    it.each(
      [
        ["no socket", [], 500, []],
        ["one open socket", [primary], 200, shape(primary)],
        ["one closed socket", [secondary], 500, shape(secondary)],
        ["one of two open", SOCKETS, 200, SOCKETS.map(shape)],
        ["two closed", closed, 500, closed.map(shape)],
      ] as const,
    )("show %s", async (_what, sockets, status, expected) => {
      app.face.sockets = sockets;
      const health = await app.ask("/healthcheck");
      expect(health.status).toBe(status);
      expect(await health.json()).toEqual(expected);
      const ready = await app.ask("/readyz");
      expect(ready.status).toBe(status === 200 ? 200 : 503);
      expect(await ready.json()).toEqual(
        status === 200 ? { ok: true } : { ok: false, reasons: ["broker not connected"] },
      );
    });

    it("need no broker when this process is the agent alone", async () => {
      const env = { OUTPOST_ROLE: "agent" };
      expect(await (await app.ask("/healthcheck", { env })).json()).toEqual({ ok: true, version: "0.0.1" });
      expect((await app.ask("/readyz", { env })).status).toBe(200);
    });

    it("tell a process that is stopping", async () => {
      app.stopping = true;
      const ready = await app.ask("/readyz");
      expect(ready.status).toBe(503);
      expect(await ready.json()).toEqual({ ok: false, reasons: ["stopping"] });
      expect((await app.ask("/livez")).status).toBe(200);
    });

    it("stand at the paths that the operator chose", async () => {
      const env = { BROKER_HEALTHCHECK_PATH: "/my/health", BROKER_SYSTEMCHECK_PATH: "/my/system" };
      expect((await app.ask("/my/health", { env })).status).toBe(200);
      expect((await app.ask("/my/system", { env })).status).toBe(200);
      await app.ask("/healthcheck", { env });
      expect(app.face.forwarded.map(({ url }) => url)).toEqual(["/healthcheck"]);
    });
  });

  describe("/systemcheck", () => {
    it("checks the configured registry step by step", async () => {
      const response = await app.ask("/systemcheck");
      expect(response.status).toBe(200);
      const [result] = await response.json();
      expect(result).toMatchObject({ ok: true, registry: app.registry.host, type: "oci", maskedCredentials: "***" });
      expect(result.steps.map(({ step, ok }: { step: string; ok: boolean }) => [step, ok])).toEqual(
        ["dns", "tcp", "api", "login", "list"].map((step) => [step, true]),
      );
    });

    it("takes credentials from the request, bare base64 too", async () => {
      const deps = { credentials: undefined };
      for (const authorization of [brokered(app.registry.credentials), `Basic ${brokered(app.registry.credentials)}`]) {
        expect((await app.ask("/systemcheck", { deps, headers: { authorization } })).status).toBe(200);
      }
      const refused = await app.ask("/systemcheck", { headers: { authorization: app.refusedCredentials } });
      expect(refused.status).toBe(500);
      const text = await refused.text();
      expect(JSON.parse(text)).toMatchObject([{ ok: false, code: "BAD_CREDENTIALS", maskedCredentials: "***" }]);
      expect(text).not.toMatch(/canary/);
    });

    it("uses the configured ones when the header is blank", async () => {
      expect((await app.ask("/systemcheck", { headers: { authorization: " " } })).status).toBe(200);
    });

    it("says what is missing", async () => {
      const none = await app.ask("/systemcheck", { deps: { credentials: undefined } });
      expect(none.status).toBe(500);
      expect(await none.json()).toMatchObject([{ ok: false, maskedCredentials: null }]);
      const unreadable = await app.ask("/systemcheck", { headers: { authorization: "canary!!" } });
      expect(unreadable.status).toBe(500);
      expect(await unreadable.json()).toMatchObject([{ ok: false, code: "CREDENTIALS_INVALID" }]);
    });
  });

  describe("callbacks of an external agent", () => {
    const paths = ["/api/v2/import/result", "/v2/import/done", "/v1/import/app", "/rest/scan/result?x=1"];

    it("go to the broker face and come back", async () => {
      for (const path of paths) {
        const headers = { "content-type": "application/json", connection: "close", te: "trailers", "x-custom": "kept" };
        const response = await app.ask(path, post("{}", headers), { remoteAddress: "192.0.2.7" });
        expect(response.status).toBe(201);
        expect(await response.json()).toEqual({ ok: true });
        expect(response.headers.get("snyk-request-id")).toBe("r");
        expect(response.headers.get("transfer-encoding")).toBeNull();
      }
      expect(app.face.forwarded.map(({ method, url }) => `${method} ${url}`)).toEqual(
        paths.map((path) => `POST ${path}`),
      );
      const [first] = app.face.forwarded;
      expect(first?.headers).toEqual({ "content-type": "application/json", "x-custom": "kept" });
      expect(new TextDecoder().decode(first?.body)).toBe("{}");
    });

    it("§6 go with whatever method they have", async () => {
      for (const method of ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
        const init = method === "GET" ? { method } : { method, body: "{}" };
        expect((await app.ask("/anything?x=1", init)).status).toBe(201);
      }
      expect((await app.ask("/anything", { method: "HEAD" })).status).toBe(201);
      expect(app.face.forwarded.map(({ method, url }) => `${method} ${url}`)).toEqual([
        "GET /anything?x=1",
        "PUT /anything?x=1",
        "PATCH /anything?x=1",
        "DELETE /anything?x=1",
        "OPTIONS /anything?x=1",
        "HEAD /anything",
      ]);
    });

    it("keep their content coding, which the broker client undoes", async () => {
      await app.ask("/v2/import/result", post("packed", { "content-encoding": "gzip" }));
      expect(app.face.forwarded[0]?.headers["content-encoding"]).toBe("gzip");
    });

    it("are told what the broker client says", async () => {
      app.face.answer = { status: 401, headers: {}, body: '{"code":"FILTER_BLOCKED"}' };
      const blocked = await app.ask("/anything", post("{}"));
      expect(blocked.status).toBe(401);
      expect(await blocked.json()).toEqual({ code: "FILTER_BLOCKED" });
      app.face.answer = new OutpostError("BROKER_DISCONNECTED", "Cannot send the callback");
      const down = await app.ask("/v2/import/result", post("{}"));
      expect(down.status).toBe(503);
      expect(down.headers.get("retry-after")).toBe("5");
      expect(await down.json()).toEqual({ code: "BROKER_DISCONNECTED", message: "Cannot send the callback" });
      app.face.answer = { status: 204, headers: {}, body: "" };
      const empty = await app.ask("/v2/import/result", post("{}"));
      expect([empty.status, await empty.text()]).toEqual([204, ""]);
    });

    it("may not be larger than the broker takes", async () => {
      const response = await app.ask("/v2/import/result", post(" ".repeat(LIMITS.brokerRequestBodyBytes + 1)));
      expect(response.status).toBe(413);
      expect(await response.json()).toMatchObject({ code: "BODY_TOO_LARGE" });
      expect(app.face.forwarded).toEqual([]);
    });
  });

  it("reloads the accept rules, or says why it keeps the old ones", async () => {
    const reloaded = await app.ask("/filters", { method: "POST" });
    expect([reloaded.status, await reloaded.json()]).toEqual([200, app.face.rules()]);
    app.face.reload = new OutpostError("CONFIG_INVALID", "Cannot use the configuration: ACCEPT: no");
    const kept = await app.ask("/filters", { method: "POST" });
    expect(kept.status).toBe(500);
    expect(await kept.json()).toMatchObject({ message: "Cannot use the configuration: ACCEPT: no" });
    expect(app.face.forwarded).toEqual([]);
  });

  it("shows the accept rules and the metrics", async () => {
    expect(await (await app.ask("/filters")).json()).toEqual(app.face.rules());
    const metrics = await app.ask("/metrics");
    expect(metrics.headers.get("content-type")).toContain("text/plain");
    const text = await metrics.text();
    expect(text).toContain('outpost_broker_connected{role="primary"} 1');
    expect(text).toContain('outpost_broker_connected{role="secondary"} 0');
    expect(text).toContain('outpost_build_info{version="0.0.1",deno="2"} 1');
  });

  describe("OUTPOST_RECORD_DIR", () => {
    const env = { OUTPOST_RECORD_DIR: "/records" };

    it("keeps agent exchanges without secrets", async () => {
      const authorization = brokered(app.registry.credentials);
      const body = { name: "multi", credentials: { password: "unknown-canary", type: "x" }, token: "unknown-canary" };
      await (await app.ask("/scan", { env, ...post(body, { authorization, "x-trace": "t" }) })).text();
      await (await app.ask("/list", { env, headers: { authorization } })).text();
      await (await app.ask("/livez", { env })).text();
      expect(app.records.map(({ name }) => name.replace(/^\d+-/, ""))).toEqual(["scan-id-2.json", "list-id-1.json"]);
      const [scan, list] = app.records.map(({ text }) => JSON.parse(text));
      expect(scan.request).toMatchObject({ method: "POST", body: { name: "multi" }, headers: { "x-trace": "t" } });
      expect(scan.response).toMatchObject({ status: 202, body: { accepted: 1 } });
      expect(list.response.body).toEqual(["multi", "team/alpine", "team/debian"]);
      const all = app.records.map(({ text }) => text).join();
      expect(all).not.toContain("unknown-canary");
      expect(all).not.toContain(LOGIN.password);
      expect(all).not.toContain(authorization);
    });

    it("keeps refusals, and does not fail a request that cannot be kept", async () => {
      const record = (): Promise<void> => Promise.reject(new Error("disk full"));
      const response = await app.ask("/list/team/none", { env, deps: { record } });
      expect(response.status).toBe(404);
      expect(await response.json()).toMatchObject({ code: "REPO_NOT_FOUND" });
      expect(app.logger.lines.map(({ message }) => message)).toContain("Cannot record an exchange");
    });

    it("keeps the bound of a body", async () => {
      const response = await app.ask("/scan", { env, ...post(" ".repeat(LIMITS.requestBodyBytes + 1)) });
      expect(response.status).toBe(413);
    });
  });
});
