/**
 * An image archive that is a tar, or a compressed tar: an index of its members, and their bytes on demand.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ByteSource, RandomAccess } from "../core/ports.ts";
import { type ArchiveBytes, openBytes } from "./archive_bytes.ts";
import {
  type ArchiveStore,
  checkSize,
  invalidArchive,
  quoted,
  type RangeReader,
  rangeSource,
  READ_BYTES,
  readRange,
} from "./archive_store.ts";
import type { Fail } from "./fail.ts";
import { type TarHeader, TarParser, type TarSink } from "./tar.ts";
import { BLOCK_BYTES } from "./tar_header.ts";
import { cleanPath } from "./tar_path.ts";

type Member =
  | { readonly kind: "file"; readonly offset: number; readonly size: number }
  /** `target` is a clean name in the archive. */
  | { readonly kind: "link"; readonly target: string };

/** The files of a tar by name. The last of several members of one name counts, as for tar itself. */
export class TarStore implements ArchiveStore {
  readonly #bytes: ArchiveBytes;
  readonly #members: ReadonlyMap<string, Member>;
  readonly #cache: ReadonlyMap<number, Uint8Array>;

  /** Use {@link openTarStore}. */
  constructor(bytes: ArchiveBytes, index: Index) {
    this.#bytes = bytes;
    this.#members = index.members;
    this.#cache = index.cache;
  }

