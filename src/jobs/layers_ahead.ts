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
  /** Layers that are read at once, the one whose turn it is included. */
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

/** How a reading ended. It never rejects: its turn may never come. */
type Outcome = { readonly facts: LayerFacts } | { readonly error: unknown };

interface Reading {
  readonly controller: AbortController;
  readonly outcome: Promise<Outcome>;
}

/** What a layer may do now: set once its turn has come. */
interface Turn {
  now?: TurnOptions;
}

/**
 * Reads the layers after the one whose turn it is, as far as they are small. What they hold by then is bounded
 * (LIMITS.aheadKeptBytes): one that needs more gives up, and is read in its turn. Any other failure ends those behind it
 * at once, and is told in its turn: a layer below may fail yet.
 *
 * To be disposed of at the end: whatever is still being read is cancelled, and has let go of everything by then.
 */
export class LayersAhead implements AsyncDisposable {
  readonly #options: LayersAheadOptions;
  readonly #readings = new Map<number, Reading & { readonly turn: Turn }>();
  readonly #begun = new Set<string>();
  /** The first layer that is known to fail: those behind it are not needed. */
  #end = Infinity;

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
    const reading = this.#readings.get(index) ?? this.#begin(index, {}, turn.maxKeptBytes);
    reading.turn.now = turn;
    for (let next = index + 1; next < index + this.#options.width; next++) this.#beginAhead(next);
    const outcome = await reading.outcome;
    this.#readings.delete(index);
    if ("facts" in outcome && contentBytes(outcome.facts) <= turn.maxKeptBytes) return outcome.facts;
    if ("error" in outcome && !(outcome.error instanceof BeforeItsTurn)) throw outcome.error;
    const { engine, also, signal } = this.#options;
    return await engine.extract(this.#layer(index), { ...turn, also, signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const readings = [...this.#readings.values()];
    for (const { controller } of readings) controller.abort(NOT_NEEDED);
    await Promise.all(readings.map(({ outcome }) => outcome));
  }

  #layer(index: number): LayerHandle {
    const layer = this.#options.layers[index];
    if (layer === undefined) throw new RangeError(`There is no layer ${index}`);
    return layer;
  }

  #beginAhead(index: number): void {
    const layer = this.#options.layers[index];
    if (layer === undefined || index >= this.#end || this.#readings.has(index)) return;
    if (this.#begun.has(layerKey(layer)) || (layer.size ?? Infinity) > LIMITS.aheadLayerBytes) return;
    void this.#begin(index, {}, undefined).outcome.then((outcome) => {
      if ("error" in outcome && !(outcome.error instanceof BeforeItsTurn)) this.#failed(index);
    });
  }

  #failed(index: number): void {
    this.#end = Math.min(this.#end, index);
    for (const [other, { controller }] of this.#readings) {
      if (other > this.#end) controller.abort(NOT_NEEDED);
    }
  }

  #begin(index: number, turn: Turn, maxKeptBytes: number | undefined): Reading & { readonly turn: Turn } {
    const layer = this.#layer(index);
    const controller = new AbortController();
    const reading = { controller, turn, outcome: this.#read(layer, turn, maxKeptBytes, controller.signal) };
    this.#begun.add(layerKey(layer));
    this.#readings.set(index, reading);
    return reading;
  }

  async #read(
    layer: LayerHandle,
    turn: Turn,
    maxKeptBytes: number | undefined,
    stop: AbortSignal,
  ): Promise<Outcome> {
    const { engine, also, signal } = this.#options;
    const mayKeep = (bytes: number): void => {
      if (maxKeptBytes === undefined && bytes > Math.max(LIMITS.aheadKeptBytes, turn.now?.maxKeptBytes ?? 0)) {
        throw new BeforeItsTurn();
      }
    };
    try {
      const facts = await engine.extract(layer, {
        signal: AbortSignal.any([signal, stop]),
        also,
        maxKeptBytes,
        onProgress: (storedBytes) => turn.now?.onProgress(storedBytes),
        reserve: mayKeep,
      });
      // Facts that were stored, or that another scan has read, come in one piece.
      mayKeep(contentBytes(facts));
      return { facts };
    } catch (error) {
      return { error };
    }
  }
}

/** Two mentions of one layer are read once only when the digest of the stored bytes says that they are the same. */
export function layerKey(layer: LayerHandle): string {
  return layer.digest ?? layer.name;
}

function contentBytes({ entries }: LayerFacts): number {
  return entries.reduce((sum, entry) => sum + (entry.kind === "file" ? entry.content.length : 0), 0);
}
