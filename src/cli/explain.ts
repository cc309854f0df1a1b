/**
 * Errors as a person reads them.
 *
 * @module
 */
import { type ErrorCode, type OutpostError, toOutpostError } from "../core/errors.ts";
import { type CommandWorld, EXIT } from "./context.ts";

/** Codes that mean what was typed, not what happened. */
const USAGE_CODES: ReadonlySet<ErrorCode> = new Set(["USAGE", "REFERENCE_INVALID", "REQUEST_INVALID"]);

/** Prints to stderr what ended a command; returns the exit code. An interrupted command says nothing. */
export function endWithError(world: CommandWorld, error: unknown): number {
  if (world.signal.aborted) return EXIT.interrupted;
  const known = toOutpostError(error);
  world.stderr.write(explain(known));
  return USAGE_CODES.has(known.code) ? EXIT.usage : EXIT.error;
}

function explain(error: OutpostError): string {
  const internal = error.code === "INTERNAL" && error.cause instanceof Error
    ? `\n${error.cause.stack ?? error.cause.message}`
    : "";
  return `error: ${error.message}${internal}\n${error.hint === undefined ? "" : `       ${error.hint}\n`}`;
}
