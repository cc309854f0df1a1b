/**
 * An OCI image layout that is a directory.
 *
 * @module
 */
import type { ByteSource, FileDirectory, RandomAccess } from "../core/ports.ts";
import { fileRange } from "./archive_bytes.ts";
import { type ArchiveStore, checkSize, invalidArchive, quoted, rangeSource, readRange } from "./archive_store.ts";

/** The files of a directory. A file is open only while it is read. */
export class DirectoryStore implements ArchiveStore {
  readonly #directory: FileDirectory;

  constructor(directory: FileDirectory) {
    this.#directory = directory;
  }

  async size(name: string): Promise<number | undefined> {
    const file = await this.#directory.open(name);
    file?.close();
    return file?.size;
  }

  async read(name: string, maxBytes: number): Promise<Uint8Array> {
    const file = await this.#open(name);
    try {
      checkSize(name, file.size, maxBytes);
    } catch (error) {
      file.close();
      throw error;
    }
    return await readRange(name, file.size, fileRange(file, 0, () => file.close()));
  }

  async source(name: string, signal: AbortSignal): Promise<ByteSource> {
    const file = await this.#open(name);
    return rangeSource(name, file.size, fileRange(file, 0, () => file.close()), signal);
  }

  async #open(name: string): Promise<RandomAccess & { close(): void }> {
    const file = await this.#directory.open(name);
    if (file === undefined) throw invalidArchive(`it has no file ${quoted(name)}`);
    return file;
  }
}
