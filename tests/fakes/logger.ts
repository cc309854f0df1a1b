/**
 * A logger that keeps its lines.
 *
 * @module
 */
import type { Logger } from "../../src/core/ports.ts";

/** One recorded line. */
export interface LogLine {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly component: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Records instead of printing. */
export class RecordingLogger implements Logger {
  constructor(readonly lines: LogLine[] = [], readonly component = "") {}

  debug(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.lines.push({ level: "debug", component: this.component, message, fields });
  }
  info(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.lines.push({ level: "info", component: this.component, message, fields });
  }
  warn(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.lines.push({ level: "warn", component: this.component, message, fields });
  }
  error(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.lines.push({ level: "error", component: this.component, message, fields });
  }
  child(component: string): Logger {
    return new RecordingLogger(this.lines, this.component === "" ? component : `${this.component}.${component}`);
  }
}
