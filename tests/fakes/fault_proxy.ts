/**
 * An HTTP/1.1 proxy before a registry that damages blobs on their way: what networks, proxies and disks do to them. It
 * writes its answers byte by byte, so that they may be as wrong as no HTTP server would make them.
 *
 * @module
 */
import type { Digest } from "../../src/core/digest.ts";

/** What happens to every answer with a blob. Offsets are those of the whole blob, also when a range is asked for. */
export interface BlobFault {
  /** Inverts the lowest bit of the byte at this offset. */
  readonly flipAt?: number;
  /** Closes the connection before the byte at this offset. */
  readonly cutAt?: number;
  /** Added to the announced length; null announces none, so that the end of the connection is the end of the blob. */
  readonly lengthBy?: number | null;
  /** How many answers are damaged. Default all. */
  readonly times?: number;
}

/** A running proxy. */
export interface FaultProxy extends AsyncDisposable {
  readonly url: string;
  /** `127.0.0.1:port`. */
  readonly host: string;
  /** Declares (or, with undefined, takes away) a blob's fault and forgets what was asked for it. */
  setFault(digest: Digest, fault: BlobFault | undefined): void;
  /** The `Range` headers of the requests for a blob, undefined where there was none. */
  requests(digest: Digest): readonly (string | undefined)[];
}

interface RequestHead {
  readonly method: string;
  readonly target: string;
  readonly headers: Headers;
}

/** Starts a proxy before the server with this origin. */
export function startFaultProxy(upstream: string): FaultProxy {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const faults = new Map<string, BlobFault>();
  const seen = new Map<string, (string | undefined)[]>();
  const open = new Set<Deno.Conn>();
  const running = new Set<Promise<void>>();

  function takeFault({ method, target, headers }: RequestHead): BlobFault {
    const [digest] = /sha256:[0-9a-f]{64}$/.exec(target) ?? [];
    if (method !== "GET" || digest === undefined || !target.includes("/blobs/")) return {};
    const ranges = seen.get(digest) ?? [];
    seen.set(digest, ranges);
    ranges.push(headers.get("range") ?? undefined);
    const fault = faults.get(digest);
    return fault === undefined || ranges.length > (fault.times ?? Infinity) ? {} : fault;
  }

  async function serve(connection: Deno.Conn): Promise<void> {
    open.add(connection);
    try {
      const head = await readHead(connection);
      if (head === undefined) return;
      const fault = takeFault(head);
      const { method, headers } = head;
      headers.delete("host");
      const answer = await fetch(upstream + head.target, { method, headers, redirect: "manual" });
      await writeAnswer(connection, answer, fault);
    } catch {
      // The client went away: whatever it missed is its own affair.
    } finally {
      open.delete(connection);
      close(connection);
    }
  }

  async function accept(): Promise<void> {
    for await (const connection of listener) {
      const served = serve(connection).finally(() => running.delete(served));
      running.add(served);
    }
  }

  const accepting = accept();
  return {
    url: `http://127.0.0.1:${listener.addr.port}`,
    host: `127.0.0.1:${listener.addr.port}`,
    setFault: (digest, fault) => {
      seen.delete(digest);
      if (fault === undefined) faults.delete(digest);
      else faults.set(digest, fault);
    },
    requests: (digest) => seen.get(digest) ?? [],
    [Symbol.asyncDispose]: async () => {
      listener.close();
      for (const connection of open) close(connection);
      await accepting;
      await Promise.all(running);
    },
  };
}

function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch {
    // It was closed before.
  }
}

/** The head of the connection's only request, which has no body; undefined when the client sends none. */
async function readHead(connection: Deno.Conn): Promise<RequestHead | undefined> {
  const buffer = new Uint8Array(16 * 1024);
  const text = new TextDecoder();
  let received = "";
  while (!received.includes("\r\n\r\n")) {
    const count = await connection.read(buffer);
    if (count === null) return undefined;
    received += text.decode(buffer.subarray(0, count), { stream: true });
  }
  const [first = "", ...lines] = received.slice(0, received.indexOf("\r\n\r\n")).split("\r\n");
  const [method = "", target = ""] = first.split(" ");
  const headers = new Headers(
    lines.map((line): [string, string] => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]),
  );
  return { method, target, headers };
}

async function writeAnswer(connection: Deno.Conn, answer: Response, fault: BlobFault): Promise<void> {
  const headers = new Headers(answer.headers);
  const length = headers.get("content-length");
  if (fault.lengthBy === null) headers.delete("content-length");
  else if (length !== null) headers.set("content-length", String(Number(length) + (fault.lengthBy ?? 0)));
  headers.delete("transfer-encoding");
  headers.set("connection", "close");
  const lines = [...headers].map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const writer = connection.writable.getWriter();
  await writer.write(new TextEncoder().encode(`HTTP/1.1 ${answer.status} Answer\r\n${lines}\r\n`));
  const [, start = "0"] = /^bytes (\d+)-/.exec(headers.get("content-range") ?? "") ?? [];
  let position = Number(start);
  for await (const chunk of answer.body ?? []) {
    const piece = chunk.subarray(0, Math.max(0, (fault.cutAt ?? Infinity) - position));
    const flip = (fault.flipAt ?? -1) - position;
    if (flip >= 0 && flip < piece.length) piece[flip] = (piece[flip] ?? 0) ^ 1;
    await writer.write(piece);
    position += piece.length;
    if (piece.length < chunk.length) return;
  }
}
