/**
 * Text that came as bytes and is too large to be copied into a string for nothing.
 *
 * @module
 */

/** UTF-8 text, not validated. The bytes are valid during the call that hands them over only. */
export class TextBytes {
  /** Bytes from which on a message is handed over so. */
  static readonly threshold = 64 * 1024;
  readonly bytes: Uint8Array<ArrayBuffer>;

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.bytes = bytes;
  }
}
