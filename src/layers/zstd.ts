/**
 * Zstandard (RFC 8878) by node:zlib, with its own walk over frames and blocks: node:zlib stops after the first frame of
 * an input, skips nothing and does not notice a stream that ends too early.
 *
 * @module
 */
import { constants, createZstdDecompress } from "node:zlib";
import { OutpostError } from "../core/errors.ts";
import type { Fail } from "./fail.ts";
import { ZlibPump } from "./zlib_pump.ts";

const MAGIC = 0xfd2fb528;
const MAGIC_BYTES = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd);
const SKIPPABLE = 0x184d2a50;
const CHUNK_BYTES = 64 * 1024;

/** What the next byte belongs to. */
const enum State {
  Magic,
  SkipLength,
  Skip,
  Descriptor,
  FrameHeader,
  BlockHeader,
  Block,
  Checksum,
}

/** Length of the frame content size field by its flag (RFC 8878, 3.1.1.1.1.1); flag 0 has one byte in a single segment. */
const CONTENT_SIZE_BYTES = [0, 2, 4, 8] as const;

/** Whether four bytes begin a Zstandard stream: a frame or a skippable frame. */
export function isZstdMagic(bytes: Uint8Array): boolean {
  if (bytes.length < 4) return false;
  const magic = uint32(bytes);
  return magic === MAGIC || (magic & 0xfffffff0) >>> 0 === SKIPPABLE;
}

/** Decodes Zstandard: any number of frames, skippable ones anywhere. Windows above `windowLog` are refused. */
export class ZstdDecoder {
  readonly #pump: ZlibPump;
  readonly #fail: Fail;
  readonly #windowLog: number;
  #state = State.Magic;
  #field = new Uint8Array(14);
  #filled = 0;
  #needed = 4;
  /** Bytes of the current skippable frame or block that are still to come. */
  #left = 0;
  #descriptor = 0;
  #lastBlock = false;

  /** `emit` gets the decoded bytes, valid during the call only. `fail` is called with LAYER_CORRUPT or LIMIT_EXCEEDED. */
  constructor(windowLog: number, emit: (bytes: Uint8Array) => void, fail: Fail) {
    this.#fail = fail;
    this.#windowLog = windowLog;
    const params = { [constants.ZSTD_d_windowLogMax]: windowLog };
    this.#pump = new ZlibPump(createZstdDecompress({ chunkSize: CHUNK_BYTES, params }), emit);
  }

  /** Decodes the next bytes; settles once their output is emitted. */
  async push(bytes: Uint8Array): Promise<void> {
    let at = 0;
    while (at < bytes.length) {
      const start = at;
      const feed = this.#state > State.Skip;
      // Whatever belongs to one frame goes to the decoder in one piece, and nothing beyond its end.
      do at = this.#walk(bytes, at); while (feed && at < bytes.length && this.#state > State.Skip);
      if (feed) await this.#decode(bytes.subarray(start, at));
      else if (this.#state === State.Descriptor) await this.#decode(MAGIC_BYTES);
    }
  }

  /**
   * Declares the input complete.
   *
   * @throws LAYER_CORRUPT when it ends inside a frame.
   */
  finish(): void {
    if (this.#state !== State.Magic || this.#filled > 0) {
      throw this.#fail("LAYER_CORRUPT", "the zstd stream ends too early");
    }
  }

  /** Releases the decoder. */
  close(): void {
    this.#pump.close();
  }

  async #decode(bytes: Uint8Array): Promise<void> {
    try {
      await this.#pump.push(bytes);
    } catch (error) {
      if (isZstdError(error)) throw this.#fail("LAYER_CORRUPT", "the zstd stream is malformed", error);
      throw error;
    }
  }

