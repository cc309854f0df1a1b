/**
 * What decoders of DEFLATE throw, whichever engine they are.
 *
 * @module
 */

/**
 * A malformed DEFLATE stream. Its code is node:zlib's, so that every caller of an Inflater can tell it from whatever the
 * output function throws.
 */
export class InflateError extends Error {
  override readonly name = "InflateError";
  readonly code = "Z_DATA_ERROR";
}
