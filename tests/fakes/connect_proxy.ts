/**
 * An HTTP proxy that knows CONNECT only (RFC 9110 §9.3.6), with or without a password, and a TLS end before a plain
 * server. Host names are the proxy's affair: it takes every one to a port of the loopback interface, so that tests may use
 * names that nobody resolves.
 *
 * @module
 */

/** A request that reached the proxy. */
export interface ProxiedRequest {
  /** `CONNECT host:port HTTP/1.1`, or whatever else a client sent. */
  readonly line: string;
  /** `Proxy-Authorization`. */
  readonly authorization: string | undefined;
  /** Status of the answer. */
  readonly status: number;
}

/** A running proxy. */
export interface ConnectProxy extends AsyncDisposable {
  /** `127.0.0.1:port`. */
  readonly host: string;
  /** Requests so far, oldest first. */
  readonly requests: readonly ProxiedRequest[];
}

/** Options of {@link startConnectProxy}. */
export interface ConnectProxyOptions {
  /** The loopback port that stands for `host:port`; undefined refuses it with 502. */
  readonly resolve: (authority: string) => number | undefined;
  /** `user:password` that clients have to give. */
  readonly login?: string;
}

/** Starts the proxy on a free port. */
export function startConnectProxy({ resolve, login }: ConnectProxyOptions): ConnectProxy {
  const requests: ProxiedRequest[] = [];
  const expected = login === undefined ? undefined : `Basic ${btoa(login)}`;
  const statusOf = (line: string, authorization: string | undefined): { status: number; port: number } => {
    const [method = "", authority = ""] = line.split(" ");
    const port = resolve(authority) ?? 0;
    if (expected !== undefined && authorization !== expected) return { status: 407, port };
    if (method !== "CONNECT") return { status: 405, port };
    return { status: port === 0 ? 502 : 200, port };
  };
  const ends: Ends = new Ends(Deno.listen({ hostname: "127.0.0.1", port: 0 }), async (client) => {
    const head = await readHead(client);
    if (head === undefined) return;
    const [line = "", ...fields] = head.split("\r\n");
    const authorization = fields.find((field) => /^proxy-authorization:/i.test(field))?.split(/: */, 2)[1];
    const { status, port } = statusOf(line, authorization);
    requests.push({ line, authorization, status });
    const challenge = status === 407 ? 'Proxy-Authenticate: Basic realm="outpost"\r\n' : "";
    const text = `HTTP/1.1 ${status} ${status === 200 ? "Connection established" : "Refused"}\r\n${challenge}\r\n`;
    await client.write(new TextEncoder().encode(text));
    if (status === 200) await ends.join(client, port);
  });
  return { host: `127.0.0.1:${ends.port}`, requests, [Symbol.asyncDispose]: () => ends.close() };
}

/** A running TLS end. */
export interface TlsEnd extends AsyncDisposable {
  readonly port: number;
}

/** Ends TLS before the plain server on a port of the loopback interface, as an ingress does. */
export function startTlsEnd(
  certificate: { readonly certPem: string; readonly keyPem: string },
  serverPort: number,
): TlsEnd {
  const { certPem: cert, keyPem: key } = certificate;
  const ends: Ends = new Ends(
    Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key }),
    (client) => ends.join(client, serverPort),
  );
  return { port: ends.port, [Symbol.asyncDispose]: () => ends.close() };
}

/** A listener with the connections that it has accepted and made. */
class Ends {
  readonly #listener: Deno.Listener<Deno.Conn>;
  readonly #open = new Set<Deno.Conn>();
  readonly #running = new Set<Promise<void>>();
  readonly #accepting: Promise<void>;

  constructor(listener: Deno.Listener<Deno.Conn>, serve: (client: Deno.Conn) => Promise<void>) {
    this.#listener = listener;
    this.#accepting = this.#accept(serve);
  }

  get port(): number {
    return (this.#listener.addr as Deno.NetAddr).port;
  }

  /** Passes bytes between the client and a loopback port until both sides have ended. */
  async join(client: Deno.Conn, port: number): Promise<void> {
    const server = await Deno.connect({ hostname: "127.0.0.1", port });
    this.#open.add(server);
    try {
      await Promise.all([pass(client, server), pass(server, client)]);
    } finally {
      this.#end(server);
    }
  }

  async close(): Promise<void> {
    this.#listener.close();
    for (const connection of [...this.#open]) this.#end(connection);
    await this.#accepting;
    await Promise.all(this.#running);
  }

  async #accept(serve: (client: Deno.Conn) => Promise<void>): Promise<void> {
    for await (const client of this.#listener) {
      this.#open.add(client);
      const running = serve(client).catch(() => {/* One side went away; the other is told below. */}).finally(() => {
        this.#end(client);
        this.#running.delete(running);
      });
      this.#running.add(running);
    }
  }

  #end(connection: Deno.Conn): void {
    if (!this.#open.delete(connection)) return;
    connection.close();
  }
}

async function pass(from: Deno.Conn, to: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(64 * 1024);
  for (let count = await from.read(buffer); count !== null; count = await from.read(buffer)) {
    for (let sent = 0; sent < count;) sent += await to.write(buffer.subarray(sent, count));
  }
  await to.closeWrite();
}

/** The head of a request, without its empty line; undefined when the client sends none. */
async function readHead(client: Deno.Conn): Promise<string | undefined> {
  const buffer = new Uint8Array(8 * 1024);
  let head = "";
  // A client sends nothing after the head of CONNECT until it is answered.
  while (!head.endsWith("\r\n\r\n")) {
    const count = await client.read(buffer);
    if (count === null) return undefined;
    head += new TextDecoder("latin1").decode(buffer.subarray(0, count));
  }
  return head.slice(0, -4);
}
