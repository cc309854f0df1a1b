/**
 * Raw DEFLATE by fflate, in TypeScript alone: for processes that can run no WebAssembly.
 *
 * fflate's stream does not tell where it ends and does not check what it reads: it ignores a stored block's second length,
 * takes any set of codes and any symbol, also those that RFC 1951 reserves. So block headers are read here first, as
 * strictly as zlib does, and fflate decodes one block at a time: it is told that each block is the last one, which makes it
 * stop. With that it accepts and refuses what zlib does; the suite over engines (inflater_suite.ts) holds it to that.
 *
 * The fields of fflate's decoder that this needs are private. Its version is pinned, and this module does not load when
 * they are not what {@link fixedTables} knows.
 *
 * @module
 */
import { Inflate } from "fflate";
import type { SyncInflater } from "../core/ports.ts";
import { concatBytes } from "../lib/bytes.ts";
import { InflateError } from "../lib/inflate_error.ts";
import { DISTANCE_CODES, LITERAL_CODES, readBlockHeader } from "./deflate_header.ts";

/**
 * Makes an {@link Inflater} on fflate. It holds less than 2 MiB, for a moment 50 MiB where input suddenly expands a
 * thousandfold. An output of more than 17 MiB at once does not occur.
 *
 * The inflater throws {@link InflateError}, or what `emit` throws.
 */
export function fflateInflater(emit: (bytes: Uint8Array) => void): SyncInflater {
  return new FflateInflater(emit);
}

/** The state of fflate's decoder between two calls. */
interface DecoderState {
  /** Whether the block is the last one. */
  f?: number | boolean;
  /**
   * Inside a block: its tables of literals and distances, and the bits by which they are indexed. An entry holds a symbol
   * above the four bits of its code's length; 0 stands for no code.
   */
  l?: Uint16Array | null;
  d?: Uint16Array;
  m?: number;
  n?: number;
  /** First bit in `Decoder.p` that is still to be decoded. */
  p?: number;
}

/** fflate's streaming decoder, as it is inside. */
interface Decoder {
  readonly s: DecoderState;
  /** Input that is still to be decoded. */
  p: Uint8Array;
  /** Begins with the window; output goes behind it. */
  o: Uint8Array;
  push(chunk: Uint8Array): void;
}

/** Input per step: each one costs two copies of the window. */
const STEP_BYTES = 16 * 1024;
/** Input per step while it expands a lot. */
const DENSE_STEP_BYTES = 1024;
/** Output per input from which on the steps are small. */
const DENSE_RATIO = 20;

/**
 * fflate would make an output buffer for each step. This one holds the window, the output of a step that expands by less
 * than 60 (of a small step, whatever it expands by), and the 128 KiB of space that fflate wants to see behind it; where more
 * is needed fflate makes a larger one.
 */
const SCRATCH_BYTES = 1280 * 1024;

const NOTHING = new Uint8Array(0);
const FIXED = fixedTables();

class FflateInflater implements SyncInflater {
  readonly #emit: (bytes: Uint8Array) => void;
  readonly #scratch = new Uint8Array(SCRATCH_BYTES);
  #decoder: Decoder;
  #output: Uint8Array = NOTHING;
  /** Whether the current block is the stream's last. */
  #final = false;
  #ended = false;
  #stepBytes = DENSE_STEP_BYTES;

  constructor(emit: (bytes: Uint8Array) => void) {
    this.#emit = emit;
    this.#decoder = this.#makeDecoder();
  }

  push(input: Uint8Array): number {
    let at = 0;
    while (at < input.length && !this.#ended) at += this.#step(input.subarray(at, at + this.#stepBytes));
    return at;
  }

  reset(): void {
    this.#decoder = this.#makeDecoder();
    this.#final = false;
    this.#ended = false;
  }

  close(): void {
    this.reset();
  }

  #makeDecoder(): Decoder {
    const decoder = decoderOf(new Inflate((bytes) => void (this.#output = bytes)));
    decoder.o = this.#scratch;
    return decoder;
  }

  /** Decodes a piece, at most to the end of its block; returns the bytes of it that are used up. */
  #step(piece: Uint8Array): number {
    const decoder = this.#decoder;
    const inside = isInside(decoder);
    if (!inside && !this.#beginBlock(piece)) return piece.length;
    this.#decode(inside ? piece : NOTHING);
    const used = piece.length - (isInside(decoder) ? 0 : this.#endBlock());
    const output = this.#output;
    this.#output = NOTHING;
    this.#stepBytes = output.length > DENSE_RATIO * used ? DENSE_STEP_BYTES : STEP_BYTES;
    if (output.length === 0) return used;
    this.#emit(output);
    // The garbage collector does not hurry to free what lies outside its heap.
    if (output.buffer instanceof ArrayBuffer) output.buffer.transfer(0);
    return used;
  }

  #decode(bytes: Uint8Array): void {
    const decoder = this.#decoder;
    try {
      decoder.push(bytes);
    } catch (cause) {
      throw new InflateError("invalid code or distance", { cause });
    }
    this.#scratch.set(decoder.o);
    decoder.o = this.#scratch;
  }

  /** Gives the decoder what it needs to decode one block; false when its header, or all of a stored one, is not there yet. */
  #beginBlock(piece: Uint8Array): boolean {
    const decoder = this.#decoder;
    const { s: state } = decoder;
    const bytes = concatBytes([decoder.p, piece]);
    decoder.p = bytes;
    const bit = state.p ?? 0;
    const header = readBlockHeader(bytes, bit);
    if (header === undefined || header.end + 8 * header.storedBytes > 8 * bytes.length) return false;
    this.#final = header.final;
    if (header.type === "fixed") Object.assign(state, FIXED, { f: 1, p: header.end });
    else setBit(bytes, bit);
    return true;
  }

  /** Takes from the decoder what it has not used up, but for a byte in whose middle it stands; returns how much that is. */
  #endBlock(): number {
    const { s: state, p: rest } = this.#decoder;
    const kept = state.p === 0 ? 0 : 1;
    this.#decoder.p = rest.slice(0, kept);
    state.f = 0;
    this.#ended = this.#final;
    return rest.length - kept;
  }
}

function decoderOf(inflate: Inflate): Decoder {
  return inflate as unknown as Decoder;
}

/** Whether a block is begun and not ended. */
function isInside({ s: { l: table } }: Decoder): boolean {
  return table !== undefined && table !== null;
}

/** The bit that tells that a block is the last one is the first of its header. */
function setBit(bytes: Uint8Array, bit: number): void {
  bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (1 << (bit & 7));
}

/**
 * fflate's tables of the fixed codes without the symbols that never occur in valid data (RFC 1951, 3.2.6). A decoder shows
 * them that is given the first bits of a fixed block.
 */
function fixedTables(): Required<Pick<DecoderState, "l" | "d" | "m" | "n">> {
  const probe = decoderOf(new Inflate(() => {}));
  probe.push(Uint8Array.of(0b010));
  const { l, d, m, n } = probe.s;
  if (l?.length !== 512 || d?.length !== 32 || m !== 9 || n !== 5) {
    throw new Error("fflate is not the version that was pinned");
  }
  const below = (symbols: number) => (entry: number): number => entry >> 4 < symbols ? entry : 0;
  return { l: l.map(below(LITERAL_CODES)), d: d.map(below(DISTANCE_CODES)), m, n };
}
