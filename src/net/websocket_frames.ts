/**
 * Websocket frames: a client's as bytes, a server's out of a stream of bytes (RFC 6455 §5). A message is refused as soon
 * as its length is known to pass the bound, however many fragments it comes in, so that a peer decides neither how much
 * is held nor for how long.
 *
 * @module
 */

/** Opcodes (RFC 6455 §5.2). */
export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** A whole message, or a control frame. The payload is valid until the next one is asked for. */
export interface Incoming {
  readonly opcode: number;
  readonly payload: Uint8Array<ArrayBuffer>;
}

/** What a peer may not do; `code` is the close code that says so (RFC 6455 §7.4.1). */
export class FrameError extends Error {
  constructor(readonly code: 1002 | 1007 | 1009, message: string) {
    super(message);
  }
}

/** Reads at least one byte into the buffer; null at the end of the connection. */
export type Read = (buffer: Uint8Array<ArrayBuffer>) => Promise<number | null>;

const BUFFER_BYTES = 64 * 1024;
/** The longest head of a server's frame. */
const HEAD_BYTES = 10;
const CONTROL_BYTES = 125;

interface Head {
  readonly final: boolean;
  readonly opcode: number;
  readonly length: number;
}

/** Takes messages out of a connection. */
export class FrameReader {
  readonly #read: Read;
  readonly #maxBytes: number;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  #start = 0;
  #end = 0;
  /** Fragments so far, one behind the other, in a buffer that grows: a million empty ones cost nothing. */
  #message: Uint8Array<ArrayBuffer> | undefined;
  /** The last large message's buffer, for the next one: V8 is slow to give back what it holds. */
  #spare: Uint8Array<ArrayBuffer> | undefined;
  #opcode = 0;
  #size = 0;

  /** @param first Bytes that were read beyond the handshake. */
  constructor(read: Read, options: { readonly maxBytes: number; readonly first: Uint8Array }) {
    this.#read = read;
    this.#maxBytes = options.maxBytes;
    this.#buffer.set(options.first);
    this.#end = options.first.length;
  }

