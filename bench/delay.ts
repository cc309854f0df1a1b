/**
 * A registry that is far away: a proxy before one on this machine that delays whatever comes from the client.
 *
 * @module
 */

/** A running proxy. */
export interface Delay extends Disposable {
  readonly port: number;
}

const HOST = "127.0.0.1";
const BUFFER_BYTES = 256 * 1024;

/**
 * Holds back what the client sends for so many milliseconds, and a connection's first bytes for as long again: its set-up.
 * What comes back is not delayed, and has all of the loopback's bandwidth.
 */
export function startDelay(port: number, ms: number): Delay {
  const open = new Set<Deno.TcpConn>();
  const close = (conn: Deno.TcpConn): void => {
    if (open.delete(conn)) conn.close();
  };
  const listener = Deno.listen({ hostname: HOST, port: 0 });
  const serve = async (client: Deno.TcpConn): Promise<void> => {
    const setUp = performance.now() + ms;
    const upstream = await Deno.connect({ hostname: HOST, port });
    for (const conn of [client, upstream]) {
      open.add(conn);
      conn.setNoDelay(true);
    }
    const end = (): void => [client, upstream].forEach(close);
    let sent = Promise.resolve();
    const there = passOn(client, (bytes) => {
      const [copy, at] = [bytes.slice(), Math.max(setUp, performance.now()) + ms];
      sent = sent.then(() => until(at)).then(() => writeAll(upstream, copy));
      sent.catch(end);
    });
    const back = passOn(upstream, (bytes) => writeAll(client, bytes));
    // Either side went away: the other is told so.
    await Promise.race([there, back]).catch(() => {});
    end();
    await Promise.allSettled([there, back, sent]);
  };
  const accept = async (): Promise<void> => {
    for await (const client of listener) serve(client).catch(() => client.close());
  };
  void accept();
  return {
    port: listener.addr.port,
    [Symbol.dispose]: () => {
      listener.close();
      [...open].forEach(close);
    },
  };
}

/** Hands on what comes until the other side sends no more; the bytes are valid until the next are asked for. */
async function passOn(
  from: Deno.TcpConn,
  give: (bytes: Uint8Array<ArrayBuffer>) => void | Promise<void>,
): Promise<void> {
  const buffer = new Uint8Array(BUFFER_BYTES);
  for (let count = await from.read(buffer); count !== null; count = await from.read(buffer)) {
    await give(buffer.subarray(0, count));
  }
}

async function writeAll(to: Deno.TcpConn, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await to.write(bytes.subarray(at));
}

function until(at: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, at - performance.now())));
}
