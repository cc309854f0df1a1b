import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OutpostError } from "../core/errors.ts";
import type { JobDetail } from "../core/store.ts";
import { AppHarness, NO_JOBS } from "./app_suite.ts";
import type { Arrival, JobsFace } from "./deps.ts";

const LOCAL: Arrival = { remoteAddress: "127.0.0.1" };
const JOB: JobDetail = {
  id: "job-1",
  requestId: "request-1",
  kind: "scan",
  state: "failed",
  total: 1,
  succeeded: 0,
  partial: 0,
  failed: 1,
  attempts: 0,
  acceptedAt: 0,
  updatedAt: 1000,
  notBefore: undefined,
  error: undefined,
  pending: 0,
  dead: 1,
  request: '{"targets":[{"repository":"team/app","tag":"1","fields":{}}],"callbacks":{},"fields":{"note":"canary"}}',
  credentials: new TextEncoder().encode("canary"),
  callbacks: [{
    sequence: 0,
    kind: "result",
    state: "dead",
    outcome: "error",
    attempts: 3,
    endedAt: 1000,
    error: { code: "BROKER_REFUSED", message: "Cannot deliver it" },
  }],
};

describe("/api/jobs", () => {
  let app: AppHarness;
  const asked: unknown[] = [];
  const jobs: JobsFace = {
    ...NO_JOBS,
    list: (filter) => {
      asked.push(filter);
      return Promise.resolve([JOB]);
    },
    show: (id) => id === "job-1" ? Promise.resolve(JOB) : NO_JOBS.show(id),
    cancel: () => Promise.reject(new OutpostError("JOB_STATE", "Cannot cancel job-1: it is failed")),
    retry: (id) => Promise.resolve({ id, resent: 1 }),
  };
  beforeAll(() => {
    app = new AppHarness();
  });
  afterAll(() => app.stop());

  const ask = (path: string, init = {}, arrival = LOCAL): Promise<Response> =>
    app.ask(path, { headers: { host: "127.0.0.1:7341" }, ...init, deps: { jobs } }, arrival);

  it("lists and shows jobs, without credentials or the request's fields", async () => {
    const listed = await (await ask("/api/jobs?state=failed&limit=5")).json();
    expect(asked).toEqual([{ state: "failed", limit: 5 }]);
    expect(listed).toMatchObject([{ id: "job-1", state: "failed", acceptedAt: "1970-01-01T00:00:00.000Z", dead: 1 }]);
    const shown = await (await ask("/api/jobs/job-1")).json();
    expect(shown).toMatchObject({ images: ["team/app:1"], callbacks: [{ state: "dead", attempts: 3 }] });
    expect(JSON.stringify([listed, shown])).not.toContain("canary");
  });

  it("cancels and retries", async () => {
    const refused = await ask("/api/jobs/job-1/cancel", { method: "POST" });
    expect([refused.status, (await refused.json()).code]).toEqual([409, "JOB_STATE"]);
    const retried = await ask("/api/jobs/job-1/retry", { method: "POST" });
    expect([retried.status, await retried.json()]).toEqual([202, { id: "job-1", resent: 1 }]);
  });

  it.each([["/api/jobs?state=odd", 400], ["/api/jobs?limit=0", 400], ["/api/jobs/none", 404]])(
    "refuses %s with %i",
    async (path, status) => {
      const response = await ask(path);
      await response.body?.cancel();
      expect(response.status).toBe(status);
    },
  );

  it("is closed to the broker server, to other machines, and to pages in a browser", async () => {
    const ways: readonly (readonly [Record<string, string>, Arrival])[] = [
      [{}, { internal: true }],
      [{}, { remoteAddress: "10.0.0.7" }],
      [{ origin: "https://evil.example" }, LOCAL],
      [{ host: "evil.example" }, LOCAL],
    ];
    for (const [headers, arrival] of ways) {
      for (const path of ["/api/jobs", "/%61pi/jobs", "/api/jobs/job-1", "/api/jobs/job-1/retry"]) {
        const method = path.endsWith("retry") ? "POST" : "GET";
        const response = await ask(path, { method, headers: { host: "127.0.0.1:7341", ...headers } }, arrival);
        await response.body?.cancel();
        expect([path, response.status]).toEqual([path, 403]);
      }
    }
  });
});