  /** Takes bytes of one field or block; returns the position after them. */
  #walk(bytes: Uint8Array, at: number): number {
    if (this.#state === State.Skip || this.#state === State.Block) {
      const taken = Math.min(this.#left, bytes.length - at);
      this.#left -= taken;
      if (this.#left === 0) this.#onSkipped();
      return at + taken;
    }
    const taken = Math.min(this.#needed - this.#filled, bytes.length - at);
    this.#field.set(bytes.subarray(at, at + taken), this.#filled);
    this.#filled += taken;
    if (this.#filled === this.#needed) this.#onField();
    return at + taken;
  }

  #expect(state: State, bytes: number): void {
    this.#state = state;
    this.#needed = bytes;
    this.#filled = 0;
  }

  #onSkipped(): void {
    if (this.#state === State.Skip) this.#expect(State.Magic, 4);
    else this.#afterBlock();
  }

  #afterBlock(): void {
    if (!this.#lastBlock) this.#expect(State.BlockHeader, 3);
    else if ((this.#descriptor & 0x04) !== 0) this.#expect(State.Checksum, 4);
    else this.#expect(State.Magic, 4);
  }

  #onField(): void {
    switch (this.#state) {
      case State.Magic:
        return this.#onMagic(uint32(this.#field));
      case State.SkipLength:
        this.#left = uint32(this.#field);
        this.#state = State.Skip;
        if (this.#left === 0) this.#expect(State.Magic, 4);
        return;
      case State.Descriptor:
        return this.#onDescriptor(this.#field[0] ?? 0);
      case State.FrameHeader:
        this.#checkWindow();
        return this.#expect(State.BlockHeader, 3);
      case State.BlockHeader:
        return this.#onBlockHeader();
      default:
        return this.#expect(State.Magic, 4);
    }
  }

  #onMagic(magic: number): void {
    if (magic === MAGIC) this.#expect(State.Descriptor, 1);
    else if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE) this.#expect(State.SkipLength, 4);
    else throw this.#fail("LAYER_CORRUPT", "the zstd stream goes on with bytes that are no frame");
  }

  #onDescriptor(descriptor: number): void {
    this.#descriptor = descriptor;
    if ((descriptor & 0x03) !== 0) throw this.#fail("LAYER_CORRUPT", "the zstd stream needs a dictionary");
    const bytes = windowBytes(descriptor) + contentSizeBytes(descriptor);
    this.#expect(State.FrameHeader, bytes);
  }

  #checkWindow(): void {
    const descriptor = this.#descriptor;
    const size = windowBytes(descriptor) === 0
      ? littleEndian(this.#field, contentSizeBytes(descriptor)) + (descriptor >>> 6 === 1 ? 256 : 0)
      : windowSize(this.#field[0] ?? 0);
    if (size > 2 ** this.#windowLog) {
      throw this.#fail("LIMIT_EXCEEDED", `the zstd stream needs a window of more than 2^${this.#windowLog} bytes`);
    }
  }

  #onBlockHeader(): void {
    const header = littleEndian(this.#field, 3);
    const type = (header >>> 1) & 0x03;
    if (type === 3) throw this.#fail("LAYER_CORRUPT", "the zstd stream has a block of unknown type");
    this.#lastBlock = (header & 1) === 1;
    this.#left = type === 1 ? 1 : header >>> 3;
    this.#state = State.Block;
    if (this.#left === 0) this.#afterBlock();
  }
}

function windowBytes(descriptor: number): number {
  return (descriptor & 0x20) === 0 ? 1 : 0;
}

function contentSizeBytes(descriptor: number): number {
  const flag = descriptor >>> 6;
  return flag === 0 && windowBytes(descriptor) === 0 ? 1 : CONTENT_SIZE_BYTES[flag as 0 | 1 | 2 | 3];
}

/** RFC 8878, 3.1.1.1.2. */
function windowSize(byte: number): number {
  const base = 2 ** (10 + (byte >>> 3));
  return base + (base / 8) * (byte & 7);
}

function littleEndian(bytes: Uint8Array, length: number): number {
  let value = 0;
  for (let i = length - 1; i >= 0; i--) value = value * 256 + (bytes[i] ?? 0);
  return value;
}

function uint32(bytes: Uint8Array): number {
  return littleEndian(bytes, 4);
}

function isZstdError(error: unknown): boolean {
  return error instanceof Error && !(error instanceof OutpostError) && /zstd/i.test(error.message);
}
