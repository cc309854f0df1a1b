/**
 * Takes callbacks as a broker client does, and keeps what came under which key.
 *
 * @module
 */

/** A running server. */
export interface CallbackServer extends AsyncDisposable {
  readonly url: string;
  /** Idempotency keys in the order in which they came, with repetitions. */
  readonly keys: readonly string[];
  /** Keys that came with different bodies. */
  readonly contradictions: readonly string[];
  /** Answers instead of 200. */
  answer: (key: string) => number;
}

/** Starts the server on a loopback port. */
export function startCallbackServer(): CallbackServer {
  const keys: string[] = [];
  const contradictions: string[] = [];
  const bodies = new Map<string, string>();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const key = request.headers.get("idempotency-key") ?? "";
    const body = await request.text().catch(() => undefined);
    // The sender ended in the middle: it has to come again.
    if (body === undefined) return new Response(null, { status: 400 });
    const status = started.answer(key);
    if (status === 200) {
      keys.push(key);
      if ((bodies.get(key) ?? body) !== body) contradictions.push(key);
      bodies.set(key, body);
    }
    return new Response(null, { status });
  });
  const started: CallbackServer = {
    url: `http://127.0.0.1:${server.addr.port}`,
    keys,
    contradictions,
    answer: () => 200,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
  return started;
}
