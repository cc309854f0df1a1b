/**
 * `outpost jobs`: accepted scans. The running daemon is asked; when none runs, its data directory or the shared queue is
 * looked at.
 *
 * @module
 */
import { ERROR_CODES, type ErrorCode, OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Store } from "../core/store.ts";
import { isRecord } from "../lib/bounded_json.ts";
import { withDeadline } from "../lib/deadline.ts";
import { type JobView, jobView, type SummaryView, summaryView } from "../jobs/job_view.ts";
import { type CommandContext, EXIT, type Toolbox } from "./context.ts";

/** What to do. */
export type JobsAction =
  | { readonly kind: "list"; readonly state?: string | undefined; readonly limit: number }
  | { readonly kind: "show" | "retry" | "cancel"; readonly id: string };

/** Options of {@link runJobs}. */
export interface JobsOptions {
  readonly json: boolean;
}

/** Runs the command; returns the exit code. */
export async function runJobs(context: CommandContext, action: JobsAction, options: JobsOptions): Promise<number> {
  const toolbox = await context.toolbox();
  try {
    const answer = await askDaemon(context, toolbox, action) ?? await askStore(context, toolbox, action);
    context.world.stdout.write(options.json ? `${JSON.stringify(answer, null, 2)}\n` : text(action, answer));
    return EXIT.ok;
  } finally {
    await toolbox.close();
  }
}

/** What the daemon on this machine answers; undefined when there is none. */
async function askDaemon({ world }: CommandContext, { config }: Toolbox, action: JobsAction): Promise<unknown> {
  const scheme = config.tls.server === undefined ? "http" : "https";
  const host = /^(?:0\.0\.0\.0|::|)$/.test(config.host) ? "127.0.0.1" : config.host;
  const url = new URL(`${scheme}://${host.includes(":") ? `[${host}]` : host}:${config.port}${path(action)}`);
  const method = action.kind === "list" || action.kind === "show" ? "GET" : "POST";
  const deadline = { clock: world.clock, ms: LIMITS.connectTimeoutMs, what: "The daemon", signal: world.signal };
  return await withDeadline(deadline, async (signal) => {
    const response = await world.fetchLocal(new Request(url, { method }), signal).catch(() => undefined);
    signal.throwIfAborted();
    if (response === undefined) return undefined;
    const body: unknown = await response.json().catch(() => undefined);
    if (response.ok) return body;
    throw refusal(response.status, body);
  });
}

/** The daemon's own words; whatever else listens at the port is no daemon of ours. */
function refusal(status: number, body: unknown): OutpostError {
  const { code, message, hint } = isRecord(body) ? body : {};
  if (typeof code !== "string" || !Object.hasOwn(ERROR_CODES, code) || typeof message !== "string") {
    return new OutpostError(
      "CONFIG_INVALID",
      `Cannot show jobs: what answered ${status} at the daemon's port is no Outpost`,
      {
        hint: "Set PORT and OUTPOST_HOST as the daemon has them.",
      },
    );
  }
  return new OutpostError(code as ErrorCode, message, { hint: typeof hint === "string" ? hint : undefined });
}

function path(action: JobsAction): string {
  if (action.kind === "list") {
    return `/api/jobs?limit=${action.limit}${action.state === undefined ? "" : `&state=${action.state}`}`;
  }
  return `/api/jobs/${encodeURIComponent(action.id)}${action.kind === "show" ? "" : `/${action.kind}`}`;
}

/** The same from the data directory or the queue, as far as that needs no daemon. */
async function askStore({ world }: CommandContext, toolbox: Toolbox, action: JobsAction): Promise<unknown> {
  const store = await toolbox.openStore();
  if (store === undefined) {
    throw new OutpostError(
      "CONFIG_INVALID",
      "Cannot show jobs: no daemon answers, and neither OUTPOST_DATA_DIR nor OUTPOST_QUEUE is set",
      {
        hint: "Run it with the daemon's PORT, or with its OUTPOST_DATA_DIR or OUTPOST_QUEUE.",
      },
    );
  }
  try {
    return await readStore(store, action, world.clock.now());
  } finally {
    await store.close();
  }
}

async function readStore(store: Store, action: JobsAction, now: number): Promise<unknown> {
  if (action.kind === "list") {
    const jobs = await store.list({ limit: LIMITS.listedJobs });
    return jobs.filter(({ state }) => state === (action.state ?? state)).slice(0, action.limit).map(summaryView);
  }
  const job = await store.job(action.id);
  if (job === undefined) throw new OutpostError("JOB_NOT_FOUND", `There is no job ${action.id.slice(0, 100)}`);
  if (action.kind === "show") return jobView(job);
  if (action.kind === "cancel" && (job.state === "queued" || job.state === "scanning")) {
    await store.cancel(action.id, now);
    return { id: action.id, cancelled: true };
  }
  const resent = action.kind === "retry" ? await store.resend(action.id, now) : 0;
  if (resent > 0) return { id: action.id, resent };
  throw new OutpostError("JOB_STATE", `Cannot ${action.kind} ${action.id}: it is ${job.state}`, {
    hint: "Start the daemon for what needs one.",
  });
}

function text(action: JobsAction, answer: unknown): string {
  if (action.kind === "list") return table(answer as readonly SummaryView[]);
  if (action.kind === "show") return details(answer as JobView);
  if (action.kind === "cancel") return `${action.id} is cancelled.\n`;
  const { id, resent } = answer as { readonly id: string; readonly resent: number };
  return resent > 0 ? `${resent} callbacks of ${id} are sent again.\n` : `It is scanned again as ${id}.\n`;
}

const HEAD = ["ID", "STATE", "IMAGES", "OK", "PARTIAL", "FAILED", "WAITING", "DEAD", "ACCEPTED"];

function table(jobs: readonly SummaryView[]): string {
  const rows = jobs.map((job) =>
    [job.id, job.state, job.total, job.succeeded, job.partial, job.failed, job.pending, job.dead, job.acceptedAt].map(
      String,
    )
  );
  const widths = HEAD.map((head, i) => Math.max(head.length, ...rows.map((row) => row[i]?.length ?? 0)));
  return [HEAD, ...rows].map((row) => `${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ").trimEnd()}\n`)
    .join("");
}

function details(job: JobView): string {
  const lines = [
    `${job.id}  ${job.state}  ${job.kind}, request ${job.requestId}`,
    `accepted ${job.acceptedAt}, changed ${job.updatedAt}`,
    ...(job.error === undefined ? [] : [`${job.error.code}: ${job.error.message}`]),
    ...(job.notBefore === undefined ? [] : [`is begun again at ${job.notBefore}`]),
    ...job.images.map((image, i) => {
      const callback = job.callbacks.find(({ sequence }) => sequence === i);
      const why = callback?.error === undefined ? "" : `  ${callback.error.message}`;
      return `  ${image}  ${callback?.outcome ?? "waits"}  ${callback?.state ?? ""}${why}`.trimEnd();
    }),
  ];
  return `${lines.join("\n")}\n`;
}

/** A number for `--limit`. */
export function parseLimit(given: string): number {
  const limit = Number(given);
  if (Number.isInteger(limit) && limit > 0 && limit <= LIMITS.listedJobs) return limit;
  throw new OutpostError("USAGE", `Cannot list jobs: --limit is not a number from 1 to ${LIMITS.listedJobs}`);
}
