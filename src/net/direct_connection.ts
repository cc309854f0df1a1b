/**
 * One HTTP/1.1 connection: requests one after another, answers as they come.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { ChunkDecoder } from "./http1_chunks.ts";
import { type Framing, headEnd, parseResponseHead, type ResponseHead } from "./http1_head.ts";
import type { PulledBody } from "./pulled_body.ts";

/** The part of a `Deno.Conn` that is used. */
export interface ByteConnection {
  /** Bytes read, null at the end of the connection. */
  read(buffer: Uint8Array): Promise<number | null>;
  /** Bytes written. */
  write(bytes: Uint8Array): Promise<number>;
  close(): void;
}

/** Holds a head and a small body; a connection at rest waits in it for its end. */
const BUFFER_BYTES = 16 * 1024;
/** What one read of a large body may bring. */
const LARGE_BUFFER_BYTES = 256 * 1024;
/** Holds the head of a request and a small body. */
const OUTPUT_BYTES = 4 * 1024;
/** Large buffers that are kept for the next body. */
const LARGE_BUFFERS = 4;
const largeBuffers: Uint8Array<ArrayBuffer>[] = [];

/** A connection. One exchange at a time. */
export class DirectConnection {
  readonly #io: ByteConnection;
  #buffer = new Uint8Array(BUFFER_BYTES);
  #start = 0;
  #end = 0;
  #reading: Promise<number> | undefined;
  #heard = false;
  #closed = false;
  #exchanges = 0;
  /** For the first bytes of a request. */
  readonly output: Uint8Array<ArrayBuffer> = new Uint8Array(OUTPUT_BYTES);
  /** When it was put aside, in milliseconds since the epoch. */
  idleSince = 0;

  constructor(io: ByteConnection) {
    this.#io = io;
  }

  /** Whether nothing has been heard since {@link DirectConnection.listen}: the peer has not hung up. */
  get silent(): boolean {
    return !this.#heard && !this.#closed;
  }

  /** Whether it was used before. */
  get reused(): boolean {
    return this.#exchanges > 1;
  }

  /** Whether bytes wait that belong to no answer. */
  get dirty(): boolean {
    return this.#start < this.#end;
  }

  /** Closes it; whoever reads or writes fails. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#io.close();
    } catch { /* The peer was faster. */ }
  }

  /** Starts to wait for the peer's next bytes, before or after the request is sent: a connection that ends is noticed. */
  listen(): void {
    if (this.#reading !== undefined) return;
    this.#start = this.#end = 0;
    this.#heard = false;
    this.#reading = this.#io.read(this.#buffer).then((count) => {
      this.#heard = true;
      return count ?? 0;
    }, () => {
      this.#heard = true;
      return 0;
    });
  }

  /** Sends all bytes. */
  async send(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#io.write(at === 0 ? bytes : bytes.subarray(at));
  }

  /** Notes that an exchange begins. */
  begin(): void {
    this.#exchanges++;
    this.listen();
  }

  /**
   * Reads the head of the final answer.
   *
   * @returns undefined when the connection ended without a byte.
   * @throws {OutpostError} CONNECTION_RESET when it ends within the head, CONNECTION_FAILED for a malformed one,
   *   LIMIT_EXCEEDED when it is longer than LIMITS.httpHeadBytes.
   */
  async head(withoutBody: boolean): Promise<ResponseHead | undefined> {
    const first = await this.#reading;
    this.#reading = undefined;
    if (first === undefined || first === 0) return undefined;
    this.#end = first;
    for (;;) {
      const end = headEnd(this.#buffer, this.#start, this.#end);
      if (end < 0) {
        await this.#more();
        continue;
      }
      const head = parseResponseHead(this.#buffer.subarray(this.#start, end), withoutBody);
      this.#start = end;
      // We never ask for another protocol, so 101 is no interim answer.
      if (head.status >= 200 || head.status === 101) return head;
    }
  }

  /** The body of the answer whose head was read; `done` is called once, with whether it was read to its end. */
  body(framing: Framing, done: (whole: boolean) => void): PulledBody {
    return new ConnectionBody(framing, {
      done,
      take: (most) => this.#take(most),
      read: (buffer) => this.#read(buffer),
    });
  }

  #take(most: number): Uint8Array<ArrayBuffer> {
    const bytes = this.#buffer.subarray(this.#start, Math.min(this.#end, this.#start + most));
    this.#start += bytes.length;
    return bytes;
  }

  async #read(buffer: Uint8Array | undefined): Promise<number> {
    if (buffer !== undefined) return await this.#io.read(buffer) ?? 0;
    this.#start = 0;
    this.#end = await this.#io.read(this.#buffer) ?? 0;
    return this.#end;
  }

  /** Reads on after what is there. */
  async #more(): Promise<void> {
    const kept = this.#end - this.#start;
    if (kept >= LIMITS.httpHeadBytes) {
      throw new OutpostError("LIMIT_EXCEEDED", "Cannot read the answer: its head is larger than httpHeadBytes");
    }
    if (this.#end === this.#buffer.length) {
      const larger = new Uint8Array(Math.max(BUFFER_BYTES, kept * 2));
      larger.set(this.#buffer.subarray(this.#start, this.#end));
      this.#buffer = larger;
      this.#start = 0;
      this.#end = kept;
    }
    const count = await this.#io.read(this.#buffer.subarray(this.#end));
    if (count === null) throw brokenOff();
    this.#end += count;
  }
}

