/**
 * How the readers of this folder fail: they know what is wrong, their caller knows with which layer or archive.
 *
 * @module
 */
import { type ErrorCode, LayerError, OutpostError } from "../core/errors.ts";

/** Makes the error for a problem. `problem` reads well after a colon: "the gzip stream ends too early". */
export type Fail = (code: ErrorCode, problem: string, cause?: unknown) => OutpostError;

/** A {@link Fail} that names a layer. */
export function layerFail(layer: string): Fail {
  return (code, problem, cause) => new LayerError(code, layer, problem, { cause });
}

/** Turns what a layer's byte stream has failed with into an error that names the layer; cancellation passes as it is. */
export function nameLayer(layer: string, error: unknown): unknown {
  if (error instanceof LayerError) return error;
  if (error instanceof OutpostError) {
    if (error.code === "CANCELLED") return error;
    const { hint, status, retryable, retryAt } = error;
    return new LayerError(error.code, layer, error.message, { hint, status, retryable, retryAt, cause: error });
  }
  return new LayerError("CONNECTION_FAILED", layer, "its bytes could not be fetched to the end", { cause: error });
}
