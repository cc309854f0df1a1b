/**
 * A push parser for tar archives: v7, ustar, pax, GNU long names and links, old GNU and pax sparse files.
 *
 * Go's archive/tar is the judge of odd archives, because Docker and containerd unpack layers with it: what it refuses
 * is refused here, and where it sees a member, so does this parser. In particular pax records and long names apply to
 * the next member only, global records to none, and everything after the end marker is ignored.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { Fail } from "./fail.ts";
import { BLOCK_BYTES, type HeaderBlock, isZeroBlock, parseHeader, parseNumeric, parseString } from "./tar_header.ts";
import { FLAG, isBodiless, type TarHeader, type TarSink, typeOf } from "./tar_member.ts";
import { MemberExtensions, parseDecimal, parsePax, paxNumbersHold, sparseMapOfRecords } from "./tar_pax.ts";
import { readOldSparse, SparseFiller, type SparseMap, sparseMapHolds, SparseMapReader } from "./tar_sparse.ts";

export type { TarHeader, TarSink, TarType } from "./tar_member.ts";

/** Options of {@link TarParser}. */
export interface TarOptions {
  readonly sink: TarSink;
  /** Called with LAYER_CORRUPT or LIMIT_EXCEEDED. */
  readonly fail: Fail;
  readonly limits?: { readonly tarExtensionBytes: number; readonly pathBytes: number };
}

/** What the next bytes are. */
const enum State {
  Header,
  Extension,
  OldSparse,
  PaxSparse,
  Body,
  Padding,
  End,
}

const encoder = new TextEncoder();

/**
 * Parses a tar archive that arrives in chunks of any size. Unwanted bodies cost a subtraction; wanted ones are handed on
 * as views of the chunk.
 */
export class TarParser {
  readonly #sink: TarSink;
  readonly #fail: Fail;
  readonly #extensionBytes: number;
  readonly #pathBytes: number;
  readonly #block = new Uint8Array(BLOCK_BYTES);
  #filled = 0;
  #state = State.Header;
  #zeroBlocks = 0;
  /** Bytes of the archive before the current chunk. */
  #before = 0;
  /** Bytes of the current body that are still to come, and of the padding after it. */
  #left = 0;
  #padding = 0;
  #wanted = false;
  #extension = new Uint8Array(0);
  #extensionFlag = 0;
  #extensions = new MemberExtensions();
  /** Member whose sparse map is being read. */
  #pending: HeaderBlock | undefined;
  #pendingSize = 0;
  #oldMap: number[] = [];
  #mapReader: SparseMapReader | undefined;
  #mapBytes = 0;
  /** Fills the holes of the wanted sparse member. */
  #filler: SparseFiller | undefined;

  constructor(options: TarOptions) {
    const limits = options.limits ?? LIMITS;
    this.#sink = options.sink;
    this.#fail = options.fail;
    this.#extensionBytes = limits.tarExtensionBytes;
    this.#pathBytes = limits.pathBytes;
  }

  /**
   * Parses the next bytes.
   *
   * @throws What the `fail` of the options makes of a malformed archive or a limit that is hit, or what the sink throws.
   */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      switch (this.#state) {
        case State.Header:
        case State.OldSparse:
        case State.PaxSparse:
          at = this.#takeBlock(chunk, at);
          break;
        case State.Extension:
          at = this.#takeExtension(chunk, at);
          break;
        case State.Body:
          at = this.#takeBody(chunk, at);
          break;
        case State.Padding: {
          const skipped = Math.min(this.#left, chunk.length - at);
          at += skipped;
          this.#left -= skipped;
          if (this.#left === 0) this.#state = State.Header;
          break;
        }
        case State.End:
          at = chunk.length;
      }
    }
    this.#before += chunk.length;
  }