/** What a body needs of its connection. */
interface BodyConnection {
  readonly take: (most: number) => Uint8Array<ArrayBuffer>;
  /** Reads into the buffer, or without one into the connection's own, from where `take` gives it. */
  readonly read: (buffer: Uint8Array | undefined) => Promise<number>;
  readonly done: (whole: boolean) => void;
}

class ConnectionBody implements PulledBody {
  readonly length: number | undefined;
  readonly #connection: BodyConnection;
  readonly #chunks: ChunkDecoder | undefined;
  #left: number;
  #large: Uint8Array<ArrayBuffer> | undefined;
  #seen = 0;
  /** Bytes after the end were read, which nobody can put back. */
  #spoiled = false;
  #over = false;
  #ended: boolean;

  constructor(framing: Framing, connection: BodyConnection) {
    this.#connection = connection;
    this.length = framing.kind === "length" ? framing.bytes : undefined;
    this.#left = this.length ?? Infinity;
    this.#chunks = framing.kind === "chunked" ? new ChunkDecoder() : undefined;
    this.#ended = this.#left === 0;
  }

  get ended(): boolean {
    return this.#ended;
  }

  take(): Uint8Array<ArrayBuffer> | undefined {
    if (this.#over || this.#ended) return undefined;
    return this.#accept(this.#connection.take(this.#left));
  }

  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const here = this.take();
    if (here !== undefined) return here;
    while (!this.#over && !this.#ended) {
      let piece: Uint8Array<ArrayBuffer> | undefined;
      try {
        piece = await this.#pull();
      } catch (error) {
        this.#finish(false);
        throw error instanceof OutpostError ? error : brokenOff();
      }
      if (piece !== undefined) return piece;
    }
    this.#finish(true);
    return undefined;
  }

  cancel(): void {
    this.#large = undefined;
    this.#finish(false);
  }

  async #pull(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const large = this.#chunks === undefined ? this.#left > BUFFER_BYTES : this.#seen > BUFFER_BYTES;
    if (large) this.#large ??= largeBuffers.pop() ?? new Uint8Array(LARGE_BUFFER_BYTES);
    const buffer = large ? this.#large : undefined;
    const room = buffer !== undefined && this.#left < buffer.length ? buffer.subarray(0, this.#left) : buffer;
    const count = await this.#connection.read(room);
    if (count === 0) {
      if (this.length !== undefined || this.#chunks !== undefined) throw brokenOff();
      this.#ended = true;
      return undefined;
    }
    return this.#accept(buffer === undefined ? this.#connection.take(this.#left) : buffer.subarray(0, count));
  }

  #accept(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | undefined {
    if (bytes.length === 0) return undefined;
    if (this.#chunks === undefined) {
      this.#left -= bytes.length;
      this.#ended = this.#left === 0;
      return bytes;
    }
    const { end, read } = this.#chunks.decode(bytes, 0, bytes.length);
    this.#seen += bytes.length;
    if (read < bytes.length) this.#spoiled = true;
    this.#ended = this.#chunks.ended;
    return end === 0 ? undefined : bytes.subarray(0, end);
  }

  #finish(whole: boolean): void {
    if (this.#over) return;
    this.#over = true;
    if (whole && this.#large !== undefined && largeBuffers.length < LARGE_BUFFERS) largeBuffers.push(this.#large);
    this.#large = undefined;
    this.#connection.done(whole && !this.#spoiled);
  }
}

function brokenOff(): OutpostError {
  return new OutpostError("CONNECTION_RESET", "Cannot read the answer: the connection broke");
}
