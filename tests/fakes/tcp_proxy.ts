/**
 * A TCP proxy that does to connections what networks do: cut, reset, stall, slice, slow. A fault is looked up for every
 * piece that passes, so that it also meets connections that clients keep open.
 *
 * Made of node:net, because Deno's own sockets cannot send a reset.
 *
 * @module
 */
import { connect, createServer, type Socket } from "node:net";

/** From the client to the server, or back. */
export type Direction = "up" | "down";

/** What happens to bytes on their way. */
export type LinkFault =
  /**
   * Both sides are closed (`cut`: FIN, `reset`: RST) once so many bytes have passed in this direction since the fault was
   * declared. `times` such ends, by default one, then the fault is over.
   */
  | { readonly kind: "cut" | "reset"; readonly direction: Direction; readonly after: number; readonly times?: number }
  /** Nothing passes in either direction and nobody is told, until another fault is declared: a black hole. */
  | { readonly kind: "stall" }
  /** Pieces of at most so many bytes, each in a write of its own. */
  | { readonly kind: "slice"; readonly bytes: number }
  /** At most so many bytes a second and direction. */
  | { readonly kind: "slow"; readonly bytesPerSecond: number };

/** A running proxy. */
export interface TcpProxy extends AsyncDisposable {
  /** `http://127.0.0.1:port`. */
  readonly url: string;
  /** Connections that are open, oldest first. */
  readonly connections: readonly ProxiedConnection[];
  /** How many connections `cut` and `reset` have ended. */
  readonly ended: number;
  /**
   * Declares what happens from now on, or with undefined nothing. `only` chooses connections by the first line of the
   * request that they carry, `POST /response-data/…` for instance.
   */
  setFault(fault: LinkFault | undefined, only?: RegExp): void;
}

/** A connection through the proxy. */
export interface ProxiedConnection {
  /** First line of the last request on it; empty before the first. */
  readonly requestLine: string;
  /** Bytes that have passed since the fault was declared. */
  readonly passed: Readonly<Record<Direction, number>>;
  /** Closes both sides. */
  end(kind: "cut" | "reset"): void;
}

const SLOW_TICK_MS = 20;

/** Sees bytes before a fault does. */
export type Tap = (direction: Direction, bytes: Uint8Array, connection: ProxiedConnection) => void;

/** Starts a proxy before the server on this port of the loopback interface. */
export async function startTcpProxy(serverPort: number, tap?: Tap): Promise<TcpProxy> {
  const proxy = new Proxy(serverPort, tap);
  await proxy.listen();
  return proxy;
}

class Proxy implements TcpProxy {
  readonly tap: Tap | undefined;
  readonly #serverPort: number;
  readonly #open = new Set<Connection>();
  readonly #running = new Set<Promise<void>>();
  readonly #server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client));
  #fault: LinkFault | undefined;
  #only: RegExp | undefined;
  #ended = 0;
  #endsOfFault = 0;
  #changed = Promise.withResolvers<void>();

  constructor(serverPort: number, tap: Tap | undefined) {
    this.#serverPort = serverPort;
    this.tap = tap;
  }

