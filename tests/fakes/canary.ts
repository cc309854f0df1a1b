/**
 * A listener that counts who connects to it at all, and keeps the requests that it understood.
 *
 * @module
 */

/** A request as it arrived. */
export interface CanaryRequest {
  /** Host header, as it was sent. */
  readonly host: string;
  readonly method: string;
  readonly url: string;
  readonly headers: Headers;
  readonly body: string;
}

/** A running listener. */
export interface Canary extends AsyncDisposable {
  /** `http://127.0.0.1:port`. */
  readonly url: string;
  /** `127.0.0.1:port`. */
  readonly host: string;
  readonly port: number;
  /** TCP connections so far, requests on them or not. */
  readonly connections: number;
  readonly requests: readonly CanaryRequest[];
}

/** Starts a listener on the loopback interface. `answer` answers where it gives a response; otherwise `200 []`. */
export function startCanary(
  answer?: (request: Request) => Response | undefined | Promise<Response | undefined>,
): Canary {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const open = new Set<Deno.Conn>();
  const requests: CanaryRequest[] = [];
  let connections = 0;
  // The HTTP side stands behind a pipe, so that a connection counts before it says anything.
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const host = request.headers.get("host") ?? "";
    requests.push({
      host,
      method: request.method,
      url: request.url,
      headers: request.headers,
      body: request.method === "GET" || request.method === "HEAD" ? "" : await request.text(),
    });
    return await answer?.(request) ?? Response.json([]);
  });
  const pipe = async (client: Deno.Conn): Promise<void> => {
    const upstream = await Deno.connect({ hostname: "127.0.0.1", port: server.addr.port });
    open.add(client).add(upstream);
    await Promise.allSettled([
      client.readable.pipeTo(upstream.writable),
      upstream.readable.pipeTo(client.writable),
    ]);
    open.delete(client);
    open.delete(upstream);
  };
  const running = new Set<Promise<void>>();
  const accepting = (async () => {
    for await (const client of listener) {
      connections++;
      const piped = pipe(client).finally(() => running.delete(piped));
      running.add(piped);
    }
  })();
  return {
    url: `http://127.0.0.1:${port}`,
    host: `127.0.0.1:${port}`,
    port,
    get connections(): number {
      return connections;
    },
    requests,
    [Symbol.asyncDispose]: async () => {
      listener.close();
      for (const connection of open) {
        try {
          connection.close();
        } catch {
          // A pipe has closed it.
        }
      }
      await accepting;
      await Promise.all(running);
      await server.shutdown();
    },
  };
}
