/**
 * Progress of a scan on stderr: one bar per layer on a terminal, a plain line per finished layer elsewhere.
 *
 * @module
 */
import type { Clock } from "../core/ports.ts";
import type { ScanEvent } from "../core/scan_ports.ts";
import type { TextOutput } from "./context.ts";

const BAR_CELLS = 24;
/** Terminals repaint at most this often; faster is flicker and CPU. */
const REPAINT_MS = 100;
/** Without a terminal, a layer that takes longer than this says so. */
const LINE_MS = 10_000;

/** Shows {@link ScanEvent}s. */
export class ScanProgress {
  readonly #out: TextOutput;
  readonly #clock: Clock;
  #name = "";
  #size: number | undefined;
  #layers = 0;
  #lastShown = 0;
  #open = false;

  constructor(out: TextOutput, clock: Clock) {
    this.#out = out;
    this.#clock = clock;
  }

  /** Shows one event. */
  show(event: ScanEvent): void {
    switch (event.kind) {
      case "resolved": {
        this.#layers = event.layers;
        const bytes = event.bytes === undefined ? "" : `, ${formatBytes(event.bytes)}`;
        return this.#line(`${event.imageName}: ${count(event.layers, "layer")}${bytes}`);
      }
      case "layer-start":
        this.#name = event.name;
        this.#size = event.size;
        this.#lastShown = this.#clock.now();
        return this.#out.isTerminal ? this.#paint(event.index, 0) : undefined;
      case "layer-progress":
        return this.#progress(event.index, event.storedBytes);
      case "layer-done": {
        const note = event.reused ? "same as a layer below" : count(event.entries, "entry", "entries");
        return this.#line(`${this.#label(event.index)} ${formatBytes(event.storedBytes)}, ${note}`);
      }
      case "layer-failed":
        return this.#line(`${this.#label(event.index)} failed`);
      case "analyzed": {
        const problems = event.problems === 0 ? "" : `, ${count(event.problems, "problem")}`;
        return this.#line(`${count(event.packages, "package")} found${problems}`);
      }
    }
  }

  #progress(index: number, bytes: number): void {
    const now = this.#clock.now();
    if (now - this.#lastShown < (this.#out.isTerminal ? REPAINT_MS : LINE_MS)) return;
    this.#lastShown = now;
    if (this.#out.isTerminal) this.#paint(index, bytes);
    else this.#line(`${this.#label(index)} ${formatBytes(bytes)}${this.#ofSize()}`);
  }

  #paint(index: number, bytes: number): void {
    const done = this.#size === undefined || this.#size === 0 ? 0 : Math.min(1, bytes / this.#size);
    const filled = Math.round(done * BAR_CELLS);
    const bar = `[${"#".repeat(filled)}${".".repeat(BAR_CELLS - filled)}]`;
    this.#out.write(`\r\x1b[K${this.#label(index)} ${bar} ${formatBytes(bytes)}${this.#ofSize()}`);
    this.#open = true;
  }

  #line(text: string): void {
    this.#out.write(`${this.#open ? "\r\x1b[K" : ""}${text}\n`);
    this.#open = false;
  }

  #label(index: number): string {
    const name = this.#name.replace(/^sha256:/, "").slice(0, 12);
    return `  layer ${index + 1}/${this.#layers} ${name}`;
  }

  #ofSize(): string {
    return this.#size === undefined ? "" : ` of ${formatBytes(this.#size)}`;
  }
}

/** `1 layer`, `2 layers`. */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}

/** `12 B`, `3.4 MB`; decimal units, as registries show them. */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}
