/**
 * gzip framing (RFC 1952) around an {@link Inflater}: several members, checked CRC and length, trailing bytes as gzip(1)
 * takes them.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import type { Inflater, InflaterFactory } from "../core/ports.ts";
import type { Fail } from "./fail.ts";

const FLAG = { headerCrc: 0x02, extra: 0x04, name: 0x08, comment: 0x10, reserved: 0xe0 } as const;

/** What the next byte belongs to. */
const enum State {
  Fixed,
  ExtraLength,
  Extra,
  Name,
  Comment,
  HeaderCrc,
  Deflate,
  Trailer,
  /** After a member: another one, zeros or garbage. */
  Between,
  Ignore,
}

/**
 * Decodes gzip. After the first member, bytes that do not begin another one are ignored, zeros and garbage alike: so do
 * gzip(1) and pigz, and the stored digest covers them. A second member with an unknown method is an error.
 */
export class GzipDecoder {
  readonly #inflater: Inflater;
  readonly #fail: Fail;
  #state = State.Fixed;
  /** Bytes of the current fixed-size field so far: fixed header, lengths, checksums. */
  #field = new Uint8Array(10);
  #filled = 0;
  #flags = 0;
  /** True while a further member is only suspected: its magic number is not complete. */
  #suspected = false;
  #extraLeft = 0;
  #headerCrc = 0;
  #crc = 0;
  #size = 0;

