/**
 * How many pulls an account has left (registries.md §1.7): the fields that Docker Hub adds to manifests.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import type { RegistryCalls } from "./flavour.ts";

/** Docker's image for asking the limits; a HEAD of it is not counted as a pull (docs.docker.com, "Usage and limits"). */
const PROBE = { name: "ratelimitpreview/test", reference: "latest" } as const;

/**
 * A sentence on the limit and what is left of it; undefined when the account has no limit or the registry does not tell.
 *
 * @param title The product's name.
 * @throws {OutpostError} CANCELLED.
 */
export async function pullBudget(
  title: string,
  registry: RegistryCalls,
  signal: AbortSignal,
): Promise<string | undefined> {
  let headers: Headers;
  try {
    headers = await registry.manifestHeaders(PROBE.name, PROBE.reference, signal);
  } catch (error) {
    // A remark is not worth a failure, but the end of the caller is none of ours.
    if (error instanceof OutpostError && error.code !== "CANCELLED") return undefined;
    throw error;
  }
  const limit = quota(headers.get("ratelimit-limit"));
  const left = quota(headers.get("ratelimit-remaining"));
  if (limit === undefined) return undefined;
  const window = limit.seconds === undefined ? "" : ` in ${duration(limit.seconds)}`;
  const rest = left === undefined ? "" : `, ${left.count} are left`;
  return `${title} allows this account ${limit.count} pulls${window}${rest}`;
}

interface Quota {
  readonly count: number;
  /** Length of the window. */
  readonly seconds: number | undefined;
}

/** `100;w=21600` (an early draft of the RateLimit header fields, draft-polli-ratelimit-headers). */
function quota(field: string | null): Quota | undefined {
  const [, count, seconds] = /^\s*(\d{1,9})(?:\s*;\s*w=(\d{1,9}))?/.exec(field ?? "") ?? [];
  if (count === undefined) return undefined;
  return { count: Number(count), seconds: seconds === undefined ? undefined : Number(seconds) };
}

function duration(seconds: number): string {
  if (seconds % 3600 === 0) return seconds === 3600 ? "an hour" : `${seconds / 3600} hours`;
  return `${seconds} seconds`;
}
