/**
 * Drives a node:zlib stream one input at a time, so that memory stays at one input and a few outputs.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** What node:zlib's transform streams have in common, as far as it is used here. */
export interface ZlibStream {
  readonly bytesWritten: number;
  readonly readableEnded: boolean;
  write(chunk: Uint8Array, done: (error?: Error | null) => void): boolean;
  read(): Uint8Array | null;
  on(event: "readable" | "end", listener: () => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  destroy(): unknown;
}

/**
 * Pushes input through a node:zlib stream and hands its output to a function, with back-pressure. The output is valid
 * during the call only. The stream's chunk size must be above `Buffer.poolSize`.
 */
export class ZlibPump {
  readonly #stream: ZlibStream;
  readonly #emit: (bytes: Uint8Array) => void;
  #failure: unknown;
  #reject: ((error: unknown) => void) | undefined;

  constructor(stream: ZlibStream, emit: (bytes: Uint8Array) => void) {
    this.#stream = stream;
    this.#emit = emit;
    stream.on("readable", () => this.#drain());
    stream.on("error", (error) => this.#fail(error));
  }

  /**
   * Feeds one input and waits until it is used up and all of its output is emitted.
   *
   * @returns Bytes that the decoder took: fewer than given once its stream has ended.
   * @throws node:zlib's error, or what the output function throws.
   */
  async push(input: Uint8Array): Promise<number> {
    if (this.#failure !== undefined) throw this.#failure;
    if (input.length === 0) return 0;
    const before = this.#stream.bytesWritten;
    await new Promise<void>((resolve, reject) => {
      this.#reject = reject;
      this.#stream.write(input, (error) => error ? this.#fail(error) : resolve());
    });
    this.#reject = undefined;
    this.#drain();
    if (this.#failure !== undefined) throw this.#failure;
    return this.#stream.bytesWritten - before;
  }

  /** Releases the decoder. */
  close(): void {
    this.#stream.destroy();
  }

  #drain(): void {
    if (this.#failure !== undefined) return;
    try {
      for (let bytes = this.#stream.read(); bytes !== null; bytes = this.#stream.read()) {
        // Not a Buffer, whose slice() does not copy.
        this.#emit(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
        release(bytes);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The first failure counts; a decoder that has failed gets no more input. */
  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#stream.destroy();
    this.#reject?.(this.#failure);
  }
}

/**
 * Gives an output buffer back at once. The garbage collector does not see how much memory a buffer holds outside its heap
 * and lets 30 MB of them pile up. node:zlib fills a buffer in parts and never writes to it again once it is full; buffers of
 * Node's shared pool are smaller.
 */
function release({ buffer, byteOffset, byteLength }: Uint8Array): void {
  const full = byteOffset + byteLength === buffer.byteLength;
  if (full && buffer instanceof ArrayBuffer && buffer.byteLength > Buffer.poolSize) buffer.transfer(0);
}
