/**
 * Raw DEFLATE by node:zlib.
 *
 * @module
 */
import { createInflateRaw } from "node:zlib";
import type { Inflater } from "../core/ports.ts";
import { ZlibPump } from "./zlib_pump.ts";

/** Makes an {@link Inflater} on node:zlib's public stream. Each DEFLATE stream costs a new zlib object. */
export function nodeInflater(emit: (bytes: Uint8Array) => void): Inflater {
  return new NodeInflater(emit);
}

/** Output per zlib call: at 64 KiB the garbage of a whole layer keeps the process under 130 MB. */
const CHUNK_BYTES = 64 * 1024;

class NodeInflater implements Inflater {
  readonly #emit: (bytes: Uint8Array) => void;
  #pump: ZlibPump | undefined;

  constructor(emit: (bytes: Uint8Array) => void) {
    this.#emit = emit;
  }

  push(input: Uint8Array): Promise<number> {
    this.#pump ??= new ZlibPump(createInflateRaw({ chunkSize: CHUNK_BYTES }), this.#emit);
    return this.#pump.push(input);
  }

  reset(): void {
    this.close();
  }

  close(): void {
    this.#pump?.close();
    this.#pump = undefined;
  }
}