  /** `emit` gets the decoded bytes, valid during the call only. `fail` is called with LAYER_CORRUPT. */
  constructor(inflater: InflaterFactory, emit: (bytes: Uint8Array) => void, fail: Fail) {
    this.#fail = fail;
    this.#inflater = inflater((bytes) => {
      this.#crc = crc32(bytes, this.#crc);
      this.#size = (this.#size + bytes.length) >>> 0;
      emit(bytes);
    });
  }

  /** Decodes the next bytes; settles once their output is emitted. */
  async push(bytes: Uint8Array): Promise<void> {
    let at = 0;
    while (at < bytes.length && this.#state !== State.Ignore) {
      at = this.#state === State.Deflate ? await this.#inflate(bytes, at) : this.#frame(bytes, at);
    }
  }

  /**
   * Declares the input complete.
   *
   * @throws LAYER_CORRUPT when it ends inside a member.
   */
  finish(): void {
    // One byte that could begin a member begins none: gzip(1) takes it for garbage.
    const whole = this.#state === State.Ignore || this.#state === State.Between ||
      (this.#suspected && this.#filled === 1);
    if (!whole) throw this.#fail("LAYER_CORRUPT", "the gzip stream ends too early");
  }

  /** Releases the inflater. */
  close(): void {
    this.#inflater.close();
  }

  async #inflate(bytes: Uint8Array, at: number): Promise<number> {
    const input = at === 0 ? bytes : bytes.subarray(at);
    let used: number;
    try {
      const answer = this.#inflater.push(input);
      used = typeof answer === "number" ? answer : await answer;
    } catch (error) {
      if (isZlibError(error)) throw this.#fail("LAYER_CORRUPT", "the gzip stream is malformed", error);
      throw error;
    }
    if (used < input.length) {
      this.#inflater.reset();
      this.#begin(State.Trailer);
    }
    return at + used;
  }

  #begin(state: State): void {
    this.#state = state;
    this.#filled = 0;
  }

  /** Takes bytes of the header or trailer; returns the position after them. */
  #frame(bytes: Uint8Array, at: number): number {
    switch (this.#state) {
      case State.Between:
        if (bytes[at] === 0x1f) {
          this.#begin(State.Fixed);
          this.#suspected = true;
        } else this.#state = State.Ignore;
        return at;
      case State.Fixed:
        return this.#takeField(bytes, at, 10, () => this.#onFixed());
      case State.ExtraLength:
        return this.#takeField(bytes, at, 2, () => {
          this.#extraLeft = uint16(this.#field);
          this.#state = State.Extra;
          if (this.#extraLeft === 0) this.#afterExtra();
        });
      case State.Extra:
        return this.#skipExtra(bytes, at);
      case State.Name:
      case State.Comment:
        return this.#skipText(bytes, at);
      case State.HeaderCrc:
        return this.#takeField(bytes, at, 2, () => {
          if (uint16(this.#field) !== (this.#headerCrc & 0xffff)) throw this.#malformed("header checksum");
          this.#beginDeflate();
        });
      default:
        return this.#takeField(bytes, at, 8, () => this.#onTrailer());
    }
  }

  #takeField(bytes: Uint8Array, at: number, length: number, done: () => void): number {
    const taken = Math.min(length - this.#filled, bytes.length - at);
    this.#field.set(bytes.subarray(at, at + taken), this.#filled);
    this.#filled += taken;
    if (this.#state === State.Fixed && !this.#magicHolds()) return at + taken;
    if (this.#filled === length) {
      if (this.#state === State.Fixed) this.#headerCrc = 0;
      if (this.#state < State.HeaderCrc) this.#headerCrc = crc32(this.#field.subarray(0, length), this.#headerCrc);
      this.#filled = 0;
      done();
    }
    return at + taken;
  }

  /** Checks the magic number as soon as it is there: garbage after a member ends the stream, at its first two bytes. */
  #magicHolds(): boolean {
    const [first, second, method] = this.#field;
    if (this.#filled >= 2 && (first !== 0x1f || second !== 0x8b)) {
      if (!this.#suspected) throw this.#malformed("magic number");
      this.#state = State.Ignore;
      return false;
    }
    if (this.#filled >= 2) this.#suspected = false;
    if (this.#filled >= 3 && method !== 8) throw this.#malformed("compression method");
    return true;
  }

  #onFixed(): void {
    this.#flags = this.#field[3] ?? 0;
    if ((this.#flags & FLAG.reserved) !== 0) throw this.#malformed("header flags");
    this.#state = State.ExtraLength;
    if ((this.#flags & FLAG.extra) === 0) this.#afterExtra();
  }

  #afterExtra(): void {
    this.#state = State.Name;
    if ((this.#flags & FLAG.name) === 0) this.#afterName();
  }

  #afterName(): void {
    this.#state = State.Comment;
    if ((this.#flags & FLAG.comment) === 0) this.#afterComment();
  }

  #afterComment(): void {
    if ((this.#flags & FLAG.headerCrc) === 0) this.#beginDeflate();
    else this.#begin(State.HeaderCrc);
  }

  #beginDeflate(): void {
    this.#state = State.Deflate;
    this.#crc = 0;
    this.#size = 0;
  }

  #skipExtra(bytes: Uint8Array, at: number): number {
    const taken = Math.min(this.#extraLeft, bytes.length - at);
    this.#headerCrc = crc32(bytes.subarray(at, at + taken), this.#headerCrc);
    this.#extraLeft -= taken;
    if (this.#extraLeft === 0) this.#afterExtra();
    return at + taken;
  }

  /** A name or comment ends with a NUL; neither is kept. */
  #skipText(bytes: Uint8Array, at: number): number {
    const nul = bytes.indexOf(0, at);
    const end = nul < 0 ? bytes.length : nul + 1;
    this.#headerCrc = crc32(bytes.subarray(at, end), this.#headerCrc);
    if (nul < 0) return end;
    if (this.#state === State.Name) this.#afterName();
    else this.#afterComment();
    return end;
  }

  #onTrailer(): void {
    const view = new DataView(this.#field.buffer);
    if (view.getUint32(0, true) !== this.#crc) throw this.#malformed("checksum");
    if (view.getUint32(4, true) !== this.#size) throw this.#malformed("length");
    this.#state = State.Between;
  }

  #malformed(what: string): Error {
    return this.#fail("LAYER_CORRUPT", `the gzip stream has a wrong ${what}`);
  }
}

function uint16(field: Uint8Array): number {
  return (field[0] ?? 0) | ((field[1] ?? 0) << 8);
}

/** Whether the decoder itself has failed, as opposed to whoever takes its output. */
function isZlibError(error: unknown): boolean {
  return error instanceof Error && "code" in error && typeof error.code === "string" && error.code.startsWith("Z_");
}
