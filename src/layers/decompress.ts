/**
 * From stored bytes to tar bytes: the format is told by the first bytes, never by the media type, which registries and
 * builders get wrong.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { InflaterFactory } from "../core/ports.ts";
import type { Fail } from "./fail.ts";
import { GzipDecoder } from "./gzip.ts";
import { nodeInflater } from "./node_inflater.ts";
import { isZstdMagic, ZstdDecoder } from "./zstd.ts";

/** How a layer is stored. */
export type Compression = "gzip" | "zstd" | "none";

/** Options of {@link Decompressor}. */
export interface DecompressorOptions {
  /** Gets the decoded bytes in order; they are valid during the call only. */
  readonly emit: (bytes: Uint8Array) => void;
  /** Called with LAYER_CORRUPT or LIMIT_EXCEEDED. */
  readonly fail: Fail;
  /** Decodes DEFLATE. @default node:zlib */
  readonly inflater?: InflaterFactory | undefined;
  readonly limits?: DecompressionLimits | undefined;
}

/** The bounds that apply here, see core/limits.ts. */
export interface DecompressionLimits {
  readonly layerTarBytes: number;
  readonly expansionRatio: number;
  readonly expansionWindowBytes: number;
  readonly zstdWindowLog: number;
}

interface Decoder {
  push(bytes: Uint8Array): void | Promise<void>;
  finish(): void;
  close(): void;
}

/** Input per decoder call: bounds what one call can expand to before back-pressure acts. */
const SLICE_BYTES = 64 * 1024;
const MAGIC_BYTES = 4;

/** The format that the first four bytes announce; fewer bytes are possible at the end of a short stream. */
export function detectCompression(head: Uint8Array): Compression {
  if (head[0] === 0x1f && head[1] === 0x8b) return "gzip";
  return isZstdMagic(head) ? "zstd" : "none";
}

/** Decodes a stream whose format it detects, within bounds on its size and on its ratio. */
export class Decompressor {
  readonly #options: DecompressorOptions;
  readonly #limits: DecompressionLimits;
  readonly #head = new Uint8Array(MAGIC_BYTES);
  #headLength = 0;
  #compression: Compression | undefined;
  #decoder: Decoder | undefined;
  #output = 0;
  /** Input and output since the last window began; windows begin between two decoder calls only. */
  #windowInput = 0;
  #windowOutput = 0;

  constructor(options: DecompressorOptions) {
    this.#options = options;
    this.#limits = options.limits ?? LIMITS;
  }

  /** The detected format; "none" as long as there are too few bytes to tell. */
  get compression(): Compression {
    return this.#compression ?? "none";
  }

  /** Decoded bytes so far. */
  get outputBytes(): number {
    return this.#output;
  }

  /**
   * Decodes the next bytes; settles once their output is emitted.
   *
   * @throws What `fail` makes of a malformed stream or a limit, or what `emit` throws.
   */
  async push(bytes: Uint8Array): Promise<void> {
    let at = 0;
    if (this.#decoder === undefined) {
      at = this.#takeHead(bytes);
      if (this.#headLength < MAGIC_BYTES) return;
      await this.#start();
    }
    for (; at < bytes.length; at += SLICE_BYTES) await this.#feed(bytes.subarray(at, at + SLICE_BYTES));
  }

  /**
   * Declares the input complete.
   *
   * @throws What `fail` makes of a stream that ends too early.
   */
  async finish(): Promise<void> {
    if (this.#decoder === undefined) await this.#start();
    this.#decoder?.finish();
  }

  /** Releases the decoder. */
  close(): void {
    this.#decoder?.close();
  }

  #takeHead(bytes: Uint8Array): number {
    const taken = Math.min(MAGIC_BYTES - this.#headLength, bytes.length);
    this.#head.set(bytes.subarray(0, taken), this.#headLength);
    this.#headLength += taken;
    return taken;
  }

  async #start(): Promise<void> {
    const head = this.#head.subarray(0, this.#headLength);
    this.#compression = detectCompression(head);
    this.#decoder = this.#makeDecoder(this.#compression);
    if (head.length > 0) await this.#feed(head);
  }

  #makeDecoder(compression: Compression): Decoder {
    const emit = (bytes: Uint8Array): void => this.#emit(bytes);
    const { fail, inflater = nodeInflater } = this.#options;
    if (compression === "gzip") return new GzipDecoder(inflater, emit, fail);
    if (compression === "zstd") return new ZstdDecoder(this.#limits.zstdWindowLog, emit, fail);
    return { push: emit, finish: () => {}, close: () => {} };
  }

  async #feed(slice: Uint8Array): Promise<void> {
    this.#windowInput += slice.length;
    await this.#decoder?.push(slice);
    if (this.#windowOutput < this.#limits.expansionWindowBytes) return;
    this.#windowInput = 0;
    this.#windowOutput = 0;
  }

  /** The whole slice counts as input, used up or not, so an honest stream is never refused. */
  #emit(bytes: Uint8Array): void {
    this.#output += bytes.length;
    this.#windowOutput += bytes.length;
    const { layerTarBytes, expansionRatio, expansionWindowBytes } = this.#limits;
    if (this.#output > layerTarBytes) {
      throw this.#options.fail("LIMIT_EXCEEDED", `it is larger than ${layerTarBytes} bytes uncompressed`);
    }
    if (this.#windowOutput >= expansionWindowBytes && this.#windowOutput > expansionRatio * this.#windowInput) {
      throw this.#options.fail("LIMIT_EXCEEDED", `it expands to more than ${expansionRatio} times its stored size`);
    }
    this.#options.emit(bytes);
  }
}