  /**
   * Declares the archive complete. An archive may end without an end marker, or inside the last member's padding, but
   * not inside a header or a body.
   *
   * @throws What `fail` makes of LAYER_CORRUPT.
   */
  finish(): void {
    if (this.#state === State.End || this.#state === State.Padding) return;
    if (this.#state === State.Header && this.#filled === 0) return;
    throw this.#corrupt("the tar archive ends inside a member");
  }

  #corrupt(problem: string): Error {
    return this.#fail("LAYER_CORRUPT", problem);
  }

  /** Collects one block, in place when the chunk holds it whole. */
  #takeBlock(chunk: Uint8Array, at: number): number {
    if (this.#filled === 0 && chunk.length - at >= BLOCK_BYTES) {
      this.#onBlock(chunk.subarray(at, at + BLOCK_BYTES), this.#before + at + BLOCK_BYTES);
      return at + BLOCK_BYTES;
    }
    const taken = Math.min(BLOCK_BYTES - this.#filled, chunk.length - at);
    this.#block.set(chunk.subarray(at, at + taken), this.#filled);
    this.#filled += taken;
    if (this.#filled === BLOCK_BYTES) {
      this.#filled = 0;
      this.#onBlock(this.#block, this.#before + at + taken);
    }
    return at + taken;
  }

  #onBlock(block: Uint8Array, offset: number): void {
    if (this.#state === State.Header) this.#onHeader(block, offset);
    else if (this.#state === State.OldSparse) this.#onOldSparse(block, offset);
    else this.#onPaxSparse(block, offset);
  }

  #onHeader(block: Uint8Array, offset: number): void {
    if (block[0] === 0 && isZeroBlock(block)) {
      if (++this.#zeroBlocks === 2) this.#state = State.End;
      return;
    }
    if (this.#zeroBlocks > 0) throw this.#corrupt("the tar archive goes on after half an end marker");
    const header = parseHeader(block);
    if (header === undefined) throw this.#corrupt(`the tar header at byte ${offset - BLOCK_BYTES} is malformed`);
    if (header.size < 0 && !isBodiless(header.typeFlag)) throw this.#corrupt("a tar member has a negative size");
    switch (header.typeFlag) {
      case FLAG.pax:
      case FLAG.globalPax:
      case FLAG.longName:
      case FLAG.longLink:
        return this.#beginExtension(header);
      default:
        return this.#onMember(header, block, offset);
    }
  }

  #beginExtension(header: HeaderBlock): void {
    if (header.size > this.#extensionBytes) {
      throw this.#fail("LIMIT_EXCEEDED", `a tar extension header is larger than ${this.#extensionBytes} bytes`);
    }
    this.#extension = new Uint8Array(header.size);
    this.#extensionFlag = header.typeFlag;
    this.#left = header.size;
    this.#padding = padding(header.size);
    this.#state = State.Extension;
    if (header.size === 0) this.#onExtension();
  }

  #takeExtension(chunk: Uint8Array, at: number): number {
    const taken = Math.min(this.#left, chunk.length - at);
    this.#extension.set(chunk.subarray(at, at + taken), this.#extension.length - this.#left);
    this.#left -= taken;
    if (this.#left === 0) this.#onExtension();
    return at + taken;
  }

  #onExtension(): void {
    const body = this.#extension;
    this.#extension = new Uint8Array(0);
    if (this.#extensionFlag === FLAG.longName) this.#extensions.longName = this.#longText(body);
    else if (this.#extensionFlag === FLAG.longLink) this.#extensions.longLink = this.#longText(body);
    else {
      const records = parsePax(body);
      if (records === undefined) throw this.#corrupt("a pax header is malformed");
      if (this.#extensionFlag === FLAG.pax) this.#extensions.pax = records;
      // Global records apply to no member, and archive/tar forgets the extensions before them.
      else this.#extensions = new MemberExtensions();
    }
    this.#toPadding();
  }

  #longText(body: Uint8Array): string {
    const text = parseString(body, 0, body.length);
    this.#checkPath(text);
    return text;
  }

  /** A real member: its final size is known once the pax records are merged; then maybe a sparse map follows. */
  #onMember(header: HeaderBlock, block: Uint8Array, offset: number): void {
    const extensions = this.#extensions;
    if (extensions.pax !== undefined && !paxNumbersHold(extensions.pax)) {
      throw this.#corrupt("a pax header holds a malformed number");
    }
    const stored = isBodiless(extensions.typeFlag(header)) ? 0 : extensions.size(header);
    if (stored < 0) throw this.#corrupt("a tar member has a negative size");
    this.#left = stored;
    this.#padding = padding(stored);
    const kind = extensions.sparseKind(header);
    if (header.typeFlag === FLAG.oldSparse) this.#beginOldSparse(header, block, offset);
    else if (kind === undefined) this.#begin(header, offset, stored, undefined);
    else this.#beginPaxSparse(header, kind, offset);
  }

  #beginOldSparse(header: HeaderBlock, block: Uint8Array, offset: number): void {
    const size = parseNumeric(block, 483, 12);
    if (header.format !== "gnu" || Number.isNaN(size)) throw this.#corrupt("a sparse header is malformed");
    this.#pendingSize = size;
    this.#pending = header;
    this.#oldMap = [];
    this.#mapBytes = 0;
    this.#readOldSparse(block, 386, 4, offset);
  }

  #onOldSparse(block: Uint8Array, offset: number): void {
    this.#countMapBlock();
    this.#readOldSparse(block, 0, 21, offset);
  }

  #readOldSparse(block: Uint8Array, start: number, entries: number, offset: number): void {
    const more = readOldSparse(block, start, entries, this.#oldMap);
    if (more === undefined || this.#pending === undefined) throw this.#corrupt("a sparse header is malformed");
    this.#state = State.OldSparse;
    if (!more) this.#begin(this.#pending, offset, this.#pendingSize, this.#oldMap);
  }

  #beginPaxSparse(header: HeaderBlock, kind: "records" | "data", offset: number): void {
    const records = this.#extensions.pax ?? new Map<string, string>();
    const text = records.get("GNU.sparse.size") || records.get("GNU.sparse.realsize") || undefined;
    const size = text === undefined ? this.#left : parseDecimal(text);
    if (size === undefined || isBodiless(this.#extensions.typeFlag(header))) {
      throw this.#corrupt("a sparse header is malformed");
    }
    if (kind === "records") {
      const map = sparseMapOfRecords(records);
      if (map === undefined) throw this.#corrupt("a sparse map is malformed");
      return this.#begin(header, offset, size, map);
    }
    if (this.#left < BLOCK_BYTES) throw this.#corrupt("a sparse map is cut short");
    this.#pending = header;
    this.#pendingSize = size;
    this.#mapReader = new SparseMapReader();
    this.#mapBytes = 0;
    this.#state = State.PaxSparse;
  }

  #onPaxSparse(block: Uint8Array, offset: number): void {
    const reader = this.#mapReader;
    const header = this.#pending;
    this.#countMapBlock();
    this.#left -= BLOCK_BYTES;
    const answer = reader?.push(block);
    if (answer === "more" && this.#left >= BLOCK_BYTES) return;
    const map = answer === "done" ? reader?.map() : undefined;
    if (map === undefined || header === undefined) throw this.#corrupt("a sparse map is malformed");
    this.#mapReader = undefined;
    this.#begin(header, offset, this.#pendingSize, map);
  }

  #countMapBlock(): void {
    this.#mapBytes += BLOCK_BYTES;
    if (this.#mapBytes > this.#extensionBytes) {
      throw this.#fail("LIMIT_EXCEEDED", `a sparse map is larger than ${this.#extensionBytes} bytes`);
    }
  }

  /** Announces the member to the sink and gets ready for its body of `#left` stored bytes. */
  #begin(block: HeaderBlock, offset: number, size: number, map: SparseMap | undefined): void {
    if (map !== undefined && !sparseMapHolds(map, size, this.#left)) throw this.#corrupt("a sparse map is malformed");
    const extensions = this.#extensions;
    const typeFlag = String.fromCharCode(extensions.typeFlag(block));
    const header: TarHeader = {
      name: extensions.name(block),
      linkName: extensions.linkName(block),
      type: typeOf(typeFlag),
      typeFlag,
      size,
      mode: block.mode,
      offset,
      sparse: map !== undefined,
    };
    this.#checkPath(header.name);
    this.#checkPath(header.linkName);
    if (extensions.pax !== undefined || extensions.longName !== undefined || extensions.longLink !== undefined) {
      this.#extensions = new MemberExtensions();
    }
    this.#pending = undefined;
    this.#wanted = this.#sink.header(header);
    if (map !== undefined && this.#wanted) {
      this.#filler = new SparseFiller(map, size, (bytes) => this.#sink.data(bytes));
    }
    this.#state = State.Body;
    if (this.#left === 0) this.#onBodyEnd();
  }

  #checkPath(path: string): void {
    if (path.length * 3 <= this.#pathBytes) return;
    if (path.length > this.#pathBytes || encoder.encode(path).length > this.#pathBytes) {
      throw this.#fail("LIMIT_EXCEEDED", `a path in the tar archive is longer than ${this.#pathBytes} bytes`);
    }
  }

  #takeBody(chunk: Uint8Array, at: number): number {
    const taken = Math.min(this.#left, chunk.length - at);
    if (this.#wanted) {
      const bytes = chunk.subarray(at, at + taken);
      if (this.#filler === undefined) this.#sink.data(bytes);
      else this.#filler.push(bytes);
    }
    this.#left -= taken;
    if (this.#left === 0) this.#onBodyEnd();
    return at + taken;
  }

  #onBodyEnd(): void {
    if (this.#wanted) {
      this.#filler?.finish();
      this.#filler = undefined;
      this.#wanted = false;
      this.#sink.end();
    }
    this.#toPadding();
  }

  #toPadding(): void {
    this.#left = this.#padding;
    this.#state = this.#left === 0 ? State.Header : State.Padding;
  }
}

function padding(size: number): number {
  return (BLOCK_BYTES - size % BLOCK_BYTES) % BLOCK_BYTES;
}
