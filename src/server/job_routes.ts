/**
 * `/api/jobs`: accepted scans, for the operator of this machine.
 *
 * @module
 */
import { Hono } from "hono";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { JOB_STATES, type JobState } from "../core/store.ts";
import { jobView, summaryView } from "../jobs/job_view.ts";
import type { AppDeps, AppEnv } from "./deps.ts";

const DEFAULT_LIMIT = 100;

/** List, show, cancel and retry. */
export function jobRoutes({ jobs }: AppDeps): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  app.get("/api/jobs", async (c) => {
    const filter = { state: parseState(c.req.query("state")), limit: parseLimit(c.req.query("limit")) };
    return c.json((await jobs.list(filter)).map(summaryView));
  });
  app.get("/api/jobs/:id", async (c) => c.json(jobView(await jobs.show(c.req.param("id")))));
  app.post("/api/jobs/:id/cancel", async (c) => {
    await jobs.cancel(c.req.param("id"));
    return c.json({ id: c.req.param("id"), cancelled: true }, 202);
  });
  app.post("/api/jobs/:id/retry", async (c) => c.json(await jobs.retry(c.req.param("id")), 202));
  return app;
}

function parseState(text: string | undefined): JobState | undefined {
  if (text === undefined) return undefined;
  const state = JOB_STATES.find((one) => one === text);
  if (state !== undefined) return state;
  throw new OutpostError("REQUEST_INVALID", `Cannot list jobs: state is not one of ${JOB_STATES.join(", ")}`);
}

function parseLimit(text: string | undefined): number {
  const limit = text === undefined ? DEFAULT_LIMIT : Number(text);
  if (Number.isInteger(limit) && limit > 0 && limit <= LIMITS.listedJobs) return limit;
  throw new OutpostError("REQUEST_INVALID", `Cannot list jobs: limit is not a number from 1 to ${LIMITS.listedJobs}`);
}
