/**
 * The layer engine behind the port that node:zlib and fflate stand behind too.
 *
 * @module
 */
import type { SyncInflater, SyncInflaterFactory } from "../core/ports.ts";
import { InflateError } from "../lib/inflate_error.ts";
import { ANSWER, LayerEngineInstance } from "./layer_engine.ts";

/** Instances that are kept for the next layer or file: a layer, a jar in it, and a jar in that. */
const SPARE_INSTANCES = 3;

/**
 * Makes a factory of inflaters that share one compiled module and reuse instances: closing one leaves its memory to the
 * next. Any number may be open at the same time.
 */
export function wasmInflaters(): SyncInflaterFactory {
  const spare: LayerEngineInstance[] = [];
  return (emit) =>
    new WasmInflater(spare.pop() ?? new LayerEngineInstance(), emit, (engine) => {
      if (spare.length < SPARE_INSTANCES) spare.push(engine);
    });
}

/** Whether this runtime can run the layer engine. Tries once, at the price of one instance. */
export function wasmRuns(): boolean {
  try {
    new LayerEngineInstance();
    return true;
  } catch {
    return false;
  }
}

class WasmInflater implements SyncInflater {
  readonly #emit: (bytes: Uint8Array) => void;
  readonly #release: (engine: LayerEngineInstance) => void;
  #engine: LayerEngineInstance | undefined;
  #running = false;

  constructor(
    engine: LayerEngineInstance,
    emit: (bytes: Uint8Array) => void,
    release: (engine: LayerEngineInstance) => void,
  ) {
    engine.reset();
    this.#engine = engine;
    this.#emit = emit;
    this.#release = release;
  }

  /** @throws {InflateError} When the stream is malformed, now and on every later call. */
  push(input: Uint8Array): number {
    const engine = this.#engine;
    if (engine === undefined) throw new Error("The inflater is closed");
    if (this.#running) throw new Error("The inflater is busy");
    this.#running = true;
    try {
      let used = 0;
      while (used < input.length) {
        const part = input.subarray(used, used + engine.input.length);
        const taken = this.#decode(engine, part);
        used += taken;
        if (taken < part.length) break;
      }
      return used;
    } finally {
      this.#running = false;
      if (this.#engine === undefined) this.#release(engine);
    }
  }

  reset(): void {
    this.#engine?.reset();
  }

  close(): void {
    const engine = this.#engine;
    this.#engine = undefined;
    // The output function may close the inflater that is calling it: `push` gives the instance back then.
    if (engine !== undefined && !this.#running) this.#release(engine);
  }

  /** Decodes a part that fits the input window; returns the bytes that belong to the stream. */
  #decode(engine: LayerEngineInstance, part: Uint8Array): number {
    const start = engine.load(part);
    const end = start + part.length;
    let at = start;
    let answer: number;
    do {
      answer = engine.run(at, end - at);
      at = engine.position;
      const output = engine.output();
      if (output.length > 0) this.#emit(output);
      if (this.#engine === undefined) return at - start;
    } while (answer === ANSWER.outputFull);
    if (answer === ANSWER.malformed) throw new InflateError("The DEFLATE stream is malformed");
    return at - start;
  }
}
