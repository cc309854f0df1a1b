/**
 * Files and directories in memory that count what is done with them.
 *
 * @module
 */
import type { FileDirectory, RandomAccess } from "../../src/core/ports.ts";
import type { FileStore } from "../../src/core/store.ts";

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

/** A {@link FileStore} in memory; `failWrites` makes it a full disk. */
export class MemoryFiles implements FileStore {
  readonly files = new Map<string, { bytes: Uint8Array<ArrayBuffer>; usedAt: number }>();
  failWrites = false;
  #now = 0;

  read(name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return Promise.resolve(this.files.get(name)?.bytes);
  }

  write(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    if (this.failWrites) return Promise.reject(new Error("No space left on device"));
    this.files.set(name, { bytes, usedAt: ++this.#now });
    return Promise.resolve();
  }

  list(): Promise<{ readonly name: string; readonly bytes: number; readonly usedAt: number }[]> {
    return Promise.resolve(
      [...this.files].map(([name, { bytes, usedAt }]) => ({ name, bytes: bytes.length, usedAt })),
    );
  }

  touch(name: string): Promise<void> {
    const file = this.files.get(name);
    if (file !== undefined) file.usedAt = ++this.#now;
    return Promise.resolve();
  }

  remove(name: string): Promise<void> {
    this.files.delete(name);
    return Promise.resolve();
  }
}
