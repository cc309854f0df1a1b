/**
 * Files and directories in memory that count what is done with them.
 *
 * @module
 */
import type { FileDirectory, RandomAccess } from "../../src/core/ports.ts";

/** A file in memory. */
export class MemoryFile implements RandomAccess {
  /** Bytes handed out so far. */
  bytesRead = 0;
  /** Offset of every read. */
  readonly offsets: number[] = [];

  /** `size` may claim another size than there is. */
  constructor(readonly bytes: Uint8Array, readonly size: number = bytes.length) {}

  read(buffer: Uint8Array, offset: number): Promise<number> {
    const part = this.bytes.subarray(offset, offset + buffer.length);
    buffer.set(part);
    this.bytesRead += part.length;
    this.offsets.push(offset);
    return Promise.resolve(part.length);
  }
}

/** A directory in memory. */
export class MemoryDirectory implements FileDirectory {
  /** Files that are open now. */
  opened = 0;
  /** Every name asked for. */
  readonly names: string[] = [];

  constructor(readonly files: ReadonlyMap<string, Uint8Array>) {}

  open(name: string): Promise<(RandomAccess & { close(): void }) | undefined> {
    this.names.push(name);
    const bytes = this.files.get(name);
    if (bytes === undefined) return Promise.resolve(undefined);
    this.opened++;
    const file = new MemoryFile(bytes);
    let closed = false;
    return Promise.resolve({
      size: file.size,
      read: (buffer: Uint8Array, offset: number) => file.read(buffer, offset),
      close: () => {
        if (closed) throw new Error("The file is closed twice");
        closed = true;
        this.opened--;
      },
    });
  }
}
