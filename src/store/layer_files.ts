/**
 * The facts of layers in files, one each: written and read beside the event loop, and by several processes at once, which
 * a database would do neither of (docs/adr/011). Together they stay below a bound; the longest unused go first.
 *
 * @module
 */
import type { Logger } from "../core/ports.ts";
import type { FileStore, LayerFactsStore } from "../core/store.ts";
import type { LayerFacts } from "../core/types.ts";
import type { Pause } from "../lib/packed.ts";
import { sha256Hex } from "../lib/sha256.ts";
import { packFacts, unpackFacts } from "./facts_packer.ts";

const SUFFIX = ".facts";
/** How far below the bound a clean-up goes, so that the next file does not begin another. */
const ROOM = 0.9;

/** Options of {@link LayerFiles}. */
export interface LayerFilesOptions {
  readonly files: FileStore;
  /** Bytes of all files together; OUTPOST_CACHE_MAX_BYTES. */
  readonly maxBytes: number;
  readonly pause: Pause;
  readonly logger: Logger;
  /** Told how many bytes there are, as far as this process knows. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

/** A {@link LayerFactsStore} in files. A file that cannot be used is taken away: it is only work that is done again. */
export class LayerFiles implements LayerFactsStore {
  readonly #options: LayerFilesOptions;
  /** Bytes in all files; unknown until they are first counted. */
  #bytes: number | undefined;
  #failing = false;

  constructor(options: LayerFilesOptions) {
    this.#options = options;
  }

  async get(key: string): Promise<LayerFacts | undefined> {
    const { files, pause, logger } = this.#options;
    const name = fileName(key);
    try {
      const packed = await files.read(name);
      if (packed === undefined) return undefined;
      const facts = await unpackFacts(key, packed, pause);
      await files.touch(name).catch(() => {});
      return facts;
    } catch (error) {
      logger.warn("Stored facts of a layer cannot be used, the layer is read again", { name, error });
      await files.remove(name).catch(() => {});
      return undefined;
    }
  }

  async put(key: string, facts: LayerFacts): Promise<void> {
    const { files, maxBytes, pause, logger, onBytes } = this.#options;
    try {
      const packed = await packFacts(key, facts, pause);
      if (packed === undefined || packed.length > maxBytes) return;
      this.#bytes ??= await this.#count();
      if (this.#bytes + packed.length > maxBytes) await this.#makeRoom(packed.length);
      await files.write(fileName(key), packed);
      this.#bytes += packed.length;
      onBytes?.(this.#bytes);
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) logger.warn("Facts of a layer cannot be stored, scans go on without", { error });
      this.#failing = true;
      // What was done before it failed is not known: they are counted again.
      this.#bytes = undefined;
    }
  }

  async #count(): Promise<number> {
    return (await this.#stored()).reduce((sum, { bytes }) => sum + bytes, 0);
  }

  async #stored(): ReturnType<FileStore["list"]> {
    return (await this.#options.files.list()).filter(({ name }) => name.endsWith(SUFFIX));
  }

  /** Counts again first: another process adds and takes away too. */
  async #makeRoom(needed: number): Promise<void> {
    const { files, maxBytes } = this.#options;
    const stored = (await this.#stored()).toSorted((a, b) => a.usedAt - b.usedAt);
    let total = stored.reduce((sum, { bytes }) => sum + bytes, 0);
    const target = total + needed > maxBytes ? Math.max(0, maxBytes * ROOM - needed) : Infinity;
    for (const { name, bytes } of stored) {
      if (total <= target) break;
      await files.remove(name);
      total -= bytes;
    }
    this.#bytes = total;
  }
}

function fileName(key: string): string {
  return sha256Hex(key) + SUFFIX;
}
