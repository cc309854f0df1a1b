/**
 * Taking away what is old or too much in a shared store. Every process does it, none has to; what another has changed in
 * the meantime stays.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { Retention } from "../core/store.ts";
import type { JobIndex, KnownJob } from "./job_index.ts";
import { isFinal } from "./job_record.ts";
import type { NatsBucket } from "./nats_connection.ts";
import type { KnownResult, SharedResults } from "./shared_results.ts";

/** What is looked through. */
export interface SharedParts {
  readonly jobs: NatsBucket;
  readonly index: JobIndex;
  readonly results: SharedResults;
}

/** Takes away jobs and results; answers the number of jobs. */
export async function purgeShared(
  parts: SharedParts,
  retention: Retention,
  load: (id: string) => Promise<KnownJob | undefined>,
): Promise<number> {
  const { jobs, index, results } = parts;
  // Marks of what was taken away before: by now every process has seen them.
  await eachOf(index.takeRemoved(), ([id, revision]) => jobs.forget(`job.${id}`, revision));
  await results.sweep();
  const old = [...index.ended()].filter(({ updatedAt }) => updatedAt < retention.before);
  let removed = 0;
  await eachOf(old.slice(0, LIMITS.queuePurgedJobs), async ({ id }) => {
    if (await removeJob(parts, await load(id), retention)) removed++;
  });
  await eachOf(unwanted(parts, retention), (result) => results.remove(result));
  return removed;
}

/** The request goes first: the same request is a new one from then on, with another job. */
async function removeJob(
  { jobs, index, results }: SharedParts,
  known: KnownJob | undefined,
  { before }: Retention,
): Promise<boolean> {
  if (known === undefined || !isFinal(known.job) || known.job.updatedAt >= before) return false;
  const { id, requestKey, requestPieces, order } = known.job;
  await jobs.forget(`request.${requestKey}`, order);
  if (!await jobs.remove(`job.${id}`, known.revision)) return false;
  index.remove(id, known.revision + 1);
  if (requestPieces > 0) await results.removePieces(`request-${id}`);
  return true;
}

/** Results that are old, and so many of the longest unused that the rest is within the bound. */
function unwanted({ index, results }: SharedParts, { now, before, maxBytes }: Retention): readonly KnownResult[] {
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
