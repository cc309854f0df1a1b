/**
 * A push parser for zip archives that reads them front to back, as they stream by: local headers say where content is,
 * and the central directory at the end says which of it counts.
 *
 * Whoever reads front to back has to find the end of entries whose size stands behind them (`jar` writes all entries so).
 * Content that is inflated tells its end itself. Other content is not decoded: its end is where a header follows a data
 * descriptor that states just the size that the entry would have.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import type { SyncInflater, SyncInflaterFactory } from "../core/ports.ts";
import { concatBytes } from "./bytes.ts";
import {
  type CentralHeader,
  centralHeaderBytes,
  DESCRIPTOR_BYTES,
  descriptorBefore,
  FIXED_BYTES,
  type LocalHeader,
  localHeaderBytes,
  METHOD,
  readCentralHeader,
  readLocalHeader,
  SIGNATURE,
  uint16,
  uint32,
  uint64,
} from "./zip_record.ts";

/** Receives an archive. Whatever its functions throw ends the parsing and is thrown by `push`. */
export interface ZipSink {
  /** A local header at `offset`. @returns What takes the content, or undefined when nobody wants it. */
  file(header: LocalHeader, offset: number): ZipFileSink | undefined;
  /** An entry of the central directory, in its order. */
  listed(header: CentralHeader): void;
  /** Another archive begins behind the end of the last: only this one counts now. */
  restarted(): void;
}

/** Receives the content of a file. */
export interface ZipFileSink {
  /** The next bytes, unpacked; valid during the call only. */
  data(bytes: Uint8Array): void;
  /** No more comes. `problem` says why the content is not whole; otherwise `crc` is its checksum. */
  end(problem: string | undefined, crc: number): void;
}

/** What an archive was, as a whole. */
export interface ZipEnd {
  /** Why it is not whole; undefined when it is. */
  readonly problem: string | undefined;
  /** To be added to the central directory's offsets: bytes in front of the archive that it does not count. */
  readonly shift: number;
}

/** What the next bytes are. */
const enum State {
  /** Anything, until a signature. */
  Search,
  Head,
  Skip,
  Stored,
  Inflate,
  Scan,
  Closed,
}

/** How much of a record is there. */
const enum Step {
  Signature,
  Fixed,
  Whole,
}

const P = 0x50;
const SIGNATURE_BYTES = 4;
/** Kept of scanned content: a descriptor and a signature that is not whole yet. */
const LOOK_BEHIND = DESCRIPTOR_BYTES + SIGNATURE_BYTES - 1;
const NOTHING = new Uint8Array(0);
/** Any byte: a stream that has ended does not take it. */
const PROBE = Uint8Array.of(0);

/** Fixed parts by signature. */
const FIXED: ReadonlyMap<number, number> = new Map([
  [SIGNATURE.localHeader, FIXED_BYTES.localHeader],
  [SIGNATURE.centralHeader, FIXED_BYTES.centralHeader],
  [SIGNATURE.endOfCentralDirectory, FIXED_BYTES.endOfCentralDirectory],
  [SIGNATURE.zip64EndOfCentralDirectory, FIXED_BYTES.zip64EndOfCentralDirectory],
]);

/**
 * Parses an archive that arrives in chunks of any size. Memory is one header, one decoder and what the sink keeps.
 * Malformed archives never throw: {@link ZipStream.finish} and the file sinks are told.
 */
export class ZipStream {
  readonly #sink: ZipSink;
  readonly #makeInflater: SyncInflaterFactory;
  #inflater: SyncInflater | undefined;
  #state = State.Search;
  /** Bytes before the current chunk. */
  #before = 0;

  #step = Step.Signature;
  #head = new Uint8Array(512);
  #filled = 0;
  #need = SIGNATURE_BYTES;
  /** Offset of the record in `#head`. */
  #recordAt = 0;

  #file: ZipFileSink | undefined;
  #crc = 0;
  /** Offset of the current content. */
  #contentAt = 0;
  /** Stored bytes of it that are still to come; undefined when its size is not known. */
  #left: number | undefined;
  #tail: Uint8Array = NOTHING;
  /** Offset up to which scanned content was handed on. */
  #handed = 0;

  #listed = 0;
  #directoryAt: number | undefined;
  #wide: { readonly entries: number; readonly offset: number } | undefined;
  #end: { readonly entries: number; readonly offset: number } | undefined;

  constructor(sink: ZipSink, inflater: SyncInflaterFactory) {
    this.#sink = sink;
    this.#makeInflater = inflater;
  }

