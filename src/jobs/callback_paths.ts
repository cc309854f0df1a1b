/**
 * Where the results of a request go: the public paths of Snyk's broker, and which of them a request asks for.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";

/** Callback paths of one request; `done` is absent where the protocol has no closing message. */
export interface CallbackPaths {
  readonly result: string;
  readonly done: string | undefined;
  /** Origin to POST to when this process is the agent alone; undefined means the configured one. */
  readonly origin: string | undefined;
}

const DEFAULTS = {
  scan: { result: "/api/v2/import/result", done: "/api/v2/import/done" },
  discover: { result: "/v1/import/app", done: undefined },
} as const;

/** Every path that the broker's public rules let through, with the closing message that belongs to it. */
const KNOWN: Readonly<Record<string, { readonly result: string; readonly done: string | undefined }>> = {
  "/api/v2/import/result": DEFAULTS.scan,
  "/api/v2/import/done": DEFAULTS.scan,
  "/v2/import/result": { result: "/v2/import/result", done: "/v2/import/done" },
  "/v2/import/done": { result: "/v2/import/result", done: "/v2/import/done" },
  "/v1/import/app": DEFAULTS.discover,
  "/api/v1/recurring-tests/dependencies": { result: "/api/v1/recurring-tests/dependencies", done: undefined },
  "/v1/recurring-tests/dependencies": { result: "/v1/recurring-tests/dependencies", done: undefined },
  "/rest/scan/result": { result: "/rest/scan/result", done: undefined },
};

/**
 * Callback paths for a request. A callback URL may be a path, an origin, or both; without one, or with an origin
 * alone, the kind's own paths apply.
 *
 * @throws {OutpostError} REQUEST_INVALID when the URL names a path that is not a callback path, or an origin that is
 * not among `origins`.
 */
export function callbackPaths(
  kind: "scan" | "discover",
  callbackUrl: string | undefined,
  origins: readonly string[],
): CallbackPaths {
  if (callbackUrl === undefined || callbackUrl === "") return { ...DEFAULTS[kind], origin: undefined };
  // A path alone resolves against a name that no origin can have.
  const url = URL.canParse(callbackUrl, "http://path.invalid")
    ? new URL(callbackUrl, "http://path.invalid")
    : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) throw invalid("it is not an http or https URL");
  const origin = url.origin === "http://path.invalid" ? undefined : url.origin;
  if (origin !== undefined && !origins.includes(origin)) {
    throw invalid(
      "its origin is not allowed",
      "Set BROKER_CLIENT_URL to that origin, or add it to OUTPOST_CALLBACK_ORIGINS.",
    );
  }
  const path = url.pathname.replace(/\/$/, "");
  const known = path === "" ? DEFAULTS[kind] : KNOWN[path];
  if (known === undefined) throw invalid(`its path is not one of ${Object.keys(KNOWN).join(", ")}`);
  return { ...known, origin };
}

function invalid(why: string, hint?: string): OutpostError {
  return new OutpostError("REQUEST_INVALID", `Cannot use the callback URL: ${why}`, { hint });
}