  size(name: string): Promise<number | undefined> {
    return Promise.resolve(this.#find(name)?.size);
  }

  async read(name: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array> {
    const { offset, size } = this.#get(name);
    checkSize(name, size, maxBytes);
    return this.#cache.get(offset) ?? await readRange(name, size, this.#bytes.range(offset, signal));
  }

  source(name: string, signal: AbortSignal): Promise<ByteSource> {
    const { offset, size } = this.#get(name);
    return Promise.resolve(rangeSource(name, size, this.#bytes.range(offset, signal), signal));
  }

  #get(name: string): { readonly offset: number; readonly size: number } {
    const file = this.#find(name);
    if (file === undefined) throw invalidArchive(`it has no file ${quoted(name)}`);
    return file;
  }

  /** `docker save` stores a layer that occurs twice as a link to its first place. */
  #find(name: string): { readonly offset: number; readonly size: number } | undefined {
    let member = this.#members.get(name);
    for (let hops = 0; member?.kind === "link" && hops < LIMITS.linkHops; hops++) {
      member = this.#members.get(member.target);
    }
    return member?.kind === "file" ? member : undefined;
  }
}

/**
 * Indexes a tar. Headers are read by seeking over the bodies; of a compressed tar everything is decoded once, and small
 * JSON files are kept, so that reading them does not start the decoder again.
 *
 * @throws {OutpostError} ARCHIVE_INVALID when it is no tar or is cut off, LIMIT_EXCEEDED with too many members.
 */
export async function openTarStore(file: RandomAccess, signal: AbortSignal): Promise<TarStore> {
  if (file.size === 0) throw invalidArchive("it is empty");
  const bytes = await openBytes(file);
  const index = new Index(bytes.size === undefined);
  const range = bytes.range(0, signal);
  try {
    if (bytes.size === undefined) await indexStream(range, index, signal);
    else await indexFile(bytes, bytes.size, index, signal);
  } finally {
    range.release();
  }
  return new TarStore(bytes, index);
}

async function indexStream(range: RangeReader, index: Index, signal: AbortSignal): Promise<void> {
  const buffer = new Uint8Array(READ_BYTES);
  for (let count = await range.read(buffer); count > 0; count = await range.read(buffer)) {
    signal.throwIfAborted();
    index.parser.push(buffer.subarray(0, count));
  }
  index.parser.finish();
}

/** Feeds the parser with headers from the file, and with zeros in place of bodies, which it only counts. */
async function indexFile(bytes: ArchiveBytes, size: number, index: Index, signal: AbortSignal): Promise<void> {
  const zeros = new Uint8Array(16 * READ_BYTES);
  let offset = 0;
  while (offset < size && !index.ended) {
    signal.throwIfAborted();
    const block = await readRange("its last header", Math.min(BLOCK_BYTES, size - offset), bytes.range(offset, signal));
    offset += block.length;
    const body = index.push(block);
    if (offset + body > size) throw invalidArchive("it is cut off within its last file");
    for (let left = body; left > 0; left -= zeros.length) {
      index.parser.push(zeros.subarray(0, Math.min(left, zeros.length)));
    }
    offset += body;
  }
  index.parser.finish();
}

/** Largest JSON file that is kept while a compressed archive is indexed: manifests and configurations. */
const CACHED_FILE_BYTES = 1024 * 1024;

/** Collects members while the parser runs. */
class Index implements TarSink {
  readonly members = new Map<string, Member>();
  readonly cache = new Map<number, Uint8Array>();
  readonly parser = new TarParser({ sink: this, fail: (...args) => this.#fail(...args) });
  /** Members seen, of whatever kind. */
  count = 0;
  readonly #caching: boolean;
  #cached = 0;
  #zeroBlocks = 0;
  #body = 0;
  #capture: { readonly offset: number; readonly bytes: Uint8Array; length: number } | undefined;

  constructor(caching: boolean) {
    this.#caching = caching;
  }

  /** Whether the end marker, two zero blocks, has been seen by {@link push}. */
  get ended(): boolean {
    return this.#zeroBlocks >= 2;
  }

  /** Feeds one block. @returns How many bytes of body and padding follow it that nobody wants. */
  push(block: Uint8Array): number {
    this.#body = 0;
    this.parser.push(block);
    this.#zeroBlocks = block.every((byte) => byte === 0) ? this.#zeroBlocks + 1 : 0;
    return Math.ceil(this.#body / BLOCK_BYTES) * BLOCK_BYTES;
  }

  header(header: TarHeader): boolean {
    if (++this.count > LIMITS.archiveMembers) {
      throw this.#fail("LIMIT_EXCEEDED", `it has more than ${LIMITS.archiveMembers} members`);
    }
    this.#body = header.size;
    const name = cleanPath(header.name);
    if (header.type === "file" && header.sparse) throw invalidArchive(`${quoted(name)} is stored as a sparse file`);
    if (header.type === "hardlink") this.members.set(name, { kind: "link", target: cleanPath(header.linkName) });
    if (header.type === "symlink") this.members.set(name, { kind: "link", target: resolveLink(name, header.linkName) });
    if (header.type !== "file") return false;
    this.members.set(name, { kind: "file", offset: header.offset, size: header.size });
    return this.#startCapture(header);
  }

  data(bytes: Uint8Array): void {
    const capture = this.#capture;
    if (capture === undefined) return;
    // Only JSON is worth its memory; layers never start so.
    const first = capture.length === 0 ? bytes[0] : undefined;
    if (first !== undefined && first !== 0x7b && first !== 0x5b) {
      this.#capture = undefined;
      return;
    }
    capture.bytes.set(bytes, capture.length);
    capture.length += bytes.length;
  }

  end(): void {
    if (this.#capture === undefined) return;
    this.cache.set(this.#capture.offset, this.#capture.bytes);
    this.#cached += this.#capture.bytes.length;
    this.#capture = undefined;
  }

  readonly #fail: Fail = (code, problem, cause) => {
    if (code === "LIMIT_EXCEEDED") {
      return new OutpostError(code, `Cannot read the image archive: ${problem}`, { cause });
    }
    if (this.count > 0) return invalidArchive(problem, cause);
    return invalidArchive("it is no tar archive, neither plain nor compressed with gzip or zstd", cause);
  };

  #startCapture({ offset, size }: TarHeader): boolean {
    this.#capture = undefined;
    if (!this.#caching || size > CACHED_FILE_BYTES || this.#cached + size > LIMITS.archiveCacheBytes) return false;
    this.#capture = { offset, bytes: new Uint8Array(size), length: 0 };
    return true;
  }
}

/** Where a symbolic link of the archive leads: from its own folder, or from the archive's root. */
function resolveLink(name: string, target: string): string {
  const folder = target.startsWith("/") ? "" : name.slice(0, name.lastIndexOf("/") + 1);
  return cleanPath(`${folder}${target}`);
}