  /** Parses the next bytes. */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      switch (this.#state) {
        case State.Search:
          at = this.#search(chunk, at);
          break;
        case State.Head:
          at = this.#collect(chunk, at);
          break;
        case State.Skip:
        case State.Stored:
          at = this.#pass(chunk, at);
          break;
        case State.Inflate:
          at = this.#inflate(chunk, at);
          break;
        case State.Scan:
          at = this.#scan(chunk, at);
          break;
        case State.Closed:
          return;
      }
    }
    this.#before += chunk.length;
  }

  /** Declares the archive complete. */
  finish(): ZipEnd {
    this.#endFile("it is cut short");
    const end = this.#end;
    const entries = this.#wide?.entries ?? end?.entries ?? 0;
    const directoryAt = this.#wide?.offset ?? end?.offset ?? 0;
    const shift = this.#directoryAt === undefined ? 0 : this.#directoryAt - directoryAt;
    if (end === undefined) return { problem: "It is no zip archive, or its end is missing", shift };
    const whole = this.#wide === undefined ? (this.#listed & 0xffff) === entries : this.#listed === entries;
    return { problem: whole ? undefined : `Its directory lists ${this.#listed} entries instead of ${entries}`, shift };
  }

  /** Releases the decoder; what comes after it is ignored. */
  close(): void {
    this.#state = State.Closed;
    this.#inflater?.close();
    this.#inflater = undefined;
  }

  #search(chunk: Uint8Array, at: number): number {
    const found = chunk.indexOf(P, at);
    if (found < 0) return chunk.length;
    this.#beginRecord(this.#before + found);
    return found;
  }

  #beginRecord(offset: number): void {
    this.#state = State.Head;
    this.#step = Step.Signature;
    this.#filled = 0;
    this.#need = SIGNATURE_BYTES;
    this.#recordAt = offset;
  }

  #collect(chunk: Uint8Array, at: number): number {
    const taken = Math.min(this.#need - this.#filled, chunk.length - at);
    if (this.#head.length < this.#need) {
      const grown = new Uint8Array(this.#need);
      grown.set(this.#head.subarray(0, this.#filled));
      this.#head = grown;
    }
    this.#head.set(chunk.subarray(at, at + taken), this.#filled);
    this.#filled += taken;
    while (this.#state === State.Head && this.#filled === this.#need) this.#onHead(this.#before + at + taken);
    return at + taken;
  }

  /** `offset` is that of the byte after what is there. */
  #onHead(offset: number): void {
    const signature = uint32(this.#head, 0);
    switch (this.#step) {
      case Step.Signature: {
        const fixed = FIXED.get(signature);
        if (fixed === undefined) this.#resume();
        else this.#expect(Step.Fixed, fixed);
        return;
      }
      case Step.Fixed:
        if (signature === SIGNATURE.localHeader) this.#expect(Step.Whole, localHeaderBytes(this.#head));
        else if (signature === SIGNATURE.centralHeader) this.#expect(Step.Whole, centralHeaderBytes(this.#head));
        else this.#onEnd(signature);
        return;
      case Step.Whole: {
        const record = this.#head.subarray(0, this.#filled);
        this.#state = State.Search;
        if (signature === SIGNATURE.localHeader) this.#onLocalHeader(readLocalHeader(record), offset);
        else this.#onCentralHeader(readCentralHeader(record));
      }
    }
  }

  #expect(step: Step, bytes: number): void {
    this.#step = step;
    this.#need = bytes;
  }

  /** What looked like a signature was none: one may begin in its rest. */
  #resume(): void {
    const next = this.#head.subarray(0, SIGNATURE_BYTES).indexOf(P, 1);
    if (next < 0) {
      this.#state = State.Search;
      return;
    }
    this.#head.copyWithin(0, next, SIGNATURE_BYTES);
    this.#filled = SIGNATURE_BYTES - next;
    this.#recordAt += next;
  }

  #onEnd(signature: number): void {
    const head = this.#head;
    this.#state = State.Search;
    if (signature === SIGNATURE.zip64EndOfCentralDirectory) {
      this.#wide = { entries: uint64(head, 32), offset: uint64(head, 48) };
      return;
    }
    this.#end = { entries: uint16(head, 10), offset: uint32(head, 16) };
    this.#skip(uint16(head, 20));
  }

  #onCentralHeader(header: CentralHeader): void {
    this.#restart();
    this.#directoryAt ??= this.#recordAt;
    this.#listed++;
    this.#sink.listed(header);
  }

  #onLocalHeader(header: LocalHeader, offset: number): void {
    this.#restart();
    const { method, encrypted, compressedSize } = header;
    const file = this.#sink.file(header, this.#recordAt);
    this.#contentAt = offset;
    this.#left = compressedSize;
    const problem = encrypted ? "it is encrypted" : `its compression method ${method} is not known`;
    const readable = !encrypted && (method === METHOD.stored || method === METHOD.deflate);
    this.#file = file;
    this.#crc = 0;
    if (!readable) this.#endFile(problem);
    if (this.#file !== undefined && method === METHOD.deflate) {
      this.#inflater ??= this.#makeInflater((bytes) => this.#hand(bytes));
      this.#inflater.reset();
      this.#state = State.Inflate;
      if (compressedSize === 0) this.#endFile("it has no content");
    } else if (compressedSize === undefined) this.#beginScan();
    else if (this.#file !== undefined) this.#state = State.Stored;
    if (compressedSize === 0) {
      this.#endFile(undefined);
      this.#state = State.Search;
    } else if (compressedSize !== undefined && this.#file === undefined) this.#skip(compressedSize);
  }

  /** Headers after the end of an archive: another one begins, and a reader from the back would see that one only. */
  #restart(): void {
    if (this.#end === undefined) return;
    this.#end = undefined;
    this.#wide = undefined;
    this.#directoryAt = undefined;
    this.#listed = 0;
    this.#sink.restarted();
  }

  #skip(bytes: number): void {
    this.#left = bytes;
    this.#state = bytes === 0 ? State.Search : State.Skip;
  }

  #hand(bytes: Uint8Array): void {
    if (this.#file === undefined) return;
    this.#crc = crc32(bytes, this.#crc);
    this.#file.data(bytes);
  }

  #endFile(problem: string | undefined): void {
    const file = this.#file;
    this.#file = undefined;
    file?.end(problem, this.#crc);
  }

  /** Content of known size that is skipped, or handed on as it is. */
  #pass(chunk: Uint8Array, at: number): number {
    const left = this.#left ?? 0;
    const taken = Math.min(left, chunk.length - at);
    if (this.#state === State.Stored) this.#hand(chunk.subarray(at, at + taken));
    this.#left = left - taken;
    if (this.#left > 0) return at + taken;
    this.#endFile(undefined);
    this.#state = State.Search;
    return at + taken;
  }

  #inflate(chunk: Uint8Array, at: number): number {
    const inflater = this.#inflater;
    if (inflater === undefined) return chunk.length;
    const part = chunk.subarray(at, this.#left === undefined ? chunk.length : at + this.#left);
    let used: number;
    try {
      used = inflater.push(part);
    } catch (error) {
      if (!isInflateError(error)) throw error;
      this.#endFile("its content is damaged");
      if (this.#left === undefined) this.#beginScan();
      else this.#skip(this.#left);
      return at;
    }
    if (this.#left !== undefined) this.#left -= used;
    if (used < part.length) this.#endInflated(undefined);
    else if (this.#left === 0) this.#endInflated(this.#hasEnded(inflater) ? undefined : "its content is damaged");
    return at + used;
  }

  #endInflated(problem: string | undefined): void {
    this.#endFile(problem);
    this.#skip(this.#left ?? 0);
  }

  #hasEnded(inflater: SyncInflater): boolean {
    try {
      return inflater.push(PROBE) === 0;
    } catch (error) {
      if (isInflateError(error)) return false;
      throw error;
    }
  }

  #beginScan(): void {
    this.#state = State.Scan;
    this.#tail = NOTHING;
    this.#handed = this.#contentAt;
  }

  #scan(chunk: Uint8Array, at: number): number {
    const known = this.#tail.length;
    const bytes = known === 0 ? chunk.subarray(at) : concatBytes([this.#tail, chunk.subarray(at)]);
    const offset = this.#before + at - known;
    const start = this.#contentAt - offset;
    const first = Math.max(0, known - SIGNATURE_BYTES + 1);
    for (let i = bytes.indexOf(P, first); i >= 0 && i + SIGNATURE_BYTES <= bytes.length; i = bytes.indexOf(P, i + 1)) {
      const descriptor = descriptorBefore(bytes, i, start);
      if (descriptor === undefined) continue;
      this.#handScanned(bytes, offset, i - descriptor);
      this.#endFile(undefined);
      this.#beginRecord(offset + i);
      this.#head.set(bytes.subarray(i, i + SIGNATURE_BYTES));
      this.#filled = SIGNATURE_BYTES;
      this.#onHead(offset + i + SIGNATURE_BYTES);
      return at + i + SIGNATURE_BYTES - known;
    }
    this.#handScanned(bytes, offset, bytes.length - LOOK_BEHIND);
    this.#tail = bytes.slice(-LOOK_BEHIND);
    return chunk.length;
  }

  /** Hands on what is content for certain: the bytes before `end`. */
  #handScanned(bytes: Uint8Array, offset: number, end: number): void {
    const from = this.#handed - offset;
    if (end <= from) return;
    this.#handed = offset + end;
    this.#hand(bytes.subarray(Math.max(0, from), end));
  }
}

function isInflateError(error: unknown): boolean {
  return error instanceof Error && "code" in error && String(error.code).startsWith("Z_");
}
