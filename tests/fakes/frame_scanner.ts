/**
 * Finds the ends of an HTTP head and of the websocket frames behind it in a stream of bytes (RFC 6455 §5.2).
 *
 * @module
 */

/** Scans one direction of one connection. */
export class FrameScanner {
  /** Offsets of the ends found so far: of the HTTP head first, then of each frame. */
  readonly ends: number[] = [];
  #bytes = new Uint8Array(0);
  #offset = 0;

  /** Starts over, for another connection. */
  reset(): void {
    this.ends.length = this.#offset = 0;
    this.#bytes = new Uint8Array(0);
  }

  /** Takes the next bytes. */
  push(bytes: Uint8Array): void {
    const joined = new Uint8Array(this.#bytes.length + bytes.length);
    joined.set(this.#bytes);
    joined.set(bytes, this.#bytes.length);
    this.#bytes = joined;
    for (let size = this.#next(); size !== undefined && size <= this.#bytes.length; size = this.#next()) {
      this.#bytes = this.#bytes.slice(size);
      this.#offset += size;
      this.ends.push(this.#offset);
    }
  }

  /** Bytes up to the next end; undefined when that cannot be known yet. */
  #next(): number | undefined {
    const bytes = this.#bytes;
    if (this.ends.length === 0) {
      const head = new TextDecoder("latin1").decode(bytes).indexOf("\r\n\r\n");
      return head < 0 ? undefined : head + 4;
    }
    const [, second] = bytes;
    if (second === undefined) return undefined;
    const mask = (second & 0x80) === 0 ? 0 : 4;
    const short = second & 0x7f;
    const view = new DataView(bytes.buffer);
    if (short < 126) return 2 + mask + short;
    if (short === 126) return bytes.length < 4 ? undefined : 4 + mask + view.getUint16(2);
    return bytes.length < 10 ? undefined : 10 + mask + Number(view.getBigUint64(2));
  }
}
