/**
 * What a result format is.
 *
 * @module
 */
import type { ScanReport } from "../core/scan_ports.ts";

/** How text for people is laid out; formats for machines ignore it. */
export interface RenderOptions {
  /** Columns of the terminal; unlimited by default. */
  readonly width?: number | undefined;
  /** Whether ANSI colours may be used; false by default. */
  readonly color?: boolean | undefined;
}

/** A way of writing down a scan's result. */
export interface ResultFormat {
  /** As `--format` names it. */
  readonly name: string;
  readonly mediaType: string;
  /** The text, whole or in pieces; it ends with a line feed. */
  render(report: ScanReport, options?: RenderOptions): string | Iterable<string>;
}
