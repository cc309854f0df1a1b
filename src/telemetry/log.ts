/**
 * The redacting logger: one JSON object per line, or short plain lines for a person.
 *
 * @module
 */
import type { Clock, Logger } from "../core/ports.ts";
import type { Redactor } from "../lib/redact.ts";

/** LOG_LEVEL's values, least important first. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;

/** One of {@link LOG_LEVELS}. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Options of {@link createLogger}. */
export interface LoggerOptions {
  readonly level: LogLevel;
  /** DEBUG: components (or `prefix*`) that log at debug whatever the level. */
  readonly debug?: readonly string[];
  /** `json` for machines, `plain` for a person at a terminal. */
  readonly form: "json" | "plain";
  readonly redactor: Redactor;
  readonly clock: Clock;
  /** Receives each line without its line end. */
  readonly write: (line: string) => void;
}

/** Makes the root logger. Every line passes the redactor as a whole, after it was built. */
export function createLogger(options: LoggerOptions): Logger {
  return componentLogger(options, "");
}

function componentLogger(options: LoggerOptions, component: string): Logger {
  const raised = (options.debug ?? []).some((name) =>
    name === "*" || name === component || (name.endsWith("*") && component.startsWith(name.slice(0, -1)))
  );
  const threshold = raised ? 0 : LOG_LEVELS.indexOf(options.level);
  const log = (level: LogLevel) => (message: string, fields: Readonly<Record<string, unknown>> = {}): void => {
    if (LOG_LEVELS.indexOf(level) < threshold) return;
    const time = new Date(options.clock.now()).toISOString();
    options.write(
      options.form === "json"
        ? options.redactor.json({ time, level, ...(component === "" ? {} : { component }), message, ...fields })
        : plainLine(options.redactor, time, level, component, message, fields),
    );
  };
  return {
    debug: log("debug"),
    info: log("info"),
    warn: log("warn"),
    error: log("error"),
    child: (name) => componentLogger(options, component === "" ? name : `${component}.${name}`),
  };
}

function plainLine(
  redactor: Redactor,
  time: string,
  level: LogLevel,
  component: string,
  message: string,
  fields: Readonly<Record<string, unknown>>,
): string {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  const tail = entries.map(([key, value]) => ` ${key}=${redactor.json({ [key]: value }).slice(key.length + 4, -1)}`);
  const where = component === "" ? "" : ` ${component}:`;
  return redactor.text(`${time.slice(11, 19)} ${level.toUpperCase().padEnd(5)}${where} ${message}${tail.join("")}`);
}
