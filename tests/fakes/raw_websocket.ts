/**
 * A websocket server that writes its frames byte by byte and reads only when it is told to: for what no websocket library
 * would send (RFC 6455).
 *
 * @module
 */
import { createHash } from "node:crypto";

/** One connection after its handshake. */
export interface RawSocket {
  /** Writes bytes as they are; resolves when the network has taken them, rejects when the connection is gone. */
  write(bytes: Uint8Array): Promise<void>;
  /** Whether the client has ended the connection. Known only while it is read from. */
  readonly closed: boolean;
  /** Resolves when the client has ended the connection. */
  readonly gone: Promise<void>;
}

/** A running server. */
export interface RawWebSocketServer extends AsyncDisposable {
  /** `http://127.0.0.1:port`. */
  readonly url: string;
  /** Connections so far. */
  readonly accepted: number;
}

/** Options of {@link startRawWebSocketServer}. */
export interface RawWebSocketOptions {
  /** Plays the server's part on each connection. */
  readonly play: (socket: RawSocket) => Promise<void>;
  /** False: nothing that the client sends after its handshake is read. */
  readonly reads?: boolean;
}

const ACCEPT_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** Starts the server. */
export function startRawWebSocketServer({ play, reads = true }: RawWebSocketOptions): RawWebSocketServer {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open = new Set<Deno.Conn>();
  const running = new Set<Promise<void>>();
  let accepted = 0;

  async function serve(connection: Deno.Conn): Promise<void> {
    open.add(connection);
    const gone = Promise.withResolvers<void>();
    let closed = false;
    try {
      const head = await readHead(connection);
      const key = /^sec-websocket-key: *(\S+)\r$/im.exec(head)?.[1];
      if (key === undefined) return;
      const accept = createHash("sha1").update(key + ACCEPT_SUFFIX).digest("base64");
      await writeAll(
        connection,
        new TextEncoder().encode(
          `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
        ),
      );
      accepted++;
      const reading = reads
        ? drain(connection).finally(() => {
          closed = true;
          gone.resolve();
        })
        : undefined;
      await play({
        write: (bytes) => writeAll(connection, bytes),
        get closed() {
          return closed;
        },
        gone: gone.promise,
      });
      await reading;
    } catch {
      // The client has ended the connection.
    } finally {
      open.delete(connection);
      end(connection);
    }
  }

  const accepting = (async () => {
    for await (const connection of listener) {
      const served = serve(connection).finally(() => running.delete(served));
      running.add(served);
    }
  })();
  return {
    url: `http://127.0.0.1:${(listener.addr as Deno.NetAddr).port}`,
    get accepted() {
      return accepted;
    },
    [Symbol.asyncDispose]: async () => {
      listener.close();
      for (const connection of open) end(connection);
      await accepting;
      await Promise.all(running);
    },
  };
}

/** Opcodes of RFC 6455. */
export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** A frame of a server: unmasked. `length` may lie about the payload. */
export function rawFrame(
  opcode: number,
  payload: Uint8Array | string = "",
  options: { readonly final?: boolean; readonly reserved?: number; readonly length?: number } = {},
): Uint8Array<ArrayBuffer> {
  const bytes = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
  const length = options.length ?? bytes.length;
  const size = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const frame = new Uint8Array(size + bytes.length);
  const view = new DataView(frame.buffer);
  frame[0] = (options.final === false ? 0 : 0x80) | ((options.reserved ?? 0) << 4) | opcode;
  frame[1] = size === 2 ? length : size === 4 ? 126 : 127;
  if (size === 4) view.setUint16(2, length);
  if (size === 10) view.setBigUint64(2, BigInt(length));
  frame.set(bytes, size);
  return frame;
}

async function readHead(connection: Deno.Conn): Promise<string> {
  const buffer = new Uint8Array(16_384);
  const text = new TextDecoder("latin1");
  let head = "";
  while (!head.includes("\r\n\r\n")) {
    const count = await connection.read(buffer);
    if (count === null) return "";
    head += text.decode(buffer.subarray(0, count));
  }
  return head;
}

async function drain(connection: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(65_536);
  try {
    while (await connection.read(buffer) !== null);
  } catch {
    // Reset.
  }
}

async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}

function end(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch {
    // It was closed before.
  }
}
