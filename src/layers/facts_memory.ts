/**
 * What the facts of one layer take in memory while they are collected.
 *
 * @module
 */
import type { ExtractOptions } from "../core/ports.ts";
import type { Fail } from "./fail.ts";

/** The bounds that apply here, see core/limits.ts. */
export interface MemoryLimits {
  readonly layerEntries: number;
  readonly keptBytes: number;
  readonly layerLinkBytes: number;
  readonly textLinesBytes: number;
}

/** Options of {@link FactsMemory}. */
export interface FactsMemoryOptions {
  readonly limits: MemoryLimits;
  /** Called with LIMIT_EXCEEDED. */
  readonly fail: Fail;
  /** See {@link ExtractOptions.reserve}. */
  readonly reserve?: ExtractOptions["reserve"];
}

/** What an entry costs in memory besides its strings and content, about. */
export const ENTRY_BYTES = 160;
/** What a path hash costs while there are ever more of them. */
const HASH_BYTES = 16;
/** How often memory is reserved for them. */
const RESERVE_ENTRIES = 65_536;

/** Counts, and ends the reading where a bound is hit. Memory is asked for before it is taken. */
export class FactsMemory {
  readonly #options: FactsMemoryOptions;
  #entries = 0;
  #keptBytes = 0;
  #linkBytes = 0;

  constructor(options: FactsMemoryOptions) {
    this.#options = options;
  }

  /** Members of the layer so far. */
  get entries(): number {
    return this.#entries;
  }

  /** Counts a member, of which there may be nothing but the hash of its path. */
  countEntry(): void {
    const { limits, fail } = this.#options;
    if (++this.#entries > limits.layerEntries) {
      throw fail("LIMIT_EXCEEDED", `it has more than ${limits.layerEntries} entries`);
    }
    if (this.#entries % RESERVE_ENTRIES === 0) this.#reserve();
  }

  /**
   * For wanted files; negative for what turned out not to be needed. What a replaced file has is not given back: it may
   * live on in a hard link to it.
   */
  charge(bytes: number): void {
    this.#keptBytes += bytes;
    const { limits, fail } = this.#options;
    if (this.#keptBytes > limits.keptBytes) {
      throw fail("LIMIT_EXCEEDED", `its wanted files are larger than ${limits.keptBytes} bytes together`);
    }
    this.#reserve();
  }

  /** Charges the lines that are kept of one text, which have a bound of their own. */
  linesOf(path: string): (bytes: number) => void {
    const { fail, limits: { textLinesBytes: limit } } = this.#options;
    let kept = 0;
    return (bytes) => {
      kept += bytes;
      if (kept > limit) {
        throw fail("LIMIT_EXCEEDED", `the lines that are read of ${path} have more than ${limit} bytes`);
      }
      this.charge(bytes);
    };
  }

  /** For links and whiteouts. False when they have used up their share: then they are not kept. */
  chargeLink(bytes: number): boolean {
    if (this.#linkBytes + bytes + ENTRY_BYTES > this.#options.limits.layerLinkBytes) return false;
    this.#linkBytes += bytes + ENTRY_BYTES;
    this.#reserve();
    return true;
  }

  #reserve(): void {
    this.#options.reserve?.(this.#keptBytes + this.#linkBytes + HASH_BYTES * this.#entries);
  }
}