  /**
   * The next message or control frame; undefined at the end of the connection.
   *
   * @throws {FrameError} for what the protocol or the bound forbids.
   */
  async next(): Promise<Incoming | undefined> {
    for (;;) {
      const head = await this.#head();
      if (head === undefined) return undefined;
      if (head.opcode >= OPCODE.close) {
        const payload = new Uint8Array(head.length);
        if (!await this.#fill(payload)) return undefined;
        return { opcode: head.opcode, payload };
      }
      const room = this.#room(head);
      if (!await this.#fill(room)) return undefined;
      if (!head.final) continue;
      const message = this.#message ?? room;
      this.#message = undefined;
      this.#spare = message.length > BUFFER_BYTES ? message : undefined;
      return { opcode: this.#opcode, payload: message.subarray(0, this.#size) };
    }
  }

  /** Place for a data frame's payload behind what is there of its message. */
  #room({ opcode, length, final }: Head): Uint8Array<ArrayBuffer> {
    if (opcode !== OPCODE.continuation) {
      this.#opcode = opcode;
      this.#size = 0;
      const wanted = final ? length : Math.min(this.#maxBytes, Math.max(length, 1_024));
      const { length: spare = 0 } = this.#spare ?? {};
      this.#message = wanted > BUFFER_BYTES && wanted <= spare ? this.#spare : new Uint8Array(wanted);
    }
    const from = this.#size;
    this.#size += length;
    const held = this.#message ?? new Uint8Array(0);
    if (this.#size <= held.length) return held.subarray(from, this.#size);
    const grown = new Uint8Array(Math.min(this.#maxBytes, Math.max(this.#size, 2 * held.length)));
    grown.set(held.subarray(0, from));
    this.#message = grown;
    return grown.subarray(from, this.#size);
  }

  async #head(): Promise<Head | undefined> {
    if (!await this.#have(2)) return undefined;
    const [first = 0, second = 0] = this.#buffer.subarray(this.#start, this.#start + 2);
    const short = second & 0x7f;
    const size = short < 126 ? 2 : short === 126 ? 4 : HEAD_BYTES;
    if (!await this.#have(size)) return undefined;
    const view = new DataView(this.#buffer.buffer, this.#start, size);
    const length = size === 2 ? short : size === 4 ? view.getUint16(2) : Number(view.getBigUint64(2));
    this.#start += size;
    const head = { final: first >= 0x80, opcode: first & 0x0f, length };
    this.#check(head, (first & 0x70) !== 0 || second >= 0x80);
    return head;
  }

  #check({ final, opcode, length }: Head, masked: boolean): void {
    const known = opcode <= OPCODE.binary || (opcode >= OPCODE.close && opcode <= OPCODE.pong);
    const begun = this.#message !== undefined;
    const control = opcode >= OPCODE.close;
    if (masked || !known) throw new FrameError(1002, "A frame has a mask, reserved bits or an unknown opcode");
    if (control && (!final || length > CONTROL_BYTES)) throw new FrameError(1002, "A control frame is too long");
    if (!control && begun !== (opcode === OPCODE.continuation)) {
      throw new FrameError(1002, "A message is continued that did not begin, or begins before the last one has ended");
    }
    if (!control && length > this.#maxBytes - (begun ? this.#size : 0)) {
      throw new FrameError(1009, "A message is too large");
    }
  }

  /** Reads until so many bytes are in the buffer; false at the end of the connection. */
  async #have(bytes: number): Promise<boolean> {
    while (this.#end - this.#start < bytes) {
      if (this.#start > 0) {
        this.#buffer.copyWithin(0, this.#start, this.#end);
        this.#end -= this.#start;
        this.#start = 0;
      }
      const count = await this.#read(this.#buffer.subarray(this.#end));
      if (count === null) return false;
      this.#end += count;
    }
    return true;
  }

  /** Reads exactly what the target holds: the rest of a large payload straight into it. */
  async #fill(target: Uint8Array<ArrayBuffer>): Promise<boolean> {
    const held = Math.min(target.length, this.#end - this.#start);
    target.set(this.#buffer.subarray(this.#start, this.#start + held));
    this.#start += held;
    for (let at = held; at < target.length;) {
      const count = await this.#read(target.subarray(at));
      if (count === null) return false;
      at += count;
    }
    return true;
  }
}

/**
 * A client's frame: one message, masked with the key, in one piece, so that it is one write.
 *
 * @param key Four random bytes.
 */
export function encodeClientFrame(opcode: number, payload: Uint8Array, key: Uint8Array): Uint8Array<ArrayBuffer> {
  const { length } = payload;
  const size = length < 126 ? 2 : length < 65_536 ? 4 : HEAD_BYTES;
  const frame = new Uint8Array(size + 4 + length);
  const view = new DataView(frame.buffer);
  frame[0] = 0x80 | opcode;
  frame[1] = 0x80 | (size === 2 ? length : size === 4 ? 126 : 127);
  if (size === 4) view.setUint16(2, length);
  if (size === HEAD_BYTES) view.setBigUint64(2, BigInt(length));
  frame.set(key, size);
  frame.set(payload, size + 4);
  mask(frame, size + 4, key);
  return frame;
}

/** XORs with the key from `start` on, four bytes at a time where the words of the buffer lie so. */
function mask(bytes: Uint8Array<ArrayBuffer>, start: number, key: Uint8Array): void {
  let at = start;
  for (; at < bytes.length && at % 4 !== 0; at++) bytes[at] = (bytes[at] ?? 0) ^ (key[(at - start) % 4] ?? 0);
  const count = (bytes.length - at) >> 2;
  if (count > 0) {
    const turned = Uint8Array.from({ length: 4 }, (_, n) => key[(at - start + n) % 4] ?? 0);
    const [word = 0] = new Uint32Array(turned.buffer);
    const words = new Uint32Array(bytes.buffer, at, count);
    for (let n = 0; n < count; n++) words[n] = (words[n] ?? 0) ^ word;
    at += 4 * count;
  }
  for (; at < bytes.length; at++) bytes[at] = (bytes[at] ?? 0) ^ (key[(at - start) % 4] ?? 0);
}
