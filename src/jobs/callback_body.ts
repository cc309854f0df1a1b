/**
 * Bodies of callbacks. They are put together from texts, since a result of megabytes is parsed by nobody here.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { OutpostError } from "../core/errors.ts";
import type { JobTotals } from "../core/store.ts";
import type { ScanTarget, StoredRequest } from "./scan_job.ts";

/** Our own members: those of the request that have these names are left out. */
const OWN = new Set(["id", "sequence", "status", "scanResults", "problems", "error"]);

/** What of a callback is the scan's: a JSON object with `status` and `scanResults`. */
export type ResultText = string;

/** Body of an image's callback: the request's fields, the image's, the result's, and what names the callback. */
export function resultBody(
  request: StoredRequest,
  target: ScanTarget,
  result: ResultText,
  { id, sequence }: { readonly id: string; readonly sequence: number },
): Uint8Array<ArrayBuffer> {
  const carried = Object.entries({ ...request.fields, ...target.fields }).filter(([name]) => !OWN.has(name));
  const parts = [
    JSON.stringify(Object.fromEntries(carried)).slice(1, -1),
    result.slice(1, -1),
    JSON.stringify({ id, sequence }).slice(1, -1),
  ];
  return new TextEncoder().encode(`{${parts.filter((part) => part !== "").join(",")}}`);
}

/** Body of the closing callback. */
export function closingBody(request: StoredRequest, id: string, totals: JobTotals): Uint8Array<ArrayBuffer> {
  const { succeeded, partial, failed } = totals;
  const body = { ...request.fields, id, total: request.targets.length, succeeded, partial, failed };
  return new TextEncoder().encode(JSON.stringify(body));
}

/** What a callback carries of a scan that failed. `redact` masks what a registry may have repeated. */
export function errorText({ code, message, hint }: OutpostError, redact: (text: string) => string): ResultText {
  const error = { code, message: redact(message), ...(hint === undefined ? {} : { hint: redact(hint) }) };
  return JSON.stringify({ status: "error", scanResults: [], error });
}

/** What a callback carries instead of a result that the broker does not take; undefined when it takes it. */
export function tooLarge(bytes: number): ResultText | undefined {
  if (bytes <= LIMITS.brokerRequestBodyBytes) return undefined;
  const message = `The result has ${bytes} bytes, more than the broker's ${LIMITS.brokerRequestBodyBytes}`;
  return JSON.stringify({ status: "error", scanResults: [], error: { code: "BODY_TOO_LARGE", message } });
}