  get url(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === "object" ? address?.port : address}`;
  }

  get connections(): readonly ProxiedConnection[] {
    return [...this.#open];
  }

  get ended(): number {
    return this.#ended;
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(0, "127.0.0.1", () => resolve());
    });
  }

  setFault(fault: LinkFault | undefined, only?: RegExp): void {
    this.#fault = fault;
    this.#only = only;
    this.#endsOfFault = 0;
    for (const { passed } of this.#open) passed.up = passed.down = 0;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  faultOf({ requestLine }: ProxiedConnection): LinkFault | undefined {
    const fault = this.#fault;
    if (fault === undefined || (this.#only !== undefined && !this.#only.test(requestLine))) return undefined;
    const over = (fault.kind === "cut" || fault.kind === "reset") && this.#endsOfFault >= (fault.times ?? 1);
    return over ? undefined : fault;
  }

  /** Counts an end that a fault has brought about. */
  count(): void {
    this.#ended++;
    this.#endsOfFault++;
  }

  /** Resolves when another fault is declared. */
  get changed(): Promise<void> {
    return this.#changed.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const connection of this.#open) connection.end("cut");
    this.setFault(undefined);
    await Promise.all([closed, ...this.#running]);
  }

  #accept(client: Socket): void {
    const server = connect({ port: this.#serverPort, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    const connection = new Connection(this, client, server);
    this.#open.add(connection);
    const running = connection.run().finally(() => {
      this.#open.delete(connection);
      this.#running.delete(running);
    });
    this.#running.add(running);
  }
}

class Connection implements ProxiedConnection {
  requestLine = "";
  readonly passed = { up: 0, down: 0 };
  readonly #proxy: Proxy;
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #over = Promise.withResolvers<void>();
  #ended = false;

  constructor(proxy: Proxy, client: Socket, server: Socket) {
    this.#proxy = proxy;
    this.#client = client;
    this.#server = server;
    // What one side suffers, the other is told by the end of its own connection.
    for (const socket of [client, server]) socket.on("error", () => this.end("reset"));
  }

  async run(): Promise<void> {
    const gone = [this.#client, this.#server].map((socket) => new Promise((resolve) => socket.once("close", resolve)));
    await Promise.all([this.#pump(this.#client, this.#server, "up"), this.#pump(this.#server, this.#client, "down")]);
    await Promise.all(gone);
  }

  end(kind: "cut" | "reset"): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#over.resolve();
    for (const socket of [this.#client, this.#server]) {
      if (kind === "reset") socket.resetAndDestroy();
      else socket.destroy();
    }
  }

  async #pump(from: Socket, to: Socket, direction: Direction): Promise<void> {
    try {
      for await (const chunk of from.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
        if (direction === "up") this.#readRequestLine(chunk);
        this.#proxy.tap?.(direction, chunk, this);
        if (!await this.#pass(chunk, to, direction)) return;
      }
      if (!this.#ended) to.end();
    } catch {
      this.end("reset");
    }
  }

  #readRequestLine(chunk: Uint8Array): void {
    const [line = ""] = new TextDecoder("latin1").decode(chunk.subarray(0, 2_048)).split("\r\n", 1);
    if (/^[A-Z]+ \S+ HTTP\/1\.1$/.test(line)) this.requestLine = line;
  }

  /** Hands a chunk on under the fault of the moment; false when the connection is over. */
  async #pass(chunk: Uint8Array, to: Socket, direction: Direction): Promise<boolean> {
    for (let rest = chunk; rest.length > 0 && !this.#ended;) {
      const fault = this.#proxy.faultOf(this);
      if (fault?.kind === "stall") {
        await Promise.race([this.#proxy.changed, this.#over.promise]);
        continue;
      }
      const room = this.#room(fault, direction);
      const piece = rest.subarray(0, room);
      if (piece.length > 0) await this.#write(to, piece);
      this.passed[direction] += piece.length;
      rest = rest.subarray(piece.length);
      if (this.#ended) return false;
      if ((fault?.kind === "cut" || fault?.kind === "reset") && piece.length === room) {
        this.#proxy.count();
        this.end(fault.kind);
      }
      if (fault?.kind === "slow") await this.#pause();
    }
    return !this.#ended;
  }

  /** Bytes that may pass in one piece. */
  #room(fault: LinkFault | undefined, direction: Direction): number {
    if (fault?.kind === "slice") return fault.bytes;
    if (fault?.kind === "slow") return Math.ceil(fault.bytesPerSecond * SLOW_TICK_MS / 1000);
    if ((fault?.kind !== "cut" && fault?.kind !== "reset") || fault.direction !== direction) return Infinity;
    return Math.max(0, fault.after - this.passed[direction]);
  }

  #write(to: Socket, piece: Uint8Array): Promise<void> {
    const written = new Promise<void>((resolve) => to.write(piece, () => resolve()));
    return Promise.race([written, this.#over.promise]);
  }

  async #pause(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, SLOW_TICK_MS);
    await Promise.race([promise, this.#over.promise]);
    clearTimeout(timer);
  }
}
