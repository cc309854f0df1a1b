/**
 * Small manifests that every installed package has, reduced while their layer streams by.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { FileExtractor, FileReader } from "../core/ports.ts";
import type { JsonValue } from "../core/types.ts";

/** Which files, and what is kept of them. */
export interface ManifestOptions {
  /** The file's name, and the name that its facts are kept under. */
  readonly name: string;
  readonly version: string;
  /** Larger files are not read: their facts are a `problem`. */
  readonly maxBytes: number;
  readonly read: (bytes: Uint8Array) => JsonValue;
}

/** An extractor that reads whole files of a name, wherever they are. */
export function manifestExtractor({ name, version, maxBytes, read }: ManifestOptions): FileExtractor {
  const pattern = { names: [name], maxBytes: LIMITS.layerTarBytes };
  return { name, version, pattern, open: ({ size }) => new ManifestReader(size, maxBytes, read) };
}

class ManifestReader implements FileReader {
  readonly #maxBytes: number;
  readonly #read: ManifestOptions["read"];
  #text: Uint8Array | undefined;
  #at = 0;

  constructor(size: number, maxBytes: number, read: ManifestOptions["read"]) {
    this.#maxBytes = maxBytes;
    this.#read = read;
    if (size <= maxBytes) this.#text = new Uint8Array(size);
  }

  data(bytes: Uint8Array): boolean {
    this.#text?.set(bytes, this.#at);
    this.#at += bytes.length;
    return this.#text !== undefined;
  }

  end(): JsonValue {
    if (this.#text !== undefined) return this.#read(this.#text);
    return { problem: `it is larger than ${this.#maxBytes} bytes` };
  }

  close(): void {
    this.#text = undefined;
  }
}
