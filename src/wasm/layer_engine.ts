/**
 * One instance of the layer engine (wasm/layer_engine.as): raw DEFLATE from one window of its linear memory to another.
 *
 * @module
 */
import { LAYER_ENGINE_WASM } from "./layer_engine_wasm.ts";

/** What ended a run. */
export const ANSWER = { needInput: 0, outputFull: 1, done: 2, malformed: 3 } as const;

/** The module's exports. Addresses are bytes in `memory`. */
interface Exports {
  readonly memory: WebAssembly.Memory;
  /** Address of the input window. */
  input(): number;
  /** Size of the input window in bytes. */
  input_size(): number;
  /** Address of three 32-bit numbers: next input position, begin and end of the new output. */
  state(): number;
  /** Gets ready for another stream. */
  reset(): void;
  /** Decodes `length` bytes from position `from` of the input window; an {@link ANSWER}. */
  inflate(from: number, length: number): number;
}

let compiled: WebAssembly.Module | undefined;

/** Compiles the module once, when it is first needed: a command that reads no layer does not pay for it. */
function layerEngineModule(): WebAssembly.Module {
  return compiled ??= new WebAssembly.Module(Uint8Array.fromBase64(LAYER_ENGINE_WASM));
}

/** The decoder and its fixed memory. Nothing of it grows, whatever the stream. */
export class LayerEngineInstance {
  /**
   * The input window. Whoever reads into it, and pushes a part of it, saves the copy. Not to be written to while its
   * bytes are being decoded.
   */
  readonly input: Uint8Array<ArrayBuffer>;
  readonly #memory: Uint8Array<ArrayBuffer>;
  readonly #exports: Exports;
  readonly #state: Uint32Array<ArrayBuffer>;

  /** @throws {WebAssembly.CompileError | RangeError} Where WebAssembly is not to be had. */
  constructor() {
    const exports = new WebAssembly.Instance(layerEngineModule()).exports as unknown as Exports;
    const buffer = exports.memory.buffer as ArrayBuffer;
    this.#exports = exports;
    this.#memory = new Uint8Array(buffer);
    this.#state = new Uint32Array(buffer, exports.state(), 3);
    this.input = new Uint8Array(buffer, exports.input(), exports.input_size());
    this.reset();
  }

  /** Bytes of linear memory. */
  get memoryBytes(): number {
    return this.#memory.length;
  }

  /** Forgets the stream and all history. */
  reset(): void {
    this.#exports.reset();
  }

  /**
   * Puts bytes into the input window, which they must fit, unless they are a part of it already.
   *
   * @returns Their position in the window.
   */
  load(bytes: Uint8Array): number {
    if (bytes.buffer === this.input.buffer) return bytes.byteOffset - this.input.byteOffset;
    this.input.set(bytes);
    return 0;
  }

  /** Decodes `length` bytes from position `from` of the input window, until one of the windows is through. */
  run(from: number, length: number): number {
    return this.#exports.inflate(from, length);
  }

  /** Where the last run stopped reading. */
  get position(): number {
    return this.#state[0] ?? 0;
  }

  /** What the last run gave: a view that the next run overwrites. Empty when it gave nothing. */
  output(): Uint8Array<ArrayBuffer> {
    return this.#memory.subarray(this.#state[1], this.#state[2]);
  }
}
