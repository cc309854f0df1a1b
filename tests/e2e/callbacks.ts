/**
 * Where a daemon with OUTPOST_ROLE=agent delivers its callbacks: the broker client's place.
 *
 * @module
 */
import { within } from "../peers/process.ts";

/** A callback of one image. */
export interface ImportResult {
  readonly id: string;
  readonly sequence: number;
  readonly status: "success" | "partial" | "error";
  readonly scanResults: readonly { readonly facts: readonly { readonly type: string; readonly data: unknown }[] }[];
  readonly error?: { readonly code: string; readonly message: string; readonly hint?: string };
  readonly [field: string]: unknown;
}

/** A receiver of callbacks. */
export interface CallbackReceiver extends AsyncDisposable {
  /** For BROKER_CLIENT_URL. */
  readonly url: string;
  /** Posts a scan request to the daemon and resolves with its results, in order, once it is done. */
  scan(daemonUrl: string, body: unknown, withinMs?: number): Promise<readonly ImportResult[]>;
}

/** Starts the receiver. */
export function startCallbackReceiver(): CallbackReceiver {
  const results: ImportResult[] = [];
  const done = new Set<string>();
  const changed = new EventTarget();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const body = await request.json() as ImportResult;
    const path = new URL(request.url).pathname;
    if (path === "/api/v2/import/result") results.push(body);
    if (path === "/api/v2/import/done") done.add(body.id);
    changed.dispatchEvent(new Event("change"));
    return new Response(null, { status: 204 });
  });
  const finished = (id: string, signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (!done.has(id) && !signal.aborted) return;
        changed.removeEventListener("change", look);
        signal.removeEventListener("abort", look);
        if (done.has(id)) resolve();
        else reject(signal.reason);
      };
      changed.addEventListener("change", look);
      signal.addEventListener("abort", look);
      look();
    });
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    scan: async (daemonUrl, body, withinMs = 60_000) => {
      const response = await fetch(`${daemonUrl}/scan`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      const text = await response.text();
      if (response.status !== 202) throw new Error(`POST /scan answered ${response.status}: ${text}`);
      const { id } = JSON.parse(text) as { readonly id: string };
      await within(withinMs, "the last callback", (signal) => finished(id, signal));
      return results.filter((result) => result.id === id).toSorted((a, b) => a.sequence - b.sequence);
    },
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
