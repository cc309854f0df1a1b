/**
 * Taking away what is old or too much in a shared store. Every process does it, none has to; what another has changed in
 * the meantime stays.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { Retention } from "../core/store.ts";
import { isFinal } from "./job_record.ts";
import { requestBody, type SharedJobs } from "./shared_jobs.ts";
import type { KnownResult, SharedResults } from "./shared_results.ts";

/** What is looked through. */
export interface SharedParts {
  readonly jobs: SharedJobs;
  readonly results: SharedResults;
}

/** Takes away jobs and results; answers the number of jobs. */
export async function purgeShared(
  parts: SharedParts,
  retention: Retention,
): Promise<number> {
  const { jobs, results } = parts;
  const { index } = jobs;
  // Marks of what was taken away before: by now every process has seen them.
  await eachOf(index.takeRemoved(), ([id, revision]) => jobs.forget(id, revision));
  await results.sweep();
  const old = [...index.ended()].filter(({ updatedAt }) => updatedAt < retention.before);
  let removed = 0;
  await eachOf(old.slice(0, LIMITS.queuePurgedJobs), async ({ id }) => {
    const known = await jobs.load(id);
    const isOld = known !== undefined && isFinal(known.job) && known.job.updatedAt < retention.before;
    if (isOld && await jobs.remove(known)) removed++;
  });
  const unused = unwanted(parts, retention).slice(0, LIMITS.queuePurgedJobs);
  await eachOf(unused, (result) => results.remove(result));
  return removed;
}

/** Takes away pieces that belong to nothing: of a process that ended while it wrote a result, or accepted a job. */
export async function sweepPieces({ jobs: { index }, results }: SharedParts, now: number): Promise<void> {
  const known = new Set<string>();
  for (const { id } of [...index.active(), ...index.ended()]) known.add(requestBody(id));
  for (const { body } of results.all()) known.add(body);
  await eachOf(await results.bodies(), async (body) => {
    if (!known.has(body)) await results.removeOldPieces(body, now - LIMITS.retentionEveryMs);
  });
}

/** Results that are old, and so many of the longest unused that the rest is within the bound. */
function unwanted(
  { jobs: { index }, results }: SharedParts,
  { now, before, maxBytes }: Retention,
): readonly KnownResult[] {
  const used = new Set<string | undefined>();
  for (const { callbacks } of index.active()) {
    for (const { state, resultKey } of callbacks) if (state !== "delivered") used.add(resultKey);
  }
  for (const { deadKeys } of index.ended()) for (const key of deadKeys) used.add(key);
  const all = [...results.all()];
  let over = all.reduce((sum, { bytes }) => sum + bytes, 0) - maxBytes;
  // One that was written a moment ago may belong to a callback that is not known here yet.
  return all.filter(({ key, usedAt }) => !used.has(key) && usedAt <= now - LIMITS.jobLeaseMs)
    .toSorted((a, b) => a.usedAt - b.usedAt || (a.key < b.key ? -1 : 1))
    .filter(({ usedAt, bytes }) => {
      if (usedAt >= before && over <= 0) return false;
      over -= bytes;
      return true;
    });
}

async function eachOf<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < all.length; at += LIMITS.queueRequestsAtOnce) {
    await Promise.all(all.slice(at, at + LIMITS.queueRequestsAtOnce).map(work));
  }
}
