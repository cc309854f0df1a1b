/**
 * Layers that are read before their turn.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { FilePattern, LayerEngine, LayerHandle } from "../core/ports.ts";
import type { LayerFacts } from "../core/types.ts";

/** Options of {@link LayersAhead}. */
export interface LayersAheadOptions {
  readonly engine: LayerEngine;
  /** Bottom first. */
  readonly layers: readonly LayerHandle[];
  /** Layers that are read at once, the one whose turn it is included; what waits for another process is not being read. */
  readonly width: number;
  /** What the layers are read for once more. */
  readonly also?: FilePattern | undefined;
  readonly signal: AbortSignal;
}

/** What the turn of a layer allows it. */
export interface TurnOptions {
  /** Most bytes of wanted files. */
  readonly maxKeptBytes: number;
  /** Called now and then with the stored bytes read so far. */
  readonly onProgress: (storedBytes: number) => void;
}

/** Ends a reading before its turn: it needs more memory than it has a right to by then. */
class BeforeItsTurn extends Error {}

/** Why a reading that nobody waits for any more is cancelled: made once, it says nothing of the layer. */
const NOT_NEEDED = new DOMException("The layer is no longer needed", "AbortError");

/** How a reading ended. */
type Outcome = { readonly facts: LayerFacts } | { readonly error: unknown };

interface Reading {
  readonly controller: AbortController;
  /** Never rejects: the layer's turn may never come. */
  readonly done: Promise<void>;
  /** Most bytes of wanted files, where it began in its turn: the engine sees to that. */
  readonly maxKeptBytes: number | undefined;
  outcome: Outcome | undefined;
  /** For another process that reads the layer. */
  waits: boolean;
  /** What its facts take, about. */
  bytes: number;
  /** Set once its turn has come. */
  turn: TurnOptions | undefined;
}

/**
 * Reads the layers after the one whose turn it is, as far as they are small; all of them, while that one waits for another
 * process: what would be read after the wait as well is read in it. What they hold by then is bounded: one that
 * needs more than LIMITS.aheadKeptBytes gives up, and so do all when the image holds more than LIMITS.keptBytes; they are
 * read in their turn. Any other failure ends those behind it at once, and is told in its turn: a layer below may fail yet.
 *
 * To be disposed of at the end: whatever is still being read is cancelled, and has let go of everything by then.
 */
export class LayersAhead implements AsyncDisposable {
  readonly #options: LayersAheadOptions;
  readonly #readings = new Map<number, Reading>();
  readonly #begun = new Set<string>();
  /** The first layer that is known to fail: those behind it are not needed. */
  #end = Infinity;
  /** What may be held altogether, as of the present turn, and what is. */
  #maxKeptBytes = 0;
  #bytes = 0;

  constructor(options: LayersAheadOptions) {
    this.#options = options;
  }

