/**
 * The facts of an image's layers while they are read, bottom first. Together they hold no more than a bound: contents that
 * an upper layer replaces are let go (every build step that installs a package writes the package database anew).
 *
 * @module
 */
import type { LayerEntry, LayerFacts } from "../core/types.ts";

/** Options of {@link KeptLayers}. */
export interface KeptLayersOptions {
  /** Keep replaced contents as well: layer attribution compares them. */
  readonly history: boolean;
}

/** Files below this size are not looked at: they cannot add up to much, and there are many of them. */
const WORTH_BYTES = 4096;

const NOTHING = new Uint8Array();

interface Held {
  readonly layer: number;
  readonly bytes: number;
}

/** Layers that have been read. */
export class KeptLayers {
  readonly #history: boolean;
  readonly #layers: LayerFacts[] = [];
  /** Contents at a path that no upper layer has replaced. */
  readonly #held = new Map<string, Held>();
  /** Links: a path that leads through one may be another file's. */
  readonly #links = new Set<string>();
  /** Whether a hard link leads out of its layer: from then on any content may have another name. Builders write none. */
  #shared = false;
  #bytes = 0;

  constructor(options: KeptLayersOptions) {
    this.#history = options.history;
  }

  /** Bytes of the contents that are held. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The layers so far, bottom first: as an image, the same as they were when they came in. */
  get layers(): readonly LayerFacts[] {
    return this.#layers;
  }

  /** Takes the next layer. */
  add(facts: LayerFacts): void {
    for (const entry of facts.entries) {
      if (entry.kind === "symlink") this.#links.add(entry.path);
      else if (entry.kind === "hardlink") this.#shared = true;
    }
    if (!this.#history && !this.#shared) this.#letGo(facts.entries);
    const layer = this.#layers.push(facts) - 1;
    for (const entry of facts.entries) {
      if (entry.kind !== "file") continue;
      this.#bytes += entry.content.length;
      if (entry.content.length >= WORTH_BYTES) this.#held.set(entry.path, { layer, bytes: entry.content.length });
    }
  }

  #letGo(entries: readonly LayerEntry[]): void {
    const replaced = new Map<number, Set<string>>();
    for (const { path, kind } of entries) {
      const held = kind === "opaque" ? undefined : this.#held.get(path);
      if (held === undefined || this.#leadsThroughLink(path)) continue;
      this.#held.delete(path);
      this.#bytes -= held.bytes;
      const paths = replaced.get(held.layer) ?? new Set();
      replaced.set(held.layer, paths.add(path));
    }
    for (const [index, paths] of replaced) {
      const facts = this.#layers[index];
      if (facts === undefined) continue;
      // The entry stays: it also replaces what lower layers have at its path.
      const entries = facts.entries.map((entry) =>
        entry.kind === "file" && paths.has(entry.path) ? { ...entry, content: NOTHING } : entry
      );
      this.#layers[index] = { ...facts, entries };
    }
  }

  #leadsThroughLink(path: string): boolean {
    for (let at = path.indexOf("/"); at > 0; at = path.indexOf("/", at + 1)) {
      if (this.#links.has(path.slice(0, at))) return true;
    }
    return false;
  }
}
