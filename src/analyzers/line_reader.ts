/**
 * Lines of a text file that is too large to be one string. Works on bytes: most lines of a package database are of no
 * interest, and those are never decoded.
 *
 * @module
 */

const NEWLINE = 0x0a;
const BOM = [0xef, 0xbb, 0xbf];
const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * A cursor over lines that end in `\n` (a carriage return stays part of its line, as snyk-docker-plugin has it).
 * A byte-order mark at the start is skipped.
 */
export class LineReader {
  readonly #bytes: Uint8Array;
  #next: number;
  #start = 0;
  #end = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#next = BOM.every((byte, at) => bytes[at] === byte) ? BOM.length : 0;
  }

  /** Moves to the next line; false at the end. */
  next(): boolean {
    if (this.#next >= this.#bytes.length) return false;
    this.#start = this.#next;
    const at = this.#bytes.indexOf(NEWLINE, this.#start);
    this.#end = at < 0 ? this.#bytes.length : at;
    this.#next = this.#end + 1;
    return true;
  }

  /** Bytes of the current line. */
  get length(): number {
    return this.#end - this.#start;
  }

  /** First byte of the current line; -1 when it is empty. */
  get first(): number {
    return this.#start < this.#end ? this.#bytes[this.#start] ?? -1 : -1;
  }

  /** Whether the current line starts with these bytes. */
  startsWith(prefix: Uint8Array): boolean {
    if (this.length < prefix.length) return false;
    for (let i = 0; i < prefix.length; i++) if (this.#bytes[this.#start + i] !== prefix[i]) return false;
    return true;
  }

  /** The current line as text, without its first `skip` bytes. */
  text(skip = 0): string {
    return UTF8.decode(this.#bytes.subarray(this.#start + skip, this.#end));
  }
}