  /**
   * The facts of the layer whose turn it is; turns come in the order of the layers, and a layer may be left out. Those
   * behind it begin now.
   *
   * @throws What {@link LayerEngine.extract} throws.
   */
  async take(index: number, turn: TurnOptions): Promise<LayerFacts> {
    this.#maxKeptBytes = turn.maxKeptBytes;
    const reading = this.#readings.get(index) ?? this.#begin(index, turn);
    reading.turn = turn;
    for (let next = index + 1; next < index + this.#options.width; next++) this.#beginAhead(next);
    this.#goOn();
    await reading.done;
    this.#readings.delete(index);
    this.#holds(reading, 0);
    const { outcome } = reading;
    if (outcome !== undefined && "facts" in outcome && contentBytes(outcome.facts) <= turn.maxKeptBytes) {
      return outcome.facts;
    }
    const error = outcome !== undefined && "error" in outcome ? outcome.error : undefined;
    if (error !== undefined && !(error instanceof BeforeItsTurn)) throw error;
    const { engine, also, signal } = this.#options;
    return await engine.extract(this.#layer(index), { ...turn, also, signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const readings = [...this.#readings.values()];
    for (const { controller } of readings) controller.abort(NOT_NEEDED);
    await Promise.all(readings.map(({ done }) => done));
  }

  #layer(index: number): LayerHandle {
    const layer = this.#options.layers[index];
    if (layer === undefined) throw new RangeError(`There is no layer ${index}`);
    return layer;
  }

  #beginAhead(index: number): void {
    const layer = this.#options.layers[index];
    if (layer === undefined || index >= this.#end || this.#readings.has(index) || this.#isTooMuch()) return;
    if (this.#begun.has(layerKey(layer)) || (layer.size ?? Infinity) > LIMITS.aheadLayerBytes) return;
    this.#begin(index, undefined);
  }

  /** Begins more in place of those that wait, when the layer whose turn it is does; where one is read at once, none is. */
  #goOn(): void {
    const { layers, width } = this.#options;
    // A reading that had its turn is forgotten: there is one at most.
    const [index, reading] = this.#readings.entries().find(([, { turn }]) => turn !== undefined) ?? [];
    if (width === 1 || index === undefined || reading?.waits !== true) return;
    const isRead = ({ outcome, waits }: Reading): boolean => outcome === undefined && !waits;
    for (let next = index + 1; next < layers.length; next++) {
      if (this.#readings.values().filter(isRead).toArray().length >= width) return;
      this.#beginAhead(next);
    }
  }

  #begin(index: number, turn: TurnOptions | undefined): Reading {
    const layer = this.#layer(index);
    const { promise: done, resolve } = Promise.withResolvers<void>();
    const { maxKeptBytes } = turn ?? {};
    const controller = new AbortController();
    const reading: Reading = { controller, done, maxKeptBytes, outcome: undefined, waits: false, bytes: 0, turn };
    this.#begun.add(layerKey(layer));
    this.#readings.set(index, reading);
    void this.#read(layer, reading).then((outcome) => {
      reading.outcome ??= outcome;
      if ("error" in reading.outcome) {
        this.#holds(reading, 0);
        if (reading.turn === undefined) this.#failed(index, reading.outcome.error);
      }
      resolve();
      this.#goOn();
    });
    return reading;
  }

  #failed(index: number, error: unknown): void {
    if (error instanceof BeforeItsTurn) return;
    this.#end = Math.min(this.#end, index);
    for (const [other, { controller }] of this.#readings) {
      if (other > this.#end) controller.abort(NOT_NEEDED);
    }
  }

  async #read(layer: LayerHandle, reading: Reading): Promise<Outcome> {
    const { engine, also, signal } = this.#options;
    try {
      const facts = await engine.extract(layer, {
        signal: AbortSignal.any([signal, reading.controller.signal]),
        also,
        maxKeptBytes: reading.maxKeptBytes,
        onProgress: (storedBytes) => reading.turn?.onProgress(storedBytes),
        reserve: (bytes) => this.#reserve(reading, bytes),
        onWait: () => {
          reading.waits = true;
          this.#goOn();
          return { [Symbol.dispose]: () => reading.waits = false };
        },
      });
      // Facts that were stored, or that another scan has read, come in one piece.
      this.#reserve(reading, contentBytes(facts));
      return { facts };
    } catch (error) {
      return { error };
    }
  }

  #reserve(reading: Reading, bytes: number): void {
    if (reading.outcome !== undefined) throw new BeforeItsTurn();
    this.#holds(reading, bytes);
    const isAhead = reading.turn === undefined;
    if (isAhead && bytes > LIMITS.aheadKeptBytes) throw new BeforeItsTurn();
    if (reading.maxKeptBytes === undefined && bytes > this.#maxKeptBytes) throw new BeforeItsTurn();
    if (!this.#isTooMuch()) return;
    if (isAhead) throw new BeforeItsTurn();
    for (const other of this.#readings.values()) if (other.turn === undefined) this.#giveUp(other);
  }

  /** Whether the image holds so much that its layers are better read one after the other. */
  #isTooMuch(): boolean {
    return LIMITS.imageKeptBytes - this.#maxKeptBytes + this.#bytes > LIMITS.keptBytes;
  }

  #giveUp(reading: Reading): void {
    reading.outcome = { error: new BeforeItsTurn() };
    this.#holds(reading, 0);
    reading.controller.abort(NOT_NEEDED);
  }

  #holds(reading: Reading, bytes: number): void {
    this.#bytes += bytes - reading.bytes;
    reading.bytes = bytes;
  }
}

/** Two mentions of one layer are read once only when the digest of the stored bytes says that they are the same. */
export function layerKey(layer: LayerHandle): string {
  return layer.digest ?? layer.name;
}

function contentBytes({ entries }: LayerFacts): number {
  return entries.reduce((sum, entry) => sum + (entry.kind === "file" ? entry.content.length : 0), 0);
}
