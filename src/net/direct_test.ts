import { afterEach, describe, expect, it } from "vitest";
import { FakeClock, systemClock } from "../../tests/fakes/clock.ts";
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ByteStream, Clock } from "../core/ports.ts";
import { concatBytes } from "../lib/bytes.ts";
import type { ByteConnection } from "./direct_connection.ts";
import { DirectClient, type DirectRequest, type DirectResponse } from "./direct.ts";
import { type PulledBody, pulledFrom, streamFrom } from "./pulled_body.ts";

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytes = (part: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(part);
const letters = (count: number): Uint8Array<ArrayBuffer> => Uint8Array.from({ length: count }, (_, i) => 97 + i % 26);
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/** A connection as the peer sees it. */
class Peer {
  readonly #conn: Deno.TcpConn;
  received = "";

  constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  /** Reads until what came since the last call matches, or the end; returns it. */
  async until(pattern: RegExp): Promise<string> {
    const buffer = new Uint8Array(65_536);
    let got = "";
    while (!pattern.test(got)) {
      const count = await this.#conn.read(buffer);
      if (count === null) break;
      got += text(buffer.subarray(0, count));
    }
    this.received += got;
    return got;
  }

  async send(part: string | Uint8Array): Promise<void> {
    const data = typeof part === "string" ? bytes(part) : part;
    for (let at = 0; at < data.length;) at += await this.#conn.write(data.subarray(at));
  }

  close(): void {
    this.#conn.close();
  }
}

/** Ends of heads, and of a chunked body. */
const HEAD = /\r\n\r\n/;

interface Bench {
  readonly client: DirectClient;
  readonly url: URL;
  /** Connections that were made. */
  readonly peers: Peer[];
  readonly close: () => Promise<void>;
}

describe("DirectClient", () => {
  const open: Bench[] = [];
  afterEach(async () => {
    for (const made of open.splice(0)) await made.close();
  });

  /** A client and a peer that runs `serve` for each connection, the first being 0. */
  function bench(serve: (peer: Peer, index: number) => Promise<void>, clock: Clock = systemClock): Bench {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const peers: Peer[] = [];
    const serving: Promise<void>[] = [];
    const accepting = (async () => {
      for await (const conn of listener) {
        const peer = new Peer(conn);
        serving.push(
          serve(peer, peers.push(peer) - 1).catch(() => {}).finally(() => {
            try {
              peer.close();
            } catch { /* The script closed it. */ }
          }),
        );
      }
    })();
    const { port } = listener.addr as Deno.NetAddr;
    const client = new DirectClient({ dial: ({ port }) => Deno.connect({ port: Number(port) }), clock });
    const close = async (): Promise<void> => {
      client.close();
      listener.close();
      await accepting;
      await Promise.all(serving);
    };
    const made = { client, url: new URL(`http://127.0.0.1:${port}/list?x=1`), peers, close };
    open.push(made);
    return made;
  }

  function get({ client, url }: Bench, more: Partial<DirectRequest> = {}): Promise<DirectResponse | undefined> {
    return client.exchange({ method: "GET", url, fields: [], signal: new AbortController().signal, ...more });
  }

  async function read(body: PulledBody): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (let piece = await body.read(); piece !== undefined; piece = await body.read()) parts.push(piece.slice());
    return concatBytes(parts);
  }

  async function getText(made: Bench, more: Partial<DirectRequest> = {}): Promise<string> {
    const response = await get(made, more);
    if (response === undefined) throw new Error("There was no connection");
    return `${response.status} ${text(await read(response.body))}`;
  }

  const source = (stream: ByteStream): PulledBody => pulledFrom(stream);
  const streamOf = (...parts: Uint8Array<ArrayBuffer>[]): ByteStream => ReadableStream.from(parts) as ByteStream;

  /** A body whose length is known. */
  function known(data: Uint8Array<ArrayBuffer>, pieceBytes: number): PulledBody {
    let at = 0;
    const take = (): Uint8Array<ArrayBuffer> | undefined => {
      const piece = data.subarray(at, at += pieceBytes);
      return piece.length === 0 ? undefined : piece;
    };
    return {
      length: data.length,
      get ended() {
        return at >= data.length;
      },
      take,
      read: () => Promise.resolve(take()),
      cancel: () => {},
    };
  }

  it("sends the request as it is given, and uses the connection again", async () => {
    const made = bench(async (peer) => {
      while (await peer.until(HEAD) !== "") await peer.send(OK);
    });
    expect(await getText(made, { fields: [["x-a", "b"]] })).toBe("200 ok");
    expect(await getText(made)).toBe("200 ok");
    const host = `host: ${made.url.host}`;
    expect(made.peers.map(({ received }) => received)).toEqual([
      `GET /list?x=1 HTTP/1.1\r\n${host}\r\nx-a: b\r\n\r\nGET /list?x=1 HTTP/1.1\r\n${host}\r\n\r\n`,
    ]);
  });

  it.each([1, 7, 1_000])("reads heads and chunked bodies that come in pieces of %i bytes", async (size) => {
    const answer =
      `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: ${"x".repeat(900)}` +
      "\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    const made = bench(async (peer) => {
      while (await peer.until(HEAD) !== "") {
        for (let at = 0; at < answer.length; at += size) await peer.send(answer.slice(at, at + size));
      }
    });
    for (let turn = 0; turn < 2; turn++) expect(await getText(made)).toBe("200 abcde");
    expect(made.peers).toHaveLength(1);
  });

  it("reads large bodies of each framing", async () => {
    const large = letters(3_000_000);
    const made = bench(async (peer, index) => {
      await peer.until(HEAD);
      if (index === 0) {
        await peer.send(`HTTP/1.1 200 OK\r\ncontent-length: ${large.length}\r\n\r\n`);
        await peer.send(large);
        await peer.until(HEAD);
        await peer.send(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${large.length.toString(16)}\r\n`);
        await peer.send(large);
        await peer.send("\r\n0\r\n\r\n");
        await peer.until(HEAD);
        await peer.send("HTTP/1.1 200 OK\r\n\r\n");
        await peer.send(large);
      }
    });
    for (const length of [large.length, undefined, undefined]) {
      const response = await get(made);
      expect(response?.body.length).toBe(length);
      expect(await read(response?.body as PulledBody)).toEqual(large);
    }
    expect(made.peers).toHaveLength(1);
  });

  it("sends a small body whose length is known in one piece with the head", async () => {
    const made = bench(async (peer) => {
      await peer.until(/end$/);
      await peer.send(OK);
    });
    let moved = 0;
    const body = { prefix: bytes("head"), source: known(bytes("body end"), 100) };
    expect(await getText(made, { method: "POST", body, onProgress: (count) => moved += count })).toBe("200 ok");
    expect(made.peers[0]?.received).toContain("\r\ncontent-length: 12\r\n\r\nheadbody end");
    expect(moved).toBe(8);
  });

  it("sends a large body whose length is known, and one whose length is not", async () => {
    const data = letters(1_000_000);
    const made = bench(async (peer) => {
      await peer.until(/end$/);
      await peer.send(OK);
      await peer.until(/0\r\n\r\n$/);
      await peer.send(OK);
    });
    const whole = concatBytes([data, bytes("end")]);
    expect(await getText(made, { method: "POST", body: { prefix: bytes("p"), source: known(whole, 60_000) } })).toBe(
      "200 ok",
    );
    const stream = source(streamOf(bytes("abc"), bytes("de")));
    expect(await getText(made, { method: "POST", body: { prefix: bytes("p"), source: stream } })).toBe("200 ok");
    expect(made.peers).toHaveLength(1);
    const [first = "", second = ""] = (made.peers[0]?.received ?? "").split("POST ").slice(1);
    expect(first.endsWith(`content-length: ${whole.length + 1}\r\n\r\np${text(whole)}`)).toBe(true);
    expect(second).toContain("transfer-encoding: chunked\r\n\r\n1\r\np\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  });

  it("makes a new connection when the peer has closed the one at rest, or has answered too much", async () => {
    const made = bench(async (peer, index) => {
      await peer.until(HEAD);
      await peer.send(index === 1 ? `${OK}HTTP/1.1 200 OK` : OK);
      if (index === 1) await peer.until(/never/);
    });
    for (let turn = 0; turn < 4; turn++) expect(await getText(made)).toBe("200 ok");
    expect(made.peers).toHaveLength(4);
  });

  it("asks again when the peer closes a used connection instead of answering, but not a new one", async () => {
    const made = bench(async (peer, index) => {
      await peer.until(HEAD);
      if (index > 1) return;
      await peer.send(OK);
      await peer.until(HEAD);
    });
    expect(await getText(made)).toBe("200 ok");
    const body = { prefix: bytes("p"), source: known(bytes("body"), 4) };
    expect(await getText(made, { method: "POST", body })).toBe("200 ok");
    expect(made.peers).toHaveLength(2);
    expect(made.peers[1]?.received).toContain("pbody");
    await expect(getText(made)).rejects.toMatchObject({ code: "CONNECTION_RESET" });
    expect(made.peers).toHaveLength(3);
  });

  it("does not use a connection that rested longer than httpIdleMs", async () => {
    const clock = new FakeClock();
    const made = bench(async (peer) => {
      while (await peer.until(HEAD) !== "") await peer.send(OK);
    }, clock);
    await getText(made);
    await clock.advance(LIMITS.httpIdleMs - 1);
    await getText(made);
    expect(made.peers).toHaveLength(1);
    await clock.advance(LIMITS.httpIdleMs);
    await getText(made);
    expect(made.peers).toHaveLength(2);
  });

  it.each([
    ["a short body", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", "CONNECTION_RESET"],
    ["a chunk cut off", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab", "CONNECTION_RESET"],
    ["a malformed chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxx", "CONNECTION_FAILED"],
    ["a head cut off", "HTTP/1.1 200 OK\r\ncontent-le", "CONNECTION_RESET"],
    ["another protocol", "SSH-2.0-OpenSSH\r\n\r\n", "CONNECTION_FAILED"],
    ["a head that is too long", `HTTP/1.1 200 OK\r\na: ${"x".repeat(LIMITS.httpHeadBytes)}`, "LIMIT_EXCEEDED"],
    ["nothing", "", "CONNECTION_RESET"],
  ])("fails for %s", async (_, answer, code) => {
    const made = bench(async (peer) => {
      await peer.until(HEAD);
      await peer.send(answer);
    });
    await expect(getText(made)).rejects.toMatchObject({ code });
  });

  it("takes a refusal that overtakes the body", async () => {
    const made = bench(async (peer) => {
      await peer.until(HEAD);
      await peer.send("HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno");
      await peer.until(/never/);
    });
    const never = source(new ReadableStream());
    const response = await get(made, { method: "POST", body: { prefix: bytes("p"), source: never } });
    expect(response).toMatchObject({ status: 500, sent: false });
    expect(text(await read(response?.body as PulledBody))).toBe("no");
  });

  it("gives a success that overtakes the body httpSettleMs", async () => {
    const clock = new FakeClock();
    const made = bench(async (peer) => {
      await peer.until(HEAD);
      await peer.send(OK);
      await peer.until(/never/);
    }, clock);
    const never = source(new ReadableStream());
    const answered = get(made, { method: "POST", body: { prefix: bytes("p"), source: never } });
    while (clock.pending === 0) await new Promise((resolve) => setTimeout(resolve));
    await clock.advance(LIMITS.httpSettleMs);
    const response = await answered;
    expect(response).toMatchObject({ status: 200, sent: false });
    response?.body.cancel();
  });

  it("fails as the body's source does, and breaks the connection", async () => {
    const broken = new TypeError("the agent died");
    const ended = Promise.withResolvers<void>();
    const made = bench(async (peer) => {
      await peer.until(/never/);
      ended.resolve();
    });
    const failing = source(new ReadableStream({ pull: (controller) => controller.error(broken) }));
    await expect(getText(made, { method: "POST", body: { prefix: bytes("p"), source: failing } })).rejects.toBe(broken);
    await ended.promise;
  });

  it("stops when the signal aborts, before and during the answer", async () => {
    const made = bench(async (peer) => {
      await peer.until(HEAD);
      await peer.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc");
      await peer.until(/never/);
    });
    const reason = new Error("over");
    const before = AbortSignal.abort(reason);
    await expect(getText(made, { signal: before })).rejects.toBe(reason);
    const life = new AbortController();
    const response = await get(made, { signal: life.signal });
    expect(text(await response?.body.read() as Uint8Array)).toBe("abc");
    const rest = response?.body.read();
    life.abort(reason);
    await expect(rest).rejects.toMatchObject({ code: "CONNECTION_RESET" });
  });

  it("stops waiting for the head when headSignal aborts, which the body does not care about", async () => {
    const made = bench(async (peer, index) => {
      await peer.until(HEAD);
      if (index === 1) await peer.send(OK);
      else await peer.until(/never/);
    });
    const head = new AbortController();
    const asked = get(made, { headSignal: head.signal });
    while (made.peers.length === 0) await new Promise((resolve) => setTimeout(resolve));
    head.abort();
    await expect(asked).rejects.toMatchObject({ code: "CONNECTION_RESET" });
    const later = new AbortController();
    const response = await get(made, { headSignal: later.signal });
    later.abort();
    expect(text(await read(response?.body as PulledBody))).toBe("ok");
  });

  it("does not wait for a connection when the signal aborts, and closes one that comes late", async () => {
    const { promise, resolve } = Promise.withResolvers<ByteConnection>();
    const client = new DirectClient({ dial: () => promise, clock: systemClock });
    const life = new AbortController();
    const url = new URL("http://127.0.0.1/");
    const asked = client.exchange({ method: "GET", url, fields: [], signal: life.signal });
    const reason = new Error("over");
    life.abort(reason);
    await expect(asked).rejects.toBe(reason);
    const closed = Promise.withResolvers<void>();
    const unused = (): Promise<number> => Promise.reject(new Error("It is not to be used"));
    resolve({ read: unused, write: unused, close: closed.resolve });
    await closed.promise;
  });

  it("says so when no connection can be made, and leaves the body alone", async () => {
    const client = new DirectClient({
      dial: () => Promise.reject(new Deno.errors.ConnectionRefused()),
      clock: systemClock,
    });
    const body = { prefix: bytes("p"), source: source(streamOf(bytes("abc"))) };
    const signal = new AbortController().signal;
    const url = new URL("http://127.0.0.1/");
    expect(await client.exchange({ method: "POST", url, fields: [], body, signal })).toBe(undefined);
    expect(await new Response(streamFrom(body.source)).text()).toBe("abc");
  });

  it("refuses header fields that would be two", async () => {
    const made = bench(() => Promise.resolve());
    for (const field of [["a", "b\r\nc: d"], ["a\r\nb", "c"], ["a", "\0"], ["a b", "c"]] as const) {
      await expect(get(made, { fields: [field] })).rejects.toMatchObject({ code: "REQUEST_INVALID" });
    }
    expect(made.peers).toHaveLength(0);
  });

  it("closes everything, answers on their way included", async () => {
    const made = bench(async (peer) => void await peer.until(/never/));
    const asked = get(made);
    while (made.peers[0]?.received === undefined) await new Promise((resolve) => setTimeout(resolve));
    made.client.close();
    await expect(asked).rejects.toBeInstanceOf(OutpostError);
  });
});
