/**
 * Runs extractors over one file of a layer while it streams by.
 *
 * @module
 */
import type { ExtractorContext, FileExtractor, FileReader } from "../core/ports.ts";
import type { FileFacts, JsonValue } from "../core/types.ts";

/** One extractor at work. */
interface Running {
  readonly extractor: FileExtractor;
  /** Undefined until the file is known to begin as it has to. */
  reader: FileReader | undefined;
  /** Whether it still takes bytes. */
  active: boolean;
}

/** Most bytes by which an extractor can recognise its files. */
const MAGIC_BYTES = 16;

/** The extractors that want a file, each given its bytes until it has seen enough. */
export class ExtractorRun {
  readonly #size: number;
  readonly #context: ExtractorContext;
  readonly #running: Running[];
  /** The file's first bytes, while they are too few to tell what begins with them. */
  readonly #head = new Uint8Array(MAGIC_BYTES);
  #headLength = 0;
  #begun = false;
  #active: number;

  constructor(extractors: readonly FileExtractor[], size: number, context: ExtractorContext) {
    this.#size = size;
    this.#context = context;
    this.#running = extractors.map((extractor) => ({ extractor, reader: undefined, active: true }));
    this.#active = extractors.length;
    if (size === 0) this.#begin(this.#head.subarray(0, 0));
  }

  /** Takes the next bytes; they are not kept. */
  data(bytes: Uint8Array): void {
    if (this.#active === 0) return;
    if (this.#begun) {
      this.#hand(bytes);
      return;
    }
    const wanted = Math.min(MAGIC_BYTES, this.#size);
    if (this.#headLength === 0 && bytes.length >= wanted) {
      this.#begin(bytes);
      this.#hand(bytes);
      return;
    }
    const taken = Math.min(wanted - this.#headLength, bytes.length);
    this.#head.set(bytes.subarray(0, taken), this.#headLength);
    this.#headLength += taken;
    if (this.#headLength < wanted) return;
    const head = this.#head.subarray(0, wanted);
    this.#begin(head);
    this.#hand(head);
    if (taken < bytes.length) this.#hand(bytes.subarray(taken));
  }

  /** What the extractors answer, once the file is complete. */
  end(): FileFacts | undefined {
    let facts: Record<string, JsonValue> | undefined;
    for (const { extractor, reader } of this.#running) {
      const data = reader?.end();
      if (data !== undefined) (facts ??= {})[extractor.name] = data;
    }
    this.close();
    return facts;
  }

  /** Releases the readers; may be called twice. */
  close(): void {
    for (const running of this.#running) {
      running.reader?.close();
      running.reader = undefined;
    }
    this.#active = 0;
  }

  #begin(head: Uint8Array): void {
    this.#begun = true;
    for (const running of this.#running) {
      const { extractor } = running;
      if (beginsWith(head, extractor.magic)) running.reader = extractor.open({ size: this.#size }, this.#context);
      else this.#stop(running);
    }
  }

  #hand(bytes: Uint8Array): void {
    for (const running of this.#running) {
      if (running.active && running.reader?.data(bytes) === false) this.#stop(running);
    }
  }

  #stop(running: Running): void {
    running.active = false;
    this.#active--;
  }
}

function beginsWith(head: Uint8Array, magic: Uint8Array | undefined): boolean {
  return magic === undefined || (head.length >= magic.length && magic.every((byte, at) => head[at] === byte));
}
